"""Reading a model from a directory or the hub, and knowing it again.

Everything that can be wrong with a name or a file ends here as one line: no such directory (with the nearest sibling),
a hub that cannot be reached, weights that are missing or torn. A model with half its weights is refused, because
transformers fills the rest with random numbers and only logs it. Nothing pickled is opened and no remote code is run;
which forms of weights are read stands in :mod:`probes.models.packaging`.
"""

from __future__ import annotations

import difflib
import hashlib
import importlib.util
import json
import re
import struct
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any, Final, NamedTuple, cast

import torch
import transformers
from huggingface_hub import HfApi, constants
from safetensors import SafetensorError
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoTokenizer,
    BitsAndBytesConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)
from transformers.utils import hub
from transformers.utils import logging as transformers_logging

from probes.errors import InputError
from probes.lab import shipped_path
from probes.models.devices import AUTO, Devices, check_map, keep, offload_folder
from probes.models.packaging import (
    ADAPTER,
    Place,
    base_of,
    check_whole,
    merged,
    place_of,
    states_a_tokenizer,
    weights_of,
)

TOKENIZER_FILES: Final = (
    "tokenizer.json",
    "tokenizer_config.json",
    "tokenizer.model",
    "spiece.model",
    "vocab.json",
    "vocab.txt",
)
IDENTITY: Final = ("*.safetensors", "config.json", ADAPTER, *TOKENIZER_FILES, "merges.txt")
HUB_SECONDS: Final = 10.0
_SHA256: Final = re.compile(r"[0-9a-f]{64}")
_UNREADABLE: Final = (OSError, ValueError, RuntimeError, KeyError, ImportError, SafetensorError, struct.error)


class Checkpoint(NamedTuple):
    """A model in memory and where it came from."""

    name: str
    module: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase | None
    fingerprint: str
    revision: str
    weights: str


def open_checkpoint(
    name: str,
    *,
    tokenizer: PreTrainedTokenizerBase | None,
    device: Devices,
    dtype: torch.dtype | None,
    revision: str | None,
    attention: str | None,
) -> Checkpoint:
    """Read a model from a directory or the hub, or a shipped one by its short name.

    Raises:
        InputError: in one line, if it cannot be found or read, or is not whole.
    """
    place = find_model(name, revision)
    if _local(name).exists():
        check_whole(name, place)
    if place.form == "adapter":
        base = open_checkpoint(
            base_of(place.path), tokenizer=tokenizer, device=device, dtype=dtype, revision=None, attention=attention
        )
        _refuse_offloaded(base, name)
        return _with_adapter(name, base, place)
    directory = place.path
    packed = {} if place.form == "safetensors" else {"gguf_file": directory.name}
    if packed:
        directory = directory.parent
    quantization = _eight_bit(name) if dtype == torch.int8 else None
    folder = offload_folder(name) if isinstance(device, Mapping) or str(device) == AUTO else None
    with _quiet():
        try:
            loader = _loader(directory, packed, device, name)
            module, info = loader.from_pretrained(
                directory if _local(name).exists() else name,
                **packed,
                revision=revision or "main",
                dtype=torch.float16 if quantization else dtype or "auto",
                quantization_config=quantization,
                attn_implementation=attention,
                device_map=device if folder else str(device) if quantization else None,
                offload_folder=folder,
                use_safetensors=True,
                output_loading_info=True,
            )
            beside = any((directory / file).exists() for file in TOKENIZER_FILES)
            if tokenizer is None and (states_a_tokenizer(place.path) if packed else beside):
                tokenizer = cast("PreTrainedTokenizerBase", AutoTokenizer.from_pretrained(directory, **packed))
        except _UNREADABLE as error:
            raise error if isinstance(error, InputError) else _unreadable(name, error) from error
    if info["missing_keys"]:
        missing = sorted(info["missing_keys"])
        raise InputError(
            f"model {name!r} is not whole: {len(missing)} weights are missing, {missing[0]} first; "
            "they would be random numbers; download or copy the folder again"
        )
    if folder is not None:
        keep(folder, module)
    elif quantization is None:
        module = _move(module, name, cast("str | torch.device", device))
    return Checkpoint(name, module, tokenizer, fingerprint_files(place.path), revision or "", weights_of(place))


