"""Corpus indexes as files: built once from texts, opened read-only, never changed.

An index is a folder with ``index.json`` (what the corpus is, and the alphabet it was written in) and one folder per
shard with four memory-mapped arrays: symbols, sorted suffixes, sampled keys, and where documents begin. Building writes
beside the final folder and renames it when all is there, so a folder of that name is a whole index. An index that was
built with another tokenizer is refused by name, never asked with the wrong numbers.

Texts may come from anywhere: :func:`read_corpus` reads files, :func:`read_dataset` a data set of the hub.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from jaxtyping import Int64
from transformers import PreTrainedTokenizerBase

from probes.corpus.alphabet import Alphabet, Bytes, Tokens
from probes.corpus.engines import Engine, open_engine
from probes.corpus.index import CorpusIndex, Shard
from probes.corpus.suffixes import SuffixArray, sort_suffixes
from probes.errors import InputError
from probes.suites.files import texts
from probes.suites.sources.formats import format_of, lines, records
from probes.suites.sources.hub import HubSource, fetch

FORMAT: Final = 2
SHARD_SYMBOLS: Final = 1 << 30  # sorted at once; it takes some ten bytes of memory per symbol
FACTS: Final = "index.json"


def build_index(
    documents: Iterable[str],
    *,
    alphabet: Alphabet | None = None,
    name: str = "corpus",
    out: Path | None = None,
    shard_symbols: int = SHARD_SYMBOLS,
) -> CorpusIndex:
    """Sort a corpus.

    Args:
        documents: its texts; no match reaches from one into the next.
        alphabet: what to write them in; None: bytes.
        name: how tables call the corpus.
        out: folder to be made; None keeps the index in memory.
        shard_symbols: a shard is closed when it holds this many symbols.

    Raises:
        InputError: if the corpus is empty, a text is not valid Unicode, or the folder exists.
    """
    alphabet = alphabet or Bytes()
    width = _width(alphabet)
    parts = (_shard(part, width) for part in _grouped(alphabet.ids(documents), shard_symbols))
    if out is None:
        shards = _not_empty(list(parts), name)
        return CorpusIndex(name, alphabet.identity, alphabet, width, shards, _fingerprint(alphabet.identity, shards))
    if out.exists():
        raise InputError(f"{out} exists: an index is never changed, choose another name or remove it")
    partial = out.with_name(f".{out.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    try:
        shards = [_write(part, partial / f"{number:04d}") for number, part in enumerate(parts)]
        _not_empty(shards, name)
        facts = {
            "format": FORMAT,
            "name": name,
            "alphabet": alphabet.identity,
            "width": width,
            "fingerprint": _fingerprint(alphabet.identity, shards),
            "shards": [{"symbols": len(shard.symbols), "documents": len(shard.documents)} for shard in shards],
        }
        (partial / FACTS).write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")
        partial.rename(out)
    except OSError as error:
        raise InputError(f"cannot write the index {out}: {error}") from None
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return _open_folder(out, alphabet)


def open_index(
    path: Path | str, *, alphabet: Alphabet | None = None, tokenizer: PreTrainedTokenizerBase | None = None
) -> CorpusIndex | Engine:
    """Open an index; its arrays stay on disk until they are read.

    Args:
        path: the folder, or a file that declares a corpus of another program (`probes.corpus.engines`).
        alphabet: what texts will be written in; None: bytes if the index is of bytes, else the tokenizer's.
        tokenizer: the tokenizer of an index of tokens.

    Raises:
        InputError: if there is no index, it is torn, or it was built with another alphabet.
    """
    path = Path(path)
    if path.is_file():
        return open_engine(path, Tokens(tokenizer) if alphabet is None and tokenizer is not None else alphabet)
    return _open_folder(path, alphabet, tokenizer)


def read_corpus(
    paths: Sequence[Path | str], *, field: str = "text", on_fault: Callable[[str], object] = lambda _: None
) -> Iterator[str]:
    """The documents of files: one per item of JSON, CSV and Parquet files, any other file is one document.

    Files may be compressed (``.json.gz``, ``.jsonl.zst``); see `probes.suites.sources.formats`.

    Args:
        paths: files.
        field: of an item that holds the text.
        on_fault: told of each item that is left out because it has no text.

    Raises:
        InputError: naming the file (and line) that cannot be read or is not UTF-8, or whose items have no such field.
    """
    for path in map(Path, paths):
        if format_of(path) == "text":
            yield "\n".join(lines(path))
        else:
            yield from texts(records(path), field, on_fault)


def read_dataset(
    source: HubSource, *, field: str = "text", on_fault: Callable[[str], object] = lambda _: None
) -> Iterator[str]:
    """The documents of a data set of the hub, or of a directory of data files: one per item.

    Args:
        source: which split of which data set.
        field: of an item that holds the text.
        on_fault: told of each item that is left out because it has no text.

    Raises:
        InputError: if the data set cannot be had, or no item has such a field.
    """
    return texts(fetch(source), field, on_fault)


def _width(alphabet: Alphabet) -> int:
    """Bytes of a symbol, so that every id plus one fits; UTF-8 has no byte 255."""
    highest = alphabet.size if alphabet.identity != Bytes().identity else 255
    return next(width for width in (1, 2, 4) if highest < 256**width)


def _grouped(
    documents: Iterable[Int64[np.ndarray, " _"]], shard_symbols: int
) -> Iterator[list[Int64[np.ndarray, " _"]]]:
    part: list[Int64[np.ndarray, " _"]] = []
    size = 0
    for ids in documents:
        part.append(ids)
        size += len(ids) + 1
        if size >= shard_symbols:
            yield part
            part, size = [], 0
    if part:
        yield part


def _shard(documents: Sequence[Int64[np.ndarray, " _"]], width: int) -> Shard:
    lengths = np.array([len(ids) + 1 for ids in documents], dtype=np.int64)
    starts = np.cumsum(lengths) - lengths
    symbols = np.zeros(int(lengths.sum()), dtype=f"u{width}")
    for start, ids in zip(starts, documents, strict=True):
        symbols[start : start + len(ids)] = ids + 1
    return Shard(sort_suffixes(symbols, width), starts)


def _open_folder(
    path: Path, alphabet: Alphabet | None, tokenizer: PreTrainedTokenizerBase | None = None
) -> CorpusIndex:
    try:
        facts: dict[str, Any] = json.loads((path / FACTS).read_text(encoding="utf-8"))
        if facts["format"] != FORMAT:
            raise InputError(
                f"the index {path} has format {facts['format']}, this version reads {FORMAT}: build it again"
            )
        shards = tuple(_read(path / f"{number:04d}", facts, part) for number, part in enumerate(facts["shards"]))
    except (OSError, KeyError, TypeError, ValueError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{path} is not a whole corpus index: {' '.join(str(error).split())}") from None
    identity = str(facts["alphabet"])
    if alphabet is None and identity == Bytes().identity:
        alphabet = Bytes()
    if alphabet is None and tokenizer is not None:
        alphabet = Tokens(tokenizer)
    if alphabet is not None and alphabet.identity != identity:
        raise InputError(f"the index {path} was built with {identity}, not with {alphabet.identity}: build it again")
    fingerprint = str(facts.get("fingerprint") or _fingerprint(identity, shards))
    return CorpusIndex(str(facts["name"]), identity, alphabet, int(facts["width"]), shards, fingerprint)


def _fingerprint(identity: str, shards: Sequence[Shard]) -> str:
    digest = hashlib.sha256(identity.encode())
    for shard in shards:
        digest.update(np.ascontiguousarray(shard.suffixes.data).data)
    return digest.hexdigest()[:16]


def _not_empty(shards: Sequence[Shard], name: str) -> tuple[Shard, ...]:
    if not any(len(shard.suffixes.suffixes) for shard in shards):
        raise InputError(f"the corpus {name!r} is empty: it holds no text to count in")
    return tuple(shards)


def _write(shard: Shard, folder: Path) -> Shard:
    folder.mkdir()
    array = shard.suffixes
    for name, values in (
        ("data", array.data),
        ("suffixes", array.suffixes),
        ("samples", array.samples),
        ("documents", shard.documents),
    ):
        np.save(folder / f"{name}.npy", values, allow_pickle=False)
    return shard


def _read(folder: Path, facts: dict[str, Any], part: dict[str, Any]) -> Shard:
    data, suffixes, samples, documents = (
        np.load(folder / f"{name}.npy", mmap_mode="r", allow_pickle=False)
        for name in ("data", "suffixes", "samples", "documents")
    )
    shard = Shard(SuffixArray(data, int(facts["width"]), suffixes, samples), documents)
    if len(shard.symbols) != part["symbols"] or len(documents) != part["documents"]:
        raise ValueError(f"{folder.name} holds {len(shard.symbols)} symbols instead of {part['symbols']}")
    return shard
