"""Memories as folders: written once with the weight and temperature they were tuned to, opened for their model."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final, cast

from probes.errors import InputError
from probes.memory import decoder, knn
from probes.memory.decoder import DecoderMemory
from probes.memory.interpolation import Tuned
from probes.memory.knn import FACTS, KnnMemory
from probes.memory.recall import Weight
from probes.models.loading import LoadedModel

FORMAT: Final = 1


def save_memory(tuned: Tuned, folder: Path) -> None:
    """Write a memory to a new folder.

    Raises:
        InputError: if the folder exists.
    """
    if folder.exists():
        raise InputError(f"{folder} is there already: name another folder")
    facts = {
        "format": FORMAT,
        "temperature": tuned.temperature,
        "shares": tuned.weight.shares,
        "edges": tuned.weight.edges,
        "validation_bits": tuned.bits,
    }
    memory: Any = tuned.memory
    memory.save(folder, facts)


def open_memory(folder: Path | str, model: LoadedModel) -> Tuned:
    """Open a memory for the model that it is to stand beside.

    Args:
        folder: what `sparsity memory train` wrote.
        model: the language model.

    Raises:
        InputError: if there is no memory, or it was made for another model, tokenizer or vocabulary.
    """
    folder = Path(folder)
    facts = read_facts(folder)
    name = folder.name
    memory = KINDS[str(facts["kind"])].load(folder, facts, model, name)
    weight = Weight(tuple(facts["shares"]), tuple(facts["edges"]))
    return Tuned(memory, weight, float(facts["temperature"]), float(facts["validation_bits"]))


def read_facts(folder: Path) -> dict[str, Any]:
    """Read what a folder says of its memory.

    Raises:
        InputError: if it holds none.
    """
    try:
        facts = cast("dict[str, Any]", json.loads((folder / FACTS).read_text(encoding="utf-8")))
        known = facts["format"] == FORMAT and facts["kind"] in KINDS
    except (OSError, ValueError, TypeError, KeyError):
        known, facts = False, {}
    if not known:
        raise InputError(f"{folder} holds no memory that this version can read: make one with sparsity memory train")
    return facts


KINDS: Final[dict[str, type[KnnMemory | DecoderMemory]]] = {
    knn.KIND: KnnMemory,
    decoder.KIND: DecoderMemory,
}
