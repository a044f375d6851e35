"""Provenance of a number: packages, code, machine."""

from __future__ import annotations

import contextlib
import datetime as dt
import importlib.metadata
import os
import platform
import subprocess
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any, Final

import torch

from probes.sweep.interface import Options
from probes.sweep.planning.run_plan import RunPlan
from probes.sweep.spec import SweepSpec
from sparsity.registry import plugin_packages

DISTRIBUTION: Final = "activation-sparsity"
PACKAGES: Final = (
    *(DISTRIBUTION, "numpy", "torch", "transformers", "tokenizers", "datasets", "pyarrow", "pandas", "scipy"),
    *("faiss-cpu", "pydivsufsort", "zstandard", "ray"),  # of extras
)
RUN_FACTS: Final = ("model_files", "weights", "bos", "template", "max_tokens", "items_sha256", "n_items", "batch_size")


@cache
def package_versions() -> dict[str, str]:
    """Versions of this toolkit, of what its numbers depend on and of packages that plug in, as far as installed."""
    found: dict[str, str] = {}
    for name in (*PACKAGES, *plugin_packages()):
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            found[name] = importlib.metadata.version(name)
    return found


def session(spec: SweepSpec, plans: Sequence[RunPlan], options: Options) -> dict[str, Any]:
    """Provenance of one call of a sweep: code, packages, machine, seed, models, items, how they are batched."""
    device = options.device
    return {
        "started": dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
        "packages": package_versions(),
        "python": platform.python_version(),
        "git": _git_state(),
        "platform": platform.platform(),
        "processor": _processor(),
        "simd": torch.backends.cpu.get_cpu_capability(),
        "cores": os.cpu_count(),
        "memory_bytes": os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"),
        "device": torch.cuda.get_device_name(device) if device.startswith("cuda") else device,
        "threads": torch.get_num_threads(),
        "executor": options.executor,
        "workers": options.workers,
        "shard": None if options.shard is None else "{}/{}".format(*options.shard),
        "seed": spec.seed,
        "runs": {
            plan.run.label: {
                "run_id": plan.run.run_id,
                "model_sha256": plan.identity.fingerprint,
                "dtype": plan.identity.dtype,
                "attention": plan.identity.attention,
                "suite_version": plan.identity.suite_version,
                **{name: getattr(plan.facts, name) for name in RUN_FACTS},
                "n_left": plan.n_left(),
            }
            for plan in plans
        },
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), "")


def _git_state() -> dict[str, str | bool] | None:
    """Commit of the toolkit's own checkout and whether it has changes; None when it is installed without one."""
    folder = Path(__file__).resolve().parents[2]
    if not (folder / ".git").exists():
        return None

    def git(*arguments: str) -> str:
        command = ["git", "-C", str(folder), *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()  # noqa: S603  fixed arguments

    try:
        return {"commit": git("rev-parse", "HEAD"), "changed": bool(git("status", "--porcelain"))}
    except (OSError, subprocess.CalledProcessError):
        return None
