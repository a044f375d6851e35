"""Running trials within a budget, the cheapest first, each resumable; and what became of each.

A sweep is gone on with by itself; of a trial that ended, a line beside its folder says so, with the spec or command it
was of. Sweeps run in this process and end after a batch when the time is up; commands run in one of their own.
"""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any, Final, NamedTuple, cast

from analyses.findings.registry import ANALYSES
from analyses.retest.claims import Claim
from analyses.retest.trials import MODEL, OUT, TEXTS, TRIALS, Model, Trial
from probes.commands.console import duration
from probes.errors import InputError
from probes.records.read import open_sweep
from probes.sweep.interface import Options, Progress
from probes.sweep.run import run_sweep
from probes.sweep.spec import parse_spec

ENDED: Final = ".ended.json"
SHARED: Final = "independent"  # folder of trials that ask no model of the user's
GRACE: Final = 30.0  # seconds that a command has to leave after it was told to
# a command of a process that was killed must not go on writing where the next call writes
CHILD: Final = """\
import ctypes, sys
if sys.platform == "linux":
    ctypes.CDLL(None).prctl(1, 9)
from analyses.cli import main
main()
"""

Say = Callable[[str], None]


class Done(NamedTuple):
    """The outcome of one trial with one model.

    Attributes:
        trial: which.
        model: of which model; None where it asks none.
        folder: where its tables are.
        command: what repeats it.
        reason: why it has no result; empty where it has.
        seconds: what it took, over all calls.
    """

    trial: Trial
    model: Model | None
    folder: Path
    command: str
    reason: str
    seconds: float

    @property
    def ran(self) -> bool:
        """True where it has a result."""
        return not self.reason


class Task(NamedTuple):
    """A trial that is to be run with a model."""

    trial: Trial
    model: Model
    folder: Path


def tasks(claims: Sequence[Claim], models: Sequence[Model], out: Path) -> list[Task]:
    """Every trial of some claims with every model, each once; the cheapest first."""
    names = dict.fromkeys(name for claim in claims for name in claim.trials)
    found: dict[Path, Task] = {}
    for name in names:
        for model in models:
            trial = TRIALS[name]
            folder = out / (SHARED if trial.reads == "nothing" else model.label) / name
            found.setdefault(folder, Task(trial, model, folder))
    return sorted(found.values(), key=lambda task: task.trial.price(task.model))


def run_trials(
    claims: Sequence[Claim], todo: Sequence[Task], *, texts: Path, seconds: float, say: Say, limit: int | None = None
) -> list[Done]:
    """Run what the time allows.

    Args:
        claims: whose trials they are.
        todo: in the order in which they are run.
        texts: English texts, one a record.
        seconds: after which nothing more is begun, and what runs is ended.
        say: told of every trial.
        limit: items per level of every sweep; None for what each trial says.
    """
    deadline = time.monotonic() + seconds
    done: list[Done] = []
    for task in todo:
        reason = silent([claim for claim in claims if task.trial.name in claim.trials]) or task.trial.refused(
            task.model
        )
        attempt = Attempt(task, texts, limit)
        if reason:
            done.append(attempt.without(reason))
            continue
        before = attempt.ended()
        if before is not None:
            done.append(before)
            continue
        left, price = deadline - time.monotonic(), task.trial.price(task.model)
        if price > left:
            done.append(
                attempt.without(
                    f"it takes about {duration(price)}, and {duration(max(left, 0.0))} of the budget were left; "
                    "the same command with a larger --budget goes on"
                )
            )
            continue
        say(f"{task.folder.parent.name}: {task.trial.about} (about {duration(price)})")
        done.append(attempt.made(deadline, say))
    return done


def silent(claims: Sequence[Claim]) -> str:
    """The reason why no question would read a trial of these claims; empty where one would."""
    if any(question in ANALYSES for claim in claims for question in claim.questions):
        return ""
    asked = dict.fromkeys(question for claim in claims for question in claim.questions)
    return f"this installation has no question {' or '.join(asked)} yet"


