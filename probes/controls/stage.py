"""All controls of one run: the reservoir goes through the model once, and everything else is arithmetic on its states.

A control that a model or a run cannot have is left out and the reason is recorded; nothing is estimated in its stead.
The tables are those of any other measurement, under the names of :mod:`probes.controls.names`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import product
from typing import Any, NamedTuple, cast

import numpy as np
import pyarrow as pa
import torch

import sparsity
from probes.capture.editing import FinalNorm, final_norm_of
from probes.capture.models import LoadedModel
from probes.capture.positions import SELECTORS
from probes.capture.prompts import Prompt
from probes.capture.reading import Reading
from probes.capture.routing import measure_routing
from probes.capture.sites import Site, SiteKind
from probes.capture.watching import CaptureError
from probes.controls import names
from probes.controls.bases import reading, views
from probes.controls.pinning import pinned_outcomes
from probes.controls.populations import PopulationRows
from probes.controls.readout import Unembedding, Unread, alignments, read_out, unembedding_of, without_row
from probes.controls.reservoir import Member, Sample, per_item, read_samples, reference_groups
from probes.controls.substitution import Substitution, substitute
from probes.errors import InputError
from probes.records.rows import measurement_rows, outcome_rows
from probes.records.schema import Table
from probes.suites.axes import Axis
from sparsity import MetricSpec


class Controls(NamedTuple):
    """What the controls of one run came to.

    Attributes:
        tables: rows of measurements, populations and outcomes.
        facts: what the run's row remembers: version, reference, groups, pinned, skipped.
    """

    tables: dict[Table, pa.Table]
    facts: dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Ask:
    """What is controlled.

    Attributes:
        run_id: the run.
        members: the reservoir.
        prompts: its items as the model reads them.
        axis: of the suite.
        sites: where, as the sweep was asked.
        positions: ``last``, ``mean`` or both.
        metrics: measured in every basis.
        seed: of partners, halves, resamples and random coordinates.
    """

    run_id: str
    members: Sequence[Member]
    prompts: Sequence[Prompt]
    axis: Axis
    sites: Sequence[Site]
    positions: Sequence[str]
    metrics: Sequence[MetricSpec]
    seed: int


def control(model: LoadedModel, ask: Ask) -> Controls:
    """Run every control that a model and a reservoir can have."""
    return _Work(model, ask).done()


@dataclass(slots=True, eq=False)
class _Work:
    """One run's controls in the making."""

    model: LoadedModel
    ask: Ask
    readings: list[Reading] = field(default_factory=list[Reading])
    outcomes: dict[str, np.ndarray] = field(default_factory=dict[str, np.ndarray])
    skipped: dict[str, str] = field(default_factory=dict[str, str])
    pinned: dict[str, Any] = field(default_factory=dict[str, Any])

    def done(self) -> Controls:
        """Everything, in a fixed order."""
        ask, model = self.ask, self.model
        groups = np.array([one.group for one in ask.members])
        reference = reference_groups(ask.members, ask.axis)
        if not reference:
            self.skipped["substitution"] = "no group of this run is a reference for the others"
        head, norm = unembedding_of(model), _norm_of(model)
        for name, found in (("readout", head), ("pinning", norm)):
            if isinstance(found, Unread):
                self.skipped[name] = found.reason
        final, last = Site(SiteKind.FINAL_NORM, model.n_layers), Site(SiteKind.RESID_POST, model.n_layers - 1)
        asked = [site for site in ask.sites if not model.taps.points[site].heads]
        for site in ask.sites:
            if model.taps.points[site].heads:
                self.skipped[str(site)] = "it has one vector per head"
        extra = [site for site in (final, last) if site in model.sites and not isinstance(head, Unread)]
        samples = read_samples(model, ask.prompts, list(dict.fromkeys([*asked, *extra])), ask.positions)
        inside = np.isin(groups, reference)
        basis_from = inside if reference else ~np.array([one.shifted for one in ask.members])
        rows = PopulationRows(ask.run_id)
        for number, ((site, _), whole) in enumerate(samples.items()):
            sample = _finite(whole, self.skipped)
            rng = np.random.default_rng([ask.seed, number])
            if site in asked:
                self._bases(sample, basis_from if basis_from.any() else np.ones_like(basis_from), groups, head, norm)
                self._populations(sample, groups, reference, rows, rng)
            if site == final and isinstance(head, Unembedding):
                self._readout(sample, head, in_sweep=site in asked)
            if site == last and isinstance(norm, FinalNorm) and isinstance(head, Unembedding) and reference:
                self._pin(sample, inside, head, norm, rng)
        self._routing(groups, rows)
        names_of = [str(metric) for metric in ask.metrics]
        ids = [one.example_id for one in ask.members]
        tables: dict[Table, pa.Table] = {
            "measurements": measurement_rows(self.readings, run_id=ask.run_id, example_ids=ids, metrics=names_of),
            "populations": rows.table(),
            "outcomes": outcome_rows(self.outcomes, run_id=ask.run_id, example_ids=ids),
        }
        counts = {group: int((groups == group).sum()) for group in dict.fromkeys(groups.tolist())}
        facts = {"version": names.VERSION, "reference": list(reference), "groups": counts}
        return Controls(tables, facts | {"pinned": self.pinned, "skipped": self.skipped})

    def _bases(
        self,
        sample: Sample,
        of_items: np.ndarray,
        groups: np.ndarray,
        head: Unembedding | Unread,
        norm: FinalNorm | Unread,
    ) -> None:
        """Metrics in every other basis."""
        reference = of_items[sample.item]
        if not reference.any():
            return
        found = views(sample, reference, groups[sample.item], head, norm)
        for basis, why in found.skipped.items():
            self.skipped[f"{basis} at {sample.site}, {sample.position}"] = why
        for basis, vectors in found.vectors.items():
            self.readings.append(reading(sample, basis, vectors, self.ask.metrics))

    def _populations(
        self,
        sample: Sample,
        groups: np.ndarray,
        reference: Sequence[str],
        rows: PopulationRows,
        rng: np.random.Generator,
    ) -> None:
        """Measures of each group as a set, and what carries its difference from the reference."""
        of_row = groups[sample.item]
        inside = np.isin(of_row, reference)
        for group in dict.fromkeys(groups.tolist()):
            mine = of_row == group
            rows.add_population(group, sample, sample.vectors[mine])
            if reference and group not in reference:
                found = _substituted(sample, inside, mine, rng)
                rows.add_substitution(group, sample, found, int(mine.sum()))

    def _routing(self, groups: np.ndarray, rows: PopulationRows) -> None:
        """Where the routers that the sweep looks at send the tokens of each group."""
        ask = self.ask
        routers = [site for site in ask.sites if site.kind is SiteKind.ROUTER_LOGITS]
        for group, position in product(dict.fromkeys(groups.tolist()), ask.positions) if routers else ():
            prompts = [prompt for prompt, own in zip(ask.prompts, groups, strict=True) if own == group]
            try:
                found = measure_routing(self.model, prompts, SELECTORS[position], routers, group=group, seed=ask.seed)
            except CaptureError as error:
                self.skipped["routing"] = str(error)
                return
            rows.rows.extend(cast("list[dict[str, Any]]", found.assign(run_id=ask.run_id).to_dict("records")))

    def _readout(self, sample: Sample, head: Unembedding, *, in_sweep: bool) -> None:
        """How final states stand to the rows that read them, and their metrics without those rows."""
        answer = self._answers(sample)
        states = torch.from_numpy(sample.vectors).to(head.rows.device)
        found = read_out(self.model, head, states, answer)
        row_hoyer = torch.as_tensor(np.asarray(sparsity.hoyer(head.rows.cpu().numpy())), dtype=torch.float32)
        for name, values in alignments(head, states.cpu(), found, row_hoyer).items():
            self._record(name, sample, values.numpy())
        if not in_sweep:
            return
        answered = answer >= 0
        for basis, tokens, kept in (
            (names.WITHOUT_ANSWER_ROW, answer.clamp(min=0), answered),
            (names.WITHOUT_ARGMAX_ROW, found.top[:, 0], torch.ones_like(answered)),
        ):
            if not bool(kept.any()):
                self.skipped[f"{basis} at {sample.site}, {sample.position}"] = "no item has an answer"
                continue
            some = _rows(sample, kept.numpy())
            without = without_row(torch.from_numpy(some.vectors), head.rows[tokens[kept]].cpu())
            self.readings.append(reading(some, basis, without.numpy(), self.ask.metrics))

    def _pin(
        self, sample: Sample, inside: np.ndarray, head: Unembedding, norm: FinalNorm, rng: np.random.Generator
    ) -> None:
        """Pin the coordinates that carry the change from the reference to everything else."""
        mine = inside[sample.item]
        if not mine.any() or mine.all():
            self.skipped[f"pinning, {sample.position}"] = "there is nothing on one side of the contrast"
            return
        carrying = _substituted(sample, mine, ~mine, rng)
        k50 = 1 if np.isnan(carrying.k50.value) else int(carrying.k50.value)
        most = max(1, min(k50, sample.vectors.shape[1] // 2))
        order = [int(j) for j in carrying.order[:most]]
        self.pinned["site"] = str(sample.site)
        self.pinned.setdefault("coordinates", {})[sample.position] = order
        means = sample.vectors[mine].mean(axis=0, dtype=np.float64).astype(np.float32)
        found = pinned_outcomes(
            self.model,
            head,
            norm,
            torch.from_numpy(sample.vectors),
            self._answers(sample),
            torch.from_numpy(means),
            {m: order[:m] for m in sorted({1, most})},
            str(sample.site),
            sample.position,
            rng,
        )
        for name, values in found.items():
            self._record(name, sample, values, prefix="")

    def _answers(self, sample: Sample) -> torch.Tensor:
        """The token that should follow each state: of the target for ``last``, the actual one for ``mean``."""
        found = [-1] * len(sample.item)
        for row, (item, token) in enumerate(zip(sample.item, sample.token, strict=True)):
            prompt, following = self.ask.prompts[int(item)], int(token) + 1
            end = len(prompt.ids) if sample.position == "last" else prompt.end
            if following < end:
                found[row] = prompt.ids[following]
        return torch.tensor(found)

    def _record(self, name: str, sample: Sample, values: np.ndarray, *, prefix: str = names.MEAN) -> None:
        """One outcome, by item."""
        items, means = per_item(values[:, None].astype(np.float64), sample.item)
        column = np.full(len(self.ask.members), np.nan)
        column[items] = means[:, 0]
        self.outcomes[name if sample.position == "last" else f"{prefix}{name}"] = column


def _norm_of(model: LoadedModel) -> FinalNorm | Unread:
    try:
        return final_norm_of(model)
    except InputError as error:
        return Unread(str(error))


def _substituted(sample: Sample, one: np.ndarray, other: np.ndarray, rng: np.random.Generator) -> Substitution:
    vectors = sample.vectors.astype(np.float64)
    items = sample.item.astype(np.int64)
    return substitute(vectors[one], vectors[other], items[one], items[other], rng)


def _finite(sample: Sample, skipped: dict[str, str]) -> Sample:
    """Without the vectors that hold a NaN or an infinity; how many is recorded."""
    finite: np.ndarray = np.asarray(np.isfinite(sample.vectors).all(axis=1))
    if not finite.all():
        skipped[f"vectors at {sample.site}, {sample.position}"] = f"{int((~finite).sum())} are not finite"
    return _rows(sample, finite)


def _rows(sample: Sample, kept: np.ndarray) -> Sample:
    return Sample(sample.site, sample.position, sample.item[kept], sample.token[kept], sample.vectors[kept])
