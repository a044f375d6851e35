"""Two sweeps of one model are one sweep in two places: nothing is counted twice, nothing different is merged."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pytest

from probes.errors import InputError
from probes.records import Records, open_run
from probes.records.cells import Block, Done
from probes.records.schema import SCHEMAS, token_measurements
from probes.records.store import Writer
from tests.probes.records.test_store import measurements

BLOCK = Block(sites=("resid_post.0",), bases=("raw",), positions=("last",), metrics=("hoyer@1",))


def sweep(
    folder: Path,
    values: dict[str, float],
    metric: str = "hoyer",
    texts: dict[str, str] | None = None,
    version: str = "1",
) -> Path:
    """A sweep of run ``r``: one metric of some items, its controls in basis ``pca``, and one token of each item."""
    run: dict[str, Any] = {
        "run_id": "r",
        "model": "m",
        "suite": "s",
        "suite_version": version,
        "started": "1",
        "status": "done",
    }
    items = [{"example_id": item, "suite": "s", "text": (texts or {}).get(item, item)} for item in values]
    rows = [
        measurements(metric, values),
        measurements(metric, {item: -value for item, value in values.items()}, basis="pca"),
    ]
    keys = {"run_id": "r", "site": "resid_post", "layer": 0, "unit": -1, "basis": "raw", "token": 3}
    tokens = [{**keys, "example_id": item, metric: value} for item, value in values.items()]
    with Writer.open(folder) as writer:
        writer.commit(
            {
                "runs": pa.Table.from_pylist([run], schema=SCHEMAS["runs"]),
                "examples": pa.Table.from_pylist(items, schema=SCHEMAS["examples"]),
                "measurements": pa.concat_tables(rows),
                "token_measurements": pa.Table.from_pylist(tokens, schema=token_measurements([metric])),
            },
            [Done("r", tuple(values), BLOCK)],
        )
    return folder


def values(records: Records, **asked: Any) -> dict[tuple[str, str], float]:
    rows = records.measurements(**asked)
    assert not rows.duplicated(["example_id", "metric", "basis"]).any()
    return {(str(row.example_id), str(row.metric)): float(row.value) for row in rows.itertuples()}


def test_what_both_hold_is_there_once_and_what_one_holds_is_added(tmp_path: Path) -> None:
    one = sweep(tmp_path / "one", {"s:0": 1.0, "s:1": 2.0})
    other = sweep(tmp_path / "other", {"s:1": 5.0, "s:2": 3.0})
    both = open_run(one, other)
    assert values(both) == {("s:0", "hoyer"): 1.0, ("s:1", "hoyer"): 2.0, ("s:2", "hoyer"): 3.0}
    assert list(both.examples()["example_id"]) == ["s:0", "s:1", "s:2"]
    assert list(both.runs()["run_id"]) == ["r"]
    pd.testing.assert_frame_equal(open_run(one, one).measurements(), open_run(one).measurements())


def test_controls_come_whole_from_one_sweep(tmp_path: Path) -> None:
    one = sweep(tmp_path / "one", {"s:0": 1.0})
    other = sweep(tmp_path / "other", {"s:1": 5.0})
    assert values(open_run(one, other), basis="pca") == {("s:0", "hoyer"): -1.0}
    assert values(open_run(other, one), basis="pca") == {("s:1", "hoyer"): -5.0}


def test_metrics_of_a_token_stand_beside_each_other(tmp_path: Path) -> None:
    one = sweep(tmp_path / "one", {"s:0": 1.0})
    other = sweep(tmp_path / "other", {"s:0": 4.0}, metric="gini")
    rows = open_run(one, other).token_measurements()
    assert rows[["example_id", "hoyer", "gini"]].to_numpy().tolist() == [["s:0", 1.0, 4.0]]
    assert values(open_run(one, other)) == {("s:0", "hoyer"): 1.0, ("s:0", "gini"): 4.0}


def test_one_name_for_two_texts_is_refused(tmp_path: Path) -> None:
    one = sweep(tmp_path / "one", {"s:0": 1.0, "s:1": 2.0})
    other = sweep(tmp_path / "other", {"s:1": 2.0}, texts={"s:1": "something else"})
    with pytest.raises(InputError, match=r"1 items of one name ask something else in .*other, 's:1' first"):
        open_run(one, other)


def test_items_made_for_each_model_may_differ(tmp_path: Path) -> None:
    one = sweep(tmp_path / "one", {"s:0": 1.0}, version="1+model-a")
    other = sweep(tmp_path / "other", {"s:0": 2.0}, texts={"s:0": "padded for b"}, version="1+model-b")
    assert len(open_run(one, other).examples()) == 1
    newer = sweep(tmp_path / "newer", {"s:0": 2.0}, texts={"s:0": "of another version"}, version="2")
    with pytest.raises(InputError, match="ask something else"):
        open_run(one, newer)
