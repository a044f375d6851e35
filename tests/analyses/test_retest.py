"""Retest: every claim comes out either way in a planted world, is never surer than its question, and is resumed."""

import json
import math
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from analyses import ANALYSES, analyse
from analyses.cli import app, main
from analyses.findings.record import Finding, Scope, Verdict
from analyses.reporting.sections.arrangement import anchor
from analyses.retest import running
from analyses.retest.claims import CLAIMS, Claim, named
from analyses.retest.conduct import conduct
from analyses.retest.judgements import Judgement, combined, judge_all
from analyses.retest.page import write_page
from analyses.retest.running import Attempt, Done, Task, silent, tasks
from analyses.retest.trials import TRIALS, Model, Trial, model_of
from probes.errors import InputError
from probes.records import open_run
from probes.sweep.spec import parse_spec
from tests.analyses.sweeps import EXPOSURE, exposure, make_sweep
from tests.analyses.test_limits_of_text import sweep_of
from tests.analyses.test_reporting import read

TEXT = Model("m", "m", "text", 1e6)
GRADED = Model("m", "m", "graded", 1e6)


def answer(verdict: Verdict, *, question: str, axis: str = "", metric: str = "", estimate: float = 0.3) -> Finding:
    return Finding(
        analysis=question, question="?", scope=Scope(model="m", suite="s", axis=axis, metric=metric), primary=True,
        n=10, estimate=estimate, interval=(estimate - 0.1, estimate + 0.1), verdict=verdict, text="It is so.",
    )  # fmt: skip


def ran(claim: Claim, model: Model) -> list[Done]:
    """All trials of a claim, run with this model as far as it can be."""
    found = []
    for name in claim.trials:
        trial = TRIALS[name]
        own = None if trial.reads == "nothing" else model
        found.append(Done(trial, own, Path("x"), "sparsity sweep x", trial.refused(model), 1.0))
    return found


def judged(claim: Claim, model: Model, findings: Sequence[Finding]) -> Judgement:
    independent = all(TRIALS[name].reads == "nothing" for name in claim.trials)
    called = {} if independent else {finding.scope.model: "m" for finding in findings}
    (row,) = judge_all([claim], [model], ran(claim, model), findings, called, ["--out", "out"])
    return row


@pytest.mark.parametrize("claim", CLAIMS, ids=lambda claim: claim.name)
@pytest.mark.parametrize("verdict", ["supported", "contradicted", "undecided"])
def test_every_claim_comes_out_as_its_question_says(claim: Claim, verdict: Verdict) -> None:
    model = GRADED if claim.name == "exposure" else TEXT
    axis = claim.axes[0] if claim.axes else ""
    metric = claim.metrics[0] if claim.metrics else "hoyer"
    row = judged(claim, model, [answer(verdict, question=claim.questions[0], axis=axis, metric=metric)])
    assert (row.verdict, row.reason) == (verdict, "")
    assert row.command == f"sparsity retest m --claim {claim.name} --out out"
    other = answer("supported", question="difficulty", axis=axis)  # another question's answer decides nothing
    assert judged(claim, model, [other]).verdict == "not run"


def planted_exposure(rng: np.random.Generator, *, holds: bool) -> list[Finding]:
    """Facts that are the sparser the less they were presented, or the denser."""
    facts = exposure(rng, effect=lambda *_: 0.5 if holds else -0.5, n_layers=1, n_per_level=30, model="m")
    return analyse(facts, "familiarity")


def planted_shift(rng: np.random.Generator, *, holds: bool) -> list[Finding]:
    """Texts that are the sparser the more noise they have, or the denser."""
    levels = [("0", 0.0, "in"), ("0.1", 0.1, "shifted"), ("0.3", 0.3, "shifted")]
    typos = replace(EXPOSURE, name="typos", unit="share of letters", harder="higher")
    effect = 0.5 if holds else -0.5
    noisy = make_sweep(typos, levels, effect=lambda *_: effect, rng=rng, n_layers=1, suite="typos", model="m")
    return analyse(noisy, "familiarity")


