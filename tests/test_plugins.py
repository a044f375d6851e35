"""A package of one's own adds a metric, a suite and a question: the template of the documentation, installed."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
TEMPLATE = ROOT / "docs" / "howto" / "plugin"
MODEL = ROOT / "tests" / "trained" / "model"

USE = """
import json
import sys
from pathlib import Path
import sparsity
from analyses import ANALYSES, report
from probes import open_run, run_sweep
from probes.suites import SUITES

assert "largest_share" in sparsity.METRICS and "countdown" in SUITES and "average" in ANALYSES
spec = {
    "models": [sys.argv[1]],
    "suites": ["countdown"],
    "sites": ["final_norm"],
    "positions": ["last"],
    "metrics": ["largest_share", "hoyer"],
}
run_sweep(spec, sys.argv[2])
shares = open_run(sys.argv[2]).measurements(metric="largest_share")["value"]
assert len(shares) == 24 and shares.between(1 / 64, 1).all(), shares.describe()
sessions = json.loads((Path(sys.argv[2]) / "manifest.json").read_text())["sessions"]
assert sessions[-1]["packages"]["sparsity-example"] == "0.1.0"
average = [finding for finding in report(sys.argv[2]).findings if finding.analysis == "average"]
assert [finding.n for finding in average] == [24] and 0 < average[0].estimate < 1
"""


def run(words: list[str], packages: Path) -> subprocess.CompletedProcess[str]:
    """A fresh Python that finds the packages beside ours."""
    own = os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT), str(packages)])}
    return subprocess.run([sys.executable, *words], capture_output=True, text=True, check=False, env=own)


def test_the_template_once_installed_adds_to_lists_sweeps_and_reports(tmp_path: Path) -> None:
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", "--no-build-isolation"]
    source, packages = tmp_path / "source", tmp_path / "packages"
    shutil.copytree(TEMPLATE, source)
    subprocess.run([*pip, "--target", str(packages), str(source)], check=True, capture_output=True)
    done = run(["-c", USE, str(MODEL), str(tmp_path / "sweep")], packages)
    assert done.returncode == 0, done.stderr
    page = (tmp_path / "sweep" / "report" / "report.html").read_text(encoding="utf-8")
    assert "Average sparsity" in page


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("import no_such_package", "ModuleNotFoundError: No module named 'no_such_package'"),
        ("from sparsity import METRICS\nMETRICS.add('hoyer', None)", "'hoyer' is registered already"),
    ],
)
def test_a_plugin_that_cannot_be_imported_is_named_in_one_line(tmp_path: Path, source: str, reason: str) -> None:
    (tmp_path / "torn.py").write_text(source, encoding="utf-8")
    told = tmp_path / "torn_package-0.3.dist-info"
    told.mkdir()
    (told / "METADATA").write_text("Metadata-Version: 2.1\nName: torn-package\nVersion: 0.3\n", encoding="utf-8")
    (told / "entry_points.txt").write_text("[sparsity.metrics]\nmine = torn\n", encoding="utf-8")
    done = run(["-c", "from analyses.cli import main; main()", "list", "metrics"], tmp_path)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "the plug-in 'mine' of torn-package 0.3 cannot be imported" in done.stderr
    assert reason in done.stderr
