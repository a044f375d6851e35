"""Next-token distributions after members of categories, from a sweep that kept the likeliest tokens of each item."""

from __future__ import annotations

from typing import Final, NamedTuple, Protocol, runtime_checkable

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float

from analyses.data.concepts import Members
from analyses.data.runs import Run, remember, unwrapped

APART: Final = 512  # tokens of a sentence that are told apart; all others are one outcome


@runtime_checkable
class KeepsNextTokens(Protocol):
    """A run that may hold what a model expects after its items."""

    def next_tokens(self) -> pd.DataFrame: ...  # noqa: D102


class Expected(NamedTuple):
    """Expectations of a model after the members of one set of norms.

    Attributes:
        known: members that were read in every sentence.
        chances: of those, a row each: sentence, and token of it (the last outcome of a sentence is all other tokens),
            as one distribution of which every sentence has an equal share. What a label tells of it is the mean over
            sentences of what it tells of the next token.
        others: mean probability of the tokens that were put together.
    """

    known: Bool[np.ndarray, " items"]
    chances: Float[np.ndarray, "some outcomes"]
    others: float


def expected_after(run: Run, own: Members) -> Expected | None:
    """Expectations after each member; None where the sweep did not keep it (outcome ``next_tokens``)."""
    inner = unwrapped(run)
    if not isinstance(inner, KeepsNextTokens):
        return None
    kept = remember(run, "next tokens", inner.next_tokens)
    rows = kept[kept["run_id"].astype(str) == own.run_id].drop_duplicates("example_id").set_index("example_id")
    rows = rows[rows.index.isin(own.sentence.dropna().index)]
    if rows.empty:
        return None
    item = own.sentence.reindex(rows.index).to_numpy(np.int64)
    template = own.template.reindex(rows.index).to_numpy(np.int64)
    n_templates = int(own.template.max()) + 1
    seen = np.zeros((n_templates, len(own.items)), dtype=bool)
    seen[template, item] = True
    known = np.asarray(seen.all(axis=0), dtype=bool)
    if known.sum() < 2:
        return None
    at = [np.flatnonzero(template == number) for number in range(n_templates)]
    parts = [_of_sentence(rows.iloc[own_rows.tolist()], item[own_rows], known) for own_rows in at]
    chances = np.concatenate(parts, axis=1) / n_templates
    others = float(np.mean([part[:, -1].mean() for part in parts]))
    return Expected(known, chances, others)


def _of_sentence(
    rows: pd.DataFrame, item: np.ndarray, known: Bool[np.ndarray, " items"]
) -> Float[np.ndarray, "some outcomes"]:
    """Chances of the tokens that are likeliest on average, and of all others together."""
    lengths = [len(own) for own in rows["tokens"]]
    tokens, code = np.unique(np.concatenate(rows["tokens"].tolist()), return_inverse=True)
    of = np.repeat(item, lengths)
    chance = np.concatenate(rows["chances"].tolist()).astype(np.float64)
    mean = np.bincount(code, weights=chance, minlength=len(tokens))
    apart = np.argsort(-mean, kind="stable")[:APART]
    column = np.full(len(tokens), -1)
    column[apart] = np.arange(len(apart))
    table = np.zeros((len(known), len(apart) + 1))
    there = column[code] >= 0
    table[of[there], column[code][there]] = chance[there]
    table[:, -1] = np.maximum(1 - table[:, :-1].sum(axis=1), 0.0)
    return table[known]
