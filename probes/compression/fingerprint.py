"""Fingerprint of everything that a model's probabilities depend on; writer and reader of a stream must have the same.

A symbol is decoded correctly only if both sides compute equal probabilities. In lockstep mode their last digits depend
on weights, libraries, threads and processor, so all of these are recorded and compared, and a difference is refused by
name before anything is decoded. In exact mode they depend on the model and on the coder alone.
"""

from __future__ import annotations

import hashlib
import json
import platform
from collections.abc import Mapping
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any, Final, Literal, get_args

import torch
from torch import Tensor

from probes.corpus.alphabet import Tokens
from probes.errors import InputError
from probes.models.loading import LoadedModel

Mode = Literal["lockstep", "exact"]
Fingerprint = Mapping[str, str]

MODES: Final[tuple[Mode, ...]] = get_args(Mode)
LIBRARIES: Final = ("torch", "transformers", "numpy")
PASSING: Final = ("_name_or_path", "transformers_version", "dtype", "torch_dtype", "use_cache")
REMEDIES: Final = {
    "weights": "read it with the model that wrote it",
    "configuration": "read it with the model that wrote it",
    "tokenizer": "read it with the tokenizer that wrote it",
    "processor": "read it on the machine that wrote it, or write it with --mode exact",
    "cpu capability": "read it on the machine that wrote it (ATEN_CPU_CAPABILITY), or write it with --mode exact",
}


def mode_of(name: str) -> Mode:
    """A mode by its name.

    Raises:
        InputError: if there is none of that name.
    """
    if name not in MODES:
        raise InputError(f"the mode must be one of {', '.join(MODES)}; got {name!r}")
    return name


def fingerprint(model: LoadedModel, mode: Mode) -> Fingerprint:
    """Record what the probabilities of a model depend on in this process; a container stores batch and threads."""
    found = {
        "dtype": str(model.dtype).removeprefix("torch."),
        "weights": hash_weights(model),
        "configuration": _hash_configuration(model),
        "tokenizer": "" if model.tokenizer is None else Tokens(model.tokenizer).identity,
        "constriction": _version("constriction"),
    }
    if mode == "exact":
        return found
    return found | {
        "device": _device(model.device),
        "attention": model.attention,
        "cpu capability": torch.backends.cpu.get_cpu_capability(),
        "processor": _processor(),
        **{library: _version(library) for library in LIBRARIES},
    }


def check_fingerprint(written: Fingerprint, here: Fingerprint) -> None:
    """Refuse to read what was written under other circumstances.

    Raises:
        InputError: naming the first entry that differs, both its values, and what to do.
    """
    for entry in dict.fromkeys((*written, *here)):
        then, now = written.get(entry, "nothing"), here.get(entry, "nothing")
        if then != now:
            remedy = REMEDIES.get(entry, f"read it with {entry} {then}, or write it with --mode exact")
            raise InputError(f"the stream was written with {entry} {then[:24]} and this is {now[:24]}: {remedy}")


def hash_weights(model: LoadedModel) -> str:
    """sha256 over names, types, shapes and every bit of a model's weights as they are in memory."""
    digest = hashlib.sha256()
    state: Mapping[str, Tensor] = model.module.state_dict()
    for name, tensor in sorted(state.items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _hash_configuration(model: LoadedModel) -> str:
    """sha256 over the configuration, without what says where it came from."""
    config: dict[str, Any] = model.module.config.to_dict()
    kept = {key: value for key, value in config.items() if key not in PASSING}
    return hashlib.sha256(json.dumps(kept, sort_keys=True, default=str).encode()).hexdigest()


def _device(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type


@cache
def _version(library: str) -> str:
    return metadata.version(library)


@cache
def _processor() -> str:
    """The processor by name: libraries choose their kernels by it."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    named = (line.partition(":")[2].strip() for line in lines if line.startswith(("model name", "CPU part")))
    family = (line.partition(":")[2].strip() for line in lines if line.startswith(("cpu family", "model\t")))
    return " ".join(dict.fromkeys((next(named, platform.machine()), *family)))
