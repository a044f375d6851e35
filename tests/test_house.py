"""The house itself: what is written about the code is true of it."""

from __future__ import annotations

import ast
import importlib
import re
import subprocess
import sys
from collections import Counter
from importlib.util import find_spec
from pathlib import Path

import pytest
import yaml

import analyses
import probes
import sparsity
from analyses.findings.registry import ANALYSES
from probes.familiarity.definitions import FAMILIARITY
from probes.suites.benchmarks.benchmark_suite import BENCHMARKS
from probes.suites.example import SUITES
from probes.suites.shifts.shift_suite import SHIFTS
from sparsity.population import POPULATION

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("sparsity", "probes", "analyses")
MODULES = sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))
MOST_LINES = 400
BANNED_NAMES = {"utils", "helpers", "common", "misc"}
QUESTION = re.compile(r"(What|How|Whether|Where|Which|When|Why|Who)\b")


def test_the_version_is_written_once_more_for_those_who_cite() -> None:
    assert yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))["version"] == sparsity.__version__
    assert sparsity.__version__ == probes.__version__ == analyses.__version__


def test_the_names_of_the_notebook_are_there() -> None:
    assert all(callable(getattr(probes, name)) for name in ("load_model", "collect", "capture_states", "open_run"))
    assert all(callable(getattr(analyses, name)) for name in ("analyse", "report"))


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_module_is_one_idea(path: Path) -> None:
    source = path.read_text(encoding="utf-8")
    assert len(source.splitlines()) <= MOST_LINES
    assert path.stem not in BANNED_NAMES
    tree = ast.parse(source)
    assert ast.get_docstring(tree), "the module docstring is the idea of the module"
    parts = [node for node in ast.walk(tree) if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef)]
    questions = [said for part in parts if QUESTION.match(said := ast.get_docstring(part) or "")]
    assert not questions, "a docstring names the result or begins with a verb"


def test_commands_that_pages_name_exist() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z-]+):", makefile, re.MULTILINE))
    phony = set(re.findall(r"^\.PHONY: (.+)", makefile, re.MULTILINE)[0].split())
    assert phony == targets, "make does nothing for a target that is not .PHONY where a folder has its name, as docs/"
    pages = [path.read_text(encoding="utf-8") for path in (*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"))]
    named = {name for page in pages for name in re.findall(r"(?:`|^ {4}|^)make ([a-z-]+)", page, re.MULTILINE)}
    assert {"test", "docs", "mutants"} <= named <= targets
    modules = {name for page in pages for name in re.findall(r"python -m (tests[.\w]*)", page)}
    assert [name for name in modules if find_spec(name) is None] == []


HEAVY = ("torch", "transformers", "matplotlib", "pandas", "pyarrow", "scipy", "datasets")
COMMANDS = """
import sys, contextlib, io
import analyses, analyses.cli, probes, probes.vocabulary.sites, sparsity
sys.argv = ["sparsity", "list", "sites"]
with contextlib.suppress(SystemExit), contextlib.redirect_stdout(io.StringIO()) as printed:
    analyses.cli.main()
assert "resid_post" in printed.getvalue()
"""
WITHOUT_TORCH = """
import sys
sys.modules["torch"] = sys.modules["transformers"] = None
import numpy, sparsity
assert sparsity.profile(numpy.eye(3), metrics="gini")["gini"].tolist() == [2 / 3] * 3
sys.argv = ["sparsity", "measure", "lab-reference", "--text", "a"]
import analyses.cli
analyses.cli.main()
"""


def fresh(code: str) -> subprocess.CompletedProcess[str]:
    """Run code in an interpreter of its own."""
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)


def test_packages_the_help_and_the_names_of_sites_load_nothing_heavy() -> None:
    done = fresh(f"{COMMANDS}print([name for name in {HEAVY} if name in sys.modules])")
    assert done.stdout.strip() == "[]", done.stderr


def test_metrics_work_without_torch_and_commands_say_what_they_need() -> None:
    done = fresh(WITHOUT_TORCH)
    assert done.returncode == 2, done.stderr
    assert re.fullmatch(r"sparsity: this needs the package \w+, which is not installed: pip install \S+\n", done.stderr)


def test_no_face_hides_a_module() -> None:
    for face in (path for path in MODULES if path.name == "__init__.py" and path.with_suffix(".pyi").exists()):
        stub = ast.parse(face.with_suffix(".pyi").read_text(encoding="utf-8"))
        lines = [node for node in ast.walk(stub) if isinstance(node, ast.ImportFrom)]
        names = {alias.name for node in lines if node.module is not None for alias in node.names}
        assert names.isdisjoint(path.stem for path in face.parent.iterdir()), face


# what notebooks and other tools import from where it stood before rooms were made
PATHS = {
    "probes.capture.prompts": ("encode", "pad"),
    "probes.capture.sites": ("Site", "SiteKind"),
    "probes.capture.watching": ("watching",),
    "probes.familiarity": ("measure_familiarity",),
    "probes.suites.files": ("FileSuite",),
    "probes.sweep.interface": ("Options",),
    "probes.sweep.run": ("run_sweep",),
    "probes.sweep.spec": ("load_spec", "parse_spec"),
}


@pytest.mark.parametrize("module", PATHS)
def test_import_paths_that_outsiders_use_stay(module: str) -> None:
    assert all(hasattr(importlib.import_module(module), name) for name in PATHS[module])


MOST_MODULES = 16


def test_a_folder_can_be_taken_in_at_one_look() -> None:
    folders = Counter(path.parent for path in MODULES if path.name != "__init__.py")
    assert [str(folder) for folder, n in folders.items() if n > MOST_MODULES] == []


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
    missing = set(POPULATION) - strings("sparsity")  # measures of one vector: tests/sparsity/test_reference.py
    assert not missing, f"no test in tests/sparsity names {missing}"


def test_every_suite_shift_and_measure_of_familiarity_is_asked_for_by_a_test() -> None:
    plain = {name.removesuffix("_matched") for name in SUITES}  # one function makes both, and one test asks for both
    missing = (plain | set(SHIFTS) | set(BENCHMARKS)) - strings("probes/suites")
    assert not missing, f"no test in tests/probes/suites names {missing}"
    missing = set(FAMILIARITY) - strings("probes/familiarity")
    assert not missing, f"no test in tests/probes/familiarity names {missing}"


def test_every_analysis_is_asked_for_by_a_test() -> None:
    calls = [
        node
        for path in (ROOT / "tests" / "analyses").rglob("test_*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "analyse"
    ]
    asked = {argument.value for call in calls for argument in call.args if isinstance(argument, ast.Constant)}
    missing = set(ANALYSES) - asked
    assert not missing, f"no test in tests/analyses calls analyse(sweep, name) with {missing}"
