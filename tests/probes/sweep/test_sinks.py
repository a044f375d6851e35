"""Progress goes where it was asked to go, and nowhere else; services that are not installed are one line."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from probes.errors import InputError
from probes.records import open_run
from probes.sweep.interface import Options, Progress, Seconds, SweepResult
from probes.sweep.run import run_sweep
from probes.sweep.sinks import Audience
from tests.probes.conftest import MakeSpec
from tests.tolerances import STORED


class Recorder:
    """Stands for wandb, mlflow and tensorboard, and keeps what it is told."""

    def __init__(self) -> None:
        self.told: list[tuple[str, object]] = []

    def __getattr__(self, name: str):
        def call(*arguments: object, **named: object) -> Recorder:
            self.told.append((name, (*arguments, *named.values())))
            return self

        return call


RESULT = SweepResult(Path("runs/a"), 9, 1, 0, False, Seconds(1.0, 2.0, 3.0, 0.5, 4.0, 10.5))


@pytest.mark.parametrize(
    ("name", "module", "begins", "logs", "ends"),
    [
        ("wandb", "wandb", "init", "log", "finish"),
        ("mlflow", "mlflow", "start_run", "log_metrics", "end_run"),
        ("tensorboard", "torch.utils.tensorboard", "SummaryWriter", "add_scalar", "close"),
    ],
)
def test_a_service_hears_of_progress_and_of_the_end(
    name: str,
    module: str,
    begins: str,
    logs: str,
    ends: str,
    make_spec: MakeSpec,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    service = Recorder()
    monkeypatch.setitem(sys.modules, module, service)
    audience = Audience(make_spec(), tmp_path / "run", (name,), None)
    audience.hear(Progress(10, 10, "model x suite"))
    audience.dismiss(RESULT)
    names = [called for called, _ in service.told]
    assert names.index(begins) < names.index(logs) < names.index(ends)
    assert names[-1] == ends
    assert any("items_done" in str(arguments) for called, arguments in service.told if called == logs)
    assert any("items_measured" in str(arguments) for called, arguments in service.told if called == logs)


def test_a_service_hears_the_means_of_the_primary_measure(
    make_spec: MakeSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    service = Recorder()
    monkeypatch.setitem(sys.modules, "mlflow", service)
    monkeypatch.setattr("probes.sweep.sinks.BETWEEN_SECONDS", 0.0)
    spec = make_spec(positions=["last", "2:4"])
    audience = Audience(spec, tmp_path / "run", ("mlflow",), None)
    audience.dismiss(run_sweep(spec, tmp_path / "run", Options(batch_size=3), on_progress=audience.hear))
    told = [arguments[0] for name, arguments in service.told if name == "log_metrics"]
    records = open_run(tmp_path / "run")
    rows = records.measurements(site="final_norm", metric="hoyer", position="last")
    rows = rows.merge(records.examples()[["example_id", "level_name"]], on="example_id")
    label = f"{spec.model_names()[0]} x items"
    name = f"{label}/final_norm/last/hoyer"
    assert len(told) == 4
    assert told[2][name] == pytest.approx(rows["value"].mean(), rel=STORED)
    nll = records.outcomes().query("name == 'nll'")["value"]
    assert told[2][f"{label}/nll"] == pytest.approx(nll.mean(), rel=STORED)
    for level, own in rows.groupby("level_name", observed=True):
        assert told[3][f"{name}/{level}"] == pytest.approx(own["value"].mean(), rel=STORED)
    assert f"{label}/final_norm/2_4/hoyer" in told[2]  # MLflow takes no colon


def test_the_log_says_how_far_it_is_and_what_it_came_to(make_spec: MakeSpec, tmp_path: Path) -> None:
    log = tmp_path / "log.txt"
    for result in (RESULT, None):
        audience = Audience(make_spec(), tmp_path / "run", (), log)
        audience.hear(Progress(1, 10, "model x suite"))  # a moment after the beginning: not worth a line
        audience.hear(Progress(10, 10, "model x suite"))
        audience.dismiss(result)
    lines = [line.partition(" ")[2] for line in log.read_text().splitlines()]
    assert lines[0] == f"sweep into {tmp_path / 'run'}"
    assert lines[1].startswith("model x suite: 10 of 10 items, ")
    assert lines[2].startswith("items_measured 9, items_failed 1, survey 1")
    assert lines[5] == "broke off; what was committed stands"


def test_what_is_not_there_is_one_line(make_spec: MakeSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.raises(InputError, match="this sink needs wandb: pip install wandb"):
        Audience(make_spec(), tmp_path, ("wandb",), None)
    with pytest.raises(InputError, match="did you mean 'wandb'"):
        Audience(make_spec(), tmp_path, ("wanbd",), None)
    with pytest.raises(InputError, match="cannot write the log"):
        Audience(make_spec(), tmp_path, (), tmp_path / "nowhere" / "log")


class Refusing(Recorder):
    """Refuses one kind of call, as a service does without a key or when its server is gone."""

    def __init__(self, refused: str) -> None:
        super().__init__()
        self.refused = refused

    def __getattr__(self, name: str):
        if name == self.refused:
            raise ConnectionError("no key\nis set")
        return super().__getattr__(name)


def test_a_service_that_cannot_be_opened_stops_the_sweep_before_it_begins(
    make_spec: MakeSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = Recorder()
    monkeypatch.setitem(sys.modules, "mlflow", opened)
    monkeypatch.setitem(sys.modules, "wandb", Refusing("init"))
    with pytest.raises(InputError, match=r"^--sink wandb cannot be opened \(ConnectionError: no key is set\); mend"):
        Audience(make_spec(), tmp_path, ("mlflow", "wandb"), None)
    assert opened.told[-1][0] == "end_run"


@pytest.mark.parametrize("refused", ["log", "finish"])
def test_a_service_that_fails_later_is_left_out_and_the_sweep_goes_on(
    refused: str, make_spec: MakeSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    failing, other = Refusing(refused), Recorder()
    monkeypatch.setitem(sys.modules, "wandb", failing)
    monkeypatch.setitem(sys.modules, "mlflow", other)
    audience = Audience(make_spec(), tmp_path, ("wandb", "mlflow"), None)

    def tell() -> None:
        audience.hear(Progress(10, 10, "model x suite"))
        audience.dismiss(RESULT)

    with pytest.warns(UserWarning, match=r"--sink wandb failed and is left out .* the sweep goes on"):
        tell()
    assert [name for name, _ in other.told][-3:] == ["log_metrics", "log_metrics", "end_run"]
