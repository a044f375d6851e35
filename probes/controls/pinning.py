"""Do the coordinates that carry a change of sparsity do anything? Pin them, and read what the model then says.

The states leaving the last block are read by the final norm and the unembedding alone, so that intervening there needs
no forward pass: the reservoir's states are edited, normed and read out. It is the same as
:func:`probes.interventions.effects.intervene` at that site, and a test holds the two together.

Arms: ``clean`` (nothing is done), ``pin`` (the m carrying coordinates become their mean in the reference), ``random``
(m other coordinates are moved towards their own reference mean by a vector as long as the one that ``pin`` moved the
state by; mean over :data:`DRAWS` draws). Each but the first with the norm recomputed and with its scale frozen.

An edit of m coordinates changes the logits by a matrix of rank m. Where the head is seen to be linear, the logits of
every arm are therefore made from the clean ones, which cost as much as the whole vocabulary times the width, and the
head's answer to m unit vectors, which is a fraction m / width of that. Another head is asked about every arm.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Final, NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from probes.controls.readout import Unembedding, logits_of
from probes.interventions.changes import FinalNorm
from probes.models.loading import LoadedModel
from probes.vocabulary.names import Intervened, Norm

DRAWS: Final = 4
OUTCOMES: Final = {"last": ("nll", "correct", "next_token_entropy"), "mean": ("mean_nll", "mean_next_token_entropy")}
NORMS: Final[tuple[Norm, ...]] = ("recomputed", "frozen")
MOST_NUMBERS: Final = 1 << 25  # of answers to unit vectors held at once: 128 MB
LINEAR: Final = 1e-4  # of the largest logit: rounding of a float32 head is 1e-6 of it, a soft cap shows at 1e-2


class Edit(NamedTuple):
    """Addition to every state: ``step`` (rows, m) at the coordinates ``at`` (m,)."""

    at: Tensor
    step: Tensor

    def of(self, states: Tensor) -> Tensor:
        """The states edited."""
        edited = states.clone()
        edited[:, self.at] += self.step
        return edited


def pinned_outcomes(
    model: LoadedModel,
    head: Unembedding,
    norm: FinalNorm,
    states: Tensor,
    answer: Tensor,
    means: Tensor,
    coordinates: Mapping[int, Sequence[int]],
    site: str,
    position: str,
    rng: np.random.Generator,
    pause: Callable[[], None] = lambda: None,
) -> dict[str, Float[np.ndarray, " rows"]]:
    """Outcomes of every arm, one value per state.

    Args:
        model: who is asked.
        head: its unembedding.
        norm: its final norm.
        states: (rows, d) leaving the last block, float32.
        answer: the token that should follow (or really did) each of them, -1 where there is none.
        means: (d,) of the reference.
        coordinates: for each m the m coordinates to pin.
        site: as names have it.
        position: ``last`` or ``mean``.
        rng: draws the random coordinates.
        pause: called every few rows; may raise to break off.

    Returns:
        By name (:class:`probes.vocabulary.names.Intervened`). ``nll`` and ``correct`` are of the first token of the
        answer, NaN where there is none.
    """
    edits: dict[int, list[Edit]] = {}
    for m, chosen in coordinates.items():
        pin = moved(states, means, chosen, None)
        length = pin.step.square().sum(-1, keepdim=True).sqrt()
        others = np.setdiff1d(np.arange(states.shape[1]), np.array(chosen))
        draws = [rng.choice(others, min(m, len(others)), replace=False) for _ in range(DRAWS)]
        edits[m] = [pin, *(moved(states, means, draw, length) for draw in draws)]
    reader = _Reader(model, head, norm, states, answer, position, pause)
    values = reader.read([edit for several in edits.values() for edit in several])
    outcomes = OUTCOMES[position]
    found = {str(Intervened(name, "clean")): own for name, own in zip(outcomes, values.clean, strict=True)}
    for number, m in enumerate(edits):
        arms = values.arms[number * (1 + DRAWS) : (number + 1) * (1 + DRAWS)]
        for index, kept in enumerate(NORMS):
            for which, name in enumerate(outcomes):
                pinned, *random = (arm[index][which] for arm in arms)
                found[str(Intervened(name, "pin", site, m, kept))] = pinned
                found[str(Intervened(name, "random", site, m, kept))] = np.mean(random, axis=0)
    return found


def moved(states: Tensor, means: Tensor, coordinates: Sequence[int] | np.ndarray, length: Tensor | None) -> Edit:
    """The edit that moves some coordinates to their means, or towards them by a vector of a given length.

    >>> moved(torch.tensor([[3.0, 1.0]]), torch.zeros(2), [0], torch.tensor([[0.5]])).of(torch.tensor([[3.0, 1.0]]))
    tensor([[2.5000, 1.0000]])
    """
    at = torch.as_tensor(np.array(coordinates), dtype=torch.long)
    step = means[at] - states[:, at]
    if length is not None:
        own = step.square().sum(-1, keepdim=True).sqrt()
        step = torch.where(own > 0, step * (length / own), step)
    return Edit(at, step)


class _Values(NamedTuple):
    """Outcomes of the clean states, and by edit and norm."""

    clean: list[np.ndarray]
    arms: list[list[list[np.ndarray]]]


class _Reader(NamedTuple):
    """Reads outcomes of some final states from the head, as they are and after edits."""

    model: LoadedModel
    head: Unembedding
    norm: FinalNorm
    states: Tensor
    answer: Tensor
    position: str
    pause: Callable[[], None]

    @torch.inference_mode()
    def read(self, edits: Sequence[Edit]) -> _Values:
        """Outcomes of all edits, from as few questions to the head as will do."""
        scale = self.norm.scale(self.states)
        shown = self.norm.with_scale(self.states, scale)
        scales = [(self.norm.scale(edit.of(self.states)), scale) for edit in edits]  # as in NORMS
        # filled in place: results that were kept piece by piece between buffers of megabytes would tear the heap
        clean = self._empty()
        arms = [(self._empty(), self._empty()) for _ in edits]
        groups = self._groups(edits, shown)
        for group in groups:
            answers = [self._answer(edits[index]) for index in group]
            zero = self._logits(self.norm.bias.expand(1, shown.shape[1]).to(shown.device))
            for rows, logits in self._chunks(shown):
                own = logits - zero
                if group is groups[0]:
                    self._fill(clean, rows, logits)
                for index, of_units in zip(group, answers, strict=True):
                    change = edits[index].step[rows].to(own.device) @ of_units
                    for values, new in zip(arms[index], scales[index], strict=True):
                        ratio, inverse = (scale[rows] / new[rows]).to(own.device), (1 / new[rows]).to(own.device)
                        self._fill(values, rows, (own * ratio).addcmul_(change, inverse).add_(zero))
        if not groups:
            self._ask(clean, shown)
        for index in set(range(len(edits))).difference(*groups):
            for values, new in zip(arms[index], scales[index], strict=True):
                self._ask(values, self.norm.with_scale(edits[index].of(self.states), new))
        return _Values(list(clean.numpy()), [[list(values.numpy()) for values in arm] for arm in arms])

    def _empty(self) -> Tensor:
        return torch.full((len(OUTCOMES[self.position]), len(self.states)), torch.nan, dtype=torch.float64)

    def _groups(self, edits: Sequence[Edit], shown: Tensor) -> list[list[int]]:
        """Edits to be made from clean logits, in groups whose answers fit; none where the head is not linear."""
        groups: list[list[int]] = []
        held = 0
        if not self._is_linear(shown):
            return groups
        for index, edit in enumerate(edits):
            own = len(edit.at) * self.model.vocabulary
            if own > MOST_NUMBERS:
                continue
            if not groups or held + own > MOST_NUMBERS:
                groups.append([])
                held = 0
            groups[-1].append(index)
            held += own
        return groups

    def _is_linear(self, shown: Tensor) -> bool:
        """True if the head behaves as a linear map on these states, up to a constant and rounding."""
        half = min(8, len(shown) // 2)
        if not half:
            return False
        one, other = shown[:half], shown[-half:]
        logits = self._logits(torch.cat([one, other, one + other, torch.zeros_like(one)]))
        first, second, both, nothing = (logits[start : start + half] for start in range(0, 4 * half, half))
        gap = float((first + second - both - nothing).abs().max())
        return gap < LINEAR * float(logits.abs().max())

    def _answer(self, edit: Edit) -> Tensor:
        """Change of all logits for one unit of each coordinate, before the scale: (m, vocabulary)."""
        d = self.states.shape[1]
        unit = torch.zeros(len(edit.at), d)
        unit[torch.arange(len(edit.at)), edit.at] = 1.0
        through = self.norm.linear(unit)
        size = (
            through.square().mean(-1, keepdim=True).sqrt()
        )  # asked at the size that states have: rounding is relative
        size = torch.where(size > 0, size, 1.0)
        bias = self.norm.bias.to(through.device)
        return (self._logits(through / size + bias) - self._logits(bias[None])) * size.to(self.model.device)

    def _logits(self, shown: Tensor) -> Tensor:
        return torch.cat(list(logits_of(self.model, self.head, shown)))

    def _chunks(self, shown: Tensor) -> Iterator[tuple[slice, Tensor]]:
        """Clean logits, some rows at a time."""
        start = 0
        for logits in logits_of(self.model, self.head, shown):
            self.pause()
            yield slice(start, start + len(logits)), logits
            start += len(logits)

    def _ask(self, values: Tensor, shown: Tensor) -> None:
        for rows, logits in self._chunks(shown):
            self._fill(values, rows, logits)

    def _fill(self, values: Tensor, rows: slice, logits: Tensor) -> None:
        """Outcomes of some rows, in the order of the position; exponentials in float32, what sums give in float64.

        The logits are used up: a vocabulary is large, and memory is what this costs.
        """
        own = self.answer[rows].to(logits.device)
        right = (logits.argmax(-1) == own).double() if self.position == "last" else None
        centred = logits.sub_(logits.amax(-1, keepdim=True))
        told = centred.gather(-1, own.clamp(min=0)[:, None])[:, 0].double()
        weights = centred.exp()
        total = weights.sum(-1).double()
        mean = weights.mul_(centred).sum(-1).double() / total
        if bool(mean.isnan().any()):  # a token that can never come: 0 * -inf
            mean = weights.nan_to_num_(nan=0.0).sum(-1).double() / total
        nan = torch.tensor(torch.nan, dtype=torch.float64, device=logits.device)
        columns = [torch.where(own >= 0, total.log() - told, nan)]
        if right is not None:
            columns.append(torch.where(own >= 0, right, nan))
        values[:, rows] = torch.stack([*columns, total.log() - mean]).cpu()
