"""Sites derived from one short pass and proved by arithmetic: all models but those whose blocks are not sums.

The blocks are the one list whose length is the configured number of layers. What entered and what left each block is
seen; what stands inside is derived by :mod:`probes.models.taps.block`. Blocks built alike share one answer: a site is
offered where it was found in the first of them and holds in all. The final norm is the module after the blocks that
returns the model's last hidden state.

A block through which no token passes in finite numbers (Gemma overflows in float16) proves nothing, and has what blocks
built like it have.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from collections.abc import Set as AbstractSet
from typing import Any, Final, cast

from torch import Tensor, nn

from probes.errors import InputError
from probes.models.taps.block import Traced, same, sites_of
from probes.models.taps.table import Config, Point, Tap, Taps, descend
from probes.models.taps.trace import TOKENS, Call, trace
from probes.vocabulary.sites import EMBED_LAYER, Site
from probes.vocabulary.sites import SiteKind as S

DEPTHS: Final = ("num_hidden_layers", "n_layer", "n_layers", "num_layers")
UNPROVED: Final = "no module in its blocks has been shown to hold it"
PARALLEL: Final = "attention and MLP read the same stream side by side in this model"
BATCHED: Final = "experts run as one batched weight, so their neurons pass through no module"
ALONE: Final = "a block holds one mixer and no more; see ssm_state"
STREAMS: Final = "its blocks carry several residual streams side by side, so nothing is added to one as it is"


def derive(base: nn.Module, text: nn.Module, config: Config) -> Taps:
    """Find the sites of a model that no table knows.

    Args:
        base: the model without its head.
        text: its text part: ``base`` itself, or the language model of one that also sees.
        config: configuration of the text part.

    Returns:
        Block inputs and outputs, and whatever else is proved.

    Raises:
        InputError: if no list of modules, or more than one, has the configured number of layers; if the model cannot
            be run on token ids alone; or if its blocks do not return one vector per token.
    """
    path = _blocks(text, config)
    blocks = list(cast("Iterable[nn.Module]", descend(text, path)))
    calls, last = trace(base, text, config)
    embedding = cast("nn.Module", cast("Any", base).get_input_embeddings())
    points: dict[Site, Point] = {}
    embedded = [call for call in calls if call.module is embedding]
    if len(embedded) == 1:
        points[Site(S.EMBED, EMBED_LAYER)] = Point(embedding, "out")
    stream = _stream(blocks, calls, config)
    inside = [dict[S, Tap]() for _ in blocks] if stream is not None else _inside(path, blocks, calls, config)
    for layer, (block, taps) in enumerate(zip(blocks, inside, strict=True)):
        points[Site(S.RESID_PRE, layer)] = Point(block, "in", stream=stream)
        for kind in (kind for kind in S if kind in taps):
            points[Site(kind, layer)] = taps[kind].on(cast("nn.Module", descend(block, taps[kind].paths[0])))
        points[Site(S.RESID_POST, layer)] = Point(block, "out", stream=stream)
    norm = _final_norm(path, calls, last)
    if norm is not None:
        times = sum(call.module is norm for call in calls)
        points[Site(S.FINAL_NORM, len(blocks))] = Point(norm, "out", calls=times)
    return Taps(points, len(blocks), _lacks({site.kind for site in points}, stream), str(config.model_type))


def _lacks(present: AbstractSet[S], stream: int | None) -> dict[S, str]:
    """Reasons that kinds of sites are absent."""
    reasons = dict.fromkeys(S, UNPROVED if stream is None else STREAMS)
    if {S.ATTN_OUT, S.MLP_OUT} <= present:
        reasons[S.RESID_MID] = PARALLEL
    if S.ROUTER_LOGITS in present:
        reasons |= dict.fromkeys((S.MLP_PRE, S.MLP_GATE, S.MLP_POST), BATCHED)
    if S.SSM_STATE in present and S.RESID_MID not in present:
        reasons |= dict.fromkeys((S.RESID_MID, S.ATTN_OUT, S.MLP_OUT), ALONE)
    return {kind: reason for kind, reason in reasons.items() if kind not in present}


def _blocks(text: nn.Module, config: Config) -> str:
    """Path of the list of blocks."""
    depth = next((int(d) for name in DEPTHS if (d := getattr(config, name, None)) is not None), None)
    named = cast("Iterable[tuple[str, nn.Module]]", text.named_modules())
    lists = {name: module for name, module in named if isinstance(module, nn.ModuleList) and len(module)}
    found = [name for name, module in lists.items() if len(module) == depth]
    # lists inside blocks (experts, say) may happen to be as long as the model is deep: keep the outermost,
    found = [name for name in found if not any(name.startswith(f"{other}.") for other in lists if other != name)]
    # and beside the blocks there may be as many single matrices
    found = [name for name in found if any(True for _ in lists[name][0].children())]
    if len(found) != 1:
        raise InputError(
            f"no known blocks in {type(text).__name__}: expected one list of {depth} modules, found {found or 'none'}; "
            "hand in a transformers model, or add a table to probes/models/taps"
        )
    return found[0]


def _stream(blocks: Sequence[nn.Module], calls: Sequence[Call], config: Config) -> int | None:
    """Index of the stream that attention and MLP read, where a block carries several; None if it carries one."""
    shapes = {call.shape for call in calls if call.module in blocks}
    if all(len(shape) <= 3 and shape[:-1] in {(1, TOKENS), (TOKENS,)} for shape in shapes):
        return None
    active = getattr(config, "altup_active_idx", None)
    if isinstance(active, int) and all(shape[1:-1] == (1, TOKENS) for shape in shapes):
        return active
    raise InputError(
        f"{config.model_type}: its blocks return {sorted(shapes)} for {TOKENS} tokens where one vector per token is "
        "expected, so there is no residual stream to read; add a table to probes/models/taps"
    )


def _inside(path: str, blocks: Sequence[nn.Module], calls: Sequence[Call], config: Config) -> list[dict[S, Tap]]:
    """The proved sites of each block; blocks that are built alike have the same."""
    whole = {call.module: call for call in calls}
    times = Counter(call.module for call in calls)
    alike: dict[tuple[tuple[str, type], ...], list[int]] = {}
    found: list[dict[S, Tap] | None] = []
    for layer, block in enumerate(blocks):
        own, call = f"{path}.{layer}", whole[block]
        inner = [c for c in calls if c.path.startswith(f"{own}.") and times[c.module] == 1]
        traced = Traced(module=block, path=own, x=call.given, y=call.gave, calls=inner, config=config)
        found.append(sites_of(traced) if traced.is_finite else None)
        parts = cast("Iterable[tuple[str, nn.Module]]", block.named_modules())
        built = tuple((name, type(module)) for name, module in parts)
        alike.setdefault(built, []).append(layer)
    shared: dict[int, dict[S, Tap]] = {}
    for layers in alike.values():
        first, *others = [taps for layer in layers if (taps := found[layer]) is not None] or [{}]
        proved = {kind: tap for kind, tap in first.items() if all(taps.get(kind) == tap for taps in others)}
        shared |= dict.fromkeys(layers, proved)
    return [shared[layer] for layer in range(len(blocks))]


def _final_norm(path: str, calls: Sequence[Call], last: Tensor) -> nn.Module | None:
    """The module after the blocks that returns the model's last hidden state."""
    done = max((call.end for call in calls if call.path.startswith(f"{path}.")), default=-1)
    after = [call for call in calls if call.start > done and call.is_plain and same(call.gave, last)]
    return after[0].module if after else None
