"""The kernel that the numeric tests were started for is the one that runs; see :mod:`tests.kernels`."""

from __future__ import annotations

import os

import pytest

from tests.kernels import EXPECTED, X86, Kernel, kernels, numpy_features, running

NAMES = {"Prescott": {"Prescott", "Katmai", "Core2", "Nehalem"}}  # what OpenBLAS calls what it falls back to


def expected() -> Kernel | None:
    """The kernel this process was started for, from the name alone: features are already off here."""
    name = os.environ.get(EXPECTED)
    return {"baseline": Kernel((), "Prescott" if X86 else "", "default"), "avx2": Kernel(None, "Haswell", "avx2")}.get(
        name or ""
    )


@pytest.mark.numeric
def test_the_kernel_asked_for_is_the_one_that_runs() -> None:
    kernel, found = expected(), running()
    if kernel is None:
        assert all(found.values())
        return
    assert found["torch"].lower() == kernel.aten
    if kernel.numpy == ():
        assert not numpy_features()
    else:
        assert not [name for name in numpy_features() if name.startswith(("X86_V4", "AVX512"))]
    if kernel.openblas and found["blas"] != "unknown":
        assert NAMES.get(kernel.openblas, {kernel.openblas}) & set(found["blas"].split())


def test_a_kernel_leaves_out_what_this_machine_lacks() -> None:
    for kernel in kernels().values():
        off = set(kernel.environment().get("NPY_DISABLE_CPU_FEATURES", "").split())
        already = set(os.environ.get("NPY_DISABLE_CPU_FEATURES", "").split())
        assert off - already <= set(numpy_features())
