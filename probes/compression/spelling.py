"""Any bytes as symbols of a language model, and back: the bytes that each token spells decide, never a detokeniser.

A chunk of bytes is written in one of two ways. As *tokens*: its valid UTF-8 goes through the tokenizer, and what comes
out is taken only where the bytes that the tokens spell, one after the other, are the bytes that went in; where they are
not (a normalised letter, a space that the tokenizer puts in front), the stretch is halved until what cannot be returned
stands alone. Such bytes, and those that are no UTF-8, go as the token of that one byte if the tokenizer has it, else as
an escape: a symbol outside the vocabulary, followed by the byte itself. As *bytes*: every byte by itself, for what is
no text.

Because a token always spells the same bytes, reading back needs no tokenizer and no memory: spellings are joined.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final, Literal, NamedTuple, cast

import numpy as np
from jaxtyping import Int, Int64
from transformers import PreTrainedTokenizerBase

from probes.errors import InputError
from probes.models.tokens import special_id, tokenise

Way = Literal["tokens", "bytes"]

N_BYTES: Final = 256
MOST_OUTSIDE: Final = 1 / 8
"""Share of a chunk's bytes that may be outside what the tokenizer returns before the chunk goes as bytes."""
GUARD: Final = "\n"
PROBE: Final = "The cat's 3 mats:\n\ta naïve Ωmega."
_STRAY: Final = re.compile("[\udc80-\udcff]+")  # what surrogateescape makes of bytes that are no UTF-8
_BYTE_TOKEN: Final = re.compile(r"<0x([0-9A-F]{2})>")


class Written(NamedTuple):
    """A chunk as symbols.

    Attributes:
        way: as tokens or as bytes.
        symbols: token ids, with ``spelling.escape`` where a byte is escaped; or values of bytes.
        escaped: the escaped bytes, in order.
    """

    way: Way
    symbols: Int64[np.ndarray, " symbols"]
    escaped: bytes


@dataclass(frozen=True, eq=False)
class Spelling:
    """Bytes that each token of a model stands for, and the symbols for bytes that no token spells.

    Attributes:
        tokenizer: the model's.
        size: token ids that the model knows.
        spelled: bytes of each token id; ``b""`` for one that spells nothing (special tokens, padding of the table).
        byte_tokens: the token that spells each of the 256 bytes alone, -1 where there is none.
        placeholder: what the model reads where a byte has no token.
    """

    tokenizer: PreTrainedTokenizerBase
    size: int
    spelled: Sequence[bytes]
    byte_tokens: Int64[np.ndarray, " 256"]
    placeholder: int

    @property
    def has_escape(self) -> bool:
        """True if some byte has no token of its own, so that an escape may be needed."""
        return bool((self.byte_tokens < 0).any())

    @property
    def escape(self) -> int:
        """The symbol that says that a byte follows; one after the last token id."""
        return self.size

    def write(self, chunk: bytes) -> Written:
        """A chunk as symbols; :meth:`spell` gives it back."""
        symbols: list[int] = []
        escaped = bytearray()
        outside = 0
        for tokens, data in self._pieces(chunk):
            if tokens is not None:
                symbols += tokens
                continue
            outside += len(data)
            for byte in data:
                token = int(self.byte_tokens[byte])
                symbols.append(token if token >= 0 else self.escape)
                if token < 0:
                    escaped.append(byte)
        if outside > MOST_OUTSIDE * len(chunk):
            return Written("bytes", np.frombuffer(chunk, dtype=np.uint8).astype(np.int64), b"")
        return Written("tokens", np.array(symbols, dtype=np.int64), bytes(escaped))

    def spell(self, written: Written) -> bytes:
        """The bytes that a chunk's symbols stand for."""
        if written.way == "bytes":
            return written.symbols.astype(np.uint8).tobytes()
        escaped = iter(written.escaped)
        return b"".join(
            bytes([next(escaped)]) if symbol == self.escape else self.spelled[symbol]
            for symbol in _listed(written.symbols)
        )

    def n_bytes(self, written: Written) -> Int64[np.ndarray, " symbols"]:
        """Number of bytes that each symbol of a chunk stands for."""
        if written.way == "bytes":
            return np.ones(len(written.symbols), dtype=np.int64)
        spelled = self.spelled
        return np.array([1 if one == self.size else len(spelled[one]) for one in _listed(written.symbols)], np.int64)

    def read_as(self, way: Way, symbols: Int[np.ndarray, " symbols"]) -> Int64[np.ndarray, " symbols"]:
        """The token ids that the model reads for some symbols."""
        return self._read_as[way][symbols]

    @cached_property
    def _read_as(self) -> Mapping[Way, Int64[np.ndarray, " symbols"]]:
        bytes_ = np.where(self.byte_tokens < 0, self.placeholder, self.byte_tokens)
        return {"bytes": bytes_, "tokens": np.array([*range(self.size), self.placeholder])}

    def _pieces(self, chunk: bytes) -> Iterator[tuple[list[int] | None, bytes]]:
        """Stretches of a chunk, with their tokens where these spell them."""
        text = chunk.decode("utf-8", errors="surrogateescape")
        done = 0
        for stray in _STRAY.finditer(text):
            yield from self._stretch(text[done : stray.start()])
            yield None, stray[0].encode("utf-8", errors="surrogateescape")
            done = stray.end()
        yield from self._stretch(text[done:])

    def _stretch(self, text: str) -> Iterator[tuple[list[int] | None, bytes]]:
        """A valid text, halved until its parts are returned or are single characters."""
        if not text:
            return
        tokens = self._tokens(text)
        if tokens is not None or len(text) == 1:
            yield tokens, text.encode()
            return
        middle = len(text) // 2
        yield from self._stretch(text[:middle])
        yield from self._stretch(text[middle:])

    def _tokens(self, text: str) -> list[int] | None:
        """Tokens that spell a text exactly, or None."""
        wanted = text.encode()
        own = tokenise(self.tokenizer, text, special_tokens="text").ids
        if self._joined(own) == wanted:
            return own
        # a tokenizer that begins every text with a space does not begin what follows a line break with one
        guarded = tokenise(self.tokenizer, GUARD + text, special_tokens="text").ids
        for behind in range(1, min(len(guarded), len(GUARD) + 2) + 1):
            if self._joined(guarded[behind:]) == wanted:
                return guarded[behind:]
        return None

    def _joined(self, tokens: Sequence[int]) -> bytes | None:
        """Bytes that tokens spell together; None if one of them spells nothing."""
        parts = [self.spelled[token] if token < self.size else b"" for token in tokens]
        return b"".join(parts) if all(parts) else None