def _loader(directory: Path, packed: Mapping[str, str], device: Devices, name: str) -> Any:  # noqa: ANN401  a class
    """The class that reads a model, once a device map is known to fit."""
    config = cast("Any", AutoConfig).from_pretrained(directory, **packed)
    named = cast("list[str]", config.architectures or [])
    loader: Any = getattr(transformers, named[0] if named else "", AutoModelForCausalLM)
    if isinstance(device, Mapping):
        with torch.device("meta"):
            make = cast("Any", loader.from_config) if loader is AutoModelForCausalLM else loader
            check_map(device, cast("PreTrainedModel", make(config)), name)
    return loader


def _unreadable(name: str, error: Exception) -> InputError:
    return InputError(f"model {name!r} cannot be read: {_first_line(error)}")


def _refuse_offloaded(base: Checkpoint, name: str) -> None:
    """Refuse to merge an adapter into weights that are not in memory."""
    if any(parameter.is_meta for parameter in base.module.parameters()):
        raise InputError(
            f"adapter {name!r} cannot be merged into {base.name!r}, whose weights wait elsewhere (device_map); merge "
            "it once and save the model, or load it on one device"
        )


def _with_adapter(name: str, base: Checkpoint, place: Place) -> Checkpoint:
    """A base model with an adapter merged into it; both make it what it is."""
    with _quiet():
        try:
            module = merged(base.module, place.path)
        except _UNREADABLE as error:
            raise InputError(f"adapter {name!r} cannot be merged into {base.name!r}: {_first_line(error)}") from error
    both = hashlib.sha256(f"{base.fingerprint} {fingerprint_files(place.path)}".encode()).hexdigest()
    return Checkpoint(name, module, base.tokenizer, both, "", weights_of(place))


def fingerprint_files(directory: Path) -> str:
    """sha256 over weights, configuration and tokenizer files of a directory (or over a file), whatever it is called."""
    digest = hashlib.sha256()
    for name, stored in _file_hashes(directory).items():
        digest.update(f"{name} {stored}\n".encode())
    return digest.hexdigest()


def model_files(name: str, revision: str | None) -> dict[str, str]:
    """sha256 of each file that makes a model what it is, by file name; they are read once however often it is asked."""
    place = find_model(name, revision)
    base = model_files(base_of(place.path), None) if place.form == "adapter" else {}
    return {**{f"base/{file}": digest for file, digest in base.items()}, **_file_hashes(place.path)}


def _file_hashes(place: Path) -> dict[str, str]:
    found = {place} if place.is_file() else {path for pattern in IDENTITY for path in place.glob(pattern)}
    paths = sorted(found, key=lambda path: path.name)
    return {path.name: _hash_of(path, path.stat().st_size, path.stat().st_mtime_ns) for path in paths}


