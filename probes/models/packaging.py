"""The form in which a path holds weights: a model directory, an adapter, a GGUF file, or nothing that can be read.

Weights are read from safetensors; a file that is missing or cut short is found by its header before anything is
loaded. A GGUF file is read through transformers, which turns its blocks of few-bit numbers into ordinary weights: the
states are those of these weights, and not those that another runtime computes from the blocks. An adapter is merged
into its base model. Pickled weights may run code when they are opened, and are refused.
"""

from __future__ import annotations

import importlib.util
import json
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple, cast

from transformers import PreTrainedModel

from probes.errors import InputError

Form = Literal["safetensors", "gguf", "adapter"]
PICKLED: Final = ("pytorch_model*.bin", "*.pt", "*.pth", "*.ckpt")
ADAPTER: Final = "adapter_config.json"
ADAPTED: Final = "adapter_model.safetensors"
WHOLE: Final = "model.safetensors"
INDEX: Final = "model.safetensors.index.json"
LFS_POINTER: Final = b"version https://git-lfs"
UNPACKED: Final = frozenset({"F64", "F32", "F16", "BF16"})  # in a GGUF file: ordinary numbers, nothing to dequantise
CONVERT: Final = (
    "convert them once, where you trust them: "
    "AutoModelForCausalLM.from_pretrained(folder, use_safetensors=False).save_pretrained(new_folder)"
)


class Place(NamedTuple):
    """Path and form of the files of a model.

    Attributes:
        path: the directory, or the GGUF file.
        form: what it holds.
    """

    path: Path
    form: Form


def place_of(name: str, local: Path) -> Place | None:
    """Find out what a local path holds.

    Returns:
        The place; None if it is a directory that holds no model at all.

    Raises:
        InputError: in one line with the remedy, if its weights are pickled, if a package that reads them is missing,
            or if it holds several GGUF files.
    """
    if local.is_file():
        if local.suffix != ".gguf":
            raise InputError(
                f"{name!r} is a file; a model is a directory with config.json and *.safetensors, or a .gguf"
            )
        _need("gguf", name, "is a GGUF file, which is read with")
        return Place(local.resolve(), "gguf")
    whole = (local / "config.json").is_file()
    if (local / ADAPTER).is_file() and not (whole and any(local.glob("model*.safetensors"))):
        _need("peft", name, f"is an adapter of {base_of(local)!r}, which is merged with")
        return Place(local.resolve(), "adapter")
    if any(local.glob("*.safetensors")):
        return Place(local.resolve(), "safetensors") if whole else None
    files = sorted(local.glob("*.gguf"))
    if len(files) > 1:
        raise InputError(f"{name!r} holds {len(files)} GGUF files; name one, e.g. {str(files[0])!r}")
    if files:
        return place_of(name, files[0])
    pickled = next((path.name for pattern in PICKLED for path in sorted(local.glob(pattern))), None)
    if pickled is not None:
        raise InputError(f"{name!r} holds only pickled weights ({pickled}), which may run code when opened; {CONVERT}")
    return Place(local.resolve(), "safetensors") if whole else None


def check_whole(name: str, place: Place) -> None:
    """Refuse a local folder of which a file of weights is missing or cut short, without reading a weight.

    Raises:
        InputError: in one line with the file and the remedy.
    """
    if place.form == "gguf":
        return
    names = [ADAPTED] if place.form == "adapter" else _files_of_weights(name, place.path)
    fault = next(((file, why) for file in names if (why := _fault_of(place.path / file))), None)
    if fault is not None:
        remedy = "run git lfs pull" if "LFS" in fault[1] else "download or copy that file again"
        raise InputError(f"model {name!r} is not whole: {fault[0]} {fault[1]}; {remedy}")


