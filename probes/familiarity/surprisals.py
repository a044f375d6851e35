"""Surprisals of the tokens that came: five numbers a row of logits, computed in float64; logits are never stored.

The logits of a batch over a whole vocabulary are larger than everything else in a forward pass. They come a few rows at
a time from the model's own head and leave as five numbers per row. Rows and tokens are one apart: the row at token t
says what follows t, so a token's surprisal, standardised log-probability and rank come from the row before it, and the
entropy and energy of the row at t belong to t.

Everything is computed in float64 from logits less their maximum. So are the moments of a log-probability: the
difference of two second moments loses all digits where a model is sure, as published code has it, and is negative in
half precision; but about the maximum, whose share p is at least one in the size V of the vocabulary, the variance is at
least p mean^2 >= mean^2 / V, and the difference loses at most log10 V of float64's sixteen digits.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Float64, Int, Int64
from torch import Tensor

from probes.capture.batches import BatchSize, plan_batches
from probes.capture.logits import Reducer, reduce_logits
from probes.capture.prompts import pad
from probes.errors import InputError
from probes.models.loading import LoadedModel
from probes.vocabulary.prompt import Prompt

BLOCK: Final = 1 << 18  # float64 values at once: large enough for the calls not to count, small enough to stay in cache
UNDERFLOW: Final = -800.0  # exp of it is 0 in float64; it stands for -inf, whose product with 0 would be NaN


class Surprisals(NamedTuple):
    """Surprisals of a prompt, index by index of its ids; NaN where nothing was predicted.

    Attributes:
        surprisal: ``-log2 p`` of the token; NaN at index 0.
        z: log-probability of the token less its mean under the prediction, over its standard deviation; NaN at index 0
            and where the prediction is uniform (both are zero).
        rank: place of the token among all by probability, 1 for the likeliest; tied tokens share the mean of their
            places.
        entropy: nats, of the prediction after the token.
        energy: ``-log sum exp`` of the logits after the token, in nats.
    """

    surprisal: Float64[np.ndarray, " tokens"]
    z: Float64[np.ndarray, " tokens"]
    rank: Float64[np.ndarray, " tokens"]
    entropy: Float64[np.ndarray, " tokens"]
    energy: Float64[np.ndarray, " tokens"]


def describe(logits: Float[Tensor, "rows vocabulary"], following: Int[Tensor, " rows"]) -> Float64[Tensor, "5 rows"]:
    """Reduce rows of logits to the fields of :class:`Surprisals`, all about the same row.

    Args:
        logits: of any floating dtype; a row with a NaN or ``+inf`` gives NaN. ``-inf`` means impossible.
        following: the token that came after each row, -1 where none did.
    """
    rows = max(1, BLOCK // logits.shape[-1])
    scratch = torch.empty(2, min(rows, len(logits)), logits.shape[-1], dtype=torch.float64, device=logits.device)
    following = following.to(logits.device)
    blocks = [
        _describe(logits[start : start + rows], following[start : start + rows], scratch)
        for start in range(0, len(logits), rows)
    ]
    return torch.cat([*blocks, torch.empty(5, 0, dtype=torch.float64, device=logits.device)], dim=1)


def _describe(
    logits: Float[Tensor, "rows vocabulary"],
    following: Int[Tensor, " rows"],
    scratch: Float64[Tensor, "2 most vocabulary"],
) -> Float64[Tensor, "5 rows"]:
    # every pass writes into the same two buffers: fresh memory for each costs three times the arithmetic
    x, weight = scratch[:, : len(logits)]
    index = following.clamp(min=0).unsqueeze(-1)
    top = logits.amax(-1, keepdim=True).double()
    # of n logits a are above the one that came, b below and t tied: a + (t + 1) / 2 = (n + 1 + a - b) / 2
    signs = weight.view(torch.float32)[:, : logits.shape[-1]]  # sums of ones are exact up to 2^24 tokens
    torch.sub(logits, logits.gather(-1, index), out=signs)
    rank = (logits.shape[-1] + 1 + signs.sign_().sum(-1, keepdim=True).double()) / 2
    x.copy_(logits)
    x -= top
    own = x.gather(-1, index)
    x.clamp_(min=UNDERFLOW)
    torch.exp(x, out=weight)
    total = weight.sum(-1, keepdim=True)
    log_total = total.log()
    mean = weight.mul_(x).sum(-1, keepdim=True) / total
    square = weight.mul_(x).sum(-1, keepdim=True) / total
    spread = (square - mean * mean).clamp_(min=0).sqrt()
    surprisal = (log_total - own) / math.log(2)
    z = (own - mean) / spread
    lost = (following < 0).unsqueeze(-1) | log_total.isnan()
    told = torch.cat([surprisal, z, rank], dim=-1).masked_fill(lost, torch.nan)
    return torch.cat([told, log_total - mean, -(top + log_total)], dim=-1).T


class Window(NamedTuple):
    """A stretch of a long prompt that fits the context.

    Attributes:
        prompt: the ids that are run.
        local: index in them of the first row that this window answers for.
        row: index of that row in the whole prompt.
    """

    prompt: Prompt
    local: int
    row: int


def windows(prompt: Prompt, context: int | None) -> list[Window]:
    """Cut a prompt into overlapping windows, each row in exactly one.

    Leading special tokens are repeated in every window; every row after the first window sees at least half a context.

    >>> prompt = Prompt(tuple(range(10)), 1, False, (0,) * 10, None)
    >>> [(w.prompt.ids, w.local, w.row) for w in windows(prompt, 7)]
    [((0, 1, 2, 3, 4, 5, 6), 0, 0), ((0, 4, 5, 6, 7, 8, 9), 4, 7)]
    """
    ids = prompt.ids
    if context is None or len(ids) <= context:
        return [Window(prompt, 0, 0)]
    first = ids[: prompt.n_special]
    room = context - len(first)
    if room < 1:
        raise InputError(f"{len(first)} special tokens leave no room in a context of {context}")
    found = [Window(_bare(ids[:context]), 0, 0)]
    done = context
    while done < len(ids):
        begin = done - room // 2
        end = min(begin + room, len(ids))
        found.append(Window(_bare(first + ids[begin:end]), len(first) + done - begin, done))
        done = end
    return found


def read_surprisals(
    model: LoadedModel, prompts: Sequence[Prompt], *, batch_size: BatchSize = "auto"
) -> list[Surprisals]:
    """Run prompts through a model, long ones in windows, and keep five numbers per token.

    Args:
        model: a causal language model.
        prompts: encoded prompts of any length.
        batch_size: prompts per forward pass.

    Raises:
        InputError: if the model does not predict the next token.
    """
    if not model.is_causal:
        raise InputError(f"{model.name} ({type(model.module).__name__}) does not predict the next token")
    found = [np.full((5, len(prompt.ids)), np.nan) for prompt in prompts]
    pieces = [(item, w) for item, p in enumerate(prompts) for w in windows(p, model.context_length)]
    for batch in plan_batches([len(window.prompt.ids) for _, window in pieces], batch_size):
        own = [pieces[index] for index in batch]
        run = [window.prompt for _, window in own]
        output = model.run(pad(run, model.pad_id))
        wanted = [np.arange(window.local, len(window.prompt.ids)) for _, window in own]
        following = [
            np.array((*prompts[item].ids, -1), dtype=np.int64)[window.row + 1 : window.row + 1 + len(rows)]
            for (item, window), rows in zip(own, wanted, strict=True)
        ]
        (table,) = reduce_logits(model, output, [_reader(run, wanted, following)])
        for (item, window), part in zip(own, _split(table, [len(rows) for rows in wanted]), strict=True):
            _place(found[item], window.row, part)
    return [Surprisals(*values) for values in found]


def surprisal_reader(prompts: Sequence[Prompt]) -> Reducer:
    """Build the reader of a pass's logits that surprisals need: every row of every prompt."""
    return _reader(
        prompts,
        [np.arange(len(prompt.ids)) for prompt in prompts],
        [np.array((*prompt.ids[1:], -1), dtype=np.int64) for prompt in prompts],
    )


