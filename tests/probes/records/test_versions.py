"""Versions of metrics: rows of a formula that was changed are never taken for those of the new one."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from analyses.findings.registry import analyse
from analyses.reporting.opening import open_sweeps
from probes.errors import InputError
from probes.records import open_run
from probes.records.cells import Block, Done
from probes.records.compaction import compact
from probes.records.integrity import check
from probes.records.schema import SCHEMAS
from probes.records.versions import KEY, compatible, recorded
from probes.sweep.primary_means import level_means
from probes.sweep.run import run_sweep
from sparsity import METRICS
from tests.probes.conftest import MakeSpec

APART = 10.0  # what the planted version adds to hoyer, which is at most 1
PLACE = ["run_id", "example_id", "site", "layer", "position"]


@pytest.fixture
def raised(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Raise the version of hoyer: from then on it is ten more than it was."""
    old = METRICS["hoyer"]

    def kernel(x: Any) -> Any:
        return old.kernel(x) + APART

    def to_two() -> None:
        monkeypatch.setitem(vars(METRICS)["_entries"], "hoyer", replace(old, version=2, kernel=kernel))

    return to_two


def spec_of(make_spec: MakeSpec, n: int, **changes: Any) -> Any:
    return make_spec(n=n, sites=["final_norm"], positions=["last", "all"], **changes)


def go_on(spec: Any, directory: Path) -> None:
    with pytest.warns(UserWarning, match="hoyer in version 1: it is measured again in version 2"):
        run_sweep(spec, directory)


def test_versions_are_found_per_metric() -> None:
    done = [
        Done("r", ("a",), Block(metrics=("top_k_energy(0.1)@1", "gini@1"))),
        Done("r", ("b",), Block(metrics=("gini@2",))),
    ]
    assert recorded(done) == {"top_k_energy(0.1)": {"1"}, "gini": {"1", "2"}}


def test_files_that_one_pass_can_hold_together() -> None:
    files: list[tuple[str, dict[str, str]]] = [
        ("a", {"gini": "1"}),
        ("b", {"gini": "2"}),
        ("c", {}),
        ("d", {"gini": "2", "hoyer": "1"}),
    ]
    assert [own for own, _ in compatible(files)] == [["a", "c"], ["b", "d"]]


@pytest.mark.parametrize("compacted", [False, True])
def test_rows_of_a_sweep_that_went_on_in_another_version(
    compacted: bool, make_spec: MakeSpec, tmp_path: Path, raised: Callable[[], None]
) -> None:
    """Five items in version 1, seven in version 2; Gini, which did not change, is measured once."""
    directory = tmp_path / "run"
    run_sweep(spec_of(make_spec, 5), directory)
    old = open_run(directory).measurements(metric="hoyer")
    raised()
    assert len(open_run(directory).measurements(metric="hoyer@1")) == len(old), "an old sweep is read as it was"
    with pytest.raises(InputError, match="holds hoyer in version 1, not 2"):
        open_run(directory).measurements(metric="hoyer@2")
    if compacted:
        compact(directory)
    go_on(spec_of(make_spec, 7), directory)
    if compacted:
        compact(directory)
    assert check(directory) == []
    run = open_run(directory)
    assert run.versions == {"gini": {"1"}, "hoyer": {"1", "2"}}
    for asked in (None, "hoyer"):
        with pytest.raises(InputError, match=r"hoyer in versions 1 and 2.* ask for one of them, metric='hoyer@2'"):
            run.measurements(metric=asked)
    with pytest.raises(InputError, match="hoyer in versions 1 and 2"):
        run.token_measurements()
    first, second = (run.measurements(metric=f"hoyer@{version}").set_index(PLACE)["value"] for version in (1, 2))
    pd.testing.assert_series_equal(first.sort_index(), old.set_index(PLACE)["value"].sort_index())
    assert (len(first), len(second)) == (5, 7)
    np.testing.assert_allclose(second.loc[first.index], first + APART, rtol=1e-6)
    both = run.measurements(metric=["hoyer@1", "hoyer@2", "gini"])
    assert both["metric"].value_counts().to_dict() == {"hoyer@1": 5, "hoyer@2": 7, "gini": 7}
    tokens = run.token_measurements(metric=["hoyer@1", "hoyer@2"])
    assert (tokens["hoyer@1"].dropna() <= 1).all()
    assert (tokens["hoyer@2"].dropna() >= APART).all()
    assert tokens.groupby(["example_id", "token"], observed=True)["hoyer@2"].count().eq(1).all()
    assert "gini" not in tokens
    assert run_sweep(spec_of(make_spec, 7), directory).n_measured == 0


