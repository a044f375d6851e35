"""The house itself: what is written about the code is true of it."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

import analyses
import probes
from analyses.findings.registry import ANALYSES, QUESTIONS
from probes.familiarity.definitions import FAMILIARITY
from probes.suites.benchmarks.benchmark_suite import BENCHMARKS
from probes.suites.example import SUITES
from probes.suites.shifts.shift_suite import SHIFTS
from sparsity.population import POPULATION
from tests.readme import rendered

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("sparsity", "probes", "analyses")
MODULES = sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))
MOST_LINES = 400
BANNED_NAMES = {"utils", "helpers", "common", "misc"}


def test_readme_holds_the_table_that_the_records_give() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert rendered(text) == text, "run `python -m tests.readme`"


def test_the_names_of_the_notebook_are_there() -> None:
    assert all(callable(getattr(probes, name)) for name in ("load_model", "collect", "capture_states", "open_run"))
    assert all(callable(getattr(analyses, name)) for name in ("analyse", "report"))


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_module_is_one_idea(path: Path) -> None:
    source = path.read_text(encoding="utf-8")
    assert len(source.splitlines()) <= MOST_LINES
    assert path.stem not in BANNED_NAMES
    assert ast.get_docstring(ast.parse(source)), "the module docstring is the idea of the module"


def test_importing_the_core_pulls_neither_torch_nor_scipy() -> None:
    code = "import sys, sparsity; print([name for name in ('torch', 'scipy', 'pandas') if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_nothing_silences_the_type_checker() -> None:
    assert [str(path) for path in MODULES if re.search(r"#\s*(type|pyright):\s*ignore", path.read_text())] == []


def strings(folder: str) -> set[str]:
    """Every string that a test module of a folder spells out, the names of what it calls among them."""
    found: set[str] = set()
    for path in (ROOT / "tests" / folder).rglob("test_*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                found |= {node.value, node.value.split("(")[0]}
            elif isinstance(node, ast.Name | ast.Attribute):
                found.add(node.id if isinstance(node, ast.Name) else node.attr)
    return found


def test_every_measure_of_a_set_is_asked_for_by_a_test() -> None:
    assert set(POPULATION) <= strings("sparsity")  # measures of one vector: tests/sparsity/test_reference.py


def test_every_suite_shift_and_measure_of_familiarity_is_asked_for_by_a_test() -> None:
    plain = {name.removesuffix("_matched") for name in SUITES}  # one function makes both, and one test asks for both
    assert plain | set(SHIFTS) | set(BENCHMARKS) <= strings("probes/suites")
    assert set(FAMILIARITY) <= strings("probes/familiarity")


def test_every_analysis_is_asked_for_by_a_test() -> None:
    ANALYSES.load(QUESTIONS)
    calls = [
        node
        for path in (ROOT / "tests" / "analyses").rglob("test_*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "analyse"
    ]
    asked = {argument.value for call in calls for argument in call.args if isinstance(argument, ast.Constant)}
    assert set(ANALYSES) <= asked
