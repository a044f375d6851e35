"""Going on from what a pass has read: other endings of the same prompts, without reading the prompts again.

Four answers to one question share all of its tokens, and so do their keys and values. The measured pass keeps them
where the model hands them on, and each ending is then read as a few new tokens behind them. What the pass read beyond
the shared tokens (its own ending, padding) is masked. Positions are handed over, because they do not follow from places
in the cache; so a family that takes none reads everything anew, and so does one with another kind of memory.

In the same way a beginning that all prompts of a batch have (solved examples that every question shows, instructions)
is read once, as one text, and the rest of every prompt behind copies of its keys and values. Whoever looks at a site is
shown what a pass over whole prompts would have shown: the states of the beginning are repeated before those of the
rest. So nothing that reads states, logits or kept keys knows of it, and numbers differ by rounding alone.
"""

from __future__ import annotations

import copy
import inspect
from collections.abc import Sequence
from typing import Any, Final, NamedTuple
from weakref import WeakKeyDictionary

import numpy as np
import torch
from transformers.cache_utils import DynamicCache, DynamicLayer, DynamicSlidingWindowLayer

from probes.capture.prompts import pad
from probes.models.batch import Batch
from probes.models.hooks import Look, watching
from probes.models.loading import LoadedModel, Output
from probes.vocabulary.prompt import Prompt
from probes.vocabulary.sites import Site

TRIED: Final = ((12, 2), (9, 4), (15, 1))  # tokens of each text that is tried, and of its ending
# In units of the type's precision, of the largest number of a state: a wrong position moves a state by tenths of it.
ROUNDINGS: Final = 1000
MOST_ROUNDING: Final = 0.05
_PROVED: Final[WeakKeyDictionary[torch.nn.Module, bool]] = WeakKeyDictionary()
FEWEST_SHARED: Final = 8  # tokens below which reading them again is cheaper than carrying them over
SHORTEST_BEGINNING: Final = 16  # tokens of a beginning that is read once
FEWEST_SAVED: Final = 256  # tokens that need not be read; fewer do not pay for a second pass


class Ending(NamedTuple):
    """Tokens that follow the first tokens of a prompt that was read.

    Attributes:
        row: which prompt of the batch.
        shared: so many of its first tokens.
        ids: the tokens after them.
    """

    row: int
    shared: int
    ids: tuple[int, ...]


def keeps(model: LoadedModel) -> bool:
    """True for a model of which endings read behind a prompt were seen to be those of the whole text.

    That is tried once per model, on short texts of unequal length, because families count positions in their own
    ways: one that takes positions and then goes by the mask (OPT) would give wrong numbers without a word.
    """
    if model.module not in _PROVED:
        parameters = inspect.signature(type(model.base).forward).parameters
        able = not model.module.config.is_encoder_decoder and {"position_ids", "past_key_values"} <= set(parameters)
        _PROVED[model.module] = able and _same(model)
    return _PROVED[model.module]


def _same(model: LoadedModel) -> bool:
    """Compare the states of endings of unequal length, read behind their prompts and read anew."""
    rng = np.random.default_rng(0)
    drawn = [tuple(map(int, rng.integers(0, model.vocabulary, shared + own))) for shared, own in TRIED]
    texts = [Prompt(ids, 0, False, (), None) for ids in drawn]
    whole = model.run(pad(texts, model.pad_id), keep=True)
    endings = [Ending(row, shared, drawn[row][shared:]) for row, (shared, _) in enumerate(TRIED)]
    read = read_endings(model, whole, endings)
    if read is None:
        return False
    told, found = whole.last_hidden_state, read.last_hidden_state
    allowed = min(ROUNDINGS * torch.finfo(told.dtype).eps, MOST_ROUNDING)
    return all(
        bool((told[row, shared : shared + own] - found[row, :own]).abs().max() <= allowed * told[row].abs().max())
        for row, (shared, own) in enumerate(TRIED)
    )


def kept(output: Output) -> bool:
    """True for the output of a pass that kept anything."""
    return getattr(output, "past_key_values", None) is not None


def ending_of(context: Sequence[int], start: int, prompt: Sequence[int], row: int) -> Ending | None:
    """The part of a context that a prompt does not begin with; None where too little is shared.

    Args:
        context: token ids.
        start: first token whose prediction is asked; it is read anew.
        prompt: what was read.
        row: which prompt that is.

    >>> ending_of([*range(9), 20, 21], 10, [*range(9), 30], 0)
    Ending(row=0, shared=9, ids=(20, 21))
    """
    shared = next(
        (place for place, (one, other) in enumerate(zip(context, prompt, strict=False)) if one != other),
        min(len(context), len(prompt)),
    )
    shared = min(shared, start)
    return Ending(row, shared, tuple(context[shared:])) if shared >= FEWEST_SHARED else None


