"""Texts as a tokenizer writes them: ids, the characters they stand for, and which ids are special.

Special tokens come from two places and mean two things. Those that the tokenizer puts around every text (a BOS in
front, an EOS or SEP behind) are a frame. Those that the text itself spells out (``<|endoftext|>`` in a page about
GPT-2) are data, which a tokenizer reads as control tokens unless told not to; they are counted.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple, Protocol, runtime_checkable

from transformers import BatchEncoding, PreTrainedTokenizerBase

from probes.errors import InputError

SpecialTokens = Literal["control", "text"]
BosPolicy = Literal["auto", "add", "none"]


@runtime_checkable
class Reader(Protocol):
    """Facts about a model that encoding a text requires."""

    @property
    def name(self) -> str:
        """Name of the model in messages."""
        ...

    @property
    def tokenizer(self) -> PreTrainedTokenizerBase | None:
        """Its tokenizer, if it has one."""
        ...

    @property
    def context_length(self) -> int | None:
        """The longest prompt it can read, None if that is unknown or unbounded."""
        ...

    @property
    def vocabulary(self) -> int:
        """Number of token ids that it embeds."""
        ...

    @property
    def is_causal(self) -> bool:
        """True if it predicts the next token."""
        ...


@dataclass(frozen=True, slots=True)
class Unbounded:
    """A model as encoding sees it, without its limit on length."""

    name: str
    tokenizer: PreTrainedTokenizerBase | None
    vocabulary: int
    is_causal: bool
    context_length: None = None

    @classmethod
    def of(cls, model: Reader) -> Unbounded:
        """The same model."""
        return cls(model.name, model.tokenizer, model.vocabulary, model.is_causal)


def tokenizer_of(model: Reader) -> PreTrainedTokenizerBase:
    """The tokenizer, or a plain sentence about there being none."""
    if model.tokenizer is None:
        raise InputError(f"{model.name} came without a tokenizer: hand one in (tokenizer=...) or pass token ids")
    return model.tokenizer


class Pieces(NamedTuple):
    """Tokens of a text.

    Attributes:
        ids: token ids.
        starts: index of the first character of each; -1 for a token that stands for none, or where that is unknown.
        ends: index after its last character, -1 likewise.
    """

    ids: list[int]
    starts: list[int]
    ends: list[int]

    def part(self, start: int, stop: int | None = None) -> Pieces:
        """Some tokens in a row."""
        return Pieces(self.ids[start:stop], self.starts[start:stop], self.ends[start:stop])

    def then(self, other: Pieces) -> Pieces:
        """These tokens, and others behind them."""
        return Pieces(self.ids + other.ids, self.starts + other.starts, self.ends + other.ends)

    def moved(self, by: int) -> Pieces:
        """The same tokens in a text that begins so many characters later."""
        starts, ends = ([at if at < 0 else at + by for at in own] for own in (self.starts, self.ends))
        return Pieces(self.ids, starts, ends)


NOTHING = Pieces([], [], [])


def unplaced(ids: list[int]) -> Pieces:
    """Token ids whose characters are not known."""
    return Pieces(ids, [-1] * len(ids), [-1] * len(ids))


def tokenise(
    tokenizer: PreTrainedTokenizerBase, text: str, *, framed: bool = False, special_tokens: SpecialTokens = "control"
) -> Pieces:
    """Write a text as tokens.

    Args:
        tokenizer: any transformers tokenizer; one that is not fast cannot say which characters its tokens stand for.
        text: the text.
        framed: whether the tokenizer puts the special tokens around it that its model was trained with.
        special_tokens: what special tokens are that the text spells out: ``control`` tokens, or ``text``.
    """
    fast = bool(tokenizer.is_fast)
    encoded: BatchEncoding = tokenizer(
        text,
        add_special_tokens=framed,
        return_offsets_mapping=fast,
        return_attention_mask=False,
        verbose=False,
        split_special_tokens=special_tokens == "text",
    )
    ids = [int(token) for token in encoded["input_ids"]]
    if not fast:
        return unplaced(ids)
    spans: list[tuple[int, int]] = encoded["offset_mapping"]
    starts, ends = ([span[side] if span[1] > span[0] else -1 for span in spans] for side in (0, 1))
    return Pieces(ids, starts, ends)


def read_framed(
    tokenizer: PreTrainedTokenizerBase, text: str, bos: BosPolicy, special_tokens: SpecialTokens, name: str
) -> tuple[Pieces, int]:
    """Write a text as the tokenizer frames it, with one BOS at most.

    Args:
        tokenizer: the tokenizer.
        text: the text.
        bos: ``auto`` does what the tokenizer does, ``add`` makes sure of a BOS, ``none`` adds no special token at all.
        special_tokens: what special tokens are that the text spells out.
        name: how messages call the model.

    Returns:
        The tokens, and how many of them the tokenizer put behind the text (an EOS or SEP).

    Raises:
        InputError: for ``add`` without a BOS token.
    """
    pieces = tokenise(tokenizer, text, framed=bos != "none", special_tokens=special_tokens)
    return with_one_bos(tokenizer, pieces, bos, name), _behind(tokenizer, text, pieces, bos, special_tokens)


def with_one_bos(tokenizer: PreTrainedTokenizerBase, pieces: Pieces, bos: BosPolicy, name: str) -> Pieces:
    """The same tokens with a doubled BOS made one, and under ``add`` with a missing one put in front.

    Raises:
        InputError: for ``add`` without a BOS token.
    """
    bos_id = special_id(tokenizer, "bos")
    if bos == "add" and bos_id is None:
        raise InputError(f"bos: add, but the tokenizer of {name} has no beginning-of-sequence token; use auto")
    if bos_id is not None and pieces.ids[:2] == [bos_id, bos_id]:
        return pieces.part(1)
    if bos_id is not None and bos == "add" and pieces.ids[:1] != [bos_id]:
        return unplaced([bos_id]).then(pieces)
    return pieces


def _behind(
    tokenizer: PreTrainedTokenizerBase, text: str, pieces: Pieces, bos: BosPolicy, special_tokens: SpecialTokens
) -> int:
    """Number of tokens at the end that the tokenizer added."""
    if bos == "none":
        return 0
    special = special_ids(tokenizer)
    count = _trailing(pieces, special)
    if tokenizer.is_fast or not count:
        return count
    return count - _trailing(tokenise(tokenizer, text, special_tokens=special_tokens), special)


def _trailing(pieces: Pieces, special: frozenset[int]) -> int:
    """Number of special tokens at the end that correspond to no known character."""
    ends = zip(reversed(pieces.ids), reversed(pieces.starts), strict=True)
    return next((n for n, (token, start) in enumerate(ends) if token not in special or start >= 0), len(pieces.ids))


def special_id(tokenizer: PreTrainedTokenizerBase, role: str) -> int | None:
    """Id of the token that plays a role (``bos``, ``pad`` ...), or None."""
    found = getattr(tokenizer, f"{role}_token_id", None)
    return found if isinstance(found, int) else None


def spelling(tokenizer: PreTrainedTokenizerBase | None) -> dict[int, str]:
    """Text that spells each special token."""
    if tokenizer is None:
        return {}
    return dict(zip(tokenizer.all_special_ids, tokenizer.all_special_tokens, strict=True))


def special_ids(tokenizer: PreTrainedTokenizerBase | None) -> frozenset[int]:
    """Ids that frame a text. Unknown and padding tokens are not among them: they stand for words, or never reach us."""
    if tokenizer is None:
        return frozenset()
    fillers = {special_id(tokenizer, role) for role in ("unk", "pad")}
    frames = {special_id(tokenizer, role) for role in ("bos", "eos", "cls", "sep")}
    ids = (set(tokenizer.all_special_ids) - fillers) | frames
    return frozenset(token for token in ids if token is not None)
