"""Compaction: fewer parts, the same rows, and no moment at which they are there twice or not at all."""

from pathlib import Path

import pandas as pd
import pyarrow as pa
import pytest

from analyses.reporting.opening import open_sweeps
from probes.records import open_run
from probes.records.compaction import compact
from probes.records.integrity import check
from probes.records.layout import in_order, read_rows
from probes.records.schema import SCHEMAS
from probes.records.sessions import sessions_in
from probes.records.store import Writer, committed
from probes.sweep.interface import Options
from probes.sweep.run import run_sweep
from tests.probes.conftest import MakeSpec
from tests.probes.records.test_store import measurements, outcomes
from tests.probes.sweep.test_run import assert_same


def test_a_compacted_sweep_holds_the_same_rows_and_goes_on(make_spec: MakeSpec, tmp_path: Path) -> None:
    for name in ("one", "other"):
        run_sweep(make_spec(n=5), tmp_path / name, Options(batch_size=2))
        run_sweep(make_spec(n=7, metrics=["gini"]), tmp_path / name, Options(batch_size=2))
    before, after = compact(tmp_path / "other")
    assert after < before
    assert len(committed(tmp_path / "other")) == 1
    assert check(tmp_path / "other") == []
    assert_same(tmp_path / "one", tmp_path / "other")
    for name in ("one", "other"):
        run_sweep(make_spec(n=9), tmp_path / name, Options(batch_size=2))
    assert_same(tmp_path / "one", tmp_path / "other")


def test_shards_are_one_sweep_and_join_into_one_folder(make_spec: MakeSpec, tmp_path: Path) -> None:
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    run_sweep(make_spec(n=10), whole, Options(batch_size=1))
    n_items = []
    for index in range(3):
        run_sweep(make_spec(n=10), parts, Options(batch_size=1, shard=(index, 3)))
        n_items.append(len(open_run(parts / f"shard-{index}").examples()))
        if index == 1:
            assert str(open_run(parts).shards) == "shards 0, 1 of 3 are there; 1 is missing"
            assert list(open_run(parts).runs()["status"]) == ["incomplete"]
            assert "of 3 shards of parts, 2 have written nothing yet" in open_sweeps([parts]).notes[0]
    assert sum(n_items) == 10
    assert min(n_items) > 0
    assert_same(whole, parts)
    assert (
        run_sweep(make_spec(n=10), parts, Options(shard=(0, 2))).n_measured == 0
    )  # whose share it was does not matter
    compact(parts)
    assert {commit.folder for commit in committed(parts)} == {parts}
    assert (parts / "sweep.yaml").read_text() == (whole / "sweep.yaml").read_text()
    assert [session["shard"] for session in sessions_in(parts)] == ["0/3", "1/3", "2/3"]
    assert run_sweep(make_spec(n=10), parts).n_measured == 0
    assert_same(whole, parts)


def test_who_reads_keeps_what_was_there_when_it_began(make_spec: MakeSpec, tmp_path: Path) -> None:
    for n in (2, 4):
        run_sweep(make_spec(n=n), tmp_path / "run", Options(batch_size=2))
    reader = open_run(tmp_path / "run")
    compact(tmp_path / "run")
    run_sweep(make_spec(n=7), tmp_path / "run", Options(batch_size=2))
    assert len(reader.examples()) == reader.measurements()["example_id"].nunique() == 4
    assert len(open_run(tmp_path / "run").examples()) == 7
    del reader
    compact(tmp_path / "run")
    assert len(committed(tmp_path / "run")) == len(list((tmp_path / "run" / "commits").glob("*.json"))) == 1


def test_the_call_that_closes_shards_is_on_record(make_spec: MakeSpec, tmp_path: Path) -> None:
    for index in (0, 1):
        run_sweep(make_spec(n=1), tmp_path / "run", Options(shard=(index, 2)))  # one of them has no items
    assert str(open_run(tmp_path / "run").shards) == "shards 0, 1 of 2 are there; none is missing"
    assert not (tmp_path / "run" / "manifest.json").exists()
    run_sweep(make_spec(n=1), tmp_path / "run")
    assert [session["shard"] for session in sessions_in(tmp_path / "run")] == [None]
    assert (tmp_path / "run" / "sweep.yaml").exists()
    assert open_run(tmp_path / "run").shards is None


def test_a_compaction_that_dies_before_tidying_up_doubles_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Writer.open(tmp_path) as writer:
        writer.commit({"outcomes": outcomes(1.0)})
        writer.commit({"outcomes": outcomes(2.0)})

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("probes.records.compaction.remove_replaced", killed)
        with pytest.raises(KeyboardInterrupt):
            compact(tmp_path)
    assert len(list((tmp_path / "commits").glob("*.json"))) == 3
    assert sorted(open_run(tmp_path).outcomes()["value"]) == [1.0, 2.0]
    compact(tmp_path)
    assert sorted(open_run(tmp_path).outcomes()["value"]) == [1.0, 2.0]
    assert len(list((tmp_path / "outcomes").iterdir())) == 1


def test_reading_skips_parts_of_a_file_that_cannot_hold_what_is_wanted(tmp_path: Path) -> None:
    names = {f"s:{index:05d}": index / 1e5 for index in range(40_000)}
    rows = pa.concat_tables([measurements("hoyer", names), measurements("gini", names)]).unify_dictionaries()
    with Writer.open(tmp_path) as writer:
        commit = writer.commit({"measurements": rows})
    file = str(tmp_path / commit.parts[0].file)
    found = read_rows("measurements", [file], {"metric": ["gini"]}).to_pandas()
    expected = rows.to_pandas()
    pd.testing.assert_frame_equal(
        found.astype({"metric": str}),
        expected[expected["metric"] == "gini"].reset_index(drop=True).astype({"metric": str}),
    )
    assert in_order("measurements", rows).column("metric")[0].as_py() == "gini"
    assert read_rows("measurements", [file], {"layer": [7]}).num_rows == 0
    assert read_rows("measurements", [], {}).schema == SCHEMAS["measurements"]
