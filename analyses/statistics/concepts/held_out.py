r"""Regret of a partition on sentences that its rivals were not found on.

A clustering of some states explains more of them than any partition that was made without looking, whether or not
there are better categories in the model: it also fits what one sentence made of each word. So rivals are looked for on
the mean over all sentences but one, the one with the least distortion there is chosen, and both it and the partition
are read on the sentence left out. If :math:`u` is the share of variance inside clusters, regret is

.. math:: (u_\text{partition} - u_\text{rival}) / (u_\text{random} - u_\text{rival}), \quad
   u_\text{random} = (n - k) / (n - 1)

with means over sentences above and below. It is 0 where the rival is no better, 1 where the partition is as random
clusters of its sizes, and below 0 where the rival is worse on the new sentence.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

from analyses.statistics.concepts.distortion import label_bits, unexplained
from analyses.statistics.concepts.leaving_out import interval_over_items

Search = Callable[[Float[np.ndarray, "n width"]], list[Int[np.ndarray, " n"]]]


class HeldOut(NamedTuple):
    """Regret on sentences left out.

    Attributes:
        regret: normalised; NaN below two sentences.
        interval: 95 % over items, both partitions held fixed.
        share: variance inside the partition's clusters there.
        best: inside the rival's.
        null: inside random clusters of the partition's sizes.
    """

    regret: float
    interval: tuple[float, float]
    share: float
    best: float
    null: float


UNDEFINED = HeldOut(float("nan"), (float("nan"), float("nan")), float("nan"), float("nan"), float("nan"))


def held_out_regret(
    sentences: Float[np.ndarray, "sentences n width"],
    labels: Int[np.ndarray, " n"],
    search: Search,
    rng: np.random.Generator,
) -> HeldOut:
    """Regret of a partition beside rivals that were found on other sentences.

    Args:
        sentences: the states of the items in each sentence.
        labels: the partition.
        search: rivals from states; those with a greater entropy than the partition are left out, and the partition
            itself is always one.
        rng: the source of chance: which items are left out together.
    """
    if len(sentences) < 2:
        return UNDEFINED
    bits, chosen = label_bits(labels), list[Int[np.ndarray, " n"]]()
    for left in range(len(sentences)):
        seen = np.delete(sentences, left, axis=0).mean(axis=0)
        fair = [labels, *(rival for rival in search(seen) if label_bits(rival) <= bits)]
        chosen.append(min(fair, key=lambda rival: unexplained(seen, rival)))

    def shares(kept: Bool[np.ndarray, " n"]) -> tuple[float, float, float]:
        own = labels[kept]
        n, k = int(kept.sum()), len(np.unique(own))
        share = np.mean([unexplained(states[kept], own) for states in sentences])
        best = np.mean(
            [unexplained(states[kept], rival[kept]) for states, rival in zip(sentences, chosen, strict=True)]
        )
        return float(share), float(best), (n - k) / (n - 1) if n > 1 else float("nan")

    def normalised(kept: Bool[np.ndarray, " n"]) -> float:
        share, best, null = shares(kept)
        return (share - best) / (null - best) if null > best else float("nan")

    every = np.ones(len(labels), dtype=bool)
    return HeldOut(normalised(every), interval_over_items(len(labels), normalised, rng), *shares(every))
