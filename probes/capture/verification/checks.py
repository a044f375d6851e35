"""The self-checks of a model: each compares what the hooks see with something that does not depend on the hooks.

A check is a function of a model and some prompts to a :class:`Deviation`; one that does not apply raises
:class:`NotApplicableError`. Nothing is judged here: that is :mod:`probes.capture.verification.verdict`.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, TypeVar, cast

import numpy as np
import torch
from torch import Tensor

from probes.capture.collection import read_batch
from probes.capture.prompts import pad
from probes.models.batch import Batch
from probes.models.devices import device_of, is_spread
from probes.models.facts import body_of
from probes.models.hooks import watching
from probes.models.loading import LoadedModel
from probes.models.taps import find_taps
from probes.models.taps.table import POST_NORM
from probes.vocabulary.prompt import Prompt
from probes.vocabulary.sites import Site, SiteKind
from sparsity import DEFAULT_METRICS, profile

LARGEST_COPY: Final = 2_000_000_000  # parameters; a copy of anything larger in another precision may not fit
SMALL: Final = 0.01  # a metric below this deviates relative to this: the ratio of two tiny numbers says nothing
# transformers shows the output of block i as hidden_states[i] here, and its input everywhere else
SHIFTED: Final = frozenset({"mamba", "mamba2", "falcon_mamba", "rwkv"})
# position ids of these are made from the ids themselves, and passing others breaks them
OWN_POSITIONS: Final = frozenset({"roberta", "xlm-roberta", "camembert"})

HALF: Final = frozenset({torch.float16, torch.bfloat16, torch.int8})

Rows = Mapping[Site, Sequence[np.ndarray]]  # states: per site one array (tokens, width) per prompt
Values = Mapping[tuple[Site, str], Sequence[np.ndarray]]  # per site and position one array (tokens, metrics) per prompt
POSITIONS: Final = ("last", "mean", "all")
Key = TypeVar("Key")
METRIC_NAMES: Final = tuple(map(str, DEFAULT_METRICS))


class NotApplicableError(Exception):
    """The check does not apply to this model; the message says why."""


@dataclass(frozen=True, slots=True)
class Deviation:
    """Largest deviation between two ways of reading the same states, and the site where it occurs.

    Over the tokens there it is the largest deviation, and in half precision the median: rounding moves single tokens by
    a fifth in a deep model and leaves the typical one, a hook in the wrong place moves all.

    Attributes:
        states: deviation of a state, relative to the largest magnitude at its site, in half precision to that of its
            token; NaN if none was compared.
        metrics: deviation of each metric relative to its value, by name.
        where: the site, or the site and metric, of the largest deviation.
    """

    states: float
    metrics: Mapping[str, float]
    where: str


Check = Callable[[LoadedModel, Sequence[Prompt]], Deviation]


def alone_or_padded(model: LoadedModel, prompts: Sequence[Prompt]) -> Deviation:
    """Every prompt alone against all of them in one padded batch."""
    together = states_of(model, prompts)
    alone = _each(states_of(model, [prompt]) for prompt in prompts)
    return _deviation(
        model.dtype,
        together,
        alone,
        metrics_of(model, prompts),
        _each(metrics_of(model, [prompt]) for prompt in prompts),
    )


def left_or_right(model: LoadedModel, prompts: Sequence[Prompt]) -> Deviation:
    """Padding on the left, with mask and position ids, against padding on the right."""
    if model.module.config.is_encoder_decoder:
        raise NotApplicableError("an encoder-decoder is not run on left-padded prompts")
    ids, mask, _ = pad(prompts, model.pad_id)
    ids, mask = ids.flip(1), mask.flip(1)
    for row, prompt in enumerate(prompts):
        ids[row, -len(prompt.ids) :] = torch.tensor(prompt.ids)
    arguments: dict[str, Any] = {"use_cache": False}
    if "position_ids" in _parameters(model) and model.taps.family not in OWN_POSITIONS:
        arguments["position_ids"] = (mask.cumsum(1) - 1).clamp(min=0).to(model.device)

    def run() -> None:
        with torch.inference_mode():
            model.base(input_ids=ids.to(model.device), attention_mask=mask.to(model.device), **arguments)

    return _deviation(model.dtype, _watch(model, Batch(ids, mask), run), states_of(model, prompts))


def eager_or_sdpa(model: LoadedModel, prompts: Sequence[Prompt]) -> Deviation:
    """The eager attention kernel against the one that runs."""
    if model.attention != "sdpa":
        raise NotApplicableError(f"the attention kernel is {model.attention}, not sdpa")
    states, metrics = states_of(model, prompts), metrics_of(model, prompts)
    try:
        model.module.set_attn_implementation("eager")
        return _deviation(model.dtype, states_of(model, prompts), states, metrics_of(model, prompts), metrics)
    finally:
        model.module.set_attn_implementation(model.attention)


def other_precision(model: LoadedModel, prompts: Sequence[Prompt]) -> Deviation:
    """The same weights in bfloat16, or in float32 for a model in half precision."""
    parameters = sum(parameter.numel() for parameter in model.module.parameters())
    if parameters > LARGEST_COPY or is_spread(model.module) or model.dtype == torch.int8:
        raise NotApplicableError(f"a copy of {parameters} parameters may not fit")
    other = torch.bfloat16 if model.dtype == torch.float32 else torch.float32
    module: Any = copy.deepcopy(cast("torch.nn.Module", model.module)).to(other)
    whole: Any = module.config
    config = whole if whole.is_encoder_decoder else whole.get_text_config()
    twin = replace(model, module=module, dtype=other, taps=find_taps(body_of(module), config))
    return _deviation(
        model.dtype,
        states_of(twin, prompts),
        states_of(model, prompts),
        metrics_of(twin, prompts),
        metrics_of(model, prompts),
    )


def hidden_states(model: LoadedModel, prompts: Sequence[Prompt]) -> Deviation:
    """States, and the metrics of picked tokens, against what transformers itself shows of each prompt alone."""
    seen = states_of(model, prompts)
    shown = _each(_shown(model, prompt) for prompt in prompts)
    if not shown:
        raise NotApplicableError("transformers shows no hidden states of this model")
    return _deviation(model.dtype, seen, shown, metrics_of(model, prompts), _metrics_by_hand(shown, prompts))


def residual_identity(model: LoadedModel, prompts: Sequence[Prompt]) -> Deviation:
    """Check that the residual stream plus the outputs of attention and MLP is the residual stream of the next block."""
    states = states_of(model, prompts)
    post_norm = POST_NORM.items() <= model.taps.lacks.items()
    sums: dict[Site, Sequence[np.ndarray]] = {}
    for site in states:
        pre, attn, mid, mlp, before = (
            states.get(replace(site, kind=kind, layer=site.layer - back))
            for kind, back in (
                (SiteKind.RESID_PRE, 0),
                (SiteKind.ATTN_OUT, 0),
                (SiteKind.RESID_MID, 0),
                (SiteKind.MLP_OUT, 0),
                (SiteKind.RESID_POST, 1),
            )
        )
        if site.kind is SiteKind.RESID_PRE and before is not None and model.taps.family != "rwkv":
            sums[site] = before
        if site.kind is SiteKind.RESID_MID and pre and attn and not post_norm and site.stack != "decoder":
            sums[site] = _sum(pre, attn)
        if site.kind is SiteKind.RESID_POST and mlp and not post_norm:
            if mid is not None:
                sums[site] = _sum(mid, mlp)
            elif pre and attn:
                sums[site] = _sum(pre, attn, mlp)
    return _deviation(model.dtype, states, sums)


def final_norm(model: LoadedModel, prompts: Sequence[Prompt]) -> Deviation:
    """The final norm of the last ``resid_post`` against ``final_norm``."""
    states = states_of(model, prompts)
    normed: dict[Site, Sequence[np.ndarray]] = {}
    for site in states:
        if site.kind is SiteKind.FINAL_NORM:
            last = replace(site, kind=SiteKind.RESID_POST, layer=site.layer - 1)
            if model.taps.points[last].stream is not None:
                raise NotApplicableError("the streams of the last block are merged before the final norm")
            module = model.taps.points[site].module
            dtype = next((weight.dtype for weight in module.parameters()), model.dtype)
            with torch.inference_mode():
                normed[site] = [
                    module(torch.from_numpy(own).to(device_of(module), dtype)).float().cpu().numpy()
                    for own in states[last]
                ]
    if not normed:
        raise NotApplicableError("the model has no final norm, or none is known")
    return _deviation(model.dtype, states, normed)


def hooks_leave_no_trace(model: LoadedModel, prompts: Sequence[Prompt]) -> Deviation:
    """The output with every hook on against the output without any: the same bits."""
    batch = pad(prompts, model.pad_id)
    bare: Tensor = model.run(batch)[0]
    with watching(model.taps, tuple(model.sites), lambda _site, _vectors: None):
        watched: Tensor = model.run(batch)[0]
    same = bool(((bare == watched) | (bare.isnan() & watched.isnan())).all())
    return Deviation(0.0 if same else np.inf, {}, "" if same else "the model's output changes when hooks are on")


def states_of(model: LoadedModel, prompts: Sequence[Prompt]) -> Rows:
    """Every state of every site, per prompt, padding cut off."""
    batch = pad(prompts, model.pad_id)
    return _watch(model, batch, lambda: model.run(batch))


def metrics_of(model: LoadedModel, prompts: Sequence[Prompt]) -> Values:
    """Default metrics of whole vectors as the batch reader gives them, per site, position and prompt."""
    sites = [site for site in model.sites if not model.taps.points[site].heads]
    result = read_batch(model, prompts, sites=sites, positions=POSITIONS, metrics=DEFAULT_METRICS)
    return {
        (reading.site, reading.position): [reading.values[reading.item == item] for item in range(len(prompts))]
        for reading in result.readings
    }


def _watch(model: LoadedModel, batch: Batch, run: Callable[[], object]) -> Rows:
    """Keep everything that one pass shows."""
    kept: dict[Site, np.ndarray] = {}

    def keep(site: Site, vectors: Tensor) -> None:
        kept[site] = vectors.float().cpu().numpy().copy()

    with watching(model.taps, tuple(model.sites), keep, rows=batch.ids.numel()):
        run()
    real = batch.mask.numpy().astype(bool)
    return {
        site: [own[row] for own, row in zip(rows.reshape(*real.shape, -1), real, strict=True)]
        for site, rows in kept.items()
    }


def _shown(model: LoadedModel, prompt: Prompt) -> Rows:
    """Hidden states as transformers returns them, under our names of sites."""
    ids = torch.tensor([prompt.ids], device=model.device)
    asked: dict[str, Any] = {"input_ids": ids, "output_hidden_states": True, "use_cache": False}
    stacks = {"encoder": "encoder_hidden_states", "decoder": "decoder_hidden_states"}
    if model.module.config.is_encoder_decoder:
        asked["decoder_input_ids"] = ids
    else:
        stacks = {"": "hidden_states"}
    with torch.inference_mode():
        output = model.base(**asked)
    found: dict[Site, Sequence[np.ndarray]] = {}
    for stack, name in stacks.items():
        states: Sequence[Tensor] = getattr(output, name, None) or ()
        for site, index in _index(model, stack, len(states) - 1).items():
            if site not in model.taps.points:
                continue
            state = model.taps.points[site].own(states[index])[0].float().cpu().numpy()
            if state.shape == (len(prompt.ids), model.width(site)):
                found[site] = [state]
    return found


def _index(model: LoadedModel, stack: str, depth: int) -> dict[Site, int]:
    """Index of a site in transformers' tuple of hidden states; its last entry is normed if there is a final norm."""
    shift = 0 if model.taps.family in SHIFTED else 1
    inner = {Site(SiteKind.RESID_POST, layer, stack): layer + shift for layer in range(depth - 1)}
    if shift:
        inner |= {Site(SiteKind.RESID_PRE, layer, stack): layer for layer in range(depth)}
    last = Site(SiteKind.FINAL_NORM, depth, stack)
    if POST_NORM.items() <= model.taps.lacks.items():
        last = Site(SiteKind.RESID_POST, depth - 1, stack)
    return inner | {last: depth}


