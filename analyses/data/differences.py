"""Differences between two sweeps: in what produced their numbers, and in the numbers.

Numbers are compared item by item: the same item, place, position and metric in both. A change is relative to the larger
of the two numbers. Rounding alone moves them, and by how much depends on what was the same (:class:`Bound`), so what
moves no further has not moved. What moves further is described by its largest relative change and by the mean of the
paired differences with an interval over clusters of items: an interval that excludes zero is a shift, one that does not
is scatter (other rounding, say, in a deeper model or after a mean was subtracted).
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NamedTuple, cast

import numpy as np
import pandas as pd
from jaxtyping import Float, Int

from probes.intervals import mean_interval
from probes.records import Records, open_run
from probes.records.sessions import sessions_of

# Relative. Where the model adds up in the same order, two back ends agree on a measure of its states to this.
SAME_ARITHMETIC: Final = 1e-6
# Relative. Where it adds up in another order, in other batches, on another CPU or by another kernel, its states move by
# some 1e-6. That depends on the model, so this is measured and no theorem. On SmolLM2-135M:
OTHER_ARITHMETIC: Final = 1e-5
SEEN: Final = 6e-6  # largest of other measures, with the code for a CPU without AVX (in other batches: 3e-6 of l2_norm)
# and measures of fourth powers move by four times as much.
FOURTH_POWERS: Final = ("kappa4", "kurtosis", "participation_ratio")
SEEN_OF_FOURTH_POWERS: Final = 2.7e-5
# What decides which vectors are multiplied together, and by which code, by the last word of a fact's name.
OF_BATCHES: Final = frozenset({"batch_size", "items_sha256", "n_items", "shard"})
OF_MACHINES: Final = frozenset({"processor", "simd", "device", "threads", "torch", "numpy", "transformers"})
OF_KERNELS: Final = frozenset({"attention"})
PLACE: Final = ("suite", "site", "layer", "position", "metric")
PAIRED: Final = ("example_id", *PLACE, "unit", "basis")
IGNORED: Final = frozenset({"started", "run_id", "n_left"})  # of a session: differ between any two calls


class Fact(NamedTuple):
    """Something about how the numbers came to be that is not the same in both sweeps.

    Attributes:
        name: dotted path, e.g. ``packages.torch``.
        first: its value in the first sweep; None if it has none.
        second: its value in the second.
    """

    name: str
    first: Any
    second: Any


class Bound(NamedTuple):
    """Largest difference that rounding alone may make to a number.

    Attributes:
        relative: largest change, as a share of the larger number; four times that for measures of fourth powers.
        reason: what the two sweeps share, or not.
    """

    relative: float
    reason: str

    def of(self, metric: str) -> float:
        """The bound of one measure.

        >>> Bound(1e-5, "other batches").of("participation_ratio")
        4e-05
        """
        return self.relative * (4 if metric.partition("(")[0] in FOURTH_POWERS else 1)

    def __str__(self) -> str:
        fourth = f"{4 * self.relative:g} for {', '.join(FOURTH_POWERS)}"
        said = f"allowed as rounding: |b - a| up to {self.relative:g} of the larger, {fourth} ({self.reason})"
        if self.relative == SAME_ARITHMETIC:
            return said
        return (
            f"{said}. The model then adds up in another order; on SmolLM2-135M that moved measures by up to {SEEN:g} "
            f"({SEEN_OF_FOURTH_POWERS:g}). In a much deeper model it may move them further, and shows as scatter: an "
            "interval that includes zero"
        )


class Moved(NamedTuple):
    """One measure at one place that is not what it was.

    Attributes:
        suite: the items.
        site: where.
        layer: of the site.
        position: which token.
        metric: which measure.
        n_items: items in both sweeps.
        n_moved: how many of them moved beyond the bound, or are undefined in one sweep only.
        largest: largest relative change, ``|b - a| / max(|a|, |b|)``; NaN if only definedness changed.
        mean: mean of ``b - a`` over clusters.
        low: lower end of its 95 % interval (Student, over clusters); NaN with fewer than two clusters.
        high: upper end.
    """

    suite: str
    site: str
    layer: int
    position: str
    metric: str
    n_items: int
    n_moved: int
    largest: float
    mean: float
    low: float
    high: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Differences:
    """Differences between two sweeps.

    Attributes:
        facts: of how they came to be.
        bound: how far rounding alone may move their numbers.
        moved: measures whose numbers moved beyond the bound, largest change first.
        n_compared: numbers that are in both.
        only_first: numbers that only the first has.
        only_second: numbers that only the second has.
    """

    facts: tuple[Fact, ...]
    bound: Bound
    moved: tuple[Moved, ...]
    n_compared: int
    only_first: int
    only_second: int


def compare(first: Path, second: Path) -> Differences:
    """Compare two sweep directories.

    Models are matched by their place in the sweep, so that two checkpoints of one model can be compared.

    Raises:
        InputError: if one of them is no sweep directory.
    """
    one, other = open_run(first), open_run(second)
    pairs = _numbers(one).merge(_numbers(other), on=["model", *PAIRED], how="outer", indicator=True)
    both = pairs[pairs["_merge"] == "both"]
    clusters = pd.concat([records.examples()[["example_id", "cluster"]] for records in (one, other)])
    clusters = clusters.drop_duplicates("example_id").set_index("example_id")["cluster"]
    both = both.assign(cluster=clusters.reindex(both["example_id"]).to_numpy())
    facts = tuple(_facts(_provenance(first, one), _provenance(second, other)))
    bound = bound_of(facts)
    found = (_moved(place, rows, bound) for place, rows in both.groupby(list(PLACE), observed=True, sort=False))
    moved = sorted((entry for entry in found if entry is not None), key=lambda entry: -np.nan_to_num(entry.largest))
    return Differences(
        facts=facts,
        bound=bound,
        moved=tuple(moved),
        n_compared=len(both),
        only_first=int((pairs["_merge"] == "left_only").sum()),
        only_second=int((pairs["_merge"] == "right_only").sum()),
    )


def bound_of(facts: Sequence[Fact]) -> Bound:
    """Largest difference that rounding may make between two sweeps that differ in these facts.

    >>> bound_of([Fact("simd", "AVX2", "AVX512")])
    Bound(relative=1e-05, reason='same batches, other machine (simd)')
    """
    words = list(dict.fromkeys(fact.name.rpartition(".")[2] for fact in facts))
    batches, machine, kernel = (
        ", ".join(word for word in words if word in of) for of in (OF_BATCHES, OF_MACHINES, OF_KERNELS)
    )
    reason = f"other batches ({batches}), " if batches else "same batches, "
    reason += f"other machine ({machine})" if machine else "same machine"
    reason += ", other attention kernel" if kernel else ""
    return Bound(OTHER_ARITHMETIC if batches or machine or kernel else SAME_ARITHMETIC, reason)


def _numbers(records: Records) -> pd.DataFrame:
    """The measurements, with suite and number of the model instead of the run."""
    runs = records.runs()
    models = {name: number for number, name in enumerate(dict.fromkeys(runs["model"].astype(str)))}
    of_run = runs.assign(model=runs["model"].astype(str).map(models)).set_index("run_id")[["model", "suite"]]
    rows = records.measurements(basis=None)
    known = of_run.reindex(rows["run_id"].astype(str))
    names = [column for column in PAIRED if column not in ("suite", "layer", "unit")]
    rows = rows.astype(dict.fromkeys(names, "object"))
    return rows.assign(model=known["model"].to_numpy(), suite=known["suite"].to_numpy())[["model", *PAIRED, "value"]]


def _moved(place: object, rows: pd.DataFrame, bound: Bound) -> Moved | None:
    suite, site, layer, position, metric = cast("tuple[str, str, int, str, str]", place)
    before, after = (rows[name].to_numpy(dtype=np.float64) for name in ("value_x", "value_y"))
    lost = np.isnan(before) != np.isnan(after)
    defined = ~np.isnan(before) & ~np.isnan(after)
    size = np.maximum(np.abs(before), np.abs(after))
    with np.errstate(invalid="ignore", divide="ignore"):
        change = np.where(before == after, 0.0, np.abs(after - before) / size)
    beyond = lost | (defined & (change > bound.of(metric)))
    if not beyond.any():
        return None
    clusters = rows["cluster"].factorize()[0]
    mean, low, high = _over_clusters((after - before)[defined], clusters[defined])
    return Moved(
        suite=suite,
        site=site,
        layer=int(layer),
        position=position,
        metric=metric,
        n_items=rows["example_id"].nunique(),
        n_moved=int(beyond.sum()),
        largest=float(change[defined].max()) if defined.any() else np.nan,
        mean=mean,
        low=low,
        high=high,
    )


def _over_clusters(
    differences: Float[np.ndarray, " items"], clusters: Int[np.ndarray, " items"]
) -> tuple[float, float, float]:
    """Mean of the clusters' means, and its interval."""
    means = pd.Series(differences).groupby(clusters).mean().to_numpy()
    mean, low, high, _ = mean_interval(means)
    return mean, low, high


