"""Requests for controls, and what comes back: the tables of one cell or of several."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import pyarrow as pa

from probes.controls.member_states import States
from probes.controls.reservoir import Member
from probes.records.schema import Table
from probes.vocabulary import names
from probes.vocabulary.axes import Axis
from probes.vocabulary.prompt import Prompt
from probes.vocabulary.sites import Site
from sparsity import MetricSpec


class Controls(NamedTuple):
    """Results of the controls of one cell, or of several.

    Attributes:
        tables: rows of measurements, populations and outcomes.
        skipped: what a model or a run cannot have, and why.
        pinned: where coordinates were pinned, and which.
    """

    tables: dict[Table, pa.Table]
    skipped: dict[str, str]
    pinned: dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Ask:
    """Request for controls: items, sites, positions, metrics and seed.

    Attributes:
        run_id: the run.
        members: the reservoir.
        prompts: its items as the model reads them.
        axis: of the suite.
        suite: its name.
        sites: where, as the sweep was asked.
        positions: ``last``, ``mean`` or both.
        metrics: measured in every basis.
        seed: of partners, halves, resamples and random coordinates.
        controls: which of them.
        batches: which items of the reservoir go through the model together; none: as many as a pass takes.
        states: what was kept of the reservoir while it was measured; closed with the stage.
        populations: measures of sets; None for all.
        density: errors of tail truncation.
        generate: tokens to write; None for none.
    """

    run_id: str
    members: Sequence[Member]
    prompts: Sequence[Prompt]
    axis: Axis
    suite: str
    sites: Sequence[Site]
    positions: Sequence[str]
    metrics: Sequence[MetricSpec]
    seed: int
    controls: Sequence[names.Control] = names.CONTROLS
    batches: Sequence[Sequence[int]] = ()
    states: States | None = None
    populations: Sequence[str] | None = None
    density: Sequence[float] = ()
    generate: names.Generate | None = None


def together(found: Sequence[Controls]) -> Controls:
    """Several cells as one commit holds them."""
    tables: dict[Table, pa.Table] = {}
    skipped: dict[str, str] = {}
    pinned: dict[str, Any] = {}
    for name in ("measurements", "token_measurements", "populations", "outcomes", "familiarity_tokens"):
        own = [one.tables[name] for one in found if name in one.tables]
        if own:
            tables[name] = pa.concat_tables(own, promote_options="default").unify_dictionaries()
    for one in found:
        skipped |= one.skipped
        pinned |= one.pinned
    return Controls(tables, skipped, pinned)
