"""All controls of one run, cell by cell: the reservoir goes through the model once, and the rest is arithmetic on it.

A control that a model or a run cannot have is left out and the reason is recorded; nothing is estimated in its stead.
The tables are those of any other measurement, under the names of :mod:`probes.vocabulary.names`; which cells there are
is in :mod:`probes.controls.control_cells`. What a cell gives depends on its own name, the reservoir and the seed, never
on which other cells are done, or in what order.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Generator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import cached_property, partial
from itertools import product
from typing import Any, cast

import numpy as np
import pyarrow as pa
import torch

import sparsity
from probes.capture.reading import Reading
from probes.capture.routing import measure_routing
from probes.controls.basis_panel import reading, views
from probes.controls.control_cells import (
    DENSITY,
    GENERATION,
    OUTLIERS,
    READOUT,
    ROUTING,
    UNTRAINED,
    cells_of,
    final_of,
    last_of,
)
from probes.controls.generation import Written, generated
from probes.controls.member_states import Sample, States, per_item, read_states_of, wanted_states
from probes.controls.null_models import add_nulls, add_untrained
from probes.controls.outliers import add_outliers
from probes.controls.pinning import pinned_outcomes
from probes.controls.populations import PopulationRows
from probes.controls.readout import Unembedding, Unread, alignments, read_out, unembedding_of, without_row
from probes.controls.request import Ask, Controls, together
from probes.controls.reservoir import reference_groups
from probes.controls.substitution import Substitution, substitute
from probes.controls.units import add_units, tail_reading, unit_blocks
from probes.errors import InputError
from probes.interventions.changes import FinalNorm, final_norm_of
from probes.interventions.tails import down_projection
from probes.models.hooks import CaptureError
from probes.models.loading import LoadedModel
from probes.records.rows import measurement_rows, outcome_rows
from probes.records.schema import Table
from probes.vocabulary import names
from probes.vocabulary.positions import SELECTORS
from probes.vocabulary.sites import Site, SiteKind


def control(model: LoadedModel, ask: Ask) -> Controls:
    """Do every cell of a run."""
    with open_stage(model, ask) as stage:
        found = [stage.cell(name) for name in cells_of(model, ask.sites, ask.controls)]
    return together(found)


@contextmanager
def open_stage(model: LoadedModel, ask: Ask, pause: Callable[[], None] = lambda: None) -> Generator[Stage]:
    """The controls of a run for as long as the block lasts; ``pause`` is called every second or so and may raise."""
    with ExitStack() as stack:
        yield Stage(model, ask, pause, stack)


class Stage:
    """One run's controls: the reservoir's states, read when the first cell needs them, and what the cells share."""

    def __init__(self, model: LoadedModel, ask: Ask, pause: Callable[[], None], stack: ExitStack) -> None:
        self.model, self.ask, self.pause, self._stack = model, ask, pause, stack
        self._row_hoyer: torch.Tensor | None = None
        self.groups = np.array([one.group for one in ask.members])
        self.reference = reference_groups(ask.members, ask.axis)
        self.inside = np.isin(self.groups, self.reference)
        outside = self.inside if self.reference else ~np.array([one.shifted for one in ask.members])
        self.basis_from = outside if outside.any() else np.ones_like(outside)

    @cached_property
    def head(self) -> Unembedding | Unread:
        """The unembedding of the model."""
        return unembedding_of(self.model)

    @cached_property
    def norm(self) -> FinalNorm | Unread:
        """The final norm of the model, taken apart."""
        try:
            return final_norm_of(self.model)
        except InputError as error:
            return Unread(str(error))

    @property
    def whole_sites(self) -> list[Site]:
        """The sites asked that have one vector per token."""
        return [site for site in self.ask.sites if not self.model.taps.points[site].heads]

    @cached_property
    def states(self) -> States:
        """The reservoir's states at all sites that any cell needs."""
        ask = self.ask
        wanted = wanted_states(self.model, ask.sites, ask.positions, len(ask.members), ask.controls)
        reading = read_states_of(
            self.model, ask.prompts, wanted, batches=ask.batches, states=ask.states, pause=self.pause
        )
        return self._stack.enter_context(reading)

    def read(self) -> None:
        """Read the reservoir now, so that what comes to grief there is no fault of a cell."""
        _ = self.states

    def row_hoyer(self, head: Unembedding) -> torch.Tensor:
        """Hoyer sparsity of every row of the unembedding, computed once."""
        if self._row_hoyer is None:
            rows = np.asarray(sparsity.hoyer(head.rows.cpu().numpy()))
            self._row_hoyer = torch.as_tensor(rows, dtype=torch.float32)
        return self._row_hoyer

    def cell(self, name: str) -> Controls:
        """Compute one cell; the name is one of :func:`probes.controls.control_cells.cells_of`."""
        work = _Cell(self)
        if name == OUTLIERS:
            add_outliers(self.states, self.whole_sites, self.ask.suite, work.rows)
            for site in (site for site in self.ask.sites if site not in self.whole_sites):
                work.skipped[str(site)] = "it has one vector per head"
        elif name == READOUT:
            work.read()
        elif name == ROUTING:
            work.routing()
        elif name == UNTRAINED:
            work.untrained()
        elif name == DENSITY:
            work.density()
        elif name == GENERATION:
            work.generation()
        else:
            work.site(next(site for site in self.ask.sites if str(site) == name))
        return work.done()


