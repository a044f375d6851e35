"""Sweeps: nothing lost, nothing twice, only what is missing, and faults that stay with their items."""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import os
import signal
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from probes.capture.collection import read_batch
from probes.errors import InputError
from probes.records import Records, open_run
from probes.sweep import measurement
from probes.sweep.execution import executors
from probes.sweep.interface import Options
from probes.sweep.run import run_sweep
from tests.probes.conftest import MakeSpec
from tests.tolerances import REBATCHED, STORED

KEYS = ["run_id", "example_id", "site", "layer", "unit", "basis", "position", "metric"]
TABLES = ("runs", "examples", "inputs", "measurements", "token_measurements", "outcomes", "failures")


def table(records: Records, name: str) -> pd.DataFrame:
    """A table in an order that does not depend on how it was written, without what the clock put in."""
    frame: pd.DataFrame = getattr(records, name)().drop(columns=["started"], errors="ignore")
    frame = frame.map(lambda cell: tuple(cell) if isinstance(cell, np.ndarray) else cell)
    frame = frame.astype({column: object for column in frame if frame[column].dtype == "category"})
    keys = [column for column in frame.columns if column not in ("value", "token_ids", "char_starts")]
    return frame.sort_values(keys, ignore_index=True)


def assert_same(one: Path, other: Path) -> None:
    for name in TABLES:
        pd.testing.assert_frame_equal(table(open_run(one), name), table(open_run(other), name), check_exact=True)


def test_a_suite_has_the_same_items_whatever_stands_beside_it(make_spec: MakeSpec, tmp_path: Path) -> None:
    file = {"file": "items.jsonl", "name": "items", "id": "id", "answer": "answer"}
    one, other = ({"name": name, "shift": "typos", "levels": [0, 0.4], "of": file} for name in ("one", "other"))
    run_sweep(make_spec(suites=[one, other], positions=["last"]), tmp_path / "both")
    run_sweep(make_spec(suites=[other], positions=["last"]), tmp_path / "alone")
    texts = [
        open_run(tmp_path / name).examples().query("suite == 'other'").set_index("example_id")["text"].sort_index()
        for name in ("both", "alone")
    ]
    assert texts[0].tolist() == texts[1].tolist()
    assert texts[0].nunique() == len(texts[0]) == 2 * 7


def test_half_a_character_is_a_recorded_failure_of_its_item(make_spec: MakeSpec, tmp_path: Path) -> None:
    (tmp_path / "torn.jsonl").write_text('{"text": "the cat \\ud83d sat"}\n{"text": "the dog ran"}\n')
    result = run_sweep(make_spec(suites=[{"file": "torn.jsonl", "name": "torn"}]), tmp_path / "run")
    assert (result.n_measured, result.n_failed) == (1, 1)
    (error,) = open_run(tmp_path / "run").failures()["error"]
    assert "lone surrogate" in error


def test_matched_items_that_do_not_fit_fail_alone(make_spec: MakeSpec, tmp_path: Path) -> None:
    """The context is 32 tokens; of the long text there is no matched level that fits."""
    texts = ["the cat sat on the mat", " ".join(["the dog ran"] * 20)]
    (tmp_path / "texts.jsonl").write_text("\n".join(json.dumps({"id": str(i), "q": t}) for i, t in enumerate(texts)))
    file = {"file": "texts.jsonl", "name": "texts", "id": "id", "prompt": "q"}
    suite = {"name": "order", "shift": "word_order", "matched": True, "of": file}
    result = run_sweep(make_spec(suites=[suite], max_tokens=32, positions=["last"]), tmp_path / "run")
    run = open_run(tmp_path / "run")
    whole = run.examples().loc[~run.examples()["text"].str.contains("ran the dog"), "example_id"]
    assert len(whole) >= 2
    assert set(run.measurements()["example_id"]) >= set(whole)
    assert result.n_failed + result.n_measured == len(run.examples())


