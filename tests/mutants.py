"""Plant faults one at a time and see whether the tests notice: `make mutants`.

`mutants.toml` beside this file lists the faults. Each is one change of one place of the product, found by its text
wherever that stands (so moving a module changes nothing), and names the tests that are there to notice it. A fault is
put into a copy of the repository that has no ../shared beside it, as a fresh clone has none, and the named tests are
run there. Caught: they fail. Missed: they pass. Stale: the text is not found, or is found twice, or the tests fail
without the fault; then the list is wrong, not the product.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
import tomllib
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from importlib import import_module
from multiprocessing import get_context
from pathlib import Path
from typing import Any, Final

import pytest

ROOT: Final = Path(__file__).resolve().parents[1]
LIST: Final = Path(__file__).with_name("mutants.toml")
PACKAGES: Final = ("sparsity", "probes", "analyses")
HEAVY: Final = (
    "matplotlib.pyplot",
    "pandas",
    "pyarrow.parquet",
    "scipy.stats",
    "torch",
    "transformers.models.llama.modeling_llama",
)
LIMIT: Final = 300
"""Seconds for the tests of one fault; an endless loop is a fault too, but not one that a test has noticed."""
LOG: Final = "pytest.log"
REWRITTEN: Final = "ignore:Module already imported:pytest.PytestAssertRewriteWarning"
CRASHED: Final = 70
FAILED: Final = 1
"""What pytest exits with when tests failed; another status means that they did not run."""


@dataclass(frozen=True, kw_only=True)
class Mutant:
    """One fault.

    Attributes:
        id: what is wrong with the product then.
        search: the right text, which stands in the product exactly once.
        replacement: the wrong text.
        tests: names of test functions.
    """

    id: str
    search: str
    replacement: str
    tests: tuple[str, ...]


class StaleError(ValueError):
    """The list does not fit the product."""


def read(path: Path = LIST) -> list[Mutant]:
    """The faults of a list."""
    records: list[dict[str, Any]] = tomllib.loads(path.read_text(encoding="utf-8"))["mutant"]
    return [Mutant(**record | {"tests": tuple(record["tests"])}) for record in records]


def place(mutant: Mutant, root: Path) -> Path:
    """The module that holds the text of a fault."""
    counts = {
        path: path.read_text(encoding="utf-8").count(mutant.search)
        for package in PACKAGES
        for path in sorted((root / package).rglob("*.py"))
    }
    if sum(counts.values()) != 1:
        found = ", ".join(f"{path.relative_to(root)} x {n}" for path, n in counts.items() if n) or "nowhere"
        raise StaleError(f"{mutant.id}: its text should stand once in the product, but stands {found}")
    return max(counts, key=lambda path: counts[path])


def changed(mutant: Mutant, path: Path) -> str:
    """The source of that module with the fault in it."""
    source = path.read_text(encoding="utf-8").replace(mutant.search, mutant.replacement)
    try:
        compile(source, str(path), "exec")
    except SyntaxError as error:
        raise StaleError(f"{mutant.id}: its replacement is no Python: {error}") from None
    return source


def named(mutant: Mutant, root: Path) -> list[str]:
    """The tests of a fault as pytest takes them."""
    files = {path: path.read_text(encoding="utf-8") for path in sorted((root / "tests").rglob("test_*.py"))}
    found: list[str] = []
    for test in mutant.tests:
        holding = [path for path, source in files.items() if f"\ndef {test}(" in source]
        if len(holding) != 1:
            raise StaleError(f"{mutant.id}: {test} should be a test of one module, but is one of {len(holding)}")
        found.append(f"{holding[0].relative_to(root).as_posix()}::{test}")
    return found


def run(copy: Path, tests: Sequence[str]) -> int | None:
    """The exit status of pytest over some tests of a copy; None where they did not end.

    They run in a fork of this process, which has loaded the heavy libraries and nothing of ours: a third of the time.
    """
    child = get_context("fork").Process(target=_pytest, args=(copy, tests))
    child.start()
    child.join(LIMIT)
    if child.is_alive():
        child.kill()
        child.join()
        return None
    return child.exitcode


def _pytest(copy: Path, tests: Sequence[str]) -> None:
    for name in [name for name in sys.modules if name.split(".")[0] in {*PACKAGES, "tests"}]:
        del sys.modules[name]
    sys.path.insert(0, str(copy))
    sys.dont_write_bytecode = True
    os.environ |= {"PYTHONPATH": str(copy), "PYTHONDONTWRITEBYTECODE": "1"}
    os.chdir(copy)
    log = os.open(copy.with_name(LOG), os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(log, 1)
    os.dup2(log, 2)
    status = CRASHED
    try:
        status = pytest.main(["-q", "-x", "-m", "not long", "-p", "no:cacheprovider", "-W", REWRITTEN, *tests])
    finally:
        os._exit(status)


def outcome(mutant: Mutant, copy: Path) -> str:
    """Plant a fault, run its tests, and take it out again."""
    path = place(mutant, copy)
    right, wrong = path.read_text(encoding="utf-8"), changed(mutant, path)
    path.write_text(wrong, encoding="utf-8")
    try:
        status = run(copy, named(mutant, copy))
    finally:
        path.write_text(right, encoding="utf-8")
    if status is None:
        return "no end"
    return {0: "missed", FAILED: "caught"}.get(status, f"stale (pytest exits {status})")


def copied(to: Path) -> Path:
    """The files of the repository that are or would be committed."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        check=True,
    )
    for name in filter(None, listed.stdout.decode().split("\0")):
        if (ROOT / name).is_file():
            (to / name).parent.mkdir(parents=True, exist_ok=True)
            (to / name).write_bytes((ROOT / name).read_bytes())
    return to


def judged(mutants: Sequence[Mutant], copy: Path) -> Iterable[tuple[Mutant, str]]:
    """Every fault with what came of it; tests that fail without a fault say nothing, so they run without one first."""
    tests = sorted({test for mutant in mutants for test in named(mutant, copy)})
    sound = {test for test in tests if run(copy, [test]) == 0} if run(copy, tests) else set(tests)
    for mutant in mutants:
        broken = set(named(mutant, copy)) - sound
        yield mutant, f"stale ({', '.join(sorted(broken))} fails without it)" if broken else outcome(mutant, copy)


def main() -> None:
    """Print what came of every fault and the share caught; exit 1 unless all are."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("only", nargs="*", help="Words: faults whose id holds one of them. Default: all.")
    only: list[str] = parser.parse_args().only
    mutants = [mutant for mutant in read() if not only or any(word in mutant.id for word in only)]
    for library in HEAVY:
        import_module(library)
    counts: Counter[str] = Counter()
    with tempfile.TemporaryDirectory() as folder:
        copy = copied(Path(folder, "main"))
        start = time.monotonic()
        for mutant, what in judged(mutants, copy):
            counts[what.split()[0]] += 1
            print(f"{what:8} {mutant.id} ({time.monotonic() - start:.0f} s)", flush=True)
            start = time.monotonic()
    print(f"{counts['caught']} of {len(mutants)} planted faults are caught ({counts['caught'] / len(mutants):.0%})")
    sys.exit(counts["caught"] < len(mutants))


if __name__ == "__main__":
    main()
