"""All that is asked of one set of categories at one place in a network, from its vectors alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from analyses.statistics.concepts.agreement import Agreement, agreement, ami_interval
from analyses.statistics.concepts.distortion import Point, Regret, merged, paper_objective, point, regret
from analyses.statistics.concepts.quantisation import curve_around, principal, rivals
from analyses.statistics.concepts.resemblance import FRAMES, Frame, Within, framed, to_category, within_categories
from analyses.statistics.design import recode


class Reading(NamedTuple):
    """Categories and clusters at one place.

    Attributes:
        agreement: of as many clusters as there are categories with the categories.
        interval: 95 % of the adjusted mutual information.
        regret: distortion of the categories beside the best partition of no greater entropy and beside chance.
        paper: the paper's L of the categories and of the clusters, in units of these vectors.
        people: the categories, joined step by step, on the plane of rate and distortion.
        clusters: clusterings of a few to many clusters there.
        typicality: correlation of typicality with similarity to the category, by how similarity is read.
        similarity: the same similarity of each item, with the mean of all items taken off.
    """

    agreement: Agreement
    interval: tuple[float, float]
    regret: Regret
    paper: tuple[float, float]
    people: Sequence[Point]
    clusters: Sequence[Point]
    typicality: Mapping[Frame, Within]
    similarity: Float[np.ndarray, " n"]


def read_place(
    vectors: Float[np.ndarray, "n width"],
    categories: Int[np.ndarray, " n"],
    typicality: Float[np.ndarray, " n"],
    rng: np.random.Generator,
) -> Reading:
    """Read one place.

    Args:
        vectors: one row per item, finite.
        categories: of people.
        typicality: larger = more typical; NaN where it is not known.
        rng: the source of chance: where k-means begins, random partitions, items drawn.
    """
    codes = recode(categories)
    k = int(codes.max()) + 1
    points = principal(vectors)
    found = curve_around(points, k, rng)
    curve, own = list(found.values()), found[k]
    similar: dict[Frame, Float[np.ndarray, " n"]] = {}
    graded: dict[Frame, Within] = {}
    for frame in FRAMES:
        similar[frame] = to_category(framed(vectors, frame), codes)
        graded[frame] = within_categories(similar[frame], typicality, codes, rng)
    return Reading(
        agreement(own, codes),
        ami_interval(own, codes, rng),
        regret(vectors, codes, rivals(points, codes, curve), rng),
        (paper_objective(vectors, codes, beta=1.0), paper_objective(vectors, own, beta=1.0)),
        [point(vectors, labels) for labels in merged(vectors, codes)],
        [point(vectors, labels) for labels in curve],
        graded,
        similar["centred"],
    )
