"""Distances of a state to states of texts that the model has read.

Distances see what the network makes of an input, not its words; they depend on the site, and grow with everything that
moves a state, length and last token before all. Per token, a distance is from that token's state.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float32, Float64

from probes.familiarity.definitions import Values, WholeNumber, familiarity

if TYPE_CHECKING:  # a measure can be asked for its record without torch
    from probes.familiarity.known_states import KnownStates

MOVED = "whatever moves the state counts: length, topic, the last token"


@dataclass(frozen=True, slots=True, eq=False)
class StatesEvidence:
    """States of one part of a text, beside states of known texts.

    Attributes:
        states: of tokens of the part, the last of which is the part's last token.
        known: what they are compared with.
        document: id of the item; a known text of the same id is left out.
    """

    states: Float32[np.ndarray, "tokens width"]
    known: KnownStates
    document: str


@familiarity(
    version=1,
    familiar="lower",
    needs="states",
    unit="distance",
    proxy="whether texts like this one were read often enough to crowd around it",
    fails=MOVED + "; distances at different sites or widths are not comparable",
    source="Sun et al. 2022, arXiv:2204.06507, eq. 3 (without normalising states)",
    parameters={"k": WholeNumber()},
)
def knn_distance(evidence: StatesEvidence, *, k: int) -> Values:
    """Euclidean distance from the last state to its k-th nearest known one: 0 for a known state, unbounded.

    Known states of the same item are left out. NaN where fewer than k are left.
    """
    states = _finite(evidence)
    own = [evidence.document] * len(states)
    distance = np.full(len(evidence.states), np.nan)
    distance[np.isfinite(evidence.states).all(axis=1)] = evidence.known.store.nearest(states, k, without=own).distance[
        :, -1
    ]
    distance[np.isinf(distance)] = np.nan
    return _last(distance, f"fewer than k = {k} known states of other items")


@familiarity(
    version=1,
    familiar="lower",
    needs="states",
    unit="standard deviations",
    proxy="how far from the bulk of known states, in units of their spread",
    fails=MOVED + "; directions that hardly vary among few known texts dominate",
    source="Lee et al. 2018, arXiv:1807.03888 (one class, Ledoit-Wolf covariance)",
)
def mahalanobis(evidence: StatesEvidence) -> Values:
    """Mahalanobis distance of the last state from known ones: 0 at their mean, about the root of the width for one.

    The known texts themselves are not left out: this is a distance from the cloud, not from its points.
    """
    return _last(evidence.known.cloud.distance(evidence.states), "the state is not finite")


@familiarity(
    version=1,
    familiar="lower",
    needs="states",
    unit="squared standard deviations",
    proxy="whether the state is nearer to known texts than to text at large",
    fails="a background that resembles the known texts, or is itself as far away",
    source="Ren et al. 2021, arXiv:2106.09022, eq. 3; Ren et al. 2023, arXiv:2209.15558",
)
def relative_mahalanobis(evidence: StatesEvidence) -> Values:
    """Squared Mahalanobis distance from known states less that from a background: below 0 where the known are nearer.

    Real, unbounded both ways. NaN without a background.
    """
    if evidence.known.background is None:
        return Values(math.nan, None, "no background texts were remembered")
    near = evidence.known.cloud.distance(evidence.states) ** 2
    return _last(near - evidence.known.background.distance(evidence.states) ** 2, "the state is not finite")


def _finite(evidence: StatesEvidence) -> Float32[np.ndarray, "tokens width"]:
    return evidence.states[np.isfinite(evidence.states).all(axis=1)]


def _last(values: Float64[np.ndarray, " tokens"], reason: str) -> Values:
    if not len(values):
        return Values(math.nan, values, "the text has no tokens")
    item = float(values[-1])
    return Values(item, values, reason if math.isnan(item) else "")