def surprisals_of(prompts: Sequence[Prompt], table: Float64[np.ndarray, "5 rows"]) -> list[Surprisals]:
    """Surprisals from what :func:`surprisal_reader` made of the logits of the same prompts."""
    found = [np.full((5, len(prompt.ids)), np.nan) for prompt in prompts]
    for values, part in zip(found, _split(table, [len(prompt.ids) for prompt in prompts]), strict=True):
        _place(values, 0, part)
    return [Surprisals(*values) for values in found]


def _reader(
    prompts: Sequence[Prompt],
    rows: Sequence[Int64[np.ndarray, " _"]],
    following: Sequence[Int64[np.ndarray, " _"]],
) -> Reducer:
    longest = max(len(prompt.ids) for prompt in prompts)
    flat = np.concatenate([item * longest + own for item, own in enumerate(rows)])
    return Reducer(flat, np.concatenate(list(following)), len(Surprisals._fields), describe)


def _split(table: Float64[np.ndarray, "5 rows"], lengths: Sequence[int]) -> list[Float64[np.ndarray, "5 _"]]:
    return np.split(table, np.cumsum(lengths)[:-1], axis=1)


def _place(values: Float64[np.ndarray, "5 tokens"], row: int, part: Float64[np.ndarray, "5 _"]) -> None:
    """Put rows where their tokens are: three numbers at the token that follows, two at the row itself."""
    end = min(row + 1 + part.shape[1], values.shape[1])
    values[:3, row + 1 : end] = part[:3, : end - row - 1]
    values[3:, row : row + part.shape[1]] = part[3:]


def _bare(ids: tuple[int, ...]) -> Prompt:
    return Prompt(ids, 0, truncated=False, char_starts=(-1,) * len(ids), target_start=None)
