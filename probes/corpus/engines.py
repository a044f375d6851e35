"""Corpora beyond one machine's memory, indexed by others: infini-gram and tokengrams, asked as our own index is.

Both sort the suffixes of a stream of tokens and answer one query at a time from disk. A small JSON file says which, and
in which tokenizer's ids, because neither format does, and numbers looked up with another tokenizer's ids mean nothing::

    {"engine": "infini-gram", "directory": "v4_pileval_gpt2", "end": 50256, "dtype": "u16",
     "name": "pileval", "alphabet": "tokenizer:6d3f..."}
    {"engine": "tokengrams", "tokens": "pile.bin", "table": "pile.idx", "vocabulary": 50304,
     "name": "pile", "alphabet": "tokenizer:6d3f..."}

``alphabet`` is ``Tokens(tokenizer).identity``. Paths are relative to the file. tokengrams knows no documents: they are
apart where the stream holds the token that ends them. Neither counts documents, so measures of documents are refused.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, cast

import numpy as np
from jaxtyping import Int64, Integer

from probes.corpus.alphabet import Alphabet, at_hand
from probes.corpus.index import Corpus
from probes.corpus.suffixes import Patterns, stretches
from probes.errors import InputError
from probes.extras import extra

WIDTH: Final = 4  # bytes of a symbol on its way to an engine
FIELDS: Final = {
    "infini-gram": ("directory", "end", "dtype"),
    "tokengrams": ("tokens", "table", "vocabulary"),
}


@dataclass(frozen=True, eq=False)
class Engine(Corpus):
    """A corpus that another program has indexed.

    Attributes:
        named: what tables call it.
        alphabet_identity: of the alphabet it was built in.
        alphabet: how texts are written for it; None if its tokenizer is not at hand.
        content: tells whether it is the same corpus.
        occurrences: how often some ids occur in a row.
    """

    named: str
    alphabet_identity: str
    alphabet: Alphabet | None
    content: str
    occurrences: Callable[[list[int]], int]

    @property
    def name(self) -> str:
        """Of the corpus, as tables hold it."""
        return self.named

    @property
    def identity(self) -> str:
        """Of the alphabet."""
        return self.alphabet_identity

    @property
    def fingerprint(self) -> str:
        """Of the declaration, not of the corpus behind it, which may be terabytes."""
        return self.content

    def written(self) -> Alphabet:
        """The alphabet, or a plain sentence about its tokenizer being missing."""
        return at_hand(self.alphabet, self.identity, f"the corpus {self.name!r}")

    def patterns(
        self,
        ids: Integer[np.ndarray, " symbols"],
        starts: Integer[np.ndarray, " patterns"],
        lengths: Integer[np.ndarray, " patterns"],
    ) -> Patterns:
        """Stretches ``ids[start : start + length]`` as patterns to look for."""
        return stretches(ids, starts, lengths, WIDTH)

    def count(self, patterns: Patterns) -> Int64[np.ndarray, " patterns"]:
        """Count the occurrences of each pattern."""
        found = [self.occurrences(ids) for ids in _ids(patterns)]
        return np.array(found, dtype=np.int64)

    def longest(self, patterns: Patterns) -> Int64[np.ndarray, " patterns"]:
        """Number of symbols of the longest beginning of each pattern that occurs.

        Where a pattern begins one symbol after the one before, it holds at least that one's match less a symbol, so a
        text of n symbols takes some 2n queries.
        """
        found = np.zeros(len(patterns.starts), dtype=np.int64)
        for number, ids in enumerate(_ids(patterns)):
            follows = number and patterns.starts[number] == patterns.starts[number - 1] + WIDTH
            length = min(max(int(found[number - 1]) - 1, 0), len(ids)) if follows else 0
            while length < len(ids) and self.occurrences(ids[: length + 1]):
                length += 1
            found[number] = length
        return found

    def count_documents(self, patterns: Patterns) -> Int64[np.ndarray, " patterns"]:
        """Not known to these engines.

        Raises:
            InputError: always.
        """
        raise InputError(
            f"the engine of {self.name!r} does not count documents ({len(patterns.starts)} asked): leave out "
            "document_log_count"
        )


def open_engine(path: Path, alphabet: Alphabet | None) -> Engine:
    """Open what a JSON file declares.

    Args:
        path: the file.
        alphabet: what texts will be written in.

    Raises:
        InputError: if the file is not such a declaration, is of another alphabet, or the engine is not installed.
    """
    try:
        facts = cast("dict[str, Any]", json.loads(path.read_text(encoding="utf-8")))
        needed = ("name", "alphabet", *FIELDS[facts["engine"]])
        missing = next((key for key in needed if key not in facts), None)
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise InputError(f"{path} declares no corpus engine ({', '.join(FIELDS)}): {error!r}") from None
    if missing is not None:
        raise InputError(f"{path}: a corpus of {facts['engine']} needs the key {missing!r}")
    identity = str(facts["alphabet"])
    if alphabet is not None and alphabet.identity != identity:
        raise InputError(f"the corpus {path} was built with {identity}, not with {alphabet.identity}")
    ask = _infini_gram if facts["engine"] == "infini-gram" else _tokengrams
    content = hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:16]
    return Engine(str(facts["name"]), identity, alphabet, content, ask(facts, path.parent))


def _infini_gram(facts: dict[str, Any], folder: Path) -> Callable[[list[int]], int]:
    module = extra("infini_gram.engine")
    directory = folder / facts["directory"]
    if not (directory / "table.0").is_file():
        raise InputError(f"{directory} is no infini-gram index: it has no table.0")
    end = int(facts["end"])
    engine = module.InfiniGramEngine(
        index_dir=str(directory), eos_token_id=end, vocab_size=end + 2, token_dtype=str(facts["dtype"])
    )

    def occurrences(ids: list[int]) -> int:
        found: dict[str, Any] = engine.count(input_ids=ids)
        if "error" in found:
            raise InputError(f"infini-gram cannot count {ids}: {found['error']}")
        return int(found["count"])

    return occurrences


def _tokengrams(facts: dict[str, Any], folder: Path) -> Callable[[list[int]], int]:
    tokens, table = folder / facts["tokens"], folder / facts["table"]
    for path in (tokens, table):
        if not path.is_file():
            raise InputError(f"no file {path}, which the corpus {facts['name']!r} needs")
    vocabulary = int(facts["vocabulary"])
    index = extra("tokengrams").MemmapIndex(str(tokens), str(table), vocab=vocabulary)
    total = tokens.stat().st_size // (2 if vocabulary <= 1 << 16 else 4)
    return lambda ids: int(index.count(ids)) if ids else total


def _ids(patterns: Patterns) -> Sequence[list[int]]:
    parts = zip(patterns.starts, patterns.starts + patterns.lengths, strict=True)
    return [patterns.data[start:end].view(f">u{WIDTH}").tolist() for start, end in parts]
