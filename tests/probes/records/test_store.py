"""The store: a commit is all or nothing, one writer at a time, and only what is committed exists."""

import json
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pytest

from probes.errors import InputError
from probes.records import open_run
from probes.records.cells import Block, Done
from probes.records.schema import SCHEMA_VERSION, SCHEMAS
from probes.records.store import Writer, read_commits, remove_replaced, write_atomically

BLOCK = Block(sites=("resid_post.0",), bases=("raw",), positions=("last",), metrics=("gini@1", "hoyer@1"))


def outcomes(*values: float) -> pa.Table:
    rows = [{"run_id": "r", "example_id": f"s:{i}", "name": "nll", "value": value} for i, value in enumerate(values)]
    return pa.Table.from_pylist(rows, schema=SCHEMAS["outcomes"])


def measurements(metric: str, values: dict[str, float], layer: int = 0, basis: str = "raw") -> pa.Table:
    rows = [
        {
            "run_id": "r",
            "example_id": item,
            "site": "resid_post",
            "layer": layer,
            "unit": -1,
            "basis": basis,
            "position": "last",
            "token": 3,
            "metric": metric,
            "value": value,
            "n_undefined": 0,
        }
        for item, value in values.items()
    ]
    return pa.Table.from_pylist(rows, schema=SCHEMAS["measurements"])


def test_rows_come_back_as_they_were_committed(tmp_path: Path) -> None:
    with Writer.open(tmp_path) as writer:
        writer.commit({"outcomes": outcomes(1.5, 2.5)}, [Done("r", ("s:0", "s:1"), BLOCK)])
        writer.commit({"outcomes": outcomes(3.5)})
    assert list(open_run(tmp_path).outcomes()["value"]) == [1.5, 2.5, 3.5]
    assert open_run(tmp_path).done("r") == [Done("r", ("s:0", "s:1"), BLOCK)]


def test_every_table_round_trips_its_schema(tmp_path: Path) -> None:
    with Writer.open(tmp_path) as writer:
        writer.commit({"outcomes": outcomes(1.0)})
    records = open_run(tmp_path)
    for table, schema in SCHEMAS.items():
        if table != "states":  # read as arrays, by a method with arguments of its own
            assert list(getattr(records, table)().columns) == schema.names


def test_reading_filters_by_every_name(tmp_path: Path) -> None:
    with Writer.open(tmp_path) as writer:
        writer.commit({"measurements": measurements("gini", {"s:0": 0.1, "s:1": 0.2})})
        writer.commit({"measurements": measurements("hoyer", {"s:0": 0.3}, layer=1)})
    records = open_run(tmp_path)
    assert list(records.measurements(metric="hoyer")["layer"]) == [1]
    assert list(records.measurements(layer=[0])["metric"]) == ["gini", "gini"]
    assert len(records.measurements(site="resid_post", position="last")) == 3


def test_a_part_without_its_commit_does_not_exist(tmp_path: Path) -> None:
    with Writer.open(tmp_path) as writer:
        writer.commit({"outcomes": outcomes(1.0)})
    # what a death between part and commit leaves behind
    (tmp_path / "outcomes" / "000002.parquet").write_bytes((tmp_path / "outcomes" / "000001.parquet").read_bytes())
    assert list(open_run(tmp_path).outcomes()["value"]) == [1.0]
    with Writer.open(tmp_path) as writer:
        writer.commit({"outcomes": outcomes(7.0)})
    assert list(open_run(tmp_path).outcomes()["value"]) == [1.0, 7.0]


def test_a_failing_disk_leaves_no_commit_and_no_litter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Writer.open(tmp_path) as writer:
        writer.commit({"outcomes": outcomes(1.0)})

        def full(_: int) -> None:
            raise OSError(28, "No space left on device")

        with monkeypatch.context() as patch:
            patch.setattr("probes.records.store.os.fsync", full)
            with pytest.raises(InputError, match="No space left on device; what was committed stands"):
                writer.commit({"outcomes": outcomes(2.0)})
        assert list(tmp_path.rglob("*.tmp")) == []
        writer.commit({"outcomes": outcomes(3.0)})
    assert list(open_run(tmp_path).outcomes()["value"]) == [1.0, 3.0]


def test_a_second_process_is_refused_and_told_who_writes(tmp_path: Path) -> None:
    code = f"import pathlib, probes.records.store as s\nwith s.Writer.open(pathlib.Path({str(tmp_path)!r})): pass"
    with Writer.open(tmp_path):
        refused = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "is being written by process" in refused.stderr
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, check=False).returncode == 0