@dataclass(slots=True, eq=False)
class _Cell:
    """One cell in the making."""

    stage: Stage
    rows: PopulationRows = field(init=False)
    readings: list[Reading] = field(default_factory=list[Reading])
    tails: list[Reading] = field(default_factory=list[Reading])
    written: Written | None = None
    outcomes: dict[str, np.ndarray] = field(default_factory=dict[str, np.ndarray])
    skipped: dict[str, str] = field(default_factory=dict[str, str])
    pinned: dict[str, Any] = field(default_factory=dict[str, Any])

    def __post_init__(self) -> None:
        self.rows = PopulationRows(self.stage.ask.run_id)

    def done(self) -> Controls:
        """The tables."""
        ask = self.stage.ask
        metrics, ids = [str(metric) for metric in ask.metrics], [one.example_id for one in ask.members]
        of_tails = [names.cett_sparsity(error) for error in ask.density]
        measured = [
            measurement_rows(found, run_id=ask.run_id, example_ids=ids, metrics=of)
            for found, of in ((self.readings, metrics), (self.tails, of_tails))
        ]
        tables: dict[Table, pa.Table] = {
            "measurements": pa.concat_tables(measured).unify_dictionaries(),
            "populations": self.rows.table(),
            "outcomes": outcome_rows(self.outcomes, run_id=ask.run_id, example_ids=ids),
        }
        if self.written is not None:
            tables |= {"token_measurements": self.written.tokens, "familiarity_tokens": self.written.told}
        return Controls(tables, self.skipped, self.pinned)

    def site(self, site: Site) -> None:
        """One site in every basis, its groups as sets, and what carries their differences from the reference."""
        stage = self.stage
        for position in stage.ask.positions:
            sample = self._sample(site, position)
            chance = partial(_rng, stage.ask.seed, sample)
            blocks = unit_blocks(stage.model, site)
            if blocks:
                self.skipped |= add_units(
                    self.rows,
                    sample,
                    blocks,
                    stage.groups[sample.item],
                    stage.ask,
                    stage.reference,
                    chance,
                    stage.pause,
                )
            if site not in stage.whole_sites:
                continue
            if "bases" in self.stage.ask.controls:
                self._bases(sample)
            self._populations(sample)
            groups = self.stage.groups[sample.item]
            ends = (final_of(self.stage.model), last_of(self.stage.model))
            self.skipped |= add_nulls(
                self.rows, sample, groups, self.stage.ask, self.stage.reference, ends, chance, self.stage.pause
            )

    def _sample(self, site: Site, position: str) -> Sample:
        """The finite vectors of a site and position; how many are not is recorded."""
        sample = self.stage.states.sample(site, position)
        finite: np.ndarray = np.asarray(np.isfinite(sample.vectors).all(axis=1))
        if finite.all():
            return sample
        self.skipped[f"vectors at {site}, {position}"] = f"{int((~finite).sum())} are not finite"
        return _rows(sample, finite)

    def _bases(self, sample: Sample) -> None:
        """Metrics in every other basis."""
        stage = self.stage
        reference = stage.basis_from[sample.item]
        if not reference.any():
            return
        for basis, found in views(sample, reference, stage.groups[sample.item], stage.head, stage.norm):
            stage.pause()
            if isinstance(found, Unread):
                self.skipped[f"{basis} at {sample.site}, {sample.position}"] = found.reason
            else:
                self.readings.append(reading(sample, basis, found, stage.ask.metrics))

    def _populations(self, sample: Sample) -> None:
        """Measures of each group as a set, and what carries its difference from the reference."""
        stage = self.stage
        controls = stage.ask.controls
        of_row = stage.groups[sample.item]
        inside = np.isin(of_row, stage.reference)
        rng = _rng(stage.ask.seed, sample)
        exact = sample.vectors.astype(np.float64)
        for group in dict.fromkeys(stage.groups.tolist()):
            stage.pause()
            mine = of_row == group
            if "populations" in controls:
                self.rows.add_population(group, sample, exact[mine], stage.ask.populations)
            if "substitution" in controls and stage.reference and group not in stage.reference:
                found = _substituted(exact, sample.item, inside, mine, rng)
                self.rows.add_substitution(group, sample, found, int(mine.sum()))
        if "substitution" in controls and not stage.reference:
            self.skipped["substitution"] = "no group of this run is a reference for the others"

    def untrained(self) -> None:
        """The same reservoir in a model that has learned nothing."""
        stage = self.stage
        self.readings += add_untrained(self.rows, stage.model, stage.ask, stage.whole_sites, stage.groups, stage.pause)

    def density(self) -> None:
        """Share of the neurons of every MLP that can be cut, for every item."""
        stage = self.stage
        sites = [site for site in stage.ask.sites if site.kind is SiteKind.MLP_POST]
        for site, position in product(sites, stage.ask.positions):
            stage.pause()
            sample = self._sample(site, position)
            try:
                down = down_projection(stage.model, site)
            except InputError as error:
                self.skipped[f"density at {site}"] = str(error)
                continue
            self.tails.append(tail_reading(sample, down, stage.ask.density))

    def generation(self) -> None:
        """Tokens that the model writes after some items of each group."""
        stage = self.stage
        stage.pause()
        try:
            self.written = generated(stage.model, stage.ask, stage.groups)
        except InputError as error:
            self.skipped["generation"] = str(error)
            return
        self.outcomes |= self.written.outcomes

    def routing(self) -> None:
        """Measure the routing of each group's tokens at the routers of the sweep."""
        stage, ask = self.stage, self.stage.ask
        routers = [site for site in ask.sites if site.kind is SiteKind.ROUTER_LOGITS]
        for group, position in product(dict.fromkeys(stage.groups.tolist()), ask.positions):
            stage.pause()
            prompts = [prompt for prompt, own in zip(ask.prompts, stage.groups, strict=True) if own == group]
            try:
                found = measure_routing(stage.model, prompts, SELECTORS[position], routers, group=group, seed=ask.seed)
            except CaptureError as error:
                self.skipped["routing"] = str(error)
                return
            self.rows.rows.extend(cast("list[dict[str, Any]]", found.assign(run_id=ask.run_id).to_dict("records")))

    def read(self) -> None:
        """Measure readout of the final states, and outcomes with the coordinates that carry the change pinned."""
        stage = self.stage
        head, norm = stage.head, stage.norm
        for name, found in (("readout", head), ("pinning", norm)):
            if isinstance(found, Unread) and name in stage.ask.controls:
                self.skipped[name] = found.reason
        if isinstance(head, Unread):
            return
        for position in stage.ask.positions:
            if "readout" in stage.ask.controls:
                self._readout(self._sample(final_of(stage.model), position), head)
            last = last_of(stage.model)
            if "pinning" in stage.ask.controls and isinstance(norm, FinalNorm) and (last, position) in stage.states:
                self._pin(self._sample(last, position), head, norm)

    def _readout(self, sample: Sample, head: Unembedding) -> None:
        """Measure alignment of final states with the rows that read them, and metrics without those rows."""
        stage = self.stage
        answer = self._answers(sample)
        states = torch.from_numpy(sample.vectors).to(head.rows.device)
        found = read_out(stage.model, head, states, answer, stage.pause)
        for name, values in alignments(head, states.cpu(), found, stage.row_hoyer(head)).items():
            self._record(name, sample, values.numpy())
        if sample.site not in stage.ask.sites:
            return
        answered = answer >= 0
        for basis, tokens, kept in (
            (names.WITHOUT_ANSWER_ROW, answer.clamp(min=0), answered),
            (names.WITHOUT_ARGMAX_ROW, found.top[:, 0], torch.ones_like(answered)),
        ):
            stage.pause()
            if not bool(kept.any()):
                self.skipped[f"{basis} at {sample.site}, {sample.position}"] = "no item has an answer"
                continue
            some = _rows(sample, kept.numpy())
            without = without_row(torch.from_numpy(some.vectors), head.rows[tokens[kept]].cpu())
            self.readings.append(reading(some, basis, without.numpy(), stage.ask.metrics))

    def _pin(self, sample: Sample, head: Unembedding, norm: FinalNorm) -> None:
        """Pin the coordinates that carry the change from the reference to everything else."""
        stage = self.stage
        mine = stage.inside[sample.item]
        if not stage.reference:
            return
        if not mine.any() or mine.all():
            self.skipped[f"pinning, {sample.position}"] = "there is nothing on one side of the contrast"
            return
        rng = _rng(stage.ask.seed, sample, 1)
        carrying = _substituted(sample.vectors.astype(np.float64), sample.item, mine, ~mine, rng)
        k50 = 1 if np.isnan(carrying.k50.value) else int(carrying.k50.value)
        most = max(1, min(k50, sample.vectors.shape[1] // 2))
        order = [int(j) for j in carrying.order[:most]]
        self.pinned["site"] = str(sample.site)
        self.pinned.setdefault("coordinates", {})[sample.position] = order
        means = sample.vectors[mine].mean(axis=0, dtype=np.float64).astype(np.float32)
        found = pinned_outcomes(
            stage.model,
            head,
            norm,
            torch.from_numpy(sample.vectors),
            self._answers(sample),
            torch.from_numpy(means),
            {m: order[:m] for m in sorted({1, most})},
            str(sample.site),
            sample.position,
            rng,
            stage.pause,
        )
        for name, values in found.items():
            self._record(name, sample, values, prefix="")

    def _answers(self, sample: Sample) -> torch.Tensor:
        """The token that should follow each state: of the target for ``last``, the actual one for ``mean``."""
        found = [-1] * len(sample.item)
        for row, (item, token) in enumerate(zip(sample.item, sample.token, strict=True)):
            prompt, following = self.stage.ask.prompts[int(item)], int(token) + 1
            end = len(prompt.ids) if sample.position == "last" else prompt.end
            if following < end:
                found[row] = prompt.ids[following]
        return torch.tensor(found)

    def _record(self, name: str, sample: Sample, values: np.ndarray, *, prefix: str = names.MEAN) -> None:
        """One outcome, by item."""
        items, means = per_item(values[:, None].astype(np.float64), sample.item)
        column = np.full(len(self.stage.ask.members), np.nan)
        column[items] = means[:, 0]
        self.outcomes[name if sample.position == "last" else f"{prefix}{name}"] = column


def _rng(seed: int, sample: Sample, *more: int) -> np.random.Generator:
    """Chance of one site and position, whatever else is asked."""
    digest = hashlib.sha256(f"{sample.site} {sample.position}".encode()).digest()
    return np.random.default_rng([seed, int.from_bytes(digest[:8], "little"), *more])


def _substituted(
    vectors: np.ndarray, item: np.ndarray, one: np.ndarray, other: np.ndarray, rng: np.random.Generator
) -> Substitution:
    items = item.astype(np.int64)
    return substitute(vectors[one], vectors[other], items[one], items[other], rng)


def _rows(sample: Sample, kept: np.ndarray) -> Sample:
    return Sample(sample.site, sample.position, sample.item[kept], sample.token[kept], sample.vectors[kept])
