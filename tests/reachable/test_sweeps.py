"""What a sweep says before it runs and whom it tells, and the page that lists what can be asked."""

from __future__ import annotations

import math
import re
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from analyses import ANALYSES
from probes import open_run
from tests.reachable import plain
from tests.reachable.asking import SUITE, bare, items
from tests.samples import ERRORS
from tests.tolerances import LOGITS, TWO_ROUTES
from tests.trained import MODEL

PROBED = 32  # items that a dry run encodes


def test_a_dry_run_says_items_tokens_time_and_disk_and_options_replace_keys(tmp_path: Path) -> None:
    keys = {"models": [str(MODEL)], "suites": [SUITE], "sites": ["resid_post"], "positions": "all", "controls": "none"}
    said = bare(tmp_path, "--dry-run", "--batch-size", 5, **keys, seed=1)
    assert not (tmp_path / "run").exists()
    row = [cell.strip() for cell in next(line for line in said.splitlines() if "x items" in line).split("│")[1:-1]]
    n = len(items())
    assert row[2:5] == [str(n), str(n), str(math.ceil(n / 5))]
    tokens = [len(plain.stories().ids(item["text"])) for item in items()]
    n_bytes = [len(item["text"]) for item in items()]
    rate = np.array(tokens) / n_bytes  # tokens are extrapolated from some of the items, by their bytes
    assert float(row[5]) == pytest.approx(sum(tokens), rel=ERRORS * np.std(rate) / np.mean(rate) / math.sqrt(PROBED))
    assert row[6].endswith("s")
    bare(tmp_path, "--batch-size", 5, **keys, seed=1)
    written = sum(path.stat().st_size for path in (tmp_path / "run").rglob("*.parquet")) / 1e6
    assert written / 2 < float(row[8].removesuffix(" MB")) < 2 * written
    other = tmp_path / "other"
    other.mkdir()
    bare(other, "--set", "positions=last", "--limit", 3, "--seed", 7, "--device", "cpu", **keys, seed=1)
    records = open_run(other / "run")
    assert dict(records.examples()["level"].value_counts()) == dict.fromkeys((1.0, 2.0, 3.0), 3)
    assert set(records.measurements()["position"]) == {"last"}
    assert [(row.seed, row.device) for row in records.runs().itertuples()] == [(7, "cpu")]


def test_a_service_is_told_the_means_that_transformers_gives(
    swept: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: dict[str, float] = {}
    service = SimpleNamespace(
        **dict.fromkeys(("set_experiment", "start_run", "log_dict", "end_run"), lambda *_, **__: None)
    )
    service.log_metrics = lambda values, step: told.update(values)  # noqa: ARG005  as MLflow calls it
    monkeypatch.setitem(sys.modules, "mlflow", service)
    keys = {"models": [str(MODEL)], "suites": [SUITE], "sites": ["resid_post", "final_norm"], "metrics": ["hoyer"]}
    bare(tmp_path, "--sink", "mlflow", **keys, controls="none")
    hoyer, entropy = plain.hoyer(swept.last), [own.entropy[-1] for own in swept.shown]
    assert told["model x items/final_norm/last/hoyer"] == pytest.approx(hoyer.mean(), rel=LOGITS)
    assert told["model x items/next_token_entropy"] == pytest.approx(np.mean(entropy), rel=TWO_ROUTES)
    for level in (1, 2, 3):
        mean = hoyer[swept.level == level].mean()
        assert told[f"model x items/final_norm/last/hoyer/{level}"] == pytest.approx(mean, rel=LOGITS)


def test_the_page_of_what_can_be_asked_names_tests_and_questions_that_there_are() -> None:
    root = Path(__file__).resolve().parents[2]
    page = (root / "docs/concepts/what-to-ask.md").read_text(encoding="utf-8")
    there = {
        name for path in root.glob("tests/**/test_*.py") for name in re.findall(r"def (test_\w+)", path.read_text())
    }
    named = set(re.findall(r"`(test_\w+)`", page))
    assert len(named) > 20
    assert named <= there
    questions = {
        name for part in re.findall(r"questions? (`\w+`(?:, `\w+`)*)", page) for name in re.findall(r"\w+", part)
    }
    assert len(questions) > 6
    assert questions <= set(ANALYSES)
