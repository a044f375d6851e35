"""``make bench``: costs as ratios inside one process, medians of interleaved repeats, with the machine they ran on.

``python -m tests.benchmarks capture metrics`` runs some of them.
"""

from __future__ import annotations

import importlib
import pkgutil
import platform
import sys
from pathlib import Path

import numpy as np
import torch

import tests.benchmarks

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
    known = sorted(
        module.name for module in pkgutil.iter_modules(tests.benchmarks.__path__) if module.name != "__main__"
    )
    wanted = sys.argv[1:] or known
    unknown = [name for name in wanted if name not in known]
    if unknown:
        sys.exit(f"no benchmark is called {unknown[0]!r}; there are {', '.join(known)}")
    print(machine())
    for name in wanted:
        print(f"\n== {name}", flush=True)
        importlib.import_module(f"tests.benchmarks.{name}").main()


if __name__ == "__main__":
    main()