def spelling_of(tokenizer: PreTrainedTokenizerBase | None, *, size: int, model: str) -> Spelling:
    """Find the bytes that each token of a model spells.

    Args:
        tokenizer: byte-level (GPT-2, Llama 3, ``sparsity lab text``), or of the SentencePiece kind (Llama 2, Gemma).
        size: token ids that the model knows.
        model: how messages call it.

    Raises:
        InputError: if there is no tokenizer, or it is of a kind whose tokens do not spell bytes, so that it cannot
            return its input.
    """
    if tokenizer is None:
        raise InputError(f"{model} came without a tokenizer: compression needs one to write bytes as tokens")
    backend: Any = getattr(tokenizer, "backend_tokenizer", None)
    rules: Mapping[str, Any] = {} if backend is None else json.loads(backend.to_str())
    kinds = set(_kinds(rules.get("decoder")))
    added = {int(entry["id"]): str(entry["content"]) for entry in rules.get("added_tokens", ())}
    special = set(tokenizer.all_special_ids)
    if "ByteLevel" in kinds:
        letters = {letter: byte for byte, letter in enumerate(_byte_letters())}
    elif kinds & {"ByteFallback", "Metaspace"}:
        letters = None
    else:
        raise _cannot_return(model, "its tokens do not say which bytes they stand for")
    spelled = [b""] * size
    by_itself: dict[int, int] = {}
    for entry, token in tokenizer.get_vocab().items():
        if token >= size or token in special:
            continue
        word = added.get(token, entry)
        coded = None if letters is not None or token in added else _BYTE_TOKEN.fullmatch(word)
        if token in added:
            spelled[token] = word.encode()
        elif letters is not None:
            known = [letters.get(letter, -1) for letter in word]
            spelled[token] = bytes(known) if min(known, default=-1) >= 0 else b""
        else:
            spelled[token] = bytes.fromhex(coded[1]) if coded else word.replace("▁", " ").encode()
        if len(spelled[token]) == 1 and (coded is None or spelled[token][0] not in by_itself):
            by_itself[spelled[token][0]] = token  # a letter as it stands in texts, rather than its byte
    byte_tokens = np.array([by_itself.get(byte, -1) for byte in range(N_BYTES)], dtype=np.int64)
    fillers = (special_id(tokenizer, role) for role in ("unk", "bos", "eos", "pad"))
    placeholder = next((token for token in fillers if token is not None and token < size), 0)
    found = Spelling(tokenizer, size, spelled, byte_tokens, placeholder)
    if found.write(PROBE.encode()).way != "tokens":
        raise _cannot_return(model, f"{PROBE!r} comes back as {tokenizer.decode(tokenizer(PROBE)['input_ids'])!r}")
    return found


def _listed(symbols: Int64[np.ndarray, " symbols"]) -> list[int]:
    return symbols.tolist()


def _cannot_return(model: str, why: str) -> InputError:
    return InputError(
        f"the tokenizer of {model} cannot return its input ({why}): take a model with a byte-level or SentencePiece "
        "tokenizer, or train one with sparsity lab text"
    )


def _kinds(decoder: object) -> Iterator[str]:
    """Types of a decoder and of those inside it."""
    if isinstance(decoder, dict):
        rules = cast("dict[str, Any]", decoder)
        yield str(rules.get("type"))
        for inner in rules.get("decoders", ()):
            yield from _kinds(inner)


def _byte_letters() -> list[str]:
    """The visible letter by which byte-level tokenizers write each byte, as GPT-2 chose them."""
    visible = {*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)}
    hidden = iter(range(N_BYTES, 2 * N_BYTES))
    return [chr(byte) if byte in visible else chr(next(hidden)) for byte in range(N_BYTES)]