def test_another_schema_is_refused(tmp_path: Path) -> None:
    with Writer.open(tmp_path) as writer:
        writer.commit({"outcomes": outcomes(1.0)})
    path = tmp_path / "commits" / "000001.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "schema": SCHEMA_VERSION + 1}))
    with pytest.raises(InputError, match="has table schema 6 and this version reads 1 and 2 and 3 and 4 and 5"):
        read_commits(tmp_path)
    path.write_text("{}")
    with pytest.raises(InputError, match="not a commit file"):
        read_commits(tmp_path)


def test_a_directory_without_commits_is_no_sweep(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="not a sweep directory"):
        open_run(tmp_path)


def test_two_versions_of_a_metric_are_not_mixed(tmp_path: Path) -> None:
    newer = Block(sites=("resid_post.0",), bases=("raw",), positions=("last",), metrics=("gini@2",))
    with Writer.open(tmp_path) as writer:
        writer.commit({"measurements": measurements("gini", {"s:0": 0.1})}, [Done("r", ("s:0",), BLOCK)])
        writer.commit({"measurements": measurements("gini", {"s:1": 0.1})}, [Done("r", ("s:1",), newer)])
    records = open_run(tmp_path)
    with pytest.raises(InputError, match="gini in versions 1 and 2"):
        records.measurements(metric="gini")
    with pytest.raises(InputError, match="gini in versions 1 and 2"):
        records.measurements()
    with pytest.raises(InputError, match="holds hoyer in version 1, not 2"):
        records.measurements(metric="hoyer@2")
    assert len(records.measurements(metric="hoyer")) == 0


def test_a_retried_failure_is_no_failure(tmp_path: Path) -> None:
    def failed(error: str) -> pa.Table:
        row = {"run_id": "r", "example_id": "s:0", "stage": "forward", "error": error}
        return pa.Table.from_pylist([row], schema=SCHEMAS["failures"])

    with Writer.open(tmp_path) as writer:
        writer.commit({"failures": failed("once")}, [Done("r", ("s:0",), BLOCK, failed=True)])
        assert list(open_run(tmp_path).failures()["error"]) == ["once"]
        writer.commit({"failures": failed("twice")}, [Done("r", ("s:0",), BLOCK, failed=True)])
        assert list(open_run(tmp_path).failures()["error"]) == ["twice"]
        writer.commit({"outcomes": outcomes(1.0)}, [Done("r", ("s:0",), BLOCK)])
    assert len(open_run(tmp_path).failures()) == 0


def test_an_interrupted_write_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "sweep.yaml"
    write_atomically(path, b"old")

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("probes.records.store.os.fsync", killed)
    with pytest.raises(KeyboardInterrupt):
        write_atomically(path, b"new")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_reader_sees_one_moment_whatever_is_written_meanwhile(tmp_path: Path) -> None:
    with Writer.open(tmp_path) as writer:
        first = writer.commit({"outcomes": outcomes(1.0)}, [Done("r", ("s:0",), BLOCK)])
        reader = open_run(tmp_path)
        writer.replace([first], {"outcomes": outcomes(7.0)}.items(), [Done("r", ("s:0",), BLOCK)])
        remove_replaced(tmp_path)
        assert list(reader.outcomes()["value"]) == [1.0]
        assert list(open_run(tmp_path).outcomes()["value"]) == [7.0]
        del reader
        remove_replaced(tmp_path)
    assert len(list((tmp_path / "outcomes").iterdir())) == 1


@pytest.mark.parametrize(("harm", "said"), [("cut", "truncated"), ("garble", "truncated"), ("lose", "missing")])
def test_a_part_that_cannot_be_read_is_one_line(tmp_path: Path, harm: str, said: str) -> None:
    row = {"run_id": "r", "example_id": "s:0", "site": "final_norm", "layer": 2, "position": "last", "dtype": "F32"}
    states = pa.Table.from_pylist([row | {"vector": bytes(16)}], schema=SCHEMAS["states"])
    with Writer.open(tmp_path) as writer:
        run = pa.Table.from_pylist(
            [{"run_id": "r", "model": "m", "suite": "s", "started": "1", "status": "done"}], schema=SCHEMAS["runs"]
        )
        writer.commit({"runs": run, "outcomes": outcomes(*range(100)), "states": states})
    for table in ("outcomes", "states"):
        (part,) = (tmp_path / table).iterdir()
        whole = part.read_bytes()
        part.write_bytes({"cut": whole[:-9], "garble": bytes(len(whole)), "lose": b""}[harm])
        if harm == "lose":
            part.unlink()
    for read in (open_run(tmp_path).outcomes, lambda: open_run(tmp_path).states("final_norm")):
        with pytest.raises(InputError, match=f"{said}.*`sparsity runs check {tmp_path}`"):
            read()