def test_no_effect_on_exposure_is_undecided_and_one_undecided_suite_of_limits_leaves_all_undecided() -> None:
    facts = exposure(np.random.default_rng(2), effect=lambda *_: 0.0, n_layers=1, n_per_level=30, model="m")
    (claim,) = named(["exposure"])
    assert judged(claim, GRADED, analyse(facts, "familiarity")).verdict == "undecided"
    (claim,) = named(["limits"])
    found = analyse(sweep_of(right=(0.9, 0.4), bits=0.0, sparser=0.0), "limits")
    row = judged(claim, TEXT, [*found, replace(found[0], verdict="undecided")])
    assert (row.verdict, row.reason) == ("undecided", "1 supported, 1 undecided")
    assert row.numbers == "2 answers: 1 supported, 1 undecided"


@given(st.lists(st.sampled_from(["supported", "contradicted", "undecided", "described"]), min_size=1, max_size=6))
def test_no_claim_is_surer_than_its_questions(verdicts: list[Verdict]) -> None:
    said, _ = combined([answer(verdict, question="q") for verdict in verdicts])
    if said == "supported":
        assert set(verdicts) == {"supported"}
    if said == "contradicted":
        assert "contradicted" in verdicts
        assert "supported" not in verdicts


def test_what_was_not_run_says_why() -> None:
    (limits,) = named(["limits"])
    assert "reads the words of its own world" in judged(limits, GRADED, []).reason
    (exposed,) = named(["exposure"])
    assert "laboratory model" in judged(exposed, TEXT, []).reason
    why = Finding(analysis="limits", question="?", scope=Scope(model="m", axis="causal"), text="No answers.")
    assert judged(limits, TEXT, [why]).reason == "No answers."
    absent = replace(limits, questions=("no_such_question",))
    assert silent([absent]) == "this installation has no question no_such_question yet"
    assert not silent([limits])


def test_a_part_that_is_still_to_come_keeps_a_claim_undecided() -> None:
    (claim,) = named(["shift"])
    done = [
        done._replace(reason="the budget ended") if done.trial.name == "changed_facts" else done
        for done in ran(claim, GRADED)
    ]
    fact = answer("supported", question="familiarity", axis="typos")
    run = [*done, ran(claim, TEXT)[0]._replace(model=GRADED)]
    (row,) = judge_all([claim], [GRADED], run, [fact], {"m": "m"}, ["--out", "out"])
    assert row.verdict == "undecided"
    assert "not run: the budget ended" in row.reason


def test_answers_that_are_not_the_models_are_said_to_be_of_others(tmp_path: Path) -> None:
    rows = {
        claim.name: judged(claim, TEXT, [answer("supported", question=claim.questions[0])])
        for claim in named(["learning", "decoder", "concepts"])
    }
    assert rows["learning"].others == f"asked of {TRIALS['learning'].about}"
    assert rows["decoder"].others == f"asked in part of {TRIALS['memory_small'].about}"
    assert not rows["concepts"].others
    page = write_page(list(rows.values()), tmp_path, command="sparsity retest m", notes=[])
    text = page.read_text(encoding="utf-8")
    for row in (rows["learning"], rows["decoder"]):
        assert text.count(row.others[1:]) == 2  # in the table, and as a sentence of its section


def test_the_table_names_what_there_is() -> None:
    assert len({claim.name for claim in CLAIMS}) == len(CLAIMS) >= 7
    assert {name for claim in CLAIMS for name in claim.trials} == set(TRIALS)
    assert {"limits", "familiarity", "domains", "decoder", "generalisation"} <= set(ANALYSES)
    with pytest.raises(InputError, match=r"no claim is called 'limit'; did you mean 'limits'\?"):
        named(["limit"])


@pytest.mark.parametrize("trial", TRIALS.values(), ids=lambda trial: trial.name)
def test_every_trial_is_a_spec_that_can_be_read_or_a_command_that_there_is(trial: Trial, tmp_path: Path) -> None:
    claims = [claim for claim in CLAIMS if trial.name in claim.trials]
    if silent(claims):
        pytest.skip("no question reads it yet")
    (tmp_path / "texts.jsonl").write_text('{"text": "a b"}\n')
    attempt = Attempt(Task(trial, model_of("lab-graded", "m"), tmp_path / "out"), tmp_path / "texts.jsonl", None)
    if trial.spec:
        spec = parse_spec(attempt.spec, folder=tmp_path)
        assert {entry.name for entry in spec.suites}
        assert "final_norm" in spec.sites  # the pre-stated place of every question
        return
    from click import Context, Group
    from typer.main import get_command

    command = get_command(app)
    words = iter(attempt.words)
    while isinstance(command, Group):
        command = command.get_command(Context(command), next(words))
        assert command is not None
    assert command.make_context("sparsity", list(words)) is not None


