"""The controls of a sweep: done once, done over when they depend on something new, and never half."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from probes.errors import InputError
from probes.models.loading import LoadedModel
from probes.records import open_run
from probes.records.integrity import check
from probes.sweep import controlling, handover
from probes.sweep.handover import Handover
from probes.sweep.interface import Options, Progress
from probes.sweep.planning.surveys import survey
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
    return records, records.facts(str(run_id)).controls


def test_a_sweep_ends_with_its_controls_and_does_nothing_twice(make_spec: MakeSpec, tmp_path: Path) -> None:
    run_sweep(make_spec(N, controls="default"), tmp_path / "run")
    records, facts = controlled(tmp_path / "run")
    assert sum(facts["groups"].values()) == N
    assert all(group.startswith("items/in/") for group in facts["reference"])
    assert set(records.populations()["group"]) == {*facts["groups"], "items"}  # of the whole suite: outliers
    rows = records.measurements(basis=None)
    assert {"raw", "centred", "without_top(1)", "without_argmax_row"} <= set(rows["basis"])
    keys = [column for column in rows.columns if column not in ("value", "n_undefined", "token")]
    assert not rows.duplicated(keys).any()
    assert list(records.runs()["status"]) == ["done"]
    before = files(tmp_path / "run")
    run_sweep(make_spec(N, controls="default", controls_budget="unlimited"), tmp_path / "run")
    assert files(tmp_path / "run") == before
    assert check(tmp_path / "run") == []


SMALL = {"metrics": ["hoyer"], "positions": ["last"], "outcomes": [], "controls": "default"}


def values(directory: Path) -> dict[str, list[float]]:
    records = open_run(directory)
    found: dict[str, list[float]] = {}
    tables = {
        "populations": records.populations(),
        "measurements": records.measurements(basis=None),
        "outcomes": records.outcomes(),
    }
    for name, rows in tables.items():
        keys = [key for key in rows.columns if key not in {"value", "n_undefined", "token", "run_id", "n_vectors"}]
        found[name] = rows.astype(dict.fromkeys(keys, str)).sort_values(keys)["value"].tolist()
    return found


def test_states_are_handed_over_and_give_what_reading_again_gives(
    make_spec: MakeSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Bit for bit: handed over, read again, and measured in two calls; some items of the reservoir fail."""
    asked = ["outliers", "bases", "readout"]
    spec = make_spec(N, metrics=["hoyer"], positions=["last", "mean"], outcomes=[], controls=asked, min_tokens=12)
    options = Options(batch_size=3)
    passes: list[int] = []
    run = LoadedModel.run
    monkeypatch.setattr(LoadedModel, "run", lambda self, batch: passes.append(len(batch.ids)) or run(self, batch))
    run_sweep(spec, tmp_path / "handed", options)
    monkeypatch.setattr(Handover, "keeper", lambda *_: None)
    once, passes = sum(passes), []
    run_sweep(spec, tmp_path / "again", options)
    failed = set(open_run(tmp_path / "again").failures()["example_id"])
    assert 0 < len(failed) < N
    assert sum(passes) == once + N - len(failed)
    monkeypatch.undo()
    run_sweep(spec, tmp_path / "halves", options, should_stop=lambda: True)
    run_sweep(spec, tmp_path / "halves", options)
    handed = values(tmp_path / "handed")
    for other in ("again", "halves"):
        assert str(values(tmp_path / other)) == str(handed), other  # text: NaN is what it is


