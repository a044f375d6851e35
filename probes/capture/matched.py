"""Comparing like with like: groups that agree in length, position or token before they are compared in sparsity.

Problem: harder items are longer, and sparsity moves with length, position and the word just read; a difference between
levels may be nothing else. Idea: coarsened exact matching. Rows (items, or tokens of items) fall into strata that are
equal in what is to be matched; of each stratum every group keeps as many rows as the smallest group has there, drawn at
random; a stratum that some group lacks goes altogether. What is left is compared as it is, without a model of the
confounder. Non-goals: matching on an estimated propensity, and weights: what a row is worth stays one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

from probes.errors import InputError


class Matched(NamedTuple):
    """Groups made alike.

    Attributes:
        rows: the rows kept, in their order and with their index.
        dropped: rows left out per group, zero included.
    """

    rows: pd.DataFrame
    dropped: pd.Series


def match(
    rows: pd.DataFrame, by: Sequence[str] | Mapping[str, float | int], *, groups: str, rng: np.random.Generator
) -> Matched:
    """Keep as many rows of every group as all groups have in common, stratum by stratum.

    Equal tokens is ``by=["n_tokens"]``, equal bytes to within 16 is ``by={"n_bytes": 16}``, the same position
    ``by=["token"]``, the same current token ``by=["token_id"]``, the same token at the same position both of these.

    Args:
        rows: one row per thing compared: an item, or a token of :func:`tokens_of` joined with its measurements.
        by: columns in which rows of one stratum are equal; with a width, numbers are equal if they fall into the same
            half-open interval ``[k * width, (k + 1) * width)``.
        groups: the column of what is compared, e.g. ``level_name``.
        rng: draws the rows to keep where a group has too many.

    Returns:
        The rows kept and how many were left out per group. A row with no value in a column of ``by`` is left out.

    Raises:
        InputError: if a column is not there, a width is not positive, or there are fewer than two groups.

    >>> items = pd.DataFrame({"level": ["easy", "easy", "hard", "hard"], "n_tokens": [4, 5, 5, 9]})
    >>> kept, dropped = match(items, ["n_tokens"], groups="level", rng=np.random.default_rng(0))
    >>> kept.index.tolist(), dropped.to_dict()
    ([1, 2], {'easy': 1, 'hard': 1})
    """
    widths = by if isinstance(by, Mapping) else dict.fromkeys(by)
    absent = [column for column in (groups, *widths) if column not in rows]
    if absent or not widths:
        raise InputError(f"cannot match by {', '.join(absent) or 'nothing'}; columns are {', '.join(map(str, rows))}")
    names = rows[groups].unique()
    if len(names) < 2:
        raise InputError(f"matching takes at least two groups in {groups!r}, got {len(names)}")
    keys = pd.DataFrame(
        {column: _coarse(rows[column], width if width is None else float(width)) for column, width in widths.items()},
        index=rows.index,
    )
    strata = keys.groupby(list(widths), dropna=True).ngroup()
    group, stratum = pd.factorize(rows[groups])[0], strata.fillna(-1).to_numpy().astype(np.int64)
    counts = np.zeros((max(stratum.max(initial=-1) + 1, 1), len(names)), dtype=np.int64)
    np.add.at(counts, (stratum[stratum >= 0], group[stratum >= 0]), 1)
    shuffled = rng.permutation(len(rows))
    place = pd.DataFrame({"stratum": stratum[shuffled], "group": group[shuffled]}, index=shuffled)
    rank = place.groupby(["stratum", "group"]).cumcount().sort_index().to_numpy()
    kept = (stratum >= 0) & (rank < counts.min(axis=1)[stratum])
    dropped = np.bincount(group[~kept], minlength=len(names))
    return Matched(rows[kept], pd.Series(dropped, index=pd.Index(names, name=groups), name="dropped"))


def tokens_of(token_ids: Mapping[str, Sequence[int]]) -> pd.DataFrame:
    """What tokens can be matched by, to be joined with measurements by ``example_id`` and ``token``.

    Args:
        token_ids: the ids of each item, e.g. ``dict(zip(inputs.example_id, inputs.token_ids))`` of a sweep's inputs.

    Returns:
        Columns ``example_id``, ``token`` (position), ``token_id`` (current token) and ``n_tokens`` of the item.

    >>> tokens_of({"a": [5, 7]}).values.tolist()
    [['a', 0, 5, 2], ['a', 1, 7, 2]]
    """
    lengths = [len(ids) for ids in token_ids.values()]
    return pd.DataFrame(
        {
            "example_id": np.repeat(np.array(list(token_ids), dtype=object), lengths),
            "token": np.array([token for n in lengths for token in range(n)], dtype=np.int32),
            "token_id": np.array([token for ids in token_ids.values() for token in ids], dtype=np.int64),
            "n_tokens": np.repeat(lengths, lengths).astype(np.int32),
        }
    )


def _coarse(values: pd.Series, width: float | None) -> pd.Series:
    """Values that are equal iff the originals count as equal."""
    if width is None:
        return values
    if not width > 0:
        raise InputError(f"the width of {values.name} should be positive and is {width}")
    return (values / width).map(np.floor)
