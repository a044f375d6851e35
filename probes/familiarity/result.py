"""From texts that were read to rows: one per item and measure, and one per token beside the sparsity of that token.

A value that is undefined is a row all the same, NaN, and its reason is a row of ``failures``. Rows are gathered as
arrays with their names beside them, because a sweep of tokens has a thousand times as many rows as items.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from jaxtyping import Float64

from probes.familiarity.definitions import FamiliaritySpec, Needs, Part, Values
from probes.familiarity.measures.surprise import UNKNOWN_TEXT
from probes.familiarity.sources import ReadText
from probes.records.schema import FAMILIARITY_STAGE, SCHEMAS, Table


class Asked(NamedTuple):
    """A measure, and which of its values are wanted.

    Attributes:
        spec: the measure.
        item: the value of the item.
        tokens: the values of its tokens, if it has any.
    """

    spec: FamiliaritySpec
    item: bool = True
    tokens: bool = False


class FamiliarityTables(NamedTuple):
    """Measured values, with the columns of the tables of a sweep.

    Attributes:
        familiarity: one row per item and measure.
        familiarity_tokens: one row per token and measure, ``token`` being the index in the ids; empty unless asked for.
        failures: why an item could not be read, or a value is NaN.
    """

    familiarity: pd.DataFrame
    familiarity_tokens: pd.DataFrame
    failures: pd.DataFrame


class Rows:
    """Rows in the making."""

    def __init__(self, run_id: str) -> None:
        self._run_id = run_id
        self._items: list[tuple[str, str, str, float]] = []
        self._failures: list[tuple[str, str]] = []
        self._tokens: list[_Tokens] = []

    def fail(self, document: str, reason: str) -> None:
        """An item, or a value of it, that there is not."""
        self._failures.append((document, reason))

    def tell(self, one: ReadText, asked: Iterable[Asked]) -> None:
        """Everything that was asked about one text; a measure of the answer has no row for a text without one."""
        seen: dict[tuple[Needs, Part], object] = {}
        for spec, item, tokens in asked:
            own = one.text.tokens(spec.part)
            if spec.part == "answer" and not own:
                continue
            needs = spec.record.needs
            if (needs, spec.part) not in seen:
                seen[needs, spec.part] = one.evidence(needs, spec.part)
            evidence = seen[needs, spec.part]
            values = Values(math.nan, None, _absent(one)) if evidence is None else spec.measure(evidence)
            corpus = one.sources.corpus(spec)
            if item:
                self._items.append((one.document, str(spec), corpus, values.item))
            if item and math.isnan(values.item):
                self.fail(one.document, f"{spec}: {values.reason or 'undefined'}")
            if tokens and values.tokens is not None:
                found = one.per_token(needs, spec.part, values.tokens)
                self._tokens.append(_Tokens(one, own, str(spec), corpus, found))

    def tables(self) -> FamiliarityTables:
        """All of them, in the order in which they were told."""
        documents, measures, corpora, values = zip(*self._items, strict=True) if self._items else ((), (), (), ())
        items = {"example_id": documents, "measure": measures, "corpus": corpora, "value": values}
        failures = {
            "example_id": [document for document, _ in self._failures],
            "stage": [FAMILIARITY_STAGE] * len(self._failures),
            "error": [reason for _, reason in self._failures],
        }
        tokens = self._of_tokens()
        return FamiliarityTables(
            self._frame("familiarity", items),
            self._frame("familiarity_tokens", tokens),
            self._frame("failures", failures),
        )

    def _of_tokens(self) -> dict[str, object]:
        lengths = [len(told.own) for told in self._tokens]
        numbers = {
            "token": [np.arange(told.own.start, told.own.stop) for told in self._tokens],
            "char_start": [told.one.text.starts[told.own.start : told.own.stop] for told in self._tokens],
            "char_end": [told.one.text.ends[told.own.start : told.own.stop] for told in self._tokens],
            "value": [told.values for told in self._tokens],
        }
        names = {
            "example_id": [told.one.document for told in self._tokens],
            "measure": [told.measure for told in self._tokens],
            "corpus": [told.corpus for told in self._tokens],
        }
        columns: dict[str, object] = {name: np.concatenate([np.empty(0), *parts]) for name, parts in numbers.items()}
        return columns | {name: _repeated(values, lengths) for name, values in names.items()}

    def _frame(self, table: Table, columns: dict[str, Any]) -> pd.DataFrame:
        """The table, names as categories."""
        n = len(columns["example_id"])
        frame = pd.DataFrame(columns)
        frame["run_id"] = _repeated([self._run_id], [n])
        frame = frame[SCHEMAS[table].names]
        numbers = {"value": np.float64, "token": np.int32, "char_start": np.int32, "char_end": np.int32}
        kinds = {name: numbers.get(name, "str" if name == "error" else "category") for name in frame.columns}
        return frame.astype(kinds)


class _Tokens(NamedTuple):
    one: ReadText
    own: range
    measure: str
    corpus: str
    values: Float64[np.ndarray, " tokens"]


def _repeated(names: Sequence[str], lengths: Sequence[int]) -> pd.Categorical:
    """Each name as often as its length says."""
    codes, categories = pd.factorize(np.array(names, dtype=object))
    return pd.Categorical.from_codes(np.repeat(codes, lengths), categories=pd.Index(categories, dtype=object))


def _absent(one: ReadText) -> str:
    """Reason that there is no evidence about a text although its source is at hand."""
    if one.text.characters("prompt") is None:
        return UNKNOWN_TEXT
    return f"{len(one.text.prompt.ids)} tokens, but {one.model.name} reads at most {one.model.context_length}"