def test_every_cell_is_measured_once(make_spec: MakeSpec, tmp_path: Path) -> None:
    result = run_sweep(make_spec(), tmp_path / "run")
    assert (result.n_measured, result.n_failed, result.interrupted) == (7, 0, False)
    records = open_run(tmp_path / "run")
    rows = records.measurements()
    assert not rows.duplicated(KEYS).any()
    assert len(rows) == 7 * 3 * 2 * 2  # items x sites x positions x metrics
    places = set(zip(rows["site"], rows["layer"], strict=True))
    assert places == {
        ("resid_post", 0),
        ("resid_post", 1),
        ("final_norm", 2),
    }
    inputs = records.inputs()
    assert len(records.token_measurements()) == 3 * int((inputs["n_tokens"] - 1).sum())
    assert set(records.outcomes()["name"]) == {"nll", "next_token_entropy", "mean_next_token_entropy"}
    assert list(records.runs()["status"]) == ["done"]
    assert records.width(str(records.runs()["run_id"][0]), "final_norm") == 16


def test_mean_is_the_mean_of_the_tokens_after_bos(make_spec: MakeSpec, tmp_path: Path) -> None:
    run_sweep(make_spec(), tmp_path / "run")
    records = open_run(tmp_path / "run")
    tokens = records.token_measurements(site="resid_post", layer=1)
    assert (tokens["token"] > 0).all()
    means = tokens.groupby("example_id", observed=True)["hoyer"].mean()
    stored = records.measurements(site="resid_post", layer=1, metric="hoyer", position="mean")
    np.testing.assert_allclose(stored["value"], means[stored["example_id"]], rtol=STORED)
    last = records.measurements(site="resid_post", layer=1, metric="hoyer", position="last")
    ends = tokens.sort_values("token").groupby("example_id", observed=True)["hoyer"].last()
    np.testing.assert_array_equal(last["value"], ends[last["example_id"]])


def test_a_finished_sweep_is_left_to_the_byte(make_spec: MakeSpec, tmp_path: Path) -> None:
    run_sweep(make_spec(), tmp_path / "run")
    before = {path: path.read_bytes() for path in (tmp_path / "run").rglob("*") if path.is_file()}
    assert run_sweep(make_spec(), tmp_path / "run").n_measured == 0
    after = {path: path.read_bytes() for path in (tmp_path / "run").rglob("*") if path.is_file()}
    before.pop(tmp_path / "run" / ".lock"), after.pop(tmp_path / "run" / ".lock")
    assert before == after


def test_an_interrupted_sweep_goes_on_to_the_same_bytes(make_spec: MakeSpec, tmp_path: Path) -> None:
    options = Options(batch_size=2)
    run_sweep(make_spec(), tmp_path / "whole", options)
    for stop_after in (1, 2, 3):
        out, asked = tmp_path / f"parts-{stop_after}", iter(range(1, 100))
        result = run_sweep(make_spec(), out, options, should_stop=lambda n=stop_after, asked=asked: next(asked) == n)
        assert result.interrupted
        assert list(open_run(out).runs()["status"]) == ["running"]
        again = run_sweep(make_spec(), out, options)
        assert again.n_measured == 7 - 2 * stop_after
        assert_same(tmp_path / "whole", out)


