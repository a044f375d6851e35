"""Sinks of the progress of a sweep besides the terminal: a log file, Weights & Biases, MLflow, TensorBoard.

A sink is told the spec, how far the sweep is (at most once a second) with the means of its primary measures so far, and
what it came to, level by level (`probes.sweep.primary_means`). The services are imported when asked for by name and are
not dependencies; what they need (keys, addresses) they read from their own environment variables. Nothing that a sink
does reaches a number: one that cannot be opened stops the sweep before it begins, and one that fails later is left out
from there on, with a warning, while the sweep goes on.
"""

from __future__ import annotations

import datetime as dt
import importlib
import re
import time
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final, Protocol, runtime_checkable

import yaml

from probes.errors import InputError
from probes.sweep.interface import Progress, SweepResult
from probes.sweep.primary_means import level_means
from probes.sweep.spec import SweepSpec
from sparsity.registry import Registry, UnknownNameError

UNNAMEABLE: Final = re.compile(r"[^\w\-./ ]")  # characters that MLflow takes in no name
PROJECT: Final = "sparsity"
BETWEEN_SECONDS: Final = 1.0


@runtime_checkable
class Sink(Protocol):
    """Takes the numbers of a sweep's progress."""

    def log(self, values: Mapping[str, float], step: int) -> None:
        """Take numbers; ``step`` is how many items are done."""
        ...

    def close(self) -> None:
        """There is no more."""
        ...


SINKS: Registry[Callable[[Path, Mapping[str, Any]], Sink]] = Registry("sink")


class WandbSink:
    """A Weights & Biases run (``WANDB_MODE=offline`` keeps it on this machine)."""

    def __init__(self, directory: Path, config: Mapping[str, Any]) -> None:
        wandb = _imported("wandb", "wandb")
        self._run = wandb.init(project=PROJECT, name=directory.name, config=dict(config))

    def log(self, values: Mapping[str, float], step: int) -> None:
        """Take numbers."""
        self._run.log(dict(values), step=step)

    def close(self) -> None:
        """End the run."""
        self._run.finish()


class MlflowSink:
    """An MLflow run (``MLFLOW_TRACKING_URI`` says where)."""

    def __init__(self, directory: Path, config: Mapping[str, Any]) -> None:
        self._mlflow = _imported("mlflow", "mlflow")
        self._mlflow.set_experiment(PROJECT)
        self._mlflow.start_run(run_name=directory.name)
        self._mlflow.log_dict(dict(config), "sweep.yaml")

    def log(self, values: Mapping[str, float], step: int) -> None:
        """Take numbers."""
        self._mlflow.log_metrics({UNNAMEABLE.sub("_", name): value for name, value in values.items()}, step=step)

    def close(self) -> None:
        """End the run."""
        self._mlflow.end_run()


class TensorboardSink:
    """TensorBoard event files in the sweep directory's folder ``tensorboard``."""

    def __init__(self, directory: Path, config: Mapping[str, Any]) -> None:
        board = _imported("torch.utils.tensorboard", "tensorboard")
        self._writer = board.SummaryWriter(log_dir=str(directory / "tensorboard"))
        self._writer.add_text("spec", yaml.safe_dump(dict(config)))

    def log(self, values: Mapping[str, float], step: int) -> None:
        """Take numbers."""
        for name, value in values.items():
            self._writer.add_scalar(name, value, step)

    def close(self) -> None:
        """Write what is left."""
        self._writer.close()


SINKS.add("wandb", WandbSink)
SINKS.add("mlflow", MlflowSink)
SINKS.add("tensorboard", TensorboardSink)


class LogFile:
    """Lines with the time, at the end of a text file."""

    def __init__(self, path: Path) -> None:
        try:
            self._file = path.open("a", encoding="utf-8", buffering=1)
        except OSError as error:
            raise InputError(f"cannot write the log {path}: {error.strerror}") from None

    def say(self, line: str) -> None:
        """Write a line."""
        self._file.write(f"{dt.datetime.now(dt.UTC).isoformat(timespec='seconds')} {line}\n")

    def close(self) -> None:
        """Close the file."""
        self._file.close()


class Audience:
    """Everyone who is told about one sweep."""

    def __init__(self, spec: SweepSpec, directory: Path, names: tuple[str, ...], log: Path | None) -> None:
        config = spec.model_dump(mode="json", by_alias=True, exclude_none=True)
        try:
            makers = [SINKS[name] for name in names]
        except UnknownNameError as error:
            raise InputError(str(error)) from None
        self._spec = spec
        self._log = LogFile(log) if log else None
        self._sinks: dict[str, Sink] = {}
        for name, make in zip(names, makers, strict=True):
            try:
                self._sinks[name] = make(directory, config)
            except InputError:
                raise
            except (Exception, SystemExit) as error:  # noqa: BLE001  whatever a service raises
                self._each(lambda sink: sink.close())
                raise InputError(
                    f"--sink {name} cannot be opened ({_reason(error)}); mend that, or sweep without it"
                ) from None
        self._began = self._told = time.monotonic()
        self._say(f"sweep into {directory}")

    def hear(self, progress: Progress) -> None:
        """Pass progress on, unless that was done a moment ago."""
        now = time.monotonic()
        if progress.n_done < progress.n_items and now - self._told < BETWEEN_SECONDS:
            return
        self._told = now
        if progress.unit != "items":
            self._say(f"{progress.run}: {progress.n_done} of {progress.n_items} {progress.unit}")
            return
        rate = progress.n_done / max(now - self._began, 1e-9)
        self._say(f"{progress.run}: {progress.n_done} of {progress.n_items} items, {rate:.1f} per second")
        values = {"items_done": float(progress.n_done), "items": float(progress.n_items), "items_per_second": rate}
        values |= progress.values
        self._each(lambda sink: sink.log(values, progress.n_done))

    def dismiss(self, result: SweepResult | None) -> None:
        """Say what it came to (None: it broke off) and let everyone go."""
        if result is not None:
            came_to = {"items_measured": result.n_measured, "items_failed": result.n_failed, **result.seconds._asdict()}
            values = {name: float(value) for name, value in came_to.items()}
            means = self._means(result.directory) if self._sinks else {}
            self._each(lambda sink: sink.log(values | means, result.n_measured))
            self._say(", ".join(f"{name} {value:g}" for name, value in values.items()))
        else:
            self._say("broke off; what was committed stands")
        self._each(lambda sink: sink.close())
        if self._log:
            self._log.close()

    def _means(self, directory: Path) -> dict[str, float]:
        try:
            return level_means(directory, self._spec)
        except InputError:  # a sweep with nothing committed
            return {}

    def _each(self, tell: Callable[[Sink], None]) -> None:
        """Tell every sink; what a service says or breaks must not cost a measurement."""
        for name, sink in list(self._sinks.items()):
            try:
                tell(sink)
            except Exception as error:  # noqa: BLE001  whatever a service raises
                del self._sinks[name]
                warnings.warn(
                    f"--sink {name} failed and is left out from here on, the sweep goes on: {_reason(error)}",
                    stacklevel=3,
                )

    def _say(self, line: str) -> None:
        if self._log:
            self._log.say(line)


def _reason(error: BaseException) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())}"


def _imported(module: str, package: str) -> Any:  # noqa: ANN401  a module that need not be installed
    try:
        return importlib.import_module(module)
    except ImportError:
        raise InputError(f"this sink needs {package}: pip install {package}") from None