def _provenance(directory: Path, records: Records) -> dict[str, Any]:
    """Everything recorded about how the numbers came to be: the newest call, and the runs by model and suite.

    Of what decides the arithmetic every value that a call had is kept: some numbers may be from an older one.
    """
    sessions = sessions_of(directory)
    runs: dict[str, Any] = {}
    models: dict[str, int] = {}
    for row in records.runs().itertuples():
        number = models.setdefault(str(row.model), len(models))
        facts = json.loads(str(row.spec_json))
        runs[f"model {number} x {row.suite}"] = {"model": row.model, "dtype": row.dtype, "seed": row.seed, **facts}
    newest = {name: value for name, value in sessions[-1].items() if name != "runs"} if sessions else {}
    machine = {name: _of_all([session.get(name) for session in sessions]) for name in OF_MACHINES & newest.keys()}
    packages = [cast("dict[str, Any]", session.get("packages") or {}) for session in sessions]
    if "packages" in newest:
        machine["packages"] = {name: _of_all([own.get(name) for own in packages]) for name in packages[-1]}
    return {**newest, **machine, "runs": runs}


def _of_all(values: Sequence[object]) -> object:
    """The value that all calls have, or the list of those that they have."""
    different = [value for index, value in enumerate(values) if value not in values[:index]]
    return different[0] if len(different) == 1 else different


def _facts(first: Mapping[str, Any], second: Mapping[str, Any], path: str = "") -> Iterator[Fact]:
    for name in dict.fromkeys([*first, *second]):
        one, other = first.get(name), second.get(name)
        if name in IGNORED or one == other:
            continue
        if isinstance(one, dict) and isinstance(other, dict):
            yield from _facts(cast("dict[str, Any]", one), cast("dict[str, Any]", other), f"{path}{name}.")
        else:
            yield Fact(f"{path}{name}", one, other)
