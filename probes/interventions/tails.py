"""Neurons that a gated MLP can do without: tails whose removal changes its output by no more than a given error.

An MLP adds up one vector per neuron: its activation times a row of the down projection. Ordered by the length of that
vector, the smallest neurons are a tail. The cumulative error of tail truncation (CETT; Luo et al. 2024, Sparsing Law,
eq. 2) is the length of the tail's sum over the length of the output. ``cett_sparsity(e)`` is the share of neurons in
the longest tail, found by bisection, with an error of at most e: 0 where no neuron can go, close to 1 where few do all
the work. Unlike a share of small activations it knows what the next layer receives. Sparsing Law has one threshold per
layer for the mean error of all tokens; here every token has a tail of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import Any, Final, NamedTuple, cast

import numpy as np
import torch
from jaxtyping import Bool, Float32, Float64
from torch import Tensor, nn

from probes.capture.batches import plan_batches
from probes.capture.collection import read_batch
from probes.errors import InputError
from probes.interventions.changes import editing
from probes.models.devices import weight_of
from probes.models.loading import LoadedModel
from probes.vocabulary.prompt import Prompt
from probes.vocabulary.sites import Site, SiteKind

ROWS_AT_ONCE: Final = 512  # tokens whose tails are searched together
LOSS: Final = "mean_nll"


class DownProjection(NamedTuple):
    """Down projection of an MLP, by which its neurons are multiplied.

    Attributes:
        rows: one per neuron.
        lengths: of the rows.
    """

    rows: Float32[Tensor, "neurons width"]
    lengths: Float32[Tensor, " neurons"]


def mlp_sites(model: LoadedModel) -> list[Site]:
    """The sites whose neurons can be cut: ``mlp_post`` before a plain linear map.

    Raises:
        InputError: if the model has none.
    """
    found = [site for site in model.sites if site.kind is SiteKind.MLP_POST and _linear(model, site) is not None]
    if not found:
        reason = model.lacks.get(SiteKind.MLP_POST, "no MLP ends in a plain linear map")
        raise InputError(f"{model.name} has no neurons to cut: {reason}")
    return found


def down_projection(model: LoadedModel, site: Site) -> DownProjection:
    """The down projection behind a site of :func:`mlp_sites`."""
    found = _linear(model, site)
    if found is None:
        raise InputError(f"{site} of {model.name} is not what a plain linear map receives")
    rows = found.detach().float()
    return DownProjection(rows, _lengths(rows))


def tails(
    vectors: Float32[Tensor, "tokens neurons"], down: DownProjection, error: float
) -> Bool[Tensor, "tokens neurons"]:
    """Mask of the longest tail of each token with at most so much error, by bisection over its length."""
    parts = [_tails(vectors[at : at + ROWS_AT_ONCE], down, error) for at in range(0, len(vectors), ROWS_AT_ONCE)]
    return torch.cat(parts) if parts else torch.zeros(vectors.shape, dtype=torch.bool, device=vectors.device)


def cett_sparsity(
    vectors: Float32[Tensor, "tokens neurons"], down: DownProjection, error: float
) -> Float64[np.ndarray, " tokens"]:
    """Share of neurons in the longest tail of each token; NaN where the MLP adds nothing or is not finite."""
    share = tails(vectors, down, error).double().mean(dim=1)
    length = _lengths(vectors @ down.rows)
    return torch.where(torch.isfinite(length) & (length > 0), share, torch.nan).cpu().numpy()


class Cut(NamedTuple):
    """A model with the tails of all MLPs cut.

    Attributes:
        error: the most that each MLP's output may be off by, relative.
        sparsity: mean share of neurons that were cut, over text tokens and layers.
        nll: mean nats per token.
    """

    error: float
    sparsity: float
    nll: float

    @property
    def perplexity(self) -> float:
        """Perplexity per token."""
        return float(np.exp(self.nll))


def density_curve(
    model: LoadedModel,
    prompts: Sequence[Prompt],
    errors: Sequence[float],
    tell: Callable[[int, int], None] = lambda _done, _of: None,
) -> list[Cut]:
    """Loss of a model and sparsity of its MLPs at growing errors; the first entry is the whole model.

    Args:
        model: what predicts the next token.
        prompts: texts, encoded.
        errors: of tail truncation, between 0 and 1.
        tell: called with the number of passes done and of all.

    Raises:
        InputError: for a model without neurons to cut, texts without a token to predict, or an error out of range.
    """
    wrong = next((error for error in errors if not 0 < error < 1), None)
    if wrong is not None:
        raise InputError(f"an error of tail truncation lies between 0 and 1, not at {wrong}")
    if not model.is_causal:
        raise InputError(f"{model.name} does not predict the next token, so it has no perplexity")
    if not any(len(prompt.content) for prompt in prompts):
        raise InputError("no text has a token that another one precedes, so there is nothing to predict")
    downs = {site: down_projection(model, site) for site in mlp_sites(model)}
    batches = plan_batches([len(prompt.ids) for prompt in prompts])
    found: list[Cut] = []
    n_done = 0
    for error in (0.0, *errors):
        nats = cut = n_tokens = n_neurons = 0.0
        for indices in batches:
            own = [prompts[index] for index in indices]
            tally = _Tally(own, downs, error)
            longest = max(len(prompt.ids) for prompt in own)
            with editing(model, tally.changes(), rows=len(own) * longest):
                read = read_batch(model, own, sites=(), positions="mean", metrics=(), outcomes=(LOSS,))
            counts = np.array([len(prompt.content) for prompt in own])
            nats += float(np.nansum(read.outcomes[LOSS] * counts))
            n_tokens += float(counts.sum())
            cut, n_neurons = cut + tally.cut, n_neurons + tally.neurons
            n_done += 1
            tell(n_done, len(batches) * (1 + len(errors)))
        found.append(Cut(error, cut / n_neurons if n_neurons else 0.0, nats / n_tokens))
    return found


def critical_sparsity(curve: Sequence[Cut], loss: float) -> float:
    """The sparsity at which perplexity has grown by a share ``loss``, between the points of a curve; NaN beyond it.

    Perplexity is taken as linear in sparsity between two points, so the grid of errors decides how exact this is.

    >>> curve = [Cut(0.0, 0.0, 0.0), Cut(0.1, 0.5, float(np.log(1.02)))]
    >>> round(critical_sparsity(curve, 0.01), 3)
    0.25
    """
    limit = (1 + loss) * curve[0].perplexity
    for before, after in pairwise(curve):
        if after.perplexity > limit >= before.perplexity:
            part = (limit - before.perplexity) / (after.perplexity - before.perplexity)
            return before.sparsity + part * (after.sparsity - before.sparsity)
    return float("nan")


class _Tally:
    """Counter of what is cut of the text tokens of one batch."""

    def __init__(self, prompts: Sequence[Prompt], downs: Mapping[Site, DownProjection], error: float) -> None:
        self._downs, self._error = downs, error
        longest = max(len(prompt.ids) for prompt in prompts)
        rows = [at * longest + np.asarray(prompt.text, dtype=np.int64) for at, prompt in enumerate(prompts)]
        self._rows = torch.from_numpy(np.concatenate(rows))
        self.cut = self.neurons = 0.0

    def changes(self) -> dict[Site, Callable[[Tensor], Tensor]]:
        """The change at each site; none where nothing is to be cut."""
        return {site: self._change(down) for site, down in self._downs.items()} if self._error else {}

    def _change(self, down: DownProjection) -> Callable[[Tensor], Tensor]:
        def change(vectors: Tensor) -> Tensor:
            gone = tails(vectors.float(), down, self._error)
            own = gone[self._rows.to(gone.device)]
            self.cut += float(own.sum())
            self.neurons += own.numel()
            return vectors.masked_fill(gone, 0)

        return change


def _tails(vectors: Tensor, down: DownProjection, error: float) -> Tensor:
    rank = (vectors.abs() * down.lengths).argsort(dim=1).argsort(dim=1)
    whole = _lengths(vectors @ down.rows)
    low = torch.zeros(len(vectors), dtype=torch.long, device=vectors.device)  # so many can go
    high = torch.full_like(low, vectors.shape[1])  # so many cannot: an output of nothing is off by all of it
    while bool((high - low > 1).any()):
        middle = (low + high) // 2
        tail = vectors.masked_fill(rank >= middle[:, None], 0)
        fits = _lengths(tail @ down.rows) <= error * whole
        low, high = torch.where(fits, middle, low), torch.where(fits, high, middle)
    return rank < low[:, None]


def _lengths(vectors: Tensor) -> Tensor:
    return cast("Tensor", torch.linalg.vector_norm(vectors, dim=1))


def _linear(model: LoadedModel, site: Site) -> Tensor | None:
    """The weight behind a site, neurons first; None where the module is no plain linear map."""
    point = model.taps.points[site]
    module: Any = point.module
    if point.side != "in" or point.is_slice or point.calls != 1 or point.scale != 1:
        return None
    if type(module) is nn.Linear:
        weight = weight_of(module)
        return None if weight is None else weight.T
    return weight_of(module) if type(module).__name__ == "Conv1D" else None  # of GPT-2, which has it turned