def test_trials_run_once_the_cheapest_first(tmp_path: Path) -> None:
    models = [model_of("lab-graded", "lab-graded"), model_of("gpt2", "gpt2")]
    todo = tasks(CLAIMS, models, tmp_path)
    prices = [task.trial.price(task.model) for task in todo]
    assert prices == sorted(prices)
    independent = [task.trial.name for task in todo if task.trial.reads == "nothing"]
    assert len(independent) == len(set(independent)) > 0


def test_the_page_is_whole_and_links_to_the_sections(tmp_path: Path) -> None:
    rows = [
        judged(
            claim,
            TEXT,
            [
                answer(
                    "supported", question=claim.questions[0], axis=(*claim.axes, "")[0], metric=(*claim.metrics, "")[0]
                )
            ],
        )
        for claim in CLAIMS
    ]
    (tmp_path / "report").mkdir()
    (tmp_path / "report" / "report.html").write_text("")
    path = write_page(rows, tmp_path, command="sparsity retest m", notes=["<b>note</b>"])
    text, page = read(path)
    assert not page.open
    assert not page.unbalanced
    assert "<b>note" not in text
    told = [row for row in rows if row.findings]
    assert text.count("<figure>") == len(told)
    for row in told:
        assert f"report/report.html#{anchor(row.findings[0])}" in page.links
        assert row.command in text
    data = json.loads((tmp_path / "retest.json").read_text())
    assert [row["verdict"] for row in data] == [row.verdict for row in rows]
    assert (tmp_path / "retest.tex").read_text().count(r" \\") == len(rows) + 1


def run(monkeypatch: pytest.MonkeyPatch, command: str) -> int:
    monkeypatch.setattr(sys, "argv", shlex.split(command))
    try:
        main()
    except SystemExit as end:
        return int(end.code or 0)
    return 0


def told(out: Path) -> dict[str, tuple[str, list[float]]]:
    """Verdict and estimates of every row of a retest."""
    rows = json.loads((out / "retest.json").read_text())
    return {row["claim"]: (row["verdict"], [found["estimate"] for found in row["findings"]]) for row in rows}


