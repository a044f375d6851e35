"""The form in which a path holds weights: a model directory, an adapter, a GGUF file, or nothing that can be read.

Weights are read from safetensors. A GGUF file is read through transformers, which turns its blocks of few-bit numbers
into ordinary weights: the states are those of these weights, and not those that another runtime computes from the
blocks. An adapter is merged into its base model. Pickled weights may run code when they are opened, and are refused.
"""

from __future__ import annotations

import importlib.util
import json
import warnings
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple, cast

from transformers import PreTrainedModel

from probes.errors import InputError

Form = Literal["safetensors", "gguf", "adapter"]
PICKLED: Final = ("pytorch_model*.bin", "*.pt", "*.pth", "*.ckpt")
ADAPTER: Final = "adapter_config.json"
CONVERT: Final = (
    "convert them once, where you trust them: "
    "AutoModelForCausalLM.from_pretrained(folder, use_safetensors=False).save_pretrained(new_folder)"
)


class Place(NamedTuple):
    """Where the files of a model are, and in which form.

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


def states_a_tokenizer(file: Path) -> bool:
    """Whether a GGUF file holds a tokenizer beside its weights."""
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