def _metrics_by_hand(rows: Rows, prompts: Sequence[Prompt]) -> Values:
    """Metrics at positions spelt out anew, so that a selector that is off by one does not agree with itself."""
    found: dict[tuple[Site, str], list[np.ndarray]] = {}
    for site, own in rows.items():
        for prompt, states in zip(prompts, own, strict=True):
            table = profile(states, metrics=DEFAULT_METRICS)
            each = np.stack([np.asarray(table[name], dtype=np.float64) for name in METRIC_NAMES], axis=-1)
            real = each[prompt.n_special : prompt.text.stop]
            later = each[max(prompt.n_special, 1) : prompt.text.stop]  # the first token of a sequence is in no mean
            defined = ~np.isnan(later)
            total, count = np.where(defined, later, 0).sum(0), defined.sum(0)
            mean = np.divide(total, count, out=np.full(len(total), np.nan), where=count > 0)
            for position, values in zip(POSITIONS, (each[prompt.end - 1 : prompt.end], mean[None], real), strict=True):
                found.setdefault((site, position), []).append(values)
    return found


def _deviation(
    dtype: torch.dtype, seen: Rows, true: Rows, ours: Values | None = None, theirs: Values | None = None
) -> Deviation:
    """Deviations of states over sites, and of metrics over sites and positions; over tokens as the precision allows."""
    worst, where, silent = np.nan, "", list[str]()
    for site, own in true.items():
        there = _states_apart(dtype, seen[site], own)
        if np.isnan(there):
            silent.append(str(site))
        elif not there <= worst:
            worst, where = there, str(site)
    metrics: dict[str, float] = {}
    for (site, position), own in (theirs or {}).items():
        pairs = zip((ours or {})[site, position], own, strict=True)
        relative = np.concatenate([_relative(a, b) for a, b in pairs])
        for name, values in zip(METRIC_NAMES, relative.T, strict=True):
            value = _over_tokens(dtype, values)
            if value > max(worst, *metrics.values(), 0.0):
                where = f"{name} at {site}, position {position}"
            metrics[name] = max(metrics.get(name, 0.0), value)
    if silent and np.isnan(worst) and not metrics:
        raise NotApplicableError(f"no token is finite at any site of this check ({silent[0]} first)")
    if silent:
        where += f"; not checked, since no token is finite there: {len(silent)} sites, {silent[0]} first"
    return Deviation(worst, metrics, where)


