"""Can a score tell what was in the training data? Only if it does better than one that never saw the model.

Members and non-members of published benchmarks differ in date, topic and length, and a bag of words that never saw the
model tells them apart better than most attacks do. So a score of membership is never shown alone: beside it stands a
classifier of words, trained across folds of the same items, and both have an interval. Where the blind one is not near
one half, the split is what is being measured.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float64, Int64

from probes.errors import InputError

FOLDS: Final = 5
FALSE_POSITIVES: Final = 0.01
FEWEST_NONMEMBERS: Final = 100  # fewer cannot show a rate of 1 %
LEVEL: Final = 1.959963984540054  # 95 % of the normal distribution
BLIND: Final = "blind: bag of words"


@dataclass(frozen=True, slots=True, kw_only=True)
class Separation:
    """Separation of members from non-members by a score.

    Attributes:
        auroc: chance that a member looks more familiar than a non-member, ties counting half: 0.5 for no relation, 1
            for perfect separation, below 0.5 for the wrong direction; NaN if either group is empty.
        low: lower end of its 95 % interval.
        high: upper end.
        tpr: share of members that look more familiar than all but 1 % of non-members; NaN for fewer than 100 of these.
        n_members: members with a score.
        n_nonmembers: non-members with a score.
        n_undefined: items without one.
    """

    auroc: float
    low: float
    high: float
    tpr: float
    n_members: int
    n_nonmembers: int
    n_undefined: int


def separate(
    scores: Float64[np.ndarray, " items"], member: Bool[np.ndarray, " items"], *, familiar: Literal["higher", "lower"]
) -> Separation:
    """Area under the ROC curve of a score, with an interval that holds for independent items.

    The interval is the score interval of Newcombe (2006, Statistics in Medicine 25:559, method 5), which stays inside
    [0, 1] and does not shrink to a point at perfect separation.

    Args:
        scores: one per item; NaN for items without one, which are left out and counted.
        member: whether each was in the training data.
        familiar: which end of the score means familiar.
    """
    defined = ~np.isnan(scores)
    oriented = scores if familiar == "higher" else -scores
    inside, outside = oriented[defined & member], oriented[defined & ~member]
    m, n = len(inside), len(outside)
    undefined = int((~defined).sum())
    if not m or not n:
        return Separation(
            auroc=math.nan,
            low=math.nan,
            high=math.nan,
            tpr=math.nan,
            n_members=m,
            n_nonmembers=n,
            n_undefined=undefined,
        )
    ordered = np.sort(outside)
    wins = np.searchsorted(ordered, inside, side="left") + np.searchsorted(ordered, inside, side="right")
    auroc = float(wins.sum()) / (2 * m * n)
    low, high = _interval(auroc, m, n)
    threshold = ordered[n - 1 - int(FALSE_POSITIVES * n)]
    tpr = float((inside > threshold).mean()) if n >= FEWEST_NONMEMBERS else math.nan
    return Separation(auroc=auroc, low=low, high=high, tpr=tpr, n_members=m, n_nonmembers=n, n_undefined=undefined)


def blind_scores(
    texts: Sequence[str],
    member: Bool[np.ndarray, " items"],
    rng: np.random.Generator,
    *,
    clusters: Sequence[str] | None = None,
) -> Float64[np.ndarray, " items"]:
    """Log-odds of membership from words alone, each item judged by a model of the other folds.

    Multinomial naive Bayes with one added to every count.

    Args:
        texts: the items.
        member: whether each was in the training data.
        rng: draws the folds.
        clusters: items of one cluster go into one fold; None: every item is its own.

    Returns:
        Higher for items that look like members; NaN in a fold whose complement lacks one of the groups.
    """
    if len(texts) != len(member):
        raise InputError(f"one label per text, got {len(member)} for {len(texts)}")
    words = [Counter(re.findall(r"\w+|[^\w\s]", text.lower())) for text in texts]
    fold = _folds(list(clusters) if clusters is not None else [str(item) for item in range(len(texts))], rng)
    scores = np.full(len(texts), np.nan)
    for held_out in range(FOLDS):
        learned = [item for item in range(len(texts)) if fold[item] != held_out]
        judged = np.flatnonzero(fold == held_out)
        groups = [[item for item in learned if member[item] == side] for side in (False, True)]
        if all(groups):
            weight = _log_odds([_pooled(words, group) for group in groups])
            scores[judged] = [sum(weight.get(word, 0.0) * n for word, n in words[item].items()) for item in judged]
    return scores


def judge_membership(
    scores: Mapping[str, tuple[Float64[np.ndarray, " items"], Literal["higher", "lower"]]],
    texts: Sequence[str],
    member: Bool[np.ndarray, " items"],
    rng: np.random.Generator,
    *,
    clusters: Sequence[str] | None = None,
) -> pd.DataFrame:
    """Scores of membership beside the baseline that never saw the model.

    Args:
        scores: values and familiar end of each measure.
        texts: the items.
        member: whether each was in the training data.
        rng: draws the folds of the baseline.
        clusters: items that belong together.

    Returns:
        One row per measure, the blind baseline first, with the fields of :class:`Separation`.
    """
    blind = blind_scores(texts, member, rng, clusters=clusters)
    found = {BLIND: separate(blind, member, familiar="higher")}
    found |= {name: separate(values, member, familiar=familiar) for name, (values, familiar) in scores.items()}
    columns = ("auroc", "low", "high", "tpr", "n_members", "n_nonmembers", "n_undefined")
    return pd.DataFrame(
        [{"measure": name, **{column: getattr(row, column) for column in columns}} for name, row in found.items()]
    )


def _interval(auroc: float, m: int, n: int) -> tuple[float, float]:
    """Ends whose distance to the estimate is 1.96 standard errors of the end itself."""
    more = (m + n) / 2 - 1

    def beyond(theta: float) -> bool:
        variance = theta * (1 - theta) * (1 + more * (1 - theta) / (2 - theta) + more * theta / (1 + theta)) / (m * n)
        return abs(auroc - theta) > LEVEL * math.sqrt(variance)

    ends: list[float] = []
    for end in (0.0, 1.0):
        outer, inner = end, auroc
        for _ in range(60):
            middle = (outer + inner) / 2
            outer, inner = (middle, inner) if beyond(middle) else (outer, middle)
        ends.append(inner)
    return ends[0], ends[1]


def _folds(clusters: list[str], rng: np.random.Generator) -> Int64[np.ndarray, " items"]:
    names = list(dict.fromkeys(clusters))
    fold = dict(zip(names, rng.permutation(np.arange(len(names)) % FOLDS).tolist(), strict=True))
    return np.array([fold[name] for name in clusters], dtype=np.int64)


def _pooled(words: Sequence[Counter[str]], group: Sequence[int]) -> Counter[str]:
    pooled: Counter[str] = Counter()
    for item in group:
        pooled.update(words[item])
    return pooled


def _log_odds(counts: Sequence[Counter[str]]) -> dict[str, float]:
    known = counts[0].keys() | counts[1].keys()
    total = [sum(group.values()) + len(known) for group in counts]
    base = math.log(total[0] / total[1])
    return {word: math.log((counts[1][word] + 1) / (counts[0][word] + 1)) + base for word in known}
