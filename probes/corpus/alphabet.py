"""Alphabets: a text as bytes, or as the tokens of some tokenizer, each with the characters it stands for.

Code lengths of different predictors may be compared only over the same text, and mixed only over the same symbols; a
corpus index answers only in the symbols it was built of. So an alphabet has an identity, and character spans tie its
symbols to those of any other alphabet. Spans tile the text: a symbol ends where the next begins. Symbols that share a
character (the bytes of an accented letter) have the same span.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol, cast, runtime_checkable

import numpy as np
from jaxtyping import Int32, Int64

from probes.errors import InputError

if TYPE_CHECKING:  # an index of bytes, and who asks for names alone, needs no tokenizers
    from transformers import BatchEncoding, PreTrainedTokenizerBase

TEXTS_AT_A_TIME: Final = 256


class Symbols(NamedTuple):
    """A text as symbols.

    Attributes:
        ids: one number below the alphabet's size per symbol.
        starts: index of the first character that a symbol stands for; -1 where the tokenizer cannot say.
        ends: index after its last character; -1 likewise.
    """

    ids: Int64[np.ndarray, " symbols"]
    starts: Int32[np.ndarray, " symbols"]
    ends: Int32[np.ndarray, " symbols"]


@runtime_checkable
class Alphabet(Protocol):
    """A way to write texts as symbols."""

    @property
    def identity(self) -> str:
        """The same for two alphabets iff they write every text alike."""
        ...

    @property
    def size(self) -> int:
        """Number of different symbols."""
        ...

    def symbols(self, text: str) -> Symbols:
        """Write one text."""
        ...

    def ids(self, texts: Iterable[str]) -> Iterator[Int64[np.ndarray, " symbols"]]:
        """Write many texts, without spans."""
        ...


def at_hand(alphabet: Alphabet | None, identity: str, corpus: str) -> Alphabet:
    """The alphabet of a corpus.

    Raises:
        InputError: if its tokenizer is not at hand.
    """
    if alphabet is None:
        raise InputError(f"{corpus} was built with {identity}: open it with that tokenizer")
    return alphabet


def encoded(text: str) -> bytes:
    """The bytes of a text, which every code length is divided by.

    Raises:
        InputError: if the text is not valid Unicode (a lone surrogate, from bytes that were read with the wrong
            encoding).
    """
    try:
        return text.encode()
    except UnicodeEncodeError as error:
        raise InputError(f"the text is not valid Unicode at character {error.start}: read its file as UTF-8") from None


@dataclass(frozen=True, slots=True)
class Bytes:
    """The 256 values of a byte; texts are written in UTF-8.

    >>> Bytes().symbols("né").ids.tolist(), Bytes().symbols("né").starts.tolist()
    ([110, 195, 169], [0, 1, 1])
    """

    @property
    def identity(self) -> str:
        """``bytes``."""
        return "bytes"

    @property
    def size(self) -> int:
        """256."""
        return 256

    def symbols(self, text: str) -> Symbols:
        """The bytes of a text; those of one character share its span."""
        data = np.frombuffer(encoded(text), dtype=np.uint8)
        starts = np.cumsum((data & 0xC0) != 0x80, dtype=np.int32) - np.int32(1)
        return Symbols(data.astype(np.int64), starts, starts + np.int32(1))

    def ids(self, texts: Iterable[str]) -> Iterator[Int64[np.ndarray, " symbols"]]:
        """The bytes of many texts."""
        for text in texts:
            yield np.frombuffer(encoded(text), dtype=np.uint8).astype(np.int64)


@dataclass(frozen=True, eq=False)
class Tokens:
    """The tokens of a tokenizer, special tokens left out.

    Attributes:
        tokenizer: a transformers tokenizer.
    """

    tokenizer: PreTrainedTokenizerBase

    @property
    def identity(self) -> str:
        """``tokenizer:`` and a hash of vocabulary, merges and normalisation."""
        backend: Any = getattr(self.tokenizer, "backend_tokenizer", None)
        rules: dict[str, Any] = json.loads(backend.to_str()) if backend is not None else self.tokenizer.get_vocab()
        kept = {key: value for key, value in rules.items() if key not in ("truncation", "padding")}
        digest = hashlib.sha256(json.dumps(kept, sort_keys=True).encode())
        return f"tokenizer:{digest.hexdigest()[:16]}"

    @property
    def size(self) -> int:
        """Number of tokens, added ones included."""
        return len(self.tokenizer)

    def symbols(self, text: str) -> Symbols:
        """The tokens of a text."""
        encoded(text)
        fast = bool(self.tokenizer.is_fast)
        found: BatchEncoding = self.tokenizer(
            text, add_special_tokens=False, return_offsets_mapping=fast, return_attention_mask=False, verbose=False
        )
        ids = np.array(found["input_ids"], dtype=np.int64)
        offsets = cast("list[tuple[int, int]]", found["offset_mapping"]) if fast else [(0, 0)] * len(ids)
        starts = np.array([start if end > start else -1 for start, end in offsets], dtype=np.int32)
        return Symbols(ids, starts, span_ends(starts, len(text)))

    def ids(self, texts: Iterable[str]) -> Iterator[Int64[np.ndarray, " symbols"]]:
        """The tokens of many texts."""
        source = iter(texts)
        while block := list(islice(source, TEXTS_AT_A_TIME)):
            found: BatchEncoding = self.tokenizer(
                block, add_special_tokens=False, return_attention_mask=False, verbose=False
            )
            for ids in cast("list[list[int]]", found["input_ids"]):
                yield np.array(ids, dtype=np.int64)


def span_ends(starts: Int32[np.ndarray, " symbols"], n_characters: int) -> Int32[np.ndarray, " symbols"]:
    """Ends of spans that tile a text: the next later start, for the last one the end of the text.

    >>> span_ends(np.array([-1, 0, 2, 2, 5], dtype=np.int32), 9).tolist()
    [-1, 2, 5, 5, 9]
    """
    known = np.unique(starts[starts >= 0])
    following = np.append(known[1:], n_characters).astype(np.int32)
    ends = np.full_like(starts, -1)
    there = starts >= 0
    ends[there] = following[np.searchsorted(known, starts[there])]
    return ends
