"""Rows of ``populations``: what the substitutions and the measures of sets of vectors found, group by group."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import pandas as pd
import pyarrow as pa

from probes.controls.member_states import Sample
from probes.controls.substitution import Substitution
from probes.records.schema import SCHEMAS
from probes.vocabulary import names
from sparsity.population import population_profile

MOST_COORDINATES: Final = 64  # coordinates of largest share that get a row
EVERY_M: Final = 128  # the curve has a row for each m up to this, and then for about ten per doubling


@dataclass(frozen=True, slots=True)
class PopulationRows:
    """Rows in the making."""

    run_id: str
    rows: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])

    def add(
        self,
        group: str,
        sample: Sample,
        unit: int,
        metric: str,
        value: float,
        n_vectors: int,
        interval: tuple[float, float] = (np.nan, np.nan),
        *,
        basis: str = "raw",
        position: str | None = None,
    ) -> None:
        """One row."""
        self.rows.append(
            {
                "run_id": self.run_id,
                "group": group,
                "site": sample.site.name,
                "layer": sample.site.layer,
                "unit": unit,
                "basis": basis,
                "position": position or sample.position,
                "metric": metric,
                "value": float(value),
                "ci_low": float(interval[0]),
                "ci_high": float(interval[1]),
                "n_vectors": n_vectors,
            }
        )

    def add_substitution(
        self, group: str, sample: Sample, found: Substitution, n_vectors: int, *, of: str = ""
    ) -> None:
        """Add the share of each coordinate (or unit) in the change from the reference to a group, and its k50."""
        for name, single in ((names.SUBSTITUTION_CHANGE, found.change), (names.SUBSTITUTION_K50, found.k50)):
            interval = float(single.low), float(single.high)
            self.add(group, sample, -1, f"{of}{name}", float(single.value), n_vectors, interval)
        per_coordinate = {names.SUBSTITUTION_FORWARD: found.forward, names.SUBSTITUTION_BACKWARD: found.backward}
        share = np.abs(found.forward.value + found.backward.value)
        for name, rows in per_coordinate.items():
            for j in np.sort(np.argsort(-share, kind="stable")[:MOST_COORDINATES]):
                self.add(
                    group,
                    sample,
                    int(j),
                    f"{of}{name}",
                    float(rows.value[j]),
                    n_vectors,
                    (float(rows.low[j]), float(rows.high[j])),
                )
        for m in sizes(len(found.order)):
            at = (found.curve.low[m - 1], found.curve.high[m - 1])
            self.add(group, sample, m, f"{of}{names.SUBSTITUTION_CURVE}", found.curve.value[m - 1], n_vectors, at)

    def add_population(
        self,
        group: str,
        sample: Sample,
        vectors: np.ndarray,
        metrics: Sequence[str] | None = None,
        *,
        basis: str = names.RAW,
        unit: int = -1,
    ) -> None:
        """Measures of the group's vectors as a set; a resample repeats vectors, which biases ranks: no interval."""
        for name, value in population_profile(vectors, metrics).items():
            self.add(group, sample, unit, name, value, len(vectors), basis=basis)

    def table(self) -> pa.Table:
        """The rows as the table has them."""
        frame = pd.DataFrame(self.rows, columns=SCHEMAS["populations"].names)
        return pa.Table.from_pandas(frame, schema=SCHEMAS["populations"], preserve_index=False)


def sizes(d: int) -> Iterator[int]:
    """Numbers of coordinates at which the curve is written down.

    >>> list(sizes(3)), len(list(sizes(4096))) < 200
    ([1, 2, 3], True)
    """
    grid = np.unique(np.geomspace(EVERY_M, d, num=10 * max(1, int(np.log2(max(d / EVERY_M, 1)))) + 1).round())
    return iter(range(1, d + 1) if d <= EVERY_M else [*range(1, EVERY_M), *map(int, grid)])
