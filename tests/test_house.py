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