def test_a_run_without_room_is_read_again(make_spec: MakeSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(handover, "MOST_BYTES", 1000)
    spec = make_spec(N, controls="default")
    (plan,), model = survey(spec, tmp_path, Options())
    assert model is not None
    assert Handover(spec, [plan]).reserve(plan.run, model) is None


def test_controls_that_are_killed_go_on_where_they_were(
    make_spec: MakeSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = make_spec(N, **SMALL)
    run_sweep(spec, tmp_path / "whole")
    monkeypatch.setattr(controlling, "FLUSH_SECONDS", 0.0)
    compute = controlling.Stage.cell
    computed: list[str] = []

    def dies_at_third(stage: controlling.Stage, cell: str) -> controlling.Controls:
        if len(computed) == 2:
            raise KeyboardInterrupt
        computed.append(cell)
        return compute(stage, cell)

    with monkeypatch.context() as patched:
        patched.setattr(controlling.Stage, "cell", dies_at_third)
        with pytest.raises(KeyboardInterrupt):
            run_sweep(spec, tmp_path / "parts")
    assert computed == ["outliers", "final_norm"]
    assert list(open_run(tmp_path / "parts").runs()["status"]) == ["measured"]
    monkeypatch.setattr(controlling.Stage, "cell", lambda stage, cell: computed.append(cell) or compute(stage, cell))
    run_sweep(spec, tmp_path / "parts")
    assert sorted(computed) == sorted(set(computed))  # nothing twice
    assert list(open_run(tmp_path / "parts").runs()["status"]) == ["done"]
    for name, whole in values(tmp_path / "whole").items():
        np.testing.assert_array_equal(values(tmp_path / "parts")[name], whole)
    before = files(tmp_path / "parts")
    run_sweep(spec.model_copy(update={"sites": ("final_norm",)}), tmp_path / "parts")
    assert files(tmp_path / "parts") == before  # fewer sites take nothing away


def test_controls_stop_within_a_cell_and_say_how_far_they_are(make_spec: MakeSpec, tmp_path: Path) -> None:
    spec = make_spec(N, **SMALL)
    told: list[Progress] = []
    asked_in_controls = 0

    def should_stop() -> bool:
        nonlocal asked_in_controls
        asked_in_controls += bool(told) and told[-1].unit == "control cells" and told[-1].n_done == 1
        return asked_in_controls == 4  # not the first time after a cell: in the middle of the next

    result = run_sweep(spec, tmp_path / "run", on_progress=told.append, should_stop=should_stop)
    assert result.interrupted
    assert [(one.n_done, one.n_items) for one in told if one.unit == "control cells"] == [(0, 5), (1, 5)]
    assert list(open_run(tmp_path / "run").runs()["status"]) == ["measured"]
    assert set(open_run(tmp_path / "run").populations()["group"]) == {"items"}  # the outliers, whole
    assert not run_sweep(spec, tmp_path / "run").interrupted
    assert list(open_run(tmp_path / "run").runs()["status"]) == ["done"]


def test_what_the_budget_leaves_out_is_said_and_done_when_it_grows(
    make_spec: MakeSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(controlling, "LEAST_SECONDS", 0.0)
    with pytest.warns(UserWarning, match="5 of 5 control cells are left out.*controls_budget=unlimited"):
        run_sweep(make_spec(N, **SMALL, controls_budget=0), tmp_path / "run")
    records, facts = controlled(tmp_path / "run")
    assert facts["left_out"] == ["outliers", "final_norm", "readout", "resid_post.1", "resid_post.0"]
    assert list(records.runs()["status"]) == ["done"]
    (told,) = json.loads((tmp_path / "run" / "manifest.json").read_text())["sessions"][-1]["controls"].values()
    assert (told["n_cells"], told["left_out"], told["budget"]) == (5, facts["left_out"], 0)
    before = files(tmp_path / "run")
    run_sweep(make_spec(N, **SMALL, controls_budget=0), tmp_path / "run")
    assert files(tmp_path / "run") == before
    run_sweep(make_spec(N, **SMALL, controls_budget="unlimited"), tmp_path / "run")
    records, facts = controlled(tmp_path / "run")
    assert facts["left_out"] == []
    assert set(records.populations()["site"]) == {"resid_post", "final_norm"}


def test_one_cell_is_done_where_reading_the_reservoir_took_all_the_time(
    make_spec: MakeSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = iter([0.0])
    monkeypatch.setattr("probes.sweep.controlling._Work.seconds", lambda _: next(clock, 1e6))
    with pytest.warns(UserWarning, match="4 of 5 control cells are left out"):
        run_sweep(make_spec(N, **SMALL), tmp_path / "run")
    records, facts = controlled(tmp_path / "run")
    assert facts["left_out"] == ["final_norm", "readout", "resid_post.1", "resid_post.0"]
    assert set(records.populations()["group"]) == {"items"}  # the outliers


def test_more_items_have_the_controls_done_over_in_place_of_the_old(make_spec: MakeSpec, tmp_path: Path) -> None:
    run_sweep(make_spec(N, **SMALL), tmp_path / "run")
    run_sweep(make_spec(N + 6, **SMALL), tmp_path / "run")
    records, facts = controlled(tmp_path / "run")
    assert sum(facts["groups"].values()) == N + 6
    rows = records.measurements(basis=None)
    assert not rows.duplicated(
        [column for column in rows.columns if column not in ("value", "n_undefined", "token")]
    ).any()
    run_sweep(make_spec(N + 6, **SMALL), tmp_path / "whole")
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
    assert not records.facts(str(records.runs()["run_id"][0])).controls


def test_what_controls_cannot_cope_with_costs_no_measurement(
    make_spec: MakeSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: object) -> None:
        raise ValueError("a strange\nmodel")

    monkeypatch.setattr(controlling.Stage, "read", fails)
    with pytest.warns(UserWarning, match="no controls for .* x items: ValueError: a strange model"):
        result = run_sweep(make_spec(N, controls="default"), tmp_path / "run")
    assert (result.n_measured, result.n_failed) == (N, 0)
    records, facts = controlled(tmp_path / "run")
    assert facts["skipped"] == {"everything": "ValueError: a strange model"}
    assert len(records.measurements()) > 0


def test_a_misspelt_control_is_refused(make_spec: MakeSpec) -> None:
    with pytest.raises(InputError, match="controls"):
        make_spec(controls="defualt")
    with pytest.raises(InputError, match="pining"):
        make_spec(controls=["pining"])


def test_shards_give_the_populations_of_one_sweep(make_spec: MakeSpec, tmp_path: Path) -> None:
    """The sample is of all items, so sets and nulls wait for the call without a share; then they are the same."""
    spec = make_spec(n=12, positions=["last", "mean"], populations="default", nulls=["shuffle", "rotations"])
    run_sweep(spec, tmp_path / "whole", Options(batch_size=1))
    for index in range(3):
        run_sweep(spec, tmp_path / "parts", Options(batch_size=1, shard=(index, 3)))
    assert open_run(tmp_path / "parts").populations().empty
    run_sweep(spec, tmp_path / "parts", Options(batch_size=1))
    keys = ["run_id", "group", "site", "layer", "unit", "basis", "position", "metric"]
    one, union = (
        open_run(tmp_path / name).populations(basis=None).astype(dict.fromkeys(keys, str)).sort_values(keys)
        for name in ("whole", "parts")
    )
    assert len(one) > 100
    assert one.reset_index(drop=True).equals(union.reset_index(drop=True))
    few = one[(one["metric"] == "two_nn_dimension") & (one["n_vectors"].astype(int) < 3)]
    assert len(few) > 0  # two items of a group at ``last``
    assert few["value"].isna().all()
