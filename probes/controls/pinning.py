"""Do the coordinates that carry a change of sparsity do anything? Pin them, and read what the model then says.

The states leaving the last block are read by the final norm and the unembedding alone, so that intervening there needs
no forward pass: the reservoir's states are edited, normed and read out. It is the same as
:func:`probes.capture.intervene.intervene` at that site, and a test holds the two together.

Arms: ``clean`` (nothing is done), ``pin`` (the m carrying coordinates become their mean in the reference), ``random``
(m other coordinates are moved towards their own reference mean by a vector as long as the one that ``pin`` moved the
state by; mean over :data:`DRAWS` draws). Each but the first with the norm recomputed and with its scale frozen.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from probes.capture.editing import FinalNorm
from probes.capture.models import LoadedModel
from probes.controls.names import Intervened, Norm
from probes.controls.readout import Unembedding, logits_of

DRAWS: Final = 4
OUTCOMES: Final = {"last": ("nll", "correct", "next_token_entropy"), "mean": ("mean_nll", "mean_next_token_entropy")}
NORMS: Final[tuple[Norm, ...]] = ("recomputed", "frozen")


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

    Returns:
        By name (:class:`probes.controls.names.Intervened`). ``nll`` and ``correct`` are of the first token of the
        answer, NaN where there is none.
    """
    scale = norm.scale(states)
    outcomes = OUTCOMES[position]

    def read(edited: Tensor, kept: Norm) -> list[np.ndarray]:
        shown = norm.with_scale(edited, scale if kept == "frozen" else norm.scale(edited))
        return _statistics(model, head, shown, answer, position)

    clean = read(states, "recomputed")
    found = {str(Intervened(name, "clean")): values for name, values in zip(outcomes, clean, strict=True)}
    for m, chosen in coordinates.items():
        pinned = moved(states, means, chosen, None)
        length = (pinned - states).square().sum(-1, keepdim=True).sqrt()
        others = np.setdiff1d(np.arange(states.shape[1]), np.array(chosen))
        draws = [rng.choice(others, min(m, len(others)), replace=False) for _ in range(DRAWS)]
        for kept in NORMS:
            for name, values in zip(outcomes, read(pinned, kept), strict=True):
                found[str(Intervened(name, "pin", site, m, kept))] = values
            several = [read(moved(states, means, draw, length), kept) for draw in draws]
            for name, values in zip(outcomes, zip(*several, strict=True), strict=True):
                found[str(Intervened(name, "random", site, m, kept))] = np.mean(values, axis=0)
    return found


def moved(states: Tensor, means: Tensor, coordinates: Sequence[int] | np.ndarray, length: Tensor | None) -> Tensor:
    """States with some coordinates moved to their means, or towards them by a vector of a given length.

    >>> moved(torch.tensor([[3.0, 1.0]]), torch.zeros(2), [0], torch.tensor([[0.5]]))
    tensor([[2.5000, 1.0000]])
    """
    at = torch.as_tensor(np.array(coordinates), dtype=torch.long)
    step = means[at] - states[:, at]
    if length is not None:
        own = step.square().sum(-1, keepdim=True).sqrt()
        step = torch.where(own > 0, step * (length / own), step)
    edited = states.clone()
    edited[:, at] += step
    return edited


def _statistics(
    model: LoadedModel, head: Unembedding, states: Tensor, answer: Tensor, position: str
) -> list[np.ndarray]:
    """The outcomes of a position, in order, of each final state."""
    parts: list[Tensor] = []
    start = 0
    for logits in logits_of(model, head, states):
        own = answer[start : start + len(logits)].to(logits.device)
        start += len(logits)
        log_p = logits.double().log_softmax(-1)
        entropy = -(log_p.exp() * log_p).nan_to_num(nan=0.0, neginf=0.0).sum(-1)
        nll = -log_p.gather(-1, own.clamp(min=0)[:, None])[:, 0]
        right = (logits.argmax(-1) == own).double()
        columns = [nll, right, entropy] if position == "last" else [nll, entropy]
        nan = torch.tensor(torch.nan, dtype=torch.float64, device=logits.device)
        columns[:-1] = [torch.where(own >= 0, column, nan) for column in columns[:-1]]
        parts.append(torch.stack(columns).cpu())
    return list(torch.cat(parts, dim=1).numpy())
