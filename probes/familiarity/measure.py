"""Familiarity of some inputs as tidy tables: per item, and per token beside the sparsity of the same token.

One forward pass per batch serves all measures of the logits, one more all measures of states; corpus measures need no
model beyond its tokenizer. An item that cannot be measured, or a value that is undefined, is a row with its reason.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from probes.capture.batches import BatchSize
from probes.capture.models import LoadedModel, load_model
from probes.capture.prompts import BosPolicy, PromptError
from probes.errors import InputError
from probes.familiarity.evidence import ReadText, Sources
from probes.familiarity.logits import read_surprisals
from probes.familiarity.records import FamiliaritySpec, Values, parse_familiarity
from probes.familiarity.states import read_states
from probes.familiarity.texts import read_text
from probes.records.schema import SCHEMAS, Table
from probes.suites.example import Example, Item

STAGE = "familiarity"


class FamiliarityTables(NamedTuple):
    """What was measured, with the columns of the tables of a sweep.

    Attributes:
        familiarity: one row per item and measure.
        familiarity_tokens: one row per token and measure, ``token`` being the index in the ids; empty unless asked for.
        failures: why an item could not be read, or a value is NaN.
    """

    familiarity: pd.DataFrame
    familiarity_tokens: pd.DataFrame
    failures: pd.DataFrame


def measure_familiarity(
    model: object,
    items: Sequence[Item] | Sequence[str],
    measures: str | Sequence[str],
    *,
    sources: Sources | None = None,
    per_token: bool = False,
    max_tokens: int | None = None,
    bos: BosPolicy = "auto",
    batch_size: BatchSize = "auto",
    run_id: str | None = None,
) -> FamiliarityTables:
    """Measure how familiar some inputs are.

    Args:
        model: a loaded model, or anything that :func:`load_model` takes.
        items: items of a suite, or texts (whose ids are then their numbers). Long ones are read in windows.
        measures: names as in ``sparsity list familiarity``; ``answer.name`` is about the target, given the prompt, and
            has no row for an item without one.
        sources: corpus index, known states, laboratory and reference, for the measures that need them.
        per_token: whether to keep values of tokens too.
        max_tokens: cut prompts to this many tokens, BOS included.
        bos: what to do about the beginning-of-sequence token.
        batch_size: prompts per forward pass.
        run_id: of the rows; None: the beginning of the model's fingerprint.

    Returns:
        Rows in the order of the items, then of the measures.

    Raises:
        InputError: if a measure needs a source that is not there.
        sparsity.registry.UnknownNameError: for an unknown measure.
    """
    loaded = load_model(model)
    sources = sources or Sources()
    specs = parse_familiarity(measures)
    for spec in specs:
        lacking = sources.lacks(spec.record.needs)
        if lacking:
            raise InputError(f"{spec} needs {lacking}: hand it in with Sources({lacking}=...)")
    named = [item if isinstance(item, Item) else Item(str(n), Example(text=item)) for n, item in enumerate(items)]
    run = run_id or loaded.fingerprint[:16]
    rows, tokens, failures = _Rows("familiarity", run), _Rows("familiarity_tokens", run), _Rows("failures", run)
    read = list(_read(loaded, named, sources, failures, max_tokens, bos))
    for one in _run(loaded, read, specs, per_token=per_token, batch_size=batch_size):
        for spec in specs:
            own = one.text.tokens(spec.part)
            if spec.part == "answer" and not own:
                continue
            record = spec.record
            evidence = one.evidence(record.needs, spec.part)
            values = Values(math.nan, None, _absent(one)) if evidence is None else spec.measure(evidence)
            where = {"measure": str(spec), "corpus": sources.corpus(record.needs)}
            rows.add(example_id=one.document, value=values.item, **where)
            if math.isnan(values.item):
                failures.add(example_id=one.document, stage=STAGE, error=f"{spec}: {values.reason or 'undefined'}")
            if per_token and values.tokens is not None:
                tokens.extend(
                    example_id=[one.document] * len(own),
                    token=list(own),
                    char_start=one.text.starts[own.start : own.stop].tolist(),
                    char_end=one.text.ends[own.start : own.stop].tolist(),
                    value=one.per_token(record.needs, spec.part, values.tokens).tolist(),
                    **{column: [name] * len(own) for column, name in where.items()},
                )
    return FamiliarityTables(rows.frame(), tokens.frame(), failures.frame())


def _read(
    model: LoadedModel,
    items: Sequence[Item],
    sources: Sources,
    failures: _Rows,
    max_tokens: int | None,
    bos: BosPolicy,
) -> Iterator[ReadText]:
    """Encode the items; one that cannot be is a failure of its own."""
    for document, example in items:
        try:
            text = read_text(model, example.text, target=example.target, max_tokens=max_tokens, bos=bos)
        except PromptError as error:
            failures.add(example_id=document, stage=STAGE, error=str(error))
            continue
        yield ReadText(model=model, text=text, document=document, sources=sources)


def _run(
    model: LoadedModel,
    read: Sequence[ReadText],
    specs: Sequence[FamiliaritySpec],
    *,
    per_token: bool,
    batch_size: BatchSize,
) -> Iterator[ReadText]:
    """Let the model read what the measures need."""
    needs = {spec.record.needs for spec in specs}
    prompts = [one.text.prompt for one in read]
    surprisals = read_surprisals(model, prompts, batch_size=batch_size) if "logits" in needs else [None] * len(read)
    found: dict[int, tuple[Any, tuple[int, ...]]] = {}
    known = read[0].sources.states if read else None
    if "states" in needs and known is not None:
        fits = [n for n, p in enumerate(prompts) if model.context_length is None or len(p.ids) <= model.context_length]
        tokens = [_state_tokens(read[n], per_token=per_token) for n in fits]
        states = read_states(model, [prompts[n] for n in fits], known.site, tokens, batch_size=batch_size)
        found = {n: (own, asked) for n, own, asked in zip(fits, states, tokens, strict=True)}
    for n, (one, own) in enumerate(zip(read, surprisals, strict=True)):
        states, asked = found.get(n, (None, ()))
        yield replace(one, surprisals=own, states=states, state_tokens=asked)


def _state_tokens(one: ReadText, *, per_token: bool) -> tuple[int, ...]:
    """Every token that is not special, or the last one of each part."""
    prompt = one.text.prompt
    if per_token:
        return tuple(range(prompt.n_special, len(prompt.ids)))
    return tuple(dict.fromkeys((prompt.end - 1, len(prompt.ids) - 1)))


def _absent(one: ReadText) -> str:
    """Why there is no evidence about a text although its source is at hand."""
    if one.text.text is None:
        return "the text is not known, only its token ids"
    return f"{len(one.text.prompt.ids)} tokens, but {one.model.name} reads at most {one.model.context_length}"


class _Rows:
    """Columns of a table in the making."""

    def __init__(self, table: Table, run_id: str) -> None:
        self._columns: dict[str, list[Any]] = {name: [] for name in SCHEMAS[table].names}
        self._schema = SCHEMAS[table]
        self._run_id = run_id

    def add(self, **row: object) -> None:
        """One row."""
        self.extend(**{name: [value] for name, value in row.items()})

    def extend(self, **columns: Sequence[object]) -> None:
        """Several rows."""
        for name, values in columns.items():
            self._columns[name].extend(values)
        self._columns["run_id"].extend([self._run_id] * len(columns["example_id"]))

    def frame(self) -> pd.DataFrame:
        """The table, names as categories."""
        frame = pd.DataFrame(self._columns)
        numbers = {"value": np.float64, "token": np.int32, "char_start": np.int32, "char_end": np.int32}
        kinds = {name: numbers.get(name, "str" if name == "error" else "category") for name in frame.columns}
        return frame.astype(kinds)
