"""``make test`` after the main run: the numeric tests again under the arithmetic of other CPUs.

BLAS, numpy and torch each carry code for several generations of CPUs and choose by what the machine has. Environment
variables, read when a library is loaded, make them choose as an older machine would; so each kernel is a process of its
own, and all run side by side, without the checks of types and shapes that the main run has made. Tests marked
``numeric`` are those whose numbers depend on that choice; one of them (:mod:`tests.test_kernels`) asks the libraries
what they chose, so that a variable that no longer works is found out.

``python -m tests.kernels -x tests/sparsity`` hands its arguments to pytest.
"""

from __future__ import annotations

import os
import platform
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
import threadpoolctl

EXPECTED: Final = "SPARSITY_TESTS_KERNEL"  # name of the kernel that a process was started for
FOLDERS: Final = (
    "tests/test_kernels.py",
    "tests/sparsity",
    "tests/probes/capture",
    "tests/probes/models",
)  # where numeric tests are
OPTIONS: Final = ("-q", "-o", "addopts=", "-m", "numeric", "-p", "no:cacheprovider")
X86: Final = platform.machine().lower() in {"x86_64", "amd64"}


class Kernel(NamedTuple):
    """One choice of code in all libraries; empty fields leave a library to itself.

    Attributes:
        numpy: the features that numpy may go on using beyond its baseline.
        openblas: the CPU that OpenBLAS takes this one for.
        aten: the instruction set of torch's own loops.
        mkl: that of the matrix products of torch where it is built with MKL.
        onednn: that of oneDNN.
    """

    numpy: tuple[str, ...] | None = None
    openblas: str = ""
    aten: str = ""
    mkl: str = ""
    onednn: str = ""

    def environment(self) -> dict[str, str]:
        """The variables that make the libraries choose so; a feature that this machine lacks is left out."""
        off = [] if self.numpy is None else [name for name in numpy_features() if name not in self.numpy]
        already = os.environ.get("NPY_DISABLE_CPU_FEATURES", "").split()
        asked = {
            "NPY_DISABLE_CPU_FEATURES": " ".join([*already, *off]),
            "OPENBLAS_CORETYPE": self.openblas,
            "ATEN_CPU_CAPABILITY": self.aten,
            "MKL_CBWR": self.mkl,
            "ONEDNN_MAX_CPU_ISA": self.onednn,
        }
        return {name: value for name, value in asked.items() if value}


def numpy_features() -> list[str]:
    """The instruction sets beyond its baseline that numpy uses in this process."""
    config: Any = np.show_config(mode="dicts")
    return list(config["SIMD Extensions"].get("found", []))


def kernels() -> dict[str, Kernel]:
    """The kernels to run here beside the machine's own; code that this machine cannot run is not asked for."""
    if not X86:
        return {"baseline": Kernel(numpy=(), aten="default")}
    found = {"baseline": Kernel((), "Prescott", "default", "COMPATIBLE", "SSE41")}
    avx2 = {"X86_V3", "AVX2"} & set(numpy_features())
    if avx2:
        kept = tuple(name for name in numpy_features() if not name.startswith(("X86_V4", "AVX512")))
        found["avx2"] = Kernel(kept, "Haswell", "avx2", "AVX2", "AVX2")
    return found


def running() -> dict[str, str]:
    """What each library says that it chose in this process."""
    import torch

    blas = [pool.get("architecture", "") for pool in threadpoolctl.threadpool_info() if pool["user_api"] == "blas"]
    return {
        "numpy": " ".join(numpy_features()) or "baseline",
        "blas": " ".join(dict.fromkeys(blas)) or "unknown",
        "torch": torch.backends.cpu.get_cpu_capability(),
    }


def main() -> int:
    """Run the numeric tests under every kernel at once; print what failed, and one line per kernel."""
    started: dict[str, tuple[subprocess.Popen[bytes], Path]] = {}
    with tempfile.TemporaryDirectory() as folder:
        for name, kernel in kernels().items():
            log = Path(folder) / name
            command = [sys.executable, "-m", "pytest", *OPTIONS, *(sys.argv[1:] or FOLDERS)]
            own = {"OMP_NUM_THREADS": "1", EXPECTED: name, **kernel.environment()}
            environment = {**os.environ, **own}
            with log.open("wb") as output:
                process = subprocess.Popen(command, env=environment, stdout=output, stderr=subprocess.STDOUT)
            started[name] = process, log
        worst = 0
        for name, (process, log) in started.items():
            status = process.wait()
            text = log.read_text(encoding="utf-8", errors="replace")
            worst = max(worst, abs(status))
            chosen = next((line for line in text.splitlines() if line.startswith("kernel: ")), "kernel: not told")
            print(text if status else f"{name}: {text.splitlines()[-1]}; {chosen}", flush=True)
    return worst


if __name__ == "__main__":
    sys.exit(main())
