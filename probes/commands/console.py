"""Terminal of every command: results on stdout, progress and faults on stderr, and the answer to a signal."""

from __future__ import annotations

import math
import signal
import sys
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import NoReturn

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar

from probes.sweep.interface import Progress

PLAIN_PROGRESS_SECONDS = 5.0
FILE_WIDTH = 140  # columns of a table that goes to a file or a pipe
EXIT_BY_SIGNAL = 128  # and the signal's number: 130 after Ctrl-C, 143 after SIGTERM


def out() -> Console:
    """Console of results."""
    return Console(highlight=False, markup=False, width=None if sys.stdout.isatty() else FILE_WIDTH)


def err() -> Console:
    """Console of progress and faults."""
    return Console(stderr=True, highlight=False, markup=False)  # a list in a command to repeat is no style


def duration(seconds: float) -> str:
    """Seconds as people say them.

    >>> duration(3.21), duration(3700.0)
    ('3.2 s', '1:01:40')
    """
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02d}:{rest:02d}"


class _Stage:
    """Beginning of a stage: the measuring of all runs is one, the controls of a run are another."""

    def __init__(self) -> None:
        self.name = ""
        self.began = 0.0

    def seconds(self, progress: Progress) -> float | None:
        """Seconds since the stage began; None for its first report."""
        name = progress.unit if progress.unit == "items" else f"{progress.unit} of {progress.run}"
        if name != self.name:
            self.name, self.began = name, time.monotonic()
            return None
        return time.monotonic() - self.began


@contextmanager
def shown_progress() -> Generator[Callable[[Progress], None]]:
    """A bar in a terminal, or plain lines now and then in a file or pipe; yields what is told of each step."""
    console = err()
    stage = _Stage()
    stage.seconds(Progress(0, 0, ""))
    if not console.is_terminal:
        spoken = time.monotonic()

        def say(progress: Progress) -> None:
            nonlocal spoken
            now, seconds = time.monotonic(), stage.seconds(progress)
            if seconds is None or progress.n_done == progress.n_items or now - spoken >= PLAIN_PROGRESS_SECONDS:
                spoken = now
                pace = _pace(progress.n_done, seconds or 0.0)
                said = [f"{progress.run}: {progress.n_done} of {progress.n_items} {progress.unit}"]
                if seconds is None and math.isfinite(progress.at_most):
                    said.append(f"at most {duration(progress.at_most)}")
                if pace is not None:
                    left = (progress.n_items - progress.n_done) / pace
                    said += [_rate(pace), f"{duration(left)} left"]
                console.print(", ".join(said), soft_wrap=True)

        yield say
        return
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Bar(*columns, TextColumn("{task.fields[rate]}"), console=console) as bar:
        task = bar.add_task("sweep", total=None, rate="")

        def show(progress: Progress) -> None:
            seconds = stage.seconds(progress)
            if seconds is None:
                bar.reset(task, total=progress.n_items, rate="")
            label = progress.run if progress.unit == "items" else f"{progress.run}, {progress.unit}"
            if math.isfinite(progress.at_most):
                label += f", at most {duration(progress.at_most)}"
            rate = _rate(_pace(progress.n_done, seconds or 0.0))
            bar.update(task, description=label, completed=progress.n_done, total=progress.n_items, rate=rate)

        yield show


def _pace(n_done: int, seconds: float) -> float | None:
    """Items per second; None while there is nothing to tell it from.

    >>> _pace(10, 4.0), _pace(0, 4.0)
    (2.5, None)
    """
    return n_done / seconds if n_done and seconds > 0 else None


def _rate(pace: float | None) -> str:
    """Items per second, or per minute where that says more.

    >>> _rate(2.5), _rate(0.02), _rate(None)
    ('2.5/s', '1.2/min', '')
    """
    if pace is None:
        return ""
    return f"{pace:.1f}/s" if pace >= 0.5 else f"{60 * pace:.1f}/min"


@contextmanager
def telling(console: Console) -> Generator[Callable[[str], None]]:
    """Progress of a report: one line that changes on a terminal, else a line when some seconds have passed."""
    if console.is_terminal:
        with console.status("reading the sweep") as status:
            yield status.update
        return
    said = time.monotonic()

    def tell(text: str) -> None:
        nonlocal said
        if time.monotonic() - said >= PLAIN_PROGRESS_SECONDS:
            said = time.monotonic()
            console.print(f"report: {text}", markup=False, soft_wrap=True)

    yield tell


class Stop:
    """State of a request to end, and the signal that made it."""

    signal: int | None = None

    def asked(self) -> bool:
        """True where it was."""
        return self.signal is not None

    def hear(self, number: int, *_: object) -> None:
        """The first signal ends the sweep after its batch, the second at once."""
        if self.signal is not None:
            raise KeyboardInterrupt
        self.signal = number


@contextmanager
def stop_on_signal() -> Generator[Stop]:
    """Ctrl-C, or SIGTERM as schedulers send it before they kill."""
    stop = Stop()
    before = {number: signal.signal(number, stop.hear) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def leave_interrupted(command: str, stop: Stop) -> NoReturn:
    """Say how to go on, and leave with the status of the signal."""
    err().print(f"interrupted; to go on: {command}", soft_wrap=True)
    raise typer.Exit(EXIT_BY_SIGNAL + (stop.signal or signal.SIGINT))
