r"""Graded membership: does a state that is closer to its category belong to what people call a typical member?

Similarity is the cosine to the mean state of the category's *other* items, or to the state of its name. Cosines of
hidden states are large between any two words, because all share a mean direction and a few long axes; so they are read
raw, with the mean of all items taken off, and with the leading principal axes taken off besides (Mu and Viswanath
2018). Ranks are compared within categories: a category whose members are all close to its mean says nothing of which of
them is typical. Spearman's coefficients of the categories are averaged on Fisher's scale with weights n - 3.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Literal, NamedTuple, get_args

import numpy as np
from jaxtyping import Float, Int
from scipy import stats

from analyses.statistics.design import recode
from analyses.statistics.resampling import LEVEL

Frame = Literal["raw", "centred", "all_but_top"]
FRAMES: Final[tuple[Frame, ...]] = get_args(Frame)
FEWEST: Final = 4  # items of a category; with three the weight n - 3 is nothing
DRAWS: Final = 400


class Within(NamedTuple):
    """A correlation inside categories.

    Attributes:
        estimate: mean over categories on Fisher's scale; NaN where no category is large enough.
        interval: 95 %, by drawing items inside their categories.
        p: two-sided, of a correlation of 0, by the same draws.
        n_items: used.
        n_categories: used.
        left_out: categories with fewer than four rated items, or one value only.
        each: Spearman's coefficient by category.
    """

    estimate: float
    interval: tuple[float, float]
    p: float
    n_items: int
    n_categories: int
    left_out: int
    each: Mapping[int, float]


def framed(vectors: Float[np.ndarray, "n width"], frame: Frame) -> Float[np.ndarray, "n width"]:
    """States as they are, without their mean, or without mean and one in a hundred of the leading principal axes."""
    numbers = vectors.astype(np.float64)
    if frame == "raw":
        return numbers
    centred = numbers - numbers.mean(axis=0)
    if frame == "centred":
        return centred
    top = max(1, round(centred.shape[1] / 100))
    axes = leading_axes(centred, top)
    return centred - (centred @ axes.T) @ axes


def leading_axes(centred: Float[np.ndarray, "n width"], k: int) -> Float[np.ndarray, "axes width"]:
    """Directions of the largest variance of states of mean 0, of unit length; no more than there are coordinates."""
    _, vectors = np.linalg.eigh(centred.T @ centred)
    return vectors[:, ::-1][:, :k].T


def to_category(vectors: Float[np.ndarray, "n width"], categories: Int[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
    """Cosine of each state with the mean of the other states of its category; NaN in a category of one item.

    >>> states = np.array([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0], [5.0, 5.0]])
    >>> to_category(states, np.array([0, 0, 0, 1])).round(3).tolist()
    [0.707, 0.707, 0.0, nan]
    """
    codes = recode(categories)
    member = np.zeros((int(codes.max()) + 1, len(codes)))
    member[codes, np.arange(len(codes))] = 1.0
    others = np.bincount(codes)[codes] - 1
    with np.errstate(invalid="ignore", divide="ignore"):
        rest = ((member @ vectors)[codes] - vectors) / others[:, None]
    return cosines(vectors, rest)


def cosines(vectors: Float[np.ndarray, "n width"], others: Float[np.ndarray, "n width"]) -> Float[np.ndarray, " n"]:
    """Cosine of each row with the row beside it; NaN where one of them is 0."""
    lengths = np.linalg.norm(vectors, axis=1) * np.linalg.norm(others, axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        return (vectors * others).sum(axis=1) / np.where(lengths > 0, lengths, np.nan)


def within_categories(
    similarity: Float[np.ndarray, " n"],
    typicality: Float[np.ndarray, " n"],
    categories: Int[np.ndarray, " n"],
    rng: np.random.Generator,
    *,
    draws: int = DRAWS,
) -> Within:
    """Correlation of a number with typicality inside categories, averaged over them, with a bootstrap over items.

    Args:
        similarity: of each item; NaN is left out.
        typicality: larger = more typical; NaN is left out.
        categories: of the items.
        rng: the source of chance.
        draws: bootstrap draws.
    """
    known = np.isfinite(similarity) & np.isfinite(typicality)
    each: dict[int, float] = {}
    replicates: list[np.ndarray] = []
    weights: list[int] = []
    for category in np.unique(categories):
        rows = np.flatnonzero(known & (categories == category))
        pair = similarity[rows], typicality[rows]
        if len(rows) < FEWEST or np.ptp(pair[0]) == 0 or np.ptp(pair[1]) == 0:
            continue
        each[int(category)] = float(_spearman(pair[0][None], pair[1][None])[0])
        drawn = rng.integers(len(rows), size=(draws, len(rows)))
        replicates.append(_z(_spearman(pair[0][drawn], pair[1][drawn]), len(rows)))
        weights.append(len(rows) - 3)
    left_out = len(np.unique(categories)) - len(each)
    if not each:
        return Within(float("nan"), (float("nan"), float("nan")), float("nan"), 0, 0, left_out, {})
    sizes = np.array(weights) + 3
    own = np.array([float(_z(np.array([value]), int(n))[0]) for value, n in zip(each.values(), sizes, strict=True)])
    z = float(np.average(own, weights=weights))
    drawn = np.stack(replicates)
    mass = np.where(np.isfinite(drawn), np.array(weights)[:, None], 0)
    means = (np.where(np.isfinite(drawn), drawn, 0.0) * mass).sum(axis=0) / np.maximum(mass.sum(axis=0), 1)
    # drawn items repeat and pull correlations towards their ties: the spread is used, not the place
    sd = float(means.std(ddof=1)) if draws > 1 else float("nan")
    half = float(stats.norm.ppf((1 + LEVEL) / 2)) * sd
    p = 2 * float(stats.norm.sf(abs(z) / sd)) if sd > 0 else float("nan")
    return Within(
        float(np.tanh(z)),
        (float(np.tanh(z - half)), float(np.tanh(z + half))),
        p,
        int(sizes.sum()),
        len(each),
        left_out,
        each,
    )


def _spearman(one: Float[np.ndarray, "draws n"], other: Float[np.ndarray, "draws n"]) -> Float[np.ndarray, " draws"]:
    ranks = [stats.rankdata(values, axis=1) - (values.shape[1] + 1) / 2 for values in (one, other)]
    sizes = np.sqrt((ranks[0] ** 2).sum(axis=1) * (ranks[1] ** 2).sum(axis=1))
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(sizes > 0, (ranks[0] * ranks[1]).sum(axis=1) / sizes, np.nan)


def _z(correlation: Float[np.ndarray, " k"], n: int) -> Float[np.ndarray, " k"]:
    """Fisher's z; 1 and -1 are kept inside by half of the smallest step of Spearman's coefficient."""
    inside = 1 - 6 / (n * (n**2 - 1))
    return np.arctanh(np.clip(correlation, -inside, inside))