def _files_of_weights(name: str, directory: Path) -> list[str]:
    """The files that transformers will read: one, or those that the index lists."""
    if (directory / WHOLE).is_file() or not any(directory.glob("*.safetensors")):
        return [WHOLE]
    try:
        index: dict[str, dict[str, str]] = json.loads((directory / INDEX).read_text(encoding="utf-8"))
        return sorted(set(index["weight_map"].values()))
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        why = "is missing" if isinstance(error, FileNotFoundError) else "cannot be read"
        raise InputError(
            f"model {name!r} is not whole: {INDEX}, which says which file holds which weight, {why}; "
            "download or copy that file again"
        ) from error


def _fault_of(path: Path) -> str:
    """Reason that a safetensors file is not whole, ``""`` if it is.

    It begins with the length of its header in 8 bytes; the header says where in the rest each tensor ends.
    """
    if not path.is_file():
        return "is missing"
    size = path.stat().st_size
    with path.open("rb") as file:
        start = file.read(8)
        if (start + file.read(len(LFS_POINTER) - 8)).startswith(LFS_POINTER):
            return "is a Git LFS pointer instead of the weights"
        length = int.from_bytes(start, "little")
        if size < 8 or length > size - 8:
            return f"is cut short within its header (it has {size:,} bytes)"
        file.seek(8)
        try:
            header: Mapping[str, Any] = json.loads(file.read(length))
            ends = [entry["data_offsets"][1] for key, entry in header.items() if key != "__metadata__"]
            whole = 8 + length + max(ends, default=0)
        except (ValueError, KeyError, TypeError, AttributeError, IndexError):
            return "has a header that cannot be read"
    return "" if size == whole else f"has {size:,} bytes where its header describes {whole:,}"


def weights_of(place: Place) -> str:
    """Describe how the weights in memory were made from the files, as it is recorded with a run."""
    if place.form == "adapter":
        return f"adapter merged into {base_of(place.path)}"
    if place.form == "safetensors":
        return "as stored"
    from gguf import GGUFReader  # noqa: PLC0415  only GGUF files need it

    reader: Any = GGUFReader(str(place.path))
    kinds = sorted({str(tensor.tensor_type.name) for tensor in reader.tensors})
    how = "read from GGUF" if UNPACKED.issuperset(kinds) else "dequantised from GGUF"
    return f"{how} ({', '.join(kinds)})"


def states_a_tokenizer(file: Path) -> bool:
    """True if a GGUF file holds a tokenizer beside its weights."""
    from gguf import GGUFReader  # noqa: PLC0415  only GGUF files need it

    reader: Any = GGUFReader(str(file))
    return "tokenizer.ggml.model" in reader.fields


def base_of(adapter: Path) -> str:
    """Name of the model that an adapter changes; a path is relative to the adapter if there is one there.

    Raises:
        InputError: if the adapter does not say.
    """
    try:
        base = json.loads((adapter / ADAPTER).read_text(encoding="utf-8")).get("base_model_name_or_path")
    except (OSError, ValueError, AttributeError) as error:
        raise InputError(f"{str(adapter / ADAPTER)!r} cannot be read: {error}") from error
    if not isinstance(base, str) or not base:
        raise InputError(f"{str(adapter)!r} is an adapter that does not name its base_model_name_or_path")
    beside = adapter / base
    return str(beside) if beside.is_dir() else base


def merged(module: PreTrainedModel, adapter: Path) -> PreTrainedModel:
    """Add an adapter's changes to the weights of its base model."""
    from peft import PeftModel  # noqa: PLC0415  only adapters need it

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # between the two packages; nothing a user could change
        opened: Any = PeftModel.from_pretrained(module, str(adapter))
        return cast("PreTrainedModel", opened.merge_and_unload())


def _need(package: str, name: str, what: str) -> None:
    if importlib.util.find_spec(package) is None:
        raise InputError(
            f"{name!r} {what} the package {package}: pip install 'activation-sparsity[{package}]', "
            "or hand in a directory with config.json and *.safetensors"
        )
