"""A whole retest: models and texts made ready, trials run, questions asked, the page written."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
import pandas as pd

from analyses.data.panels import model_labels
from analyses.data.written_tables import beside, law_tables
from analyses.findings.record import Finding
from analyses.findings.registry import ANALYSES, analyse
from analyses.reporting.opening import open_sweeps
from analyses.reporting.pictures import Progress
from analyses.reporting.writing import write_report
from analyses.retest.claims import Claim
from analyses.retest.judgements import judge_all
from analyses.retest.page import REPORT, write_page
from analyses.retest.running import Done, Say, run_trials, tasks
from analyses.retest.trials import model_of
from probes.commands.console import duration
from probes.errors import InputError
from probes.models.checkpoints import find_model
from probes.suites.sources.media import packaged
from probes.vocabulary.naming import told_apart

PASSAGE: Final = 600  # characters of a packaged text
N_TEXTS: Final = 64
TEXTS: Final = "texts.jsonl"


class Page(NamedTuple):
    """The page that was written.

    Attributes:
        path: the page.
        models: labels of the models, its columns.
        verdicts: of every claim, a verdict a model.
        notes: time, and what is still to be run.
    """

    path: Path
    models: tuple[str, ...]
    verdicts: Mapping[str, list[str]]
    notes: tuple[str, ...]


def conduct(
    names: Sequence[str],
    claims: Sequence[Claim],
    out: Path,
    *,
    minutes: float,
    texts: Path | None,
    limit: int | None = None,
    command: str,
    say: Say,
    progress: Progress,
) -> Page:
    """Run what fits the budget and write the page of everything that is there.

    Args:
        names: models as the user names them.
        claims: what is asked about.
        out: folder of all tables; an earlier call's are gone on with.
        minutes: after which nothing more is begun.
        texts: English texts of the user's; None for packaged ones.
        limit: items per level of every sweep; None for what each trial says.
        command: what gives the page again.
        say: told of trials.
        progress: told of the report's parts.

    Raises:
        InputError: if a model is nowhere to be found, or there is no such file of texts.
    """
    if texts is not None and not texts.is_file():
        raise InputError(f"there is no file {texts} of texts")
    for name in names:
        find_model(name)
    out.mkdir(parents=True, exist_ok=True)
    began = time.monotonic()
    labels = told_apart(names)
    models = [model_of(name, labels[name]) for name in names]
    done = run_trials(
        claims,
        tasks(claims, models, out),
        texts=texts or _packaged_texts(out),
        seconds=60 * minutes,
        say=say,
        limit=limit,
    )
    told = answers(done, claims, out, command, progress)
    paths = {str(model.path.resolve()): model.label for model in models} | {model.name: model.label for model in models}
    called = {model.label: model.label for model in models} | {
        name: paths[path] for name, path in told.models.items() if path in paths
    }
    waiting = [one for one in done if not one.ran and "budget" in one.reason]
    left = sum(one.trial.price(one.model or models[0]) for one in waiting)
    options = ["--out", str(out), "--budget", f"{max(minutes, math.ceil(left / 60)):g}"]  # enough for what was left
    options += ["--limit", str(limit)] if limit is not None else []
    options += ["--texts", str(texts)] if texts is not None else []
    judgements = judge_all(claims, models, done, told.findings, called, options)
    notes = [f"Run in {duration(time.monotonic() - began)} of {duration(60 * minutes)}."]
    if waiting:
        n = "one trial" if len(waiting) == 1 else f"{len(waiting)} trials"
        notes.append(f"Still to be run: {n}, about {duration(left)}; the same command with a larger --budget goes on.")
    page = write_page(judgements, out, command=command, notes=notes)
    verdicts: dict[str, list[str]] = {}
    for row in judgements:
        verdicts.setdefault(row.claim.name, []).append(row.verdict)
    return Page(page, tuple(model.label for model in models), verdicts, tuple(notes))


class Told(NamedTuple):
    """Answers of the questions, and the model that each name in them stands for.

    Attributes:
        findings: all of them.
        models: the path or hub name of every name that findings call a model by.
    """

    findings: list[Finding]
    models: Mapping[str, str]


def answers(done: Sequence[Done], claims: Sequence[Claim], out: Path, command: str, progress: Progress) -> Told:
    """Everything that the questions say of the tables of trials; the report of the sweeps is written beside."""
    sweeps = [one.folder for one in done if one.ran and one.trial.spec]
    tables = written_tables([one for one in done if one.ran and one.trial.command])
    if sweeps:
        opened = open_sweeps(sweeps)
        written = write_report(
            beside(opened.run, tables),
            out / REPORT,
            directories=[str(folder) for folder in sweeps],
            command=command,
            notes=opened.notes,
            progress=progress,
        )
        runs = opened.run.runs()
        return Told(list(written.findings), dict(zip(model_labels(runs), runs["model"].astype(str), strict=True)))
    asked = dict.fromkeys(name for claim in claims for name in claim.questions if name in ANALYSES)
    run = beside(None, tables)
    return Told([finding for name in asked for finding in analyse(run, name, reproduce=command)], {})


def written_tables(done: Sequence[Done]) -> dict[str, dict[str, pd.DataFrame]]:
    """CSV tables that commands wrote, by the name of the file and the model they are about."""
    found: dict[str, dict[str, pd.DataFrame]] = {}
    for one in done:
        for path in sorted(one.folder.glob("*.csv")):
            label = "" if one.model is None else one.model.label
            found.setdefault(path.stem, {})[label] = pd.read_csv(path)
        for name, own in law_tables(one.folder).items():
            found.setdefault(name, {}).update(own)
    return found


def _packaged_texts(out: Path) -> Path:
    """Passages of Python's help as a file of texts, written once."""
    path = out / TEXTS
    if path.exists():
        return path
    passages: list[str] = []
    for chunk in packaged("text", np.random.default_rng(0)):
        text = " ".join(chunk.data.decode("utf-8", "ignore").split())[:PASSAGE]
        if len(text) == PASSAGE:
            passages.append(text)
        if len(passages) == N_TEXTS:
            break
    path.write_text("".join(json.dumps({"text": text}) + "\n" for text in passages), encoding="utf-8")
    return path
