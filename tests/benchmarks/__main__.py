"""``make bench``: costs as ratios inside one process, medians of interleaved repeats, with the machine they ran on.

``python -m tests.benchmarks capture metrics`` runs some of them. What was printed becomes a page of the documentation,
with the machine and the day; sections of benchmarks that were not run stay as they were.
"""

from __future__ import annotations

import datetime as dt
import importlib
import io
import pkgutil
import platform
import re
import sys
from collections.abc import Mapping
from contextlib import redirect_stdout
from pathlib import Path
from typing import Final, TextIO

import numpy as np
import torch

import tests.benchmarks

PAGE: Final = Path(__file__).resolve().parents[2] / "docs" / "benchmarks.md"
HEADER: Final = """\
# Benchmarks

Written by `make bench`: costs as ratios within one process, medians of interleaved repeats. *Bare* is the same forward
pass doing only what is asked, without measuring.
"""
SECTION: Final = re.compile(r"^## (\w+)\n.*?(?=^## |\Z)", re.DOTALL | re.MULTILINE)
PARTS: Final = {"__main__", "comparators", "test_comparators"}  # of benchmarks, none by itself
SIMD = ("avx512f", "avx2", "neon", "asimd")


def machine() -> str:
    """Processor, cores, threads and the widest SIMD that numpy's sort can use."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    model = next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.machine())
    flags = next((line.split(":", 1)[1].split() for line in lines if line.startswith(("flags", "Features"))), [])
    simd = next((name for name in SIMD if name in flags), "no SIMD known")
    return (
        f"{model}, {simd}; python {platform.python_version()}, numpy {np.__version__}, torch {torch.__version__}, "
        f"{torch.get_num_threads()} threads"
    )


def main() -> None:
    """Run the benchmarks named on the command line, or all."""
    known = sorted({module.name for module in pkgutil.iter_modules(tests.benchmarks.__path__)} - PARTS)
    wanted = sys.argv[1:] or known
    unknown = [name for name in wanted if name not in known]
    if unknown:
        sys.exit(f"no benchmark is called {unknown[0]!r}; there are {', '.join(known)}")
    print(machine())
    sections: dict[str, str] = {}
    for name in wanted:
        print(f"\n== {name}", flush=True)
        module = importlib.import_module(f"tests.benchmarks.{name}")
        printed = Echo(sys.stdout)
        with redirect_stdout(printed):
            module.main()
        said = (module.__doc__ or "").split("\n\n")[0]
        stamp = f"{dt.datetime.now(dt.UTC).date().isoformat()} on {machine()}"
        sections[name] = f"## {name}\n\n{said}\n\n```text\n{printed.getvalue().strip()}\n```\n\nMeasured {stamp}.\n\n"
        PAGE.write_text(page(PAGE.read_text(encoding="utf-8") if PAGE.exists() else "", sections), encoding="utf-8")


class Echo(io.StringIO):
    """Keeps what is printed, and prints it."""

    def __init__(self, stream: TextIO) -> None:
        super().__init__()
        self._stream = stream

    def write(self, text: str) -> int:
        """Print and keep."""
        self._stream.write(text)
        self._stream.flush()
        return super().write(text)


def page(before: str, sections: Mapping[str, str]) -> str:
    """The page with these sections in place of theirs, or added.

    >>> page("## b\\n\\nold\\n", {"b": "## b\\n\\nnew\\n", "a": "## a\\n\\n"}).endswith("## a\\n\\n## b\\n\\nnew\\n")
    True
    """
    kept = {found[1]: found[0] for found in SECTION.finditer(before)} | dict(sections)
    return HEADER + "\n" + "".join(text for _, text in sorted(kept.items())).rstrip() + "\n"


if __name__ == "__main__":
    main()