def test_a_part_says_its_versions_to_whoever_reads_parquet(
    make_spec: MakeSpec, tmp_path: Path, raised: Callable[[], None]
) -> None:
    run_sweep(spec_of(make_spec, 3, controls=["bases", "populations"]), tmp_path / "run")
    raised()
    go_on(spec_of(make_spec, 4), tmp_path / "run")
    compact(tmp_path / "run")
    seen = set[str]()
    for table in ("measurements", "token_measurements", "populations"):
        for file in (tmp_path / "run" / table).glob("*.parquet"):
            part = pq.read_table(file)
            told = dict(name.split("@") for name in json.loads(part.schema.metadata[KEY]))
            keys = SCHEMAS["token_measurements"].names
            own = set(part["metric"].to_pylist()) if "metric" in part.column_names else set(part.column_names) - {*keys}
            assert own - set(told) == set() or table == "populations"
            if table == "measurements" and "hoyer" in own:
                values = part.filter(np.array(part["metric"].to_pylist()) == "hoyer")["value"].to_numpy()
                values = values[~np.isnan(values)]
                assert len(values)
                assert (values > 1).all() if told["hoyer"] == "2" else (values <= 1).all()
                seen.add(told["hoyer"])
    assert seen == {"1", "2"}


def test_two_sweeps_in_two_versions_are_not_one_number(
    make_spec: MakeSpec, tmp_path: Path, raised: Callable[[], None]
) -> None:
    run_sweep(spec_of(make_spec, 5), tmp_path / "old")
    raised()
    run_sweep(spec_of(make_spec, 4), tmp_path / "new")
    both = open_run(tmp_path / "old", tmp_path / "new")
    with pytest.raises(InputError, match="hoyer in versions 1 and 2"):
        both.measurements()
    rows = both.measurements(metric=["hoyer@1", "hoyer@2"])
    assert rows["metric"].value_counts().to_dict() == {"hoyer@1": 5, "hoyer@2": 4}
    assert (rows.loc[rows["metric"] == "hoyer@2", "value"] >= APART).all()
    assert (rows.loc[rows["metric"] == "hoyer@1", "value"] <= 1).all()


def test_no_question_averages_two_versions(make_spec: MakeSpec, tmp_path: Path, raised: Callable[[], None]) -> None:
    run_sweep(spec_of(make_spec, 12), tmp_path / "run")
    raised()
    go_on(spec_of(make_spec, 9), tmp_path / "run")
    with pytest.raises(InputError, match="hoyer in versions 1 and 2"):
        analyse(open_run(tmp_path / "run"), "difficulty")
    run, notes = open_sweeps([tmp_path / "run"])
    assert "all numbers here are of version 2" in notes[0]
    rows = run.measurements()
    assert (rows.loc[rows["metric"] == "hoyer", "value"] >= APART).all()
    assert (run.token_measurements()["hoyer"].dropna() >= APART).all()
    finding = next(one for one in analyse(run, "difficulty") if one.primary)
    assert finding.scope.metric == "hoyer"
    assert finding.n == 9, "items that have no number in the newest version are not counted"
    means = level_means(tmp_path / "run", spec_of(make_spec, 9))
    assert means
    assert all(mean >= APART for name, mean in means.items() if "hoyer" in name)


def test_rows_that_an_earlier_toolkit_compacted_together_are_refused(
    make_spec: MakeSpec, tmp_path: Path, raised: Callable[[], None]
) -> None:
    """Without the files' word and with both versions in one commit, nobody can tell; alone, the commit does."""
    directory = tmp_path / "run"
    run_sweep(spec_of(make_spec, 3), directory)
    raised()
    go_on(spec_of(make_spec, 3), directory)
    unstamp(directory)
    run = open_run(directory)
    assert (run.measurements(metric="hoyer@2")["value"] >= APART).all()
    assert len(run.measurements(metric="hoyer@1")) == 3
    commits = sorted((directory / "commits").glob("*.json"))
    told = [json.loads(path.read_text()) for path in commits]
    whole = told[-1] | {"parts": [part for one in told for part in one["parts"]]}
    whole |= {"done": [entry for one in told for entry in one["done"]]}
    for path in commits[:-1]:
        path.unlink()
    commits[-1].write_text(json.dumps(whole))
    run = open_run(directory)
    assert len(run.measurements(metric="hoyer@1")) == len(run.measurements(metric="hoyer@2")) == 0
    assert len(run.measurements(metric="gini")) == 3


def unstamp(directory: Path) -> None:
    """Make the parts those of a toolkit that did not write versions."""
    for file in [*directory.glob("*measurements/*.parquet")]:
        part = pq.read_table(file)
        pq.write_table(part.replace_schema_metadata({b"schema_version": b"4"}), file)