def test_adding_a_metric_a_site_or_items_computes_only_what_is_missing(
    make_spec: MakeSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    passes: list[tuple[int, tuple[str, ...], tuple[str, ...]]] = []

    def spying(model, prompts, **asked):
        passes.append((len(prompts), tuple(map(str, asked["sites"])), tuple(map(str, asked["metrics"]))))
        return read_batch(model, prompts, **asked)

    monkeypatch.setattr(measurement, "read_batch", spying)
    all_sites = ("resid_post.0", "resid_post.1", "final_norm")
    run_sweep(make_spec(sites=["resid_post"], metrics=["gini"]), tmp_path / "run")
    run_sweep(make_spec(sites=["resid_post"], metrics=["gini", "hoyer"]), tmp_path / "run")
    run_sweep(make_spec(), tmp_path / "run")
    run_sweep(make_spec(n=9), tmp_path / "run")
    assert passes == [
        (7, all_sites[:2], ("gini",)),
        (7, all_sites[:2], ("hoyer",)),
        (7, all_sites[2:], ("gini", "hoyer")),
        (2, all_sites, ("gini", "hoyer")),
    ]
    run_sweep(make_spec(n=9), tmp_path / "at once")
    at_once, added = (table(open_run(tmp_path / name), "measurements") for name in ("at once", "run"))
    pd.testing.assert_frame_equal(at_once.drop(columns="value"), added.drop(columns="value"))
    np.testing.assert_allclose(at_once["value"], added["value"], rtol=REBATCHED)


def test_batching_changes_no_number(make_spec: MakeSpec, tmp_path: Path) -> None:
    run_sweep(make_spec(), tmp_path / "one", Options(batch_size=1))
    run_sweep(make_spec(), tmp_path / "all", Options(batch_size=7))
    one, together = (table(open_run(tmp_path / name), "measurements") for name in ("one", "all"))
    np.testing.assert_allclose(one["value"], together["value"], rtol=REBATCHED)


def test_a_bad_item_fails_alone(make_spec: MakeSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def breaking(model, prompts, **asked):
        if any(prompt.end == 14 for prompt in prompts):  # one item is this long
            raise RuntimeError("a shape\nthat does not fit")
        return read_batch(model, prompts, **asked)

    with monkeypatch.context() as patch:
        patch.setattr(measurement, "read_batch", breaking)
        result = run_sweep(make_spec(), tmp_path / "run")
        assert (result.n_measured, result.n_failed) == (6, 1)
        failures = open_run(tmp_path / "run").failures()
        assert list(failures["error"]) == ["RuntimeError: a shape that does not fit"]
        assert open_run(tmp_path / "run").measurements()["example_id"].nunique() == 6
        assert run_sweep(make_spec(), tmp_path / "run").n_measured == 0
    retried = run_sweep(make_spec(), tmp_path / "run", Options(retry_failed=True))
    assert (retried.n_measured, retried.n_failed) == (1, 0)
    assert open_run(tmp_path / "run").measurements()["example_id"].nunique() == 7


def test_memory_that_runs_out_halves_the_batch(
    make_spec: MakeSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes: list[int] = []

    def small(model, prompts, **asked):
        if len(prompts) > 2:
            raise torch.OutOfMemoryError("CUDA out of memory")
        sizes.append(len(prompts))
        return read_batch(model, prompts, **asked)

    with monkeypatch.context() as patch:
        patch.setattr(measurement, "read_batch", small)
        with pytest.warns(UserWarning, match="out of memory on a batch of . prompts; reading . at a time") as said:
            result = run_sweep(make_spec(), tmp_path / "run", Options(batch_size=7))
        assert len(said) == 2
    assert (result.n_measured, result.n_failed) == (7, 0)
    assert sorted(sizes) == [1, 2, 2, 2]
    run_sweep(make_spec(), tmp_path / "whole", Options(batch_size=2))
    whole, halved = (table(open_run(tmp_path / name), "measurements") for name in ("whole", "run"))
    np.testing.assert_allclose(whole["value"], halved["value"], rtol=REBATCHED)


@pytest.mark.usefixtures("eager_commits")
def test_a_full_disk_is_one_line_and_what_was_committed_stands(
    make_spec: MakeSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = Options(batch_size=1)
    run_sweep(make_spec(), tmp_path / "whole", options)
    for n_writes in (3, 20, 41):  # before the first batch, and in the middle of two commits
        left = iter(range(n_writes))

        def full(_: int, left=left) -> None:
            if next(left, None) is None:
                raise OSError(28, "No space left on device")

        with monkeypatch.context() as patch:
            patch.setattr("probes.records.store.os.fsync", full)
            with pytest.raises(InputError, match="No space left on device; what was committed stands"):
                run_sweep(make_spec(), tmp_path / "full", options)
    run_sweep(make_spec(), tmp_path / "full", options)
    assert_same(tmp_path / "whole", tmp_path / "full")


def test_the_manifest_says_what_every_call_computed_with(make_spec: MakeSpec, tmp_path: Path) -> None:
    for metrics in (["gini"], ["gini"], ["gini", "hoyer"]):
        run_sweep(make_spec(metrics=metrics), tmp_path / "run", Options(batch_size=3))
    sessions = json.loads((tmp_path / "run" / "manifest.json").read_text())["sessions"]
    assert len(sessions) == 2  # the second call had nothing to do
    assert sessions[0]["packages"]["torch"] == torch.__version__
    (run,) = sessions[1]["runs"].values()
    assert (run["batch_size"], run["n_items"], run["n_left"], run["dtype"]) == (3, 7, 7, "float32")
    files = {name: Path(make_spec().models[0].name, name).read_bytes() for name in run["model_files"]}
    assert {"config.json", "model.safetensors", "tokenizer.json"} <= set(files)
    assert run["model_files"] == {name: hashlib.sha256(data).hexdigest() for name, data in files.items()}
    assert len(run["model_sha256"]) == len(run["items_sha256"]) == 64


def test_a_directory_that_cannot_be_written_is_one_line(make_spec: MakeSpec, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    with pytest.raises(InputError, match=f"cannot write to {tmp_path / 'file'}: Not a directory"):
        run_sweep(make_spec(), tmp_path / "file")
    assert (tmp_path / "file").read_text() == "mine"


def test_a_prompt_longer_than_the_context_is_a_recorded_failure(make_spec: MakeSpec, tmp_path: Path) -> None:
    result = run_sweep(make_spec(n=30), tmp_path / "run")
    failures = open_run(tmp_path / "run").failures()
    assert result.n_failed == len(failures) == 30 - result.n_measured > 0
    assert failures["error"].str.contains("reads at most 32; set max_tokens").all()
    cut = run_sweep(make_spec(n=30, max_tokens=20), tmp_path / "cut")
    assert (cut.n_measured, cut.n_failed) == (30, 0)
    assert open_run(tmp_path / "cut").inputs()["truncated"].any()


def test_short_items_are_left_out_and_counted(make_spec: MakeSpec, tmp_path: Path) -> None:
    result = run_sweep(make_spec(min_tokens=12), tmp_path / "run")
    assert (result.n_failed, result.n_filtered, result.n_measured) == (0, 2, 5)
    assert set(open_run(tmp_path / "run").failures()["stage"]) == {"filter"}
    assert run_sweep(make_spec(), tmp_path / "run").n_measured == 2
    assert len(open_run(tmp_path / "run").failures()) == 0


def test_workers_give_the_same_tables_even_if_one_dies(
    make_spec: MakeSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = executors.ProcessPool.finished
    deaths: list[int] = []

    def dying(pool, handles):
        finished = own(pool, handles)
        if not deaths:
            (victim, *_) = multiprocessing.active_children()
            os.kill(victim.pid or 0, signal.SIGKILL)
            deaths.append(victim.pid)
        return finished

    monkeypatch.setattr(executors.ProcessPool, "finished", dying)
    result = run_sweep(make_spec(n=8), tmp_path / "workers", Options(batch_size=1, workers=2))
    assert result.n_measured == 8
    assert deaths
    run_sweep(make_spec(n=8), tmp_path / "alone", Options(batch_size=1))
    assert_same(tmp_path / "alone", tmp_path / "workers")


def test_a_text_that_changed_under_its_id_is_refused(make_spec: MakeSpec, tmp_path: Path) -> None:
    run_sweep(make_spec(), tmp_path / "run")
    spec = make_spec()
    path = tmp_path / "items.jsonl"
    path.write_text(path.read_text().replace("the cat sat", "the dog sat", 1))
    with pytest.raises(InputError, match="items:0 is recorded here with another text"):
        run_sweep(spec, tmp_path / "run")


def test_an_item_under_another_name_is_refused_instead_of_counted_twice(make_spec: MakeSpec, tmp_path: Path) -> None:
    suite = {"file": "items.jsonl", "name": "items"}
    run_sweep(make_spec(n=3, suites=[{**suite, "id": "id"}], positions="last"), tmp_path / "run")
    with pytest.raises(InputError, match=r"items:\w{16} is recorded here as items:0 and would count twice"):
        run_sweep(make_spec(n=3, suites=[suite], positions="last"), tmp_path / "run")


def test_a_corrected_axis_or_level_is_read_again_and_nothing_measured(make_spec: MakeSpec, tmp_path: Path) -> None:
    def sweep(**said: object) -> Records:
        suite = {"file": "items.jsonl", "name": "items", "level": "level", "axis": "mine", "kind": "difficulty", **said}
        result = run_sweep(make_spec(suites=[suite], positions="last"), tmp_path / "run")
        assert result.n_measured == (7 if said == {"harder": "higher"} else 0)
        return open_run(tmp_path / "run")

    def axis(records: Records) -> dict[str, object]:
        (row,) = records.runs().to_dict("records")
        assert row["status"] == "done"
        return json.loads(row["spec_json"])["axis"]

    first = sweep(harder="higher")
    assert axis(first)["harder"] == "higher"
    values = table(first, "measurements")
    assert axis(sweep(harder="lower"))["harder"] == "lower"
    assert axis(sweep(harder="lower", kind="familiarity"))["kind"] == "familiarity"
    moved = sweep(harder="lower", kind="length", level="id", axis="place", cluster="split")
    assert axis(moved)["name"] == "place"
    examples = moved.examples()
    assert sorted(examples["level"]) == [0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0]  # the ids, which are numbers
    assert set(examples["axis"]) == {"place"}
    assert set(examples["cluster"]) == {"in", "shifted"}
    pd.testing.assert_frame_equal(table(moved, "measurements"), values, check_exact=True)
    n_commits = len(list((tmp_path / "run" / "commits").iterdir()))
    sweep(harder="lower", kind="length", level="id", axis="place", cluster="split")
    assert len(list((tmp_path / "run" / "commits").iterdir())) == n_commits


def test_bad_rows_fail_and_repetitions_are_counted_and_the_rest_is_measured(
    make_spec: MakeSpec, tmp_path: Path
) -> None:
    spec = make_spec(n=3, suites=[{"file": "items.jsonl", "name": "items"}], positions="last")
    path = tmp_path / "items.jsonl"
    rows = path.read_text().splitlines()
    path.write_text("\n".join([*rows, rows[0], '{"text": null}', '{"text": "the cat \\ud83d sat"}', '{"text"']))
    result = run_sweep(spec, tmp_path / "run")
    assert (result.n_measured, result.n_failed, result.n_filtered) == (3, 3, 1)
    failures = open_run(tmp_path / "run").failures()
    assert sorted(failures["stage"]) == ["encode", "encode", "encode", "filter"]
    assert len(open_run(tmp_path / "run").examples()) == 7
    assert run_sweep(spec, tmp_path / "run").n_measured == 0


def test_where_a_suite_stands_in_the_list_changes_no_item(make_spec: MakeSpec) -> None:
    suites = [
        {"name": name, "shift": "typos", "of": {"file": "items.jsonl", "id": "id"}} for name in ("first", "second")
    ]
    asked = [make_spec(suites=own).suites for own in (suites, suites[::-1], suites[1:])]
    texts = [
        {
            item.example_id: item.example.text
            for entry in own
            for item in entry.suite().items(entry.suite().generator(0))
        }
        for own in asked
    ]
    assert texts[0] == texts[1]
    assert texts[2].items() < texts[0].items()
    noisy = [[text for name, text in texts[0].items() if name.startswith(suite)] for suite in ("first", "second")]
    assert noisy[0] != noisy[1]  # each has typos of its own


def test_limit_takes_whole_clusters_per_split_and_level(make_spec: MakeSpec, tmp_path: Path) -> None:
    run_sweep(make_spec(n=12, limit=1), tmp_path / "run")
    examples = open_run(tmp_path / "run").examples()
    assert len(examples) == 6
    assert not examples.duplicated(["split", "level"]).any()


def test_a_suite_is_handed_the_tokenizer_and_the_answers_it_needs(make_spec: MakeSpec, tmp_path: Path) -> None:
    own = make_spec(n=3)  # writes items.jsonl, which its suites read
    origin = {"file": "items.jsonl", "prompt": "{answer}", "answer": "answer", "id": "id"}
    suites = [
        {"name": "noisy", "shift": "typos", "levels": [0, 0.5], "matched": True, "of": origin},
        {"name": "conflict", "shift": "knowledge_conflict", "of": origin},
    ]
    run_sweep(make_spec(suites=suites, positions="last"), tmp_path / "run")
    records = open_run(tmp_path / "run")
    lengths = records.inputs().merge(records.examples(), on="example_id")
    noisy = lengths[lengths["suite"] == "noisy"].groupby("cluster")["n_tokens"].nunique()
    assert (noisy == 1).all()
    assert set(records.examples(suite="conflict")["level_name"]) == {"agrees", "contradicts"}
    two = make_spec(suites=suites, models=[own.models[0].name, own.models[0].name])
    with pytest.raises(InputError, match="suite 'noisy' is made with a model's tokenizer"):
        run_sweep(two, tmp_path / "two")


def test_unusable_input_writes_nothing(make_spec: MakeSpec, tmp_path: Path) -> None:
    for change, message in (
        ({"sites": ["resid_pots"]}, "resid_post"),
        ({"positions": ["lats"]}, "last"),
        ({"models": [str(tmp_path / "nowhere")]}, "nowhere"),
    ):
        with pytest.raises(InputError, match=message):
            run_sweep(make_spec(**change), tmp_path / "run")
    assert not (tmp_path / "run").exists()
