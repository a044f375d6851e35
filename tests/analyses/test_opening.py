"""Sweeps that can only be read in part, and several sweeps read as one."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from analyses import analyse, report
from analyses.reporting import headline
from analyses.reporting.opening import open_all, open_sweeps
from probes.errors import InputError
from probes.records.cells import Block, Done
from probes.records.schema import SCHEMAS
from probes.records.store import COMMITS, Writer
from probes.records.stored_states import StoredPlace
from tests.analyses.sweeps import exposure, text_domains
from tests.analyses.test_contributions import planted
from tests.benchmarks.report import tables_of, write


def small(**more):
    return exposure(np.random.default_rng(0), n_layers=1, metrics=("hoyer", "gini"), n_per_level=8, **more)


def ask_one(run, command, _progress):
    return analyse(run, "familiarity", reproduce=command)


def done(metrics):
    names = {"sites": ("final_norm",), "positions": ("last",), "metrics": metrics, "bases": ("raw",)}
    fields = Block.__dataclass_fields__
    return Done("run-lab_exposure", ("a",), Block(**{name: names.get(name, ()) for name in fields}), failed=False)


def renamed(sweep, run_id):
    """The same items asked in another way: another run of the same model."""
    for name, rows in sweep.tables.items():
        if "run_id" in rows and len(rows):
            sweep.tables[name] = rows.assign(run_id=pd.Categorical([run_id] * len(rows)))
    return sweep


def test_what_two_sweeps_of_one_model_share_is_counted_once(tmp_path):
    for name in ("first", "second"):
        write(small(), tmp_path / name)
    run, notes = open_sweeps([tmp_path / "first", tmp_path / "second"])
    assert notes == []
    assert list(run.runs()["model"]) == ["/models/toy"]
    for table in ("measurements", "examples", "inputs", "outcomes"):
        assert len(getattr(run, table)()) == len(getattr(small(), table)())


def test_two_runs_of_one_model_are_told_apart_by_their_sweeps(tmp_path):
    write(small(), tmp_path / "first")
    write(renamed(small(), "asked-otherwise"), tmp_path / "second")
    run, _ = open_sweeps([tmp_path / "first", tmp_path / "second"])
    assert sorted(run.runs()["model"]) == ["/models/toy [first]", "/models/toy [second]"]
    assert len(run.measurements()) == 2 * len(small().measurements())
    assert len(run.examples()) == len(small().examples())


def test_models_side_by_side_share_a_table_and_a_picture(tmp_path, monkeypatch):
    monkeypatch.setattr("analyses.reporting.writing.ask", ask_one)
    write(small(), tmp_path / "a")
    write(small(model="/models/other", effect=lambda *_: 0.0), tmp_path / "b")
    written = report([tmp_path / "a", tmp_path / "b"], tmp_path / "out" / "r.html", figures=["pdf"])
    text = written.html.read_text(encoding="utf-8")
    assert "Models side by side" in text
    assert "<dt>Reproduce</dt><dd><code>sparsity report " in text  # no single directory holds what stands here
    assert {finding.scope.model for finding in written.findings if finding.primary} == {"/models/toy", "/models/other"}
    assert "significantly sparser or denser in none of 2 models (toy, other)" in headline(written.findings)
    figures = tmp_path / "out" / "figures"
    assert (figures / "models-1.svg").is_file()
    assert (figures / "models-1.pdf").read_bytes().startswith(b"%PDF")


def test_different_items_of_one_name_are_refused(tmp_path):
    write(small(), tmp_path / "a")
    other = small()
    other.tables["examples"] = other.tables["examples"].assign(level=1.0)
    write(other, tmp_path / "b")
    with pytest.raises(InputError, match="items of one name have another level"):
        open_sweeps([tmp_path / "a", tmp_path / "b"])
    other = small()
    other.tables["examples"] = other.tables["examples"].assign(text="another text")
    write(other, tmp_path / "c")
    with pytest.raises(InputError, match="64 items of one name ask something else"):
        open_sweeps([tmp_path / "a", tmp_path / "c"])


def test_commits_of_another_schema_are_left_out_and_said(tmp_path):
    write(small(), tmp_path / "a")
    (first,) = (tmp_path / "a" / COMMITS).glob("*.json")
    content = json.loads(first.read_text(encoding="utf-8"))
    first.with_name("000002.json").write_text(json.dumps({**content, "schema": 99}), encoding="utf-8")
    run, notes = open_sweeps([tmp_path / "a"])
    assert len(run.measurements()) == len(small().measurements())
    assert "table schema 99" in notes[0]


def test_nothing_but_another_schema_is_refused_with_the_reason(tmp_path):
    write(small(), tmp_path / "a")
    (first,) = (tmp_path / "a" / COMMITS).glob("*.json")
    first.write_text(json.dumps({**json.loads(first.read_text(encoding="utf-8")), "schema": 99}), encoding="utf-8")
    with pytest.raises(InputError, match="schema 99"):
        open_sweeps([tmp_path / "a"])


def test_a_measure_in_two_versions_is_read_in_the_newest_and_said(tmp_path):
    whole = tables_of(small())
    rows = whole["measurements"].to_pandas()
    newer = rows[rows["metric"] == "hoyer"].assign(value=7.0)
    again = pa.Table.from_pandas(newer, schema=SCHEMAS["measurements"], preserve_index=False)
    with Writer.open(tmp_path / "a") as writer:
        writer.commit(whole, [done(("hoyer@1", "gini@1"))])
        writer.commit({"measurements": again}, [done(("hoyer@2",))])
    run, notes = open_sweeps([tmp_path / "a"])
    found = run.measurements()
    assert len(found) == len(rows)
    assert (found.loc[found["metric"] == "hoyer", "value"] == 7).all()
    assert not (found.loc[found["metric"] == "gini", "value"] == 7).any()
    assert "hoyer is recorded in versions 1 and 2" in notes[0]
    assert "of version 2" in notes[0]


def test_no_directory_is_one_line(tmp_path):
    with pytest.raises(InputError, match="not a sweep directory"):
        open_sweeps([Path(tmp_path)])


def test_domains_are_pooled_over_sweeps_of_one_model(tmp_path):
    write(text_domains(np.random.default_rng(0), names=("wikitext",), n_layers=1, metrics=("hoyer",)), tmp_path / "a")
    write(small(model="/models/toy"), tmp_path / "b")
    run, _ = open_sweeps([tmp_path / "a", tmp_path / "b"])
    assert set(run.runs()["model"]) == {"/models/toy"}
    assert run.width(str(run.runs()["run_id"].iloc[0]), "final_norm") == 64


def keeping(sweep, directory, width):
    """A sweep on disk that keeps a vector of its own width of one item."""
    row = {
        "run_id": sweep.runs()["run_id"].iloc[0],
        "example_id": sweep.examples()["example_id"].iloc[0],
        "site": "final_norm",
        "layer": 1,
        "position": "last",
        "dtype": "F32",
        "vector": np.full(width, width, np.float32).tobytes(),
    }
    states = pa.Table.from_pylist([row], schema=SCHEMAS["states"])
    with Writer.open(directory) as writer:
        writer.commit(tables_of(sweep) | {"states": states})


def test_states_of_several_sweeps_are_each_there_once(tmp_path):
    keeping(small(), tmp_path / "a", 4)
    keeping(small(model="/models/other"), tmp_path / "b", 8)
    keeping(small(), tmp_path / "c", 4)
    run = open_sweeps([tmp_path / name for name in "abc"]).run
    assert run.stored_states() == (StoredPlace("final_norm", 1, "last"),)
    for model, width in (("/models/toy", 4), ("/models/other", 8)):
        found = run.states("final_norm.1", position="last", model=[model])
        assert found.vectors.shape == (1, width)
        assert list(found.keys["model"]) == [model]
    with pytest.raises(InputError, match="name one model"):
        run.states("final_norm", layer=1, position="last")
    with pytest.raises(InputError, match="not stored"):
        run.states("embed", layer=-1, position="last")


def test_shards_that_are_missing_are_said(tmp_path):
    for number in (0, 2):
        write(small(), tmp_path / f"shard-{number}")
        session = {"started": f"2026-11-28T00:0{number}", "shard": f"{number}/4"}
        (tmp_path / f"shard-{number}" / "manifest.json").write_text(json.dumps({"sessions": [session]}))
    _, notes = open_sweeps([tmp_path])
    assert "of 4 shards" in notes[0]
    assert "1, 3 have written nothing" in notes[0]


def test_the_questions_are_read_without_torch():
    code = """
