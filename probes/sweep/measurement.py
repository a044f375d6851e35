"""One run in progress: batches in, rows out, wherever it runs.

A batch that fails is halved until the one bad item stands alone and becomes a row of ``failures``; where memory runs
out a warning says so, and later batches are read in parts (`probes.capture.batches`).
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property, partial
from typing import NamedTuple

import pyarrow as pa
from torch import Tensor

from probes.capture.batches import Failed, Room
from probes.capture.collection import read_batch
from probes.capture.next_tokens import likeliest, parted
from probes.controls.member_states import Keeper
from probes.familiarity.reader import FamiliarityReader
from probes.models.hooks import Look
from probes.models.loading import LoadedModel
from probes.models.templates import PromptError
from probes.records.cells import Block, Done, state_place
from probes.records.rows import measurement_rows, next_token_rows, outcome_rows, state_rows, token_rows
from probes.records.schema import Table
from probes.suites.example import Item
from probes.sweep.familiarity_setup import open_reader
from probes.sweep.handover import Handover
from probes.sweep.inputs import read_prompt
from probes.sweep.items import failure_rows, input_rows
from probes.sweep.planning.run_plan import Run
from probes.sweep.spec import SweepSpec
from probes.vocabulary.outcomes import NEXT_TOKENS
from probes.vocabulary.prompt import Prompt
from probes.vocabulary.sites import Site
from sparsity import MetricSpec


class Rows(NamedTuple):
    """Rows that batches add to the tables, and the cells that they settle."""

    tables: dict[Table, pa.Table]
    done: tuple[Done, ...]
    encode_seconds: float = 0.0
    model_seconds: float = 0.0

    def n_items(self, *, failed: bool = True) -> int:
        """Items that these rows settle, by failures too unless told otherwise."""
        return sum(len(done.example_ids) for done in self.done if failed or not done.failed)

    def n_bytes(self) -> int:
        """Memory that they take until they are committed."""
        return sum(rows.nbytes for rows in self.tables.values())


class Measurement:
    """A run and its model, and the batches that turn into rows."""

    def __init__(self, spec: SweepSpec, run: Run, model: LoadedModel, handover: Handover | None = None) -> None:
        self.spec, self.run, self.model, self.handover = spec, run, model, handover
        self._sites = {str(site): site for site in run.sites}
        self._room = Room()

    def rows(self, items: Sequence[Item], block: Block) -> Rows:
        """Measure a batch; an item that cannot be read or measured becomes a failure of its own."""
        prompts: dict[str, Prompt] = {}
        unreadable: dict[str, str] = {}
        too_short: dict[str, str] = {}
        least = self.spec.min_tokens
        began = time.perf_counter()
        repeated: dict[str, str] = {}
        for item in items:
            if item.example.repeats:
                repeated[item.example_id] = item.example.repeats
                continue
            try:
                prompt = read_prompt(self.spec, self.model, item)
            except PromptError as error:
                unreadable[item.example_id] = str(error)
                continue
            if least is not None and prompt.end < least:
                too_short[item.example_id] = f"{prompt.end} tokens, min_tokens is {least}"
            else:
                prompts[item.example_id] = prompt
        encoded = time.perf_counter()
        asked = {item.example_id: item for item in items}
        parts = list(self._read(prompts, block, asked))
        measured = time.perf_counter()
        if unreadable:
            parts.append(self._failed(unreadable, "encode", block))
        if repeated:
            parts.append(self._failed(repeated, "filter", block))
        if too_short:
            parts.append(self._failed(too_short, "filter", block, min_tokens=least))
        return together(parts)._replace(encode_seconds=encoded - began, model_seconds=measured - encoded)

    def _read(self, prompts: Mapping[str, Prompt], block: Block, items: Mapping[str, Item]) -> Iterator[Rows]:
        """Rows of a batch, in as many passes as it takes."""
        names = list(prompts)

        def run(own: Sequence[int]) -> Rows:
            asked = {names[index]: prompts[names[index]] for index in own}
            keeper = None
            if self.handover is not None and len(own) == len(names):
                keeper = self.handover.keeper(self.run, self.model, list(items), asked)
            rows = self._measured(asked, block, [items[name] for name in asked], keeper)
            if keeper is not None:
                keeper.done()
            return rows

        for own, found in self._room.run(range(len(names)), run, isolate=True):
            if isinstance(found, Failed):
                reason = f"{type(found.error).__name__}: {' '.join(str(found.error).split())}"
                yield self._failed({names[index]: reason for index in own}, "forward", block)
            else:
                yield found

    def _failed(self, reasons: Mapping[str, str], stage: str, block: Block, min_tokens: int | None = None) -> Rows:
        run_id = self.run.run_id
        done = Done(run_id, tuple(reasons), block, failed=True, min_tokens=min_tokens)
        return Rows({"failures": failure_rows(run_id, reasons, stage)}, (done,))

    def _measured(
        self, prompts: Mapping[str, Prompt], block: Block, items: Sequence[Item], keeper: Keeper | None
    ) -> Rows:
        sites: list[Site] = [self._sites[name] for name in block.sites]
        metrics = tuple(MetricSpec.parse(name) for name in block.metrics)
        read = partial(
            read_batch,
            self.model,
            list(prompts.values()),
            sites=sites,
            positions=block.positions,
            metrics=metrics,
            outcomes=block.outcomes,
            states=[(self._sites[site], position) for site, position in map(state_place, block.states)],
        )
        ids, run_id = list(prompts), self.run.run_id
        following = [partial(likeliest, self.model)] if NEXT_TOKENS in block.outcomes else []
        told: dict[Table, pa.Table] = {}
        if block.familiarity:
            reading = self._reader.reading(items, list(prompts.values()), block.familiarity)
            found = read(readers=[*following, *reading.readers], looks=_looks(reading.watched, keeper))
            told = reading.tables(found.reduced[len(following) :], run_id)
        else:
            found = read(readers=following, looks=_looks({}, keeper))
        if following:
            told["next_tokens"] = next_token_rows(*parted(found.reduced[0]), run_id=run_id, example_ids=ids)
        names = [str(metric) for metric in metrics]
        whole = [reading for reading in found.readings if reading.position != "all"]
        each = [reading for reading in found.readings if reading.position == "all"]
        tables: dict[Table, pa.Table] = {
            "inputs": input_rows(run_id, prompts, no_text=self.spec.no_text),
            "measurements": measurement_rows(whole, run_id=run_id, example_ids=ids, metrics=names),
            "token_measurements": token_rows(each, run_id=run_id, example_ids=ids, metrics=names),
            "outcomes": outcome_rows(found.outcomes, run_id=run_id, example_ids=ids),
            "states": state_rows(found.kept, run_id=run_id, example_ids=ids),
            **told,
        }
        return Rows(tables, (Done(run_id, tuple(ids), block),))

    @cached_property
    def _reader(self) -> FamiliarityReader:
        """The sources of familiarity, opened when the first batch asks for them."""
        return open_reader(self.spec, self.model)


def _looks(watched: Mapping[Site, Look], keeper: Keeper | None) -> dict[Site, Look]:
    """Further readers of the states of a pass: those of familiarity, and those that keep states for the controls."""
    if keeper is None:
        return dict(watched)

    def both(site: Site, vectors: Tensor) -> None:
        keeper.look(site, vectors)
        if site in watched:
            watched[site](site, vectors)

    return {**watched, **dict.fromkeys(keeper.sites, both)}


def together(parts: Sequence[Rows]) -> Rows:
    """Rows of several batches as one commit holds them."""
    tables: dict[Table, list[pa.Table]] = {}
    for part in parts:
        for table, rows in part.tables.items():
            tables.setdefault(table, []).append(rows)
    joined: dict[Table, pa.Table] = {}
    for table, rows in tables.items():
        joined[table] = pa.concat_tables(rows, promote_options="default").unify_dictionaries()
    return Rows(
        joined,
        tuple(done for part in parts for done in part.done),
        sum(part.encode_seconds for part in parts),
        sum(part.model_seconds for part in parts),
    )