def read_endings(model: LoadedModel, output: Output, endings: Sequence[Ending]) -> Output | None:
    """Read endings behind what a pass has kept.

    Args:
        model: the model that ran.
        output: what :meth:`LoadedModel.run` returned with ``keep``.
        endings: each with at least one token.

    Returns:
        The output over the endings, padded on the right; None where the pass kept nothing that can be gone on from.
    """
    longest = max(len(ending.ids) for ending in endings)
    memory = rows_of(output, [ending.row for ending in endings], longest)
    if memory is None:
        return None
    width = int(memory.get_seq_length())
    batch = pad([Prompt(ending.ids, 0, False, (), None) for ending in endings], model.pad_id)
    shared = torch.tensor([ending.shared for ending in endings]).unsqueeze(1)
    before = (torch.arange(width) < shared).long()
    arguments: dict[str, Any] = {
        "input_ids": batch.ids,
        "attention_mask": torch.cat([before, batch.mask], dim=1),
        "position_ids": shared + torch.arange(longest),
    }
    on_device = {name: value.to(model.device) for name, value in arguments.items()}
    with torch.inference_mode():
        return model.base(**on_device, past_key_values=memory, use_cache=True)


def rows_of(output: Output, rows: Sequence[int], longest: int) -> Any:  # noqa: ANN401  a cache of transformers
    """Some rows of what a pass has kept, as a memory of their own with room for so many tokens more.

    None where it kept anything but all keys and values, or nothing.
    """
    memory = getattr(output, "past_key_values", None)
    if not isinstance(memory, DynamicCache):
        return None
    room = int(memory.get_seq_length()) + longest
    for layer in memory.layers:
        whole = type(layer) is DynamicLayer
        wide = type(layer) is DynamicSlidingWindowLayer and room < layer.sliding_window
        if not (whole or wide):
            return None
    found = copy.copy(memory)
    found.layers = [copy.copy(layer) for layer in memory.layers]
    found.batch_select_indices(torch.tensor(rows))  # on the CPU, for layers may be on several devices
    return found


def shared_beginning(batch: Batch) -> int:
    """Number of tokens at the beginning that all prompts share and that are worth reading once; 0 for none.

    At least one token of every prompt is left to be read behind it.
    """
    ids = batch.ids.numpy()
    least = int(batch.mask.sum(dim=1).min()) - 1
    differs = (ids[:, :least] != ids[:1, :least]).any(axis=0)
    shared = int(np.argmax(differs)) if differs.any() else least
    return shared if shared >= SHORTEST_BEGINNING and shared * (len(ids) - 1) >= FEWEST_SAVED else 0


def run_watched(model: LoadedModel, batch: Batch, watched: Sequence[Site], look: Look, *, keep: bool) -> Output:
    """Run a batch with hooks on; a beginning that all its prompts share is read once.

    Args:
        model: what to run.
        batch: padded prompts.
        watched: sites to look at.
        look: is shown each site and its vectors, ``(prompts * longest, width)``.
        keep: whether keys and values are kept.

    Returns:
        The body's output over whole prompts.
    """
    shared = shared_beginning(batch)
    if shared and keeps(model):
        found = _behind(model, batch, shared, watched, look)
        if found is not None:
            return found
    with watching(model.taps, watched, look, rows=batch.ids.numel()):
        return model.run(batch, keep=True) if keep else model.run(batch)


def _behind(model: LoadedModel, batch: Batch, shared: int, watched: Sequence[Site], look: Look) -> Output | None:
    """Read the beginning and then what is behind it; None where the model kept nothing to go on from."""
    prompts, longest = batch.ids.shape
    first: dict[Site, torch.Tensor] = {}

    def remember(site: Site, vectors: torch.Tensor) -> None:
        first[site] = vectors.clone()

    beginning = Batch(batch.ids[:1, :shared], batch.mask[:1, :shared])
    with watching(model.taps, watched, remember, rows=shared):
        head = model.run(beginning, keep=True)
    memory = rows_of(head, [0] * prompts, longest - shared) if kept(head) else None
    if memory is None:
        return None

    def show(site: Site, vectors: torch.Tensor) -> None:
        look(site, _whole(first.pop(site), vectors, prompts))

    arguments = {
        "input_ids": batch.ids[:, shared:],
        "attention_mask": batch.mask,
        "position_ids": torch.arange(shared, longest).unsqueeze(0),
    }
    on_device = {name: value.to(model.device) for name, value in arguments.items()}
    with (
        watching(model.taps, watched, show, rows=prompts * (longest - shared)),
        torch.inference_mode(),
    ):
        rest = model.base(**on_device, past_key_values=memory, use_cache=True)
    width = head.last_hidden_state.shape[-1]
    states = _whole(head.last_hidden_state.reshape(shared, width), rest.last_hidden_state.reshape(-1, width), prompts)
    return type(rest)(**{**rest, "last_hidden_state": states.reshape(prompts, longest, width)})


def _whole(beginning: torch.Tensor, rest: torch.Tensor, prompts: int) -> torch.Tensor:
    """Vectors of whole prompts: those of the beginning before those of the rest of each."""
    width = beginning.shape[-1]
    parts = [beginning.unsqueeze(0).expand(prompts, -1, -1), rest.reshape(prompts, -1, width)]
    return torch.cat(parts, dim=1).reshape(-1, width)