def test_a_row_is_repeated_by_the_command_of_its_trial(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "one"
    command = f"sparsity retest lab-graded --claim exposure --out {out} --budget 9 --limit 8"
    assert run(monkeypatch, command) == 0
    (row,) = json.loads((out / "retest.json").read_text())
    assert row["command"] == command
    (found,) = row["findings"]
    scope = Scope(model=found["scope"]["model"], suite=found["scope"]["suite"])
    _, page = read(out / "report" / "report.html")
    assert anchor(Finding(analysis=found["analysis"], question="", scope=scope, text="")) in page.ids
    capsys.readouterr()
    assert run(monkeypatch, row["trials"][0]) == 0  # nothing is left to be measured
    assert "0 items measured, 0 failed" in capsys.readouterr().err
    moved = {"OUT": str(tmp_path / "again")}
    assert run(monkeypatch, row["trials"][0].rpartition(" ")[0] + " " + moved["OUT"]) == 0
    again = [found for found in analyse(open_run(moved["OUT"]), "familiarity") if found.primary]
    assert [(own.verdict, own.estimate) for own in again] == [(row["verdict"], found["estimate"])]


@pytest.mark.long
def test_rows_are_repeated_by_the_commands_that_they_print(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "all"
    claims = ["exposure", "shift", "limits"]
    asked = " ".join(f"--claim {name}" for name in claims)
    assert run(monkeypatch, f"sparsity retest lab-graded --out {out} --budget 9 {asked}") == 0
    assert f"page: {out}/retest.html" in " ".join(capsys.readouterr().out.split())
    whole = told(out)
    assert whole["limits"] == ("not run", [])
    assert len(whole["exposure"][1]) == 1
    assert len(whole["shift"][1]) == 2
    rows = json.loads((out / "retest.json").read_text())
    _, page = read(out / "report" / "report.html")
    for row in rows:
        (name,) = [name for name in claims if f"--claim {name}" in row["command"]]
        fresh = tmp_path / name
        assert run(monkeypatch, row["command"].replace(str(out), str(fresh))) == 0
        assert told(fresh)[name] == whole[name]
        for command in row["trials"]:
            assert run(monkeypatch, command) == 0  # nothing is left to be measured
            assert "0 items measured, 0 failed" in capsys.readouterr().err
        for found in row["findings"]:
            scope = Scope(model=found["scope"]["model"], suite=found["scope"]["suite"])
            assert anchor(Finding(analysis=found["analysis"], question="", scope=scope, text="")) in page.ids


LEAVES_A_CHILD = """\
import pathlib, subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
pathlib.Path(sys.argv[1]).write_text(str(child.pid))
time.sleep(600)
"""


def test_a_command_out_of_time_is_ended_with_all_that_it_began(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(running, "CHILD", LEAVES_A_CHILD)
    monkeypatch.setattr(running, "GRACE", 1.0)
    attempt = Attempt(Task(TRIALS["rates"], TEXT, tmp_path / "m" / "rates"), tmp_path / "texts.jsonl", None)
    attempt.words = [str(tmp_path / "child")]
    began = time.monotonic()
    ended = attempt.made(began + 4, lambda _: None)
    assert "the budget ended" in ended.reason
    assert time.monotonic() - began < 300  # the child holds the error output open for 600 seconds
    child = int((tmp_path / "child").read_text())
    while not _is_gone(child):  # a process that was killed takes a moment to leave
        assert time.monotonic() - began < 300
        time.sleep(0.05)


def _is_gone(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return True


def test_without_time_everything_is_listed_as_not_run(tmp_path: Path) -> None:
    page = conduct(
        ["lab-graded"], CLAIMS, tmp_path / "out", minutes=0.0, texts=None, command="sparsity retest",
        say=lambda _: None, progress=lambda _: None,
    )  # fmt: skip
    assert {verdict for verdicts in page.verdicts.values() for verdict in verdicts} == {"not run"}
    rows = json.loads((tmp_path / "out" / "retest.json").read_text())
    exposure = next(row for row in rows if row["claim"] == "exposure")
    assert "of the budget were left" in exposure["reason"]
    assert float(exposure["command"].rpartition("--budget ")[2]) >= 1  # a command that has the time for it


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("--claim limit", "did you mean 'limits'"),
        ("--texts nothing.txt", "there is no file nothing.txt"),
    ],
)
def test_bad_input_is_one_line(
    arguments: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, f"sparsity retest lab-graded --out {tmp_path / 'x'} {arguments}") == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


@pytest.mark.parametrize("name", ["nowhere", "./nowhere/model"])
def test_a_model_that_is_nowhere_is_one_line_and_nothing_is_written(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, f"sparsity retest lab-graded {name} --out {tmp_path / 'x'}") == 2
    error = capsys.readouterr().err
    assert name in error
    assert error.count("\n") == 1
    assert not (tmp_path / "x").exists()


def test_a_model_that_cannot_be_read_says_why_in_its_row(tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / "config.json").write_text("{}")
    conduct(
        [str(broken)], named(["limits"]), tmp_path / "out", minutes=60.0, texts=None, command="sparsity retest",
        say=lambda _: None, progress=lambda _: None,
    )  # fmt: skip
    (row,) = json.loads((tmp_path / "out" / "retest.json").read_text())
    assert row["verdict"] == "not run"
    assert "broken" in row["reason"]


@pytest.mark.long
def test_a_retest_that_is_killed_goes_on_and_says_the_same(tmp_path: Path, proof) -> None:
    words = [sys.executable, "-c", "from analyses.cli import main; main()", "retest", "lab-graded"]
    words += ["--claim", "exposure", "--claim", "shift", "--budget", "30", "--out"]
    subprocess.run([*words, str(tmp_path / "whole")], check=True, capture_output=True)
    out, kills = tmp_path / "killed", 0
    while not (out / "retest.json").exists():
        process = subprocess.Popen([*words, str(out)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        before = sum(1 for _ in out.rglob("*")) if out.exists() else 0
        while process.poll() is None and kills < 4:
            if out.exists() and sum(1 for _ in out.rglob("*")) > before + 3:
                os.kill(process.pid, signal.SIGKILL)
                kills += 1
            time.sleep(0.02)
        process.wait()
    assert kills == 4
    whole, again = told(tmp_path / "whole"), told(out)
    assert whole.keys() == again.keys()
    for name, (verdict, estimates) in whole.items():
        assert again[name][0] == verdict
        assert all(math.isclose(a, b, rel_tol=1e-6) for a, b in zip(again[name][1], estimates, strict=True))
    proof(f"A retest killed {kills} times with SIGKILL says the same verdicts and numbers in {len(whole)} rows.")
