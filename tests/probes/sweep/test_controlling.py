"""The controls of a sweep: done once, done over when they depend on something new, and never half."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from probes.errors import InputError
from probes.records import open_run
from probes.records.check import check
from probes.sweep import controlling
from probes.sweep.interface import Options
from probes.sweep.run import run_sweep
from tests.probes.conftest import MakeSpec
from tests.tolerances import REBATCHED

N = 16  # six more still fit the context of the tiny model


def files(directory: Path) -> dict[Path, bytes]:
    return {
        path.relative_to(directory): path.read_bytes()
        for path in directory.rglob("*")
        if path.is_file() and path.name != ".lock"
    }


def controlled(directory: Path):
    records = open_run(directory)
    (run_id,) = records.runs()["run_id"]
    return records, records.facts(str(run_id))["controls"]


def test_a_sweep_ends_with_its_controls_and_does_nothing_twice(make_spec: MakeSpec, tmp_path: Path) -> None:
    run_sweep(make_spec(N, controls="default"), tmp_path / "run")
    records, facts = controlled(tmp_path / "run")
    assert sum(facts["groups"].values()) == N
    assert all(group.startswith("items/in/") for group in facts["reference"])
    assert set(records.populations()["group"]) == set(facts["groups"])
    rows = records.measurements()
    assert {"raw", "centred", "without_top(1)", "without_argmax_row"} <= set(rows["basis"])
    keys = [column for column in rows.columns if column not in ("value", "n_undefined", "token")]
    assert not rows.duplicated(keys).any()
    assert list(records.runs()["status"]) == ["done"]
    before = files(tmp_path / "run")
    run_sweep(make_spec(N, controls="default"), tmp_path / "run")
    assert files(tmp_path / "run") == before
    assert check(tmp_path / "run") == []


def test_controls_are_the_same_bytes_whatever_the_batches(make_spec: MakeSpec, tmp_path: Path) -> None:
    spec = make_spec(N, controls="default")
    for name, options in (("one", Options()), ("two", Options())):
        run_sweep(spec, tmp_path / name, options)
    parts = [
        {path: data for path, data in files(tmp_path / name).items() if path.parts[0] == "populations"}
        for name in ("one", "two")
    ]
    assert parts[0] == parts[1] != {}


def test_a_sweep_that_dies_in_its_controls_does_them_whole_when_it_goes_on(
    make_spec: MakeSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = make_spec(N, controls="default")
    run_sweep(spec, tmp_path / "whole")

    def dies(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(controlling, "control", dies)
        with pytest.raises(KeyboardInterrupt):
            run_sweep(spec, tmp_path / "parts")
    assert open_run(tmp_path / "parts").populations().empty
    run_sweep(spec, tmp_path / "parts")
    for name in ("populations", "measurements", "outcomes"):
        one, other = (getattr(open_run(tmp_path / part), name)() for part in ("whole", "parts"))
        np.testing.assert_array_equal(one["value"], other["value"])


def test_more_items_have_the_controls_done_over_in_place_of_the_old(make_spec: MakeSpec, tmp_path: Path) -> None:
    run_sweep(make_spec(N, controls="default"), tmp_path / "run")
    run_sweep(make_spec(N + 6, controls="default"), tmp_path / "run")
    records, facts = controlled(tmp_path / "run")
    assert sum(facts["groups"].values()) == N + 6
    rows = records.measurements()
    assert not rows.duplicated(
        [column for column in rows.columns if column not in ("value", "n_undefined", "token")]
    ).any()
    run_sweep(make_spec(N + 6, controls="default"), tmp_path / "whole")
    again, _ = controlled(tmp_path / "whole")
    one, other = (
        r.populations().sort_values(["site", "layer", "group", "position", "metric", "unit"]) for r in (records, again)
    )
    np.testing.assert_allclose(one["value"], other["value"], rtol=REBATCHED, equal_nan=True)
    assert check(tmp_path / "run") == []


@pytest.mark.parametrize("changes", [{"controls": "none"}, {"controls": "default", "positions": ["all"]}])
def test_none_and_every_token_have_no_controls(make_spec: MakeSpec, tmp_path: Path, changes: dict[str, object]) -> None:
    run_sweep(make_spec(N, **changes), tmp_path / "run")
    records = open_run(tmp_path / "run")
    assert records.populations().empty
    assert "controls" not in records.facts(str(records.runs()["run_id"][0]))


def test_what_controls_cannot_cope_with_costs_no_measurement(
    make_spec: MakeSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: object) -> None:
        raise ValueError("a strange\nmodel")

    monkeypatch.setattr(controlling, "control", fails)
    with pytest.warns(UserWarning, match="no controls for .* x items: ValueError: a strange model"):
        result = run_sweep(make_spec(N, controls="default"), tmp_path / "run")
    assert (result.n_measured, result.n_failed) == (N, 0)
    records, facts = controlled(tmp_path / "run")
    assert facts["skipped"] == {"everything": "ValueError: a strange model"}
    assert len(records.measurements()) > 0


def test_a_misspelt_control_is_refused(make_spec: MakeSpec) -> None:
    with pytest.raises(InputError, match="controls"):
        make_spec(controls="defualt")
