r"""Linear probes of states, scored on clusters of items that they were not fitted to.

A probe shows that something can be decoded, and three things keep it honest. Whole clusters are held out, because a
probe knows an item's siblings. The same probe is fitted to shuffled labels (the control task of Hewitt and Liang 2019):
its score there is what its capacity alone achieves. And labels are sent with the online code of Voita and Titov (2020),
block by block, each coded by a probe fitted to all blocks before it: the length of that code counts how many items a
probe needs, which accuracy ignores.

States are scaled by the items fitted to, and reduced to their leading principal axes, so that a probe of a wide model
costs as little as one of a narrow model. A prediction is what the states add to the mean of the fitted items: that mean
is low where the held-out items are high, and with it a probe that reads nothing would score below its null. Ordered
labels are predicted by ridge regression of their ranks, the penalty by generalised cross-validation; labels of two
kinds by logistic regression.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy import special, stats

from analyses.statistics.design import recode
from analyses.statistics.prediction import FOLDS, SUREST, chances, fit_logistic

AXES: Final = 64
PENALTIES: Final = np.logspace(-2, 5, 15)
BLOCKS: Final = (1 / 16, 1 / 8, 1 / 4, 1 / 2, 1.0)
ORDERS: Final = 3


class Split(NamedTuple):
    """Items fitted to and items held out, by their states on the principal axes of the former."""

    test: Bool[np.ndarray, " n"]
    fitted: Float[np.ndarray, "train axes"]
    held: Float[np.ndarray, "test axes"]


def splits(
    states: Float[np.ndarray, "n width"], clusters: Int[np.ndarray, " n"], rng: np.random.Generator
) -> list[Split]:
    """Five ways to hold out a fifth of the clusters; every item is held out once, of a single cluster none.

    Args:
        states: without missing values.
        clusters: items that may not be on both sides.
        rng: the source of chance: which fifth a cluster is in.
    """
    codes = recode(clusters)
    fold = rng.permutation(int(codes.max()) + 1)[codes] % FOLDS
    return [
        Split(test, *_reduced(states, test))
        for test in (fold == held for held in range(FOLDS))
        if test.any() and not test.all()
    ]


def _reduced(
    states: Float[np.ndarray, "n width"], test: Bool[np.ndarray, " n"]
) -> tuple[Float[np.ndarray, "train axes"], Float[np.ndarray, "test axes"]]:
    train = states[~test]
    spread = train.std(axis=0)
    scaled = (states - train.mean(axis=0)) / np.where(spread > 0, spread, 1.0)
    fitted, held = scaled[~test], scaled[test]
    if fitted.shape[1] > AXES:
        # of the smaller of the two Gram matrices, which have the same axes
        if fitted.shape[0] < fitted.shape[1]:
            values, left = np.linalg.eigh(fitted @ fitted.T)
            keep = values > values[-1] * 1e-10
            axes = (fitted.T @ left[:, keep] / np.sqrt(values[keep]))[:, -AXES:]
        else:
            axes = np.linalg.eigh(fitted.T @ fitted)[1][:, -AXES:]
        fitted, held = fitted @ axes, held @ axes
    return fitted, held


def read_order(parts: list[Split], labels: Float[np.ndarray, "n k"]) -> Float[np.ndarray, "n k"]:
    """Held-out readings of the ranks of each column of labels, by ridge regression."""
    ranks = np.asarray(stats.rankdata(labels, axis=0), dtype=np.float64) / len(labels)
    read = np.full(labels.shape, np.nan)
    for part in parts:
        own = ranks[~part.test]
        read[part.test] = part.held @ _ridge(part.fitted, own - own.mean(axis=0))
    return read


def _ridge(x: Float[np.ndarray, "n axes"], y: Float[np.ndarray, "n k"]) -> Float[np.ndarray, "axes k"]:
    """Weights of each column of y, its penalty the one with the least generalised cross-validation error."""
    left, size, right = np.linalg.svd(x, full_matrices=False)
    onto = left.T @ y
    errors = np.empty((len(PENALTIES), y.shape[1]))
    weights: list[np.ndarray] = []
    for row, penalty in enumerate(PENALTIES):
        kept = size**2 / (size**2 + penalty)
        rest = y - left @ (kept[:, None] * onto)
        errors[row] = (rest**2).mean(axis=0) / (1 - (kept.sum() + 1) / (len(y) + 1)) ** 2
        weights.append(right.T @ ((size / (size**2 + penalty))[:, None] * onto))
    return np.stack(weights)[errors.argmin(axis=0), :, np.arange(y.shape[1])].T


def read_kind(parts: list[Split], labels: Bool[np.ndarray, "n k"]) -> Float[np.ndarray, "n k"]:
    """Held-out readings (log odds) of each column of labels, by logistic regression; NaN where one kind is fitted."""
    read = np.full(labels.shape, np.nan)
    for part in parts:
        scale = part.fitted.std() or 1.0
        for column, own in enumerate(labels[~part.test].T):
            if own.any() and not own.all():
                read[part.test, column] = part.held / scale @ fit_logistic(part.fitted / scale, own)[1:]
    return read


class Code(NamedTuple):
    """Bits per item of an online code, for each item, and what the base rate alone needs for the same blocks."""

    probe: Float[np.ndarray, " n"]
    base_rate: Float[np.ndarray, " n"]


def online_code(
    features: Float[np.ndarray, "n k"],
    label: Bool[np.ndarray, " n"],
    clusters: Int[np.ndarray, " n"],
    rng: np.random.Generator,
) -> Code:
    r"""Bits that each label costs when it is sent after those before it, averaged over random orders of the clusters.

    .. math:: L = n_1 \log_2 2 + \sum_i -\log_2 p_{\theta_i}(y_{n_i+1:n_{i+1}} | x_{n_i+1:n_{i+1}})

    with a probe fitted to the first :math:`n_i` items, a sixteenth, an eighth, a quarter and half of them.

    Args:
        features: states, or one measure of them; without missing values.
        label: which of two kinds each item is.
        clusters: items that are sent together.
        rng: the source of chance: the orders.
    """
    codes = recode(clusters)
    n, n_clusters = len(label), int(codes.max()) + 1
    bits = np.zeros((2, n))
    for _ in range(ORDERS):
        order = rng.permutation(n_clusters)[codes]
        place = (np.searchsorted(np.sort(order), order) + 1) / n  # that of the first item of its cluster
        sent = place <= BLOCKS[0]
        bits[:, sent] += 1.0
        for end in BLOCKS[1:]:
            block = (place <= end) & ~sent
            if block.any():
                share = float((label[sent].sum() + 1) / (sent.sum() + 2))
                bits[1, block] -= np.log2(np.where(label[block], share, 1 - share))
                p = _coded(features, label, sent, block) if sent.any() else np.full(int(block.sum()), 0.5)
                bits[0, block] -= np.log2(np.where(label[block], p, 1 - p))
            sent |= block
    return Code(*(bits / ORDERS))


def _coded(
    features: Float[np.ndarray, "n k"],
    label: Bool[np.ndarray, " n"],
    sent: Bool[np.ndarray, " n"],
    block: Bool[np.ndarray, " n"],
) -> Float[np.ndarray, " block"]:
    """Chances of a block by a probe fitted to what was sent; by the base rate while only one kind was."""
    own = label[sent]
    if own.all() or not own.any():
        return np.full(int(block.sum()), (own.sum() + 1) / (len(own) + 2))
    here = sent | block
    test = block[here]
    if features.shape[1] == 1:
        return chances(features[here], label[here], test)
    fitted, held = _reduced(features[here], test)
    scale = fitted.std() or 1.0
    weights = fit_logistic(fitted / scale, own)
    p = np.asarray(special.expit(weights[0] + held / scale @ weights[1:]), dtype=np.float64)
    return np.clip(p, SUREST, 1 - SUREST)
