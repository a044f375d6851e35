"""Models spread over several devices, and weights that wait in memory or on disk until their module is called.

A device map says where each part of a model goes: ``{"model.embed_tokens": "cpu", "model.layers.0": "disk", ...}``, or
``auto``, which fills the accelerators, then memory, then the disk. The package accelerate moves weights in for the call
of their module and out again, so numbers are those of the undivided model; what a hook sees lies where its module ran.
"""

from __future__ import annotations

import contextlib
import difflib
import importlib.util
import shutil
import tempfile
import weakref
from collections.abc import Generator, Mapping
from typing import Any, Final, cast

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from probes.errors import InputError

DISK: Final = "disk"
AUTO: Final = "auto"

Devices = str | torch.device | Mapping[str, str | int]


def is_spread(module: nn.Module) -> bool:
    """True if accelerate has put parts of a model in places of their own."""
    return hasattr(module, "hf_device_map")


def in_words(devices: Devices) -> str:
    """Devices as a table names them: ``cuda``, ``auto``, or the places of a map.

    >>> in_words({"model.layers.0": "disk", "model.layers.1": 0, "lm_head": "cpu", "model.norm": "cpu"})
    '0 + cpu + disk'
    """
    return " + ".join(sorted(set(map(str, devices.values())))) if isinstance(devices, Mapping) else str(devices)


def device_of(module: nn.Module) -> torch.device:
    """Device for what a module reads: that of its weights, or the one to which accelerate moves them for each call."""
    weight = next(module.parameters(), None)
    if weight is None:
        return torch.device("cpu")
    hooks = (getattr(part, "_hf_hook", None) for part in module.modules())
    places = (getattr(hook, "execution_device", None) for hook in hooks)
    place = next((own for own in places if own is not None), None)
    return torch.device(place) if weight.is_meta and place is not None else weight.device


def check_map(devices: Mapping[str, str | int], skeleton: nn.Module, name: str) -> None:
    """Refuse a device map that does not fit a model.

    Args:
        devices: the map.
        skeleton: the model, with or without its weights.
        name: how messages call it.

    Raises:
        InputError: if it names a module that the model does not have, a place that there is not, or leaves out weights.
    """
    whole = cast("Any", skeleton)
    modules: set[str] = {own for own, _ in whole.named_modules()} | {own for own, _ in skeleton.named_parameters()}
    for asked, place in devices.items():
        if asked not in modules:
            near = difflib.get_close_matches(asked, modules, n=1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            raise InputError(f"model {name!r}: device_map names {asked!r}, which is no module of it{hint}")
        if place != DISK:
            _refuse_absent(place, f"model {name!r}: device_map puts {asked!r} on {str(place)!r}")
    bare = next((own for own, _ in skeleton.named_parameters() if not any(_is_of(own, part) for part in devices)), None)
    if bare is not None:
        raise InputError(f"model {name!r}: device_map says nothing of {bare}; add it, or the module that it belongs to")


def offload_folder(name: str) -> str:
    """A folder for weights that are to wait on disk and cannot be read from the model's own files.

    Raises:
        InputError: if the package that moves weights is missing.
    """
    if importlib.util.find_spec("accelerate") is None:
        raise InputError(f"model {name!r}: a model over several devices needs the package accelerate; install it")
    return tempfile.mkdtemp(prefix="sparsity-offload-")


def keep(folder: str, module: nn.Module) -> None:
    """Delete a folder when a model is gone, and not before."""
    weakref.finalize(module, shutil.rmtree, folder, ignore_errors=True)


@contextlib.contextmanager
def weights_of(module: nn.Module) -> Generator[None]:
    """Let a module's own weights be there, if accelerate has put them elsewhere; copy what outlives the context."""
    if not any(parameter.is_meta for parameter in module.parameters(recurse=False)):
        yield
        return
    from accelerate.utils import align_module_device  # noqa: PLC0415  only offloaded models need it

    with cast("Any", align_module_device)(module):
        yield


def weight_of(module: nn.Module) -> Tensor | None:
    """The attribute ``weight`` of a module as a tensor with numbers, wherever it waits; None where there is none."""
    weight: object = getattr(module, "weight", None)
    if not isinstance(weight, Tensor) or not weight.is_meta:
        return weight.detach() if isinstance(weight, Tensor) else None
    with weights_of(module):
        return cast("Tensor", module.weight).detach().clone()


def spread_like(module: PreTrainedModel, model: PreTrainedModel) -> PreTrainedModel:
    """Put a model of the same architecture where another one is.

    Args:
        module: with its weights in memory.
        model: the one to follow, spread over places.
    """
    import accelerate  # noqa: PLC0415  only spread models need it

    places: dict[str, str | int] = cast("Any", model).hf_device_map
    folder = offload_folder(str(module.name_or_path))
    spread: PreTrainedModel = cast("Any", accelerate).dispatch_model(
        module, device_map=dict(places), offload_dir=folder
    )
    keep(folder, spread)
    return spread


def _is_of(parameter: str, part: str) -> bool:
    return part in ("", parameter) or parameter.startswith(f"{part}.")


def _refuse_absent(place: str | int, what: str) -> None:
    """Refuse a device that this machine does not have."""
    try:
        torch.empty(0, device=place)
    except (RuntimeError, AssertionError, ValueError) as error:
        raise InputError(f"{what}: {str(error).splitlines()[0].strip().rstrip('.')}") from None