class Attempt:
    """One trial with one model: its words, and running them."""

    def __init__(self, task: Task, texts: Path, limit: int | None) -> None:
        self.trial, self.model, self.folder = task
        given = {MODEL: str(self.model.path), OUT: str(self.folder), TEXTS: str(texts.resolve())}
        self.is_sweep = bool(self.trial.spec)
        self.spec_path = self.folder.with_name(f"{self.folder.name}.yaml")
        if self.is_sweep:
            self.spec: dict[str, Any] = {"models": [str(self.model.path)], **_filled(self.trial.spec, given)}
            self.spec |= {} if limit is None else {"limit": limit}
            words = ["sweep", str(self.spec_path), "--out", str(self.folder)]
        else:
            self.spec = {}
            words = [given.get(word, word) for word in self.trial.command]
        self.words = words
        self.command = shlex.join(["sparsity", *words])

    def without(self, reason: str, seconds: float = 0.0) -> Done:
        """The outcome for this reason why there is no result; empty where there is one."""
        model = None if self.trial.reads == "nothing" else self.model
        return Done(self.trial, model, self.folder, self.command, reason, seconds)

    def ended(self) -> Done | None:
        """The outcome of an earlier call, where it was of the same spec or command and came to its end."""
        try:
            content = json.loads(self._mark.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None
        if content.get("of") != self._of or not self.folder.is_dir():
            return None
        return self.without(str(content["reason"]), float(content["seconds"]))

    def made(self, deadline: float, say: Say) -> Done:
        """Run it to its end or to the deadline."""
        self.folder.parent.mkdir(parents=True, exist_ok=True)
        began = time.monotonic()
        reason, is_final = self._swept(deadline, say) if self.is_sweep else self._commanded(deadline)
        seconds = time.monotonic() - began
        if is_final:
            content = {"of": self._of, "reason": reason, "seconds": seconds}
            self._mark.write_text(json.dumps(content), encoding="utf-8")
        return self.without(reason, seconds)

    @property
    def _mark(self) -> Path:
        return self.folder.with_name(self.folder.name + ENDED)

    @property
    def _of(self) -> str:
        return json.dumps([self.words, self.spec], sort_keys=True)

    def _swept(self, deadline: float, say: Say) -> tuple[str, bool]:
        spoken = time.monotonic()

        def tell(progress: Progress) -> None:
            nonlocal spoken
            if time.monotonic() - spoken > GRACE:
                spoken = time.monotonic()
                say(f"{progress.run}: {progress.n_done} of {progress.n_items} {progress.unit}")

        try:
            spec = parse_spec(self.spec, folder=Path.cwd(), origin=str(self.spec_path))
            if self.folder.is_dir() and self.spec_path.read_text(encoding="utf-8") != spec.to_yaml():
                return f"{self.folder} was made from other texts or another version: name another --out", False
            self.spec_path.write_text(spec.to_yaml(), encoding="utf-8")
            result = run_sweep(
                spec, self.folder, Options(), on_progress=tell, should_stop=lambda: time.monotonic() > deadline
            )
        except InputError as error:
            return str(error), True
        if result.interrupted:
            return "the budget ended while it ran; the same command goes on where it stopped", False
        failures = open_sweep(self.folder).failures()
        failed = failures[failures["stage"] != "filter"]
        if len(failed) and not result.n_measured and open_sweep(self.folder).measurements().empty:
            return f"every item failed: {failed['error'].iloc[0]}", True
        return "", True

    def _commanded(self, deadline: float) -> tuple[str, bool]:
        words = [sys.executable, "-c", CHILD, *self.words]
        # a file, because processes that the command began would keep a pipe open after it was ended
        with TemporaryFile("w+", encoding="utf-8", errors="replace") as said:
            process = subprocess.Popen(  # noqa: S603  our own command
                words, stdout=subprocess.DEVNULL, stderr=said, start_new_session=True
            )
            try:
                process.wait(max(deadline - time.monotonic(), 1.0))
            except subprocess.TimeoutExpired:
                _signal(process, signal.SIGTERM)
                with suppress(subprocess.TimeoutExpired):
                    process.wait(GRACE)
                return "the budget ended while it ran; the same command goes on where it stopped", False
            finally:
                if process.returncode != 0:
                    _signal(process, signal.SIGKILL)
                    process.wait()
            said.seek(0)
            told = said.read()
        if process.returncode:
            lines = [line for line in told.splitlines() if line.strip()]
            return (lines[-1].removeprefix("sparsity: ") if lines else f"it ended with {process.returncode}"), False
        return "", True


def _signal(process: subprocess.Popen[bytes], number: signal.Signals) -> None:
    """Send a signal to a command and to all processes that it began and left behind."""
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, number)


def _filled(value: Any, given: Mapping[str, str]) -> Any:  # noqa: ANN401  what YAML holds
    """Keys of a spec with the model, its folder and the texts in their places."""
    if isinstance(value, Mapping):
        entries = cast("Mapping[str, Any]", value)
        return {key: _filled(entry, given) for key, entry in entries.items()}
    if isinstance(value, list | tuple):
        return [_filled(entry, given) for entry in cast("Sequence[Any]", value)]
    return given.get(value, value) if isinstance(value, str) else value