@cache
def _hash_of(path: Path, _size: int, _changed: int) -> str:
    stored = path.resolve().name  # the hub's cache names large files by their sha256
    if path.is_symlink() and _SHA256.fullmatch(stored):
        return stored
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def fingerprint_object(module: PreTrainedModel, tokenizer: PreTrainedTokenizerBase | None) -> str:
    """sha256 over parameters, buffers, configuration and vocabulary of a model in memory."""
    digest = hashlib.sha256(module.config.to_json_string(use_diff=False).encode())
    if tokenizer is not None:
        digest.update(json.dumps(sorted(tokenizer.get_vocab().items())).encode())
    for key, tensor in sorted(_whole_state(module).items()):
        digest.update(f"{key} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        flat = tensor.detach().cpu().contiguous().reshape(-1)
        digest.update(flat.view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _whole_state(module: PreTrainedModel) -> Mapping[str, torch.Tensor]:
    """Every weight of a model in memory, those that accelerate has put elsewhere included."""
    state: Mapping[str, torch.Tensor] = module.state_dict()
    if not any(tensor.is_meta for tensor in state.values()):
        return state
    from accelerate.utils.modeling import get_state_dict_offloaded_model  # noqa: PLC0415  only offloaded models need it

    offloaded: Any = get_state_dict_offloaded_model
    return cast("Mapping[str, torch.Tensor]", offloaded(module))


def _local(name: str) -> Path:
    """Path of a model on this machine: a path as given, or a shipped model by its short name."""
    return shipped_path(name) or Path(name).expanduser()


def find_model(name: str, revision: str | None = None) -> Place:
    """Locate the files of a model; the hub is asked only for a name it can have, and only if that is allowed.

    Raises:
        InputError: if there is no such model, here or there.
    """
    local = _local(name)
    if local.exists():
        place = place_of(name, local)
        if place is None:
            raise InputError(f"{name!r} is not a model: it holds no config.json{_nearest(local / 'config')}")
        return place
    if name.startswith((".", "/", "~")) or name.count("/") > 1 or not name.strip():
        raise InputError(f"no model directory {name!r}{_nearest(local)}")
    with _quiet():
        try:
            found = hub.cached_file(name, "config.json", revision=revision or "main", local_files_only=True)
        except (OSError, ValueError):  # not in the cache, or not a name that the hub could have
            found = None
        try:
            if found is None and not constants.HF_HUB_OFFLINE:
                # asked first because it fails at once, where a download retries for half a minute
                HfApi().model_info(name, revision=revision, timeout=HUB_SECONDS)
                found = hub.cached_file(name, "config.json", revision=revision or "main")
        except Exception as error:
            why = f"{_nearest(local)} and not to be had from the hub: {_first_line(error)}"
            raise InputError(f"model {name!r} is no local directory{why}") from error
    if found is None:
        raise InputError(
            f"model {name!r} is no local directory{_nearest(local)} and not in the hub's cache; HF_HUB_OFFLINE is set"
        )
    return Place(Path(found).parent, "safetensors")


def _eight_bit(name: str) -> BitsAndBytesConfig:
    """Settings of 8-bit weights, where the package that computes with them is installed."""
    if importlib.util.find_spec("bitsandbytes") is None:
        raise InputError(f"model {name!r}: dtype int8 needs the package bitsandbytes; install it, or ask for bfloat16")
    return BitsAndBytesConfig(load_in_8bit=True)


def _nearest(path: Path) -> str:
    """``; did you mean ...?`` with the model directory beside it that is spelt most alike, or nothing."""
    if not path.parent.is_dir():
        return ""
    beside = {child.name.lower(): child for child in path.parent.iterdir() if (child / "config.json").is_file()}
    near = difflib.get_close_matches(path.name.lower(), beside, n=1)
    return f"; did you mean {str(beside[near[0]])!r}?" if near else ""


def _move(module: PreTrainedModel, name: str, device: str | torch.device) -> PreTrainedModel:
    """Put a model on a device that may not be there or may be full."""
    try:
        return cast("Any", module).to(torch.device(device))
    except (RuntimeError, AssertionError) as error:
        raise InputError(f"model {name!r} cannot be put on {str(device)!r}: {_first_line(error)}") from error


def _first_line(error: BaseException) -> str:
    """One line of an error that may be a page."""
    text = str(error).strip() or type(error).__name__
    return text.splitlines()[0].strip().rstrip(".:")


@contextmanager
def _quiet() -> Generator[None]:
    """Keep progress bars and advice off stderr while transformers reads: what matters is checked and raised here."""
    verbosity, bars = transformers_logging.get_verbosity(), transformers_logging.is_progress_bar_enabled()
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    try:
        yield
    finally:
        transformers_logging.set_verbosity(verbosity)
        if bars:
            transformers_logging.enable_progress_bar()