def _over_tokens(dtype: torch.dtype, values: np.ndarray) -> float:
    """The largest of the tokens' deviations; in half precision, where single tokens are off by a lot, the median."""
    if not len(values):
        return 0.0
    return float(np.median(values)) if dtype in HALF else float(values.max())


def _states_apart(dtype: torch.dtype, seen: Sequence[np.ndarray], true: Sequence[np.ndarray]) -> float:
    """Deviation of one site's states.

    Relative to the largest magnitude of the site; in half precision to that of each token, since one token that drains
    attention may be 200 times as large as all others and would hide them. Tokens that are not finite either way are
    left out; NaN if no other is there.
    """
    if any(a.shape != b.shape for a, b in zip(seen, true, strict=True)):
        return np.inf
    one, other = np.concatenate(seen), np.concatenate(true)
    first, second = np.isfinite(one).all(-1), np.isfinite(other).all(-1)
    if not (first | second).any():
        return np.nan
    size = np.abs(other).max(-1, where=np.isfinite(other), initial=0.0)
    scale = size if dtype in HALF else np.full_like(size, size.max())
    gap = np.full(size.shape, np.inf)
    both = first & second
    gap[both] = np.abs(one[both] - other[both]).max(-1, initial=0.0)
    return _over_tokens(dtype, (gap / np.where(scale > 0, scale, 1.0))[first | second])


def _relative(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Relative difference of metric values ``(tokens, metrics)``; infinite where shapes or NaN differ."""
    if a.shape != b.shape:
        return np.full((1, b.shape[-1]), np.inf)
    difference = np.abs(a - b) / np.maximum(np.abs(b), SMALL)
    return np.where(np.isnan(a) == np.isnan(b), np.nan_to_num(difference, nan=0.0), np.inf)


def _sum(*parts: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Prompt by prompt sum."""
    return [np.sum(own, axis=0) for own in zip(*parts, strict=True)]


def _each(results: Iterable[Mapping[Key, Sequence[np.ndarray]]]) -> dict[Key, list[np.ndarray]]:
    """One-prompt results put side by side."""
    several = list(results)
    return {key: [own[key][0] for own in several] for key in several[0]}


def _parameters(model: LoadedModel) -> tuple[str, ...]:
    """Parameter names of the body's forward, decorators taken off."""
    forward: Any = type(model.base).forward
    while hasattr(forward, "__wrapped__"):
        forward = forward.__wrapped__
    return forward.__code__.co_varnames
