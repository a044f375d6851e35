"""Planned runs (one model x one suite each), and what is left of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from probes.controls.reservoir import Member
from probes.models.loading import LoadedModel
from probes.records.arrow import column_of, found, listed, picked
from probes.records.cells import Block
from probes.suites.example import Suite
from probes.sweep.item_store import ItemStore
from probes.sweep.planning.plan import Batch, RunIdentity, batches
from probes.sweep.spec import ModelEntry
from probes.vocabulary.run_facts import RunFacts
from probes.vocabulary.sites import Site


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One model x suite: all that a worker must know of it.

    Attributes:
        run_id: its name in every table.
        entry: the model as the spec names it.
        model: its short name, different from those of the sweep's other models.
        suite: name of the suite.
        sites: where to look.
    """

    run_id: str
    entry: ModelEntry
    model: str
    suite: str
    sites: tuple[Site, ...]

    @property
    def label(self) -> str:
        """Name in the progress bar."""
        return f"{self.model} x {self.suite}"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class RunPlan:
    """One run, surveyed.

    Attributes:
        run: which.
        suite: its suite.
        items: all items, on disk.
        batches: what is left to do.
        tokens_per_byte: estimated from some prompts; NaN if nothing is left.
        facts: what the run's row remembers of model and settings.
        identity: what makes it this run.
        device: where the model was put.
        control_cells: the cells of its controls, in the order of work; none where no controls were asked for.
        members: the items that controls will be computed on if none fails.
    """

    run: Run
    suite: Suite
    items: ItemStore
    batches: list[Batch]
    tokens_per_byte: float
    facts: RunFacts
    identity: RunIdentity
    device: str
    control_cells: tuple[str, ...] = ()
    members: tuple[Member, ...] = ()

    def measured_for(self, seconds: float) -> RunPlan:
        """The plan with so many more seconds of measuring; remembered for the budget of its controls, if it has any."""
        if not self.control_cells:
            return self
        return replace(self, facts=replace(self.facts, measure_seconds=self.facts.measure_seconds + seconds))

    def member_batches(self, names: Sequence[str]) -> list[list[str]]:
        """Batches in which some items of the reservoir go through the model, as they do when they are measured.

        Those that came in for members that failed have batches of their own.
        """
        planned = [one.example_id for one in self.members]
        expected, wanted = set(planned), set(names)
        together: list[list[str]] = []
        for some in (planned, [name for name in names if name not in expected]):
            at = found(column_of(some), self.items.example_ids)
            size = self.facts.batch_size or max(len(at), 1)
            for batch in batches(self.items, {Block(): at}, size) if len(at) else ():
                own = listed(picked(self.items.example_ids, batch.items))
                together.append([name for name in own if name in wanted])
        return [own for own in together if own]

    def n_left(self) -> int:
        """Items that still go through the model."""
        return sum(len(batch.items) for batch in self.batches)

    def n_tokens(self) -> float:
        """Tokens that still go through the model, estimated; padding not counted."""
        most = self.facts.max_tokens or np.inf
        sizes = (self.items.sizes[batch.items] for batch in self.batches)
        return float(sum(np.minimum(size * self.tokens_per_byte, most).sum() for size in sizes))


class Survey(NamedTuple):
    """The planned runs; the model too if there is only one (others are loaded again when their turn comes)."""

    plans: tuple[RunPlan, ...]
    model: LoadedModel | None
