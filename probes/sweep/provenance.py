"""What produced a number: packages, code, machine."""

from __future__ import annotations

import importlib.metadata
import json
import os
import platform
import subprocess
from pathlib import Path
from typing import Final

import torch

from probes.records.schema import SCHEMA_VERSION

DISTRIBUTION: Final = "activation-sparsity"
PACKAGES: Final = (DISTRIBUTION, "numpy", "torch", "transformers", "tokenizers", "pyarrow", "pandas", "scipy")


def package_versions() -> dict[str, str]:
    """Versions of this toolkit and of what its numbers depend on."""
    return {name: importlib.metadata.version(name) for name in PACKAGES}


def manifest(device: str) -> str:
    """The text of ``manifest.json``: everything about the surroundings of a sweep, nothing about its content."""
    content = {
        "schema": SCHEMA_VERSION,
        "packages": package_versions(),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "processor": _processor(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "device": device if device == "cpu" else torch.cuda.get_device_name(device),
        "git": _git_state(),
    }
    return json.dumps(content, indent=1, ensure_ascii=False)


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