import sys
import analyses.reporting
from analyses.data.familiarity import promise
from analyses.findings.registry import ANALYSES
assert len(ANALYSES) > 20 and promise("bits_per_byte").from_output
assert not {"torch", "transformers"} & set(sys.modules)
"""
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def write_law(folder: Path) -> None:
    """A folder as `sparsity learning-law` leaves it."""
    (folder / "toy").mkdir(parents=True)
    task = {"scale": "small", "step": {"toy": 0.2}, "epochs": {"toy": 3}, "plans": {"toy": "Plan(width=4)"}}
    (folder / "task.json").write_text(json.dumps(task))
    for name, own in planted(2.0).items():
        own["toy"].to_csv(folder / "toy" / f"{name}.csv", index=False)


def test_a_learning_law_has_a_report_of_its_own_and_one_beside_a_sweep(tmp_path, monkeypatch):
    write_law(tmp_path / "law")
    alone = report(tmp_path / "law")
    page = alone.html.read_text(encoding="utf-8")
    assert "Contributions of examples: toy" in page
    assert f"sparsity learning-law --scale small --learner toy --seeds 5 --step 0.2 --epochs 3 --out {tmp_path}" in page
    assert "not equally" in headline(alone.findings)
    assert len(list((tmp_path / "law" / "report" / "figures").glob("*.svg"))) == 4
    assert "Intervals over seeds" in page
    assert "prompt" not in page.partition("<h2>Methods")[0].rpartition("<h2>What a skeptic")[2]
    monkeypatch.setattr("analyses.reporting.writing.ask", lambda run, *_: analyse(run, "contributions"))
    write(small(), tmp_path / "sweep")
    both = report([tmp_path / "sweep", tmp_path / "law"], tmp_path / "both.html").html.read_text(encoding="utf-8")
    assert "Contributions of examples: toy" in both
    assert "sparsity sweep" in both


def test_learning_laws_of_one_name_are_told_apart_and_an_unfinished_one_is_refused(tmp_path):
    for name in ("first", "second"):
        write_law(tmp_path / name)
    found = analyse(open_all([tmp_path / "first", tmp_path / "second"]).run, "contributions")
    assert {finding.scope.suite for finding in found} == {"toy [first]", "toy [second]"}
    for path in (tmp_path / "first" / "toy").glob("*.csv"):
        path.unlink()
    with pytest.raises(InputError, match="has not ended"):
        open_all([tmp_path / "first"])
