"""What a report costs: a run of 1,000,000 rows from its files to the page, in its own process; and the bootstrap."""

from __future__ import annotations

import json
import math
import resource
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa

from analyses.statistics.groups import cluster_means
from analyses.statistics.resampling import MANY_CLUSTERS, RESAMPLES_OF_MANY
from probes.records.schema import SCHEMAS, Table
from probes.records.store import Writer
from tests.analyses.sweeps import DOMAIN, STEPS, Sweep, exposure, make_sweep, merge

ITEMS_PER_LEVEL = 1202  # x 8 levels x 13 places x 8 metrics = 1,000,064 rows
N_LAYERS = 12
METRICS = (
    "gini",
    "hoyer",
    "top_k_energy(0.05)",
    "top_k_energy(0.1)",
    "effective_dimension_l1",
    "effective_dimension_l2",
    "participation_ratio",
    "l2_norm",
)
RESAMPLES = 2_000
MEGABYTE = 1 << 20


def main() -> None:
    """Print a table."""
    with tempfile.TemporaryDirectory() as folder:
        directory = Path(folder) / "run"
        sweep = exposure(np.random.default_rng(0), n_per_level=ITEMS_PER_LEVEL, n_layers=N_LAYERS, metrics=METRICS)
        write(sweep, directory)
        done = subprocess.run(
            [sys.executable, "-m", "tests.benchmarks.report", str(directory)],
            capture_output=True,
            text=True,
            check=True,
        )
        print(f"report of {len(sweep.measurements()):,} rows: {done.stdout.strip()}; budget 10 s, 2048 MB, 5 MB")
        directory = Path(folder) / "suites"
        write(five_suites(), directory)
        done = subprocess.run(
            [sys.executable, "-m", "tests.benchmarks.report", str(directory)],
            capture_output=True,
            text=True,
            check=True,
        )
        print(
            f"report of one model of 30 layers x 5 suites: {done.stdout.strip()}; budget 20 s CPU, 3 MB HTML, 8 MB JSON"
        )
    values = np.random.default_rng(0).normal(size=(10_000, 12 * 8))
    for n_clusters, resamples in ((MANY_CLUSTERS - 1, RESAMPLES), (len(values), RESAMPLES_OF_MANY)):
        clusters = np.arange(len(values)) % n_clusters
        began = time.perf_counter()
        cluster_means(values, clusters, resamples=RESAMPLES, rng=np.random.default_rng(0))
        took = time.perf_counter() - began
        print(
            f"bootstrap of {resamples:,} resamples x 10,000 items in {n_clusters:,} clusters x 96 columns: "
            f"{took:.1f} s; budget 20 s"
        )


def five_suites() -> Sweep:
    """Three graded suites and two of domains, one of eight, at the shape of SmolLM2 and two positions."""
    rng = np.random.default_rng(0)
    shape = {"rng": rng, "n_per_level": 24, "n_layers": 30, "metrics": METRICS}
    parts: list[Sweep] = []
    for position in ("last", "mean"):
        for name, n in (("steps", 7), ("options", 5), ("sets", 2)):
            levels = [(str(place), float(place), "in") for place in range(n)]
            axis = replace(STEPS, name=name)
            parts.append(make_sweep(axis, levels, effect=_turning, suite=name, position=position, **shape))
        for name, n in (("domains", 8), ("languages", 4)):
            levels = [(f"{name} {place}", math.nan, "shifted" if place else "in") for place in range(n)]
            axis = replace(DOMAIN, name=name)
            parts.append(make_sweep(axis, levels, effect=_turning, suite=name, position=position, **shape))
    tables = merge(*parts).tables
    for name in ("runs", "examples", "inputs", "outcomes"):
        keys = [key for key in ("run_id", "example_id", "name") if key in tables[name]]
        tables[name] = tables[name].drop_duplicates(keys, ignore_index=True)
    return Sweep(tables)


def _turning(_: str, layer: int) -> float:
    """Denser in early layers, sparser in late ones."""
    return 0.02 * (layer - 15)


def write(sweep: Sweep, directory: Path) -> None:
    """A sweep in memory as a sweep directory."""
    with Writer.open(directory) as writer:
        writer.commit(tables_of(sweep))


def tables_of(sweep: Sweep) -> dict[Table, pa.Table]:
    """The tables of a sweep in memory as they are stored, widths in the facts of the run."""
    tables = {name: rows for name, rows in sweep.tables.items() if len(rows) and name in SCHEMAS}
    tables["inputs"] = tables["inputs"].assign(token_ids=[[0]] * len(tables["inputs"]), char_starts=None)
    facts = [json.loads(text) for text in tables["runs"]["spec_json"]]
    sites = [str(site) for site in tables["measurements"]["site"].unique()]
    with_widths = [json.dumps({**own, "widths": dict.fromkeys(sites, own["d_model"])}) for own in facts]
    tables["runs"] = tables["runs"].assign(spec_json=with_widths)
    # columns that a table has got since are empty, as in a sweep written before
    return {
        name: pa.Table.from_pandas(
            rows.assign(**dict.fromkeys(column for column in SCHEMAS[name].names if column not in rows)),
            schema=SCHEMAS[name],
            preserve_index=False,
        )
        for name, rows in tables.items()
    }


def once(directory: str) -> None:
    """One report; seconds of CPU and of the clock from after the imports, peak memory, size of the page."""
    from analyses import report

    began, cpu = time.perf_counter(), time.process_time()
    written = report(directory)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    size = written.html.stat().st_size / MEGABYTE
    print(
        f"{time.process_time() - cpu:.1f} s CPU, {time.perf_counter() - began:.1f} s clock, {peak:.0f} MB peak, "
        f"{size:.1f} MB of HTML, {written.html.with_name('findings.json').stat().st_size / MEGABYTE:.1f} MB of JSON"
    )


if __name__ == "__main__":
    once(sys.argv[1])
