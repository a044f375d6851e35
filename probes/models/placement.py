"""Position of an item's text among the tokens of its prompt.

A prompt is more than its text: special tokens surround it, or a chat template. The text is placed by construction,
from what was put before and behind it, never by searching; a cut takes tokens off the text's end and nothing else.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from transformers import PreTrainedTokenizerBase

from probes.models.templates import Chat, PromptError, Turns, render
from probes.models.tokens import (
    BosPolicy,
    Pieces,
    Reader,
    SpecialTokens,
    read_framed,
    special_ids,
    tokenise,
    tokenizer_of,
    with_one_bos,
)


class Placed(NamedTuple):
    """All tokens of a prompt, and where the item's text is among them.

    Attributes:
        pieces: the tokens, with characters of what was tokenised.
        start: first token of the text.
        stop: one past its last.
        whole: what was tokenised, None for token ids.
        first: first character of the text in it.
        last: one past its last.
        offset: how many characters of the item are before ``first``; -1 where its characters are not known.
    """

    pieces: Pieces
    start: int
    stop: int
    whole: str | None = None
    first: int = 0
    last: int = 0
    offset: int = -1

    def cut(self, max_tokens: int | None) -> Placed:
        """At most so many tokens, the last ones of the text left out.

        Raises:
            PromptError: if what stands around the text leaves no room for it.
        """
        over = 0 if max_tokens is None else len(self.pieces.ids) - max_tokens
        if over <= 0:
            return self
        if over >= self.stop - self.start:
            around = len(self.pieces.ids) - (self.stop - self.start)
            raise PromptError(
                f"max_tokens is {max_tokens}, and {around} tokens stand around the text (special tokens, chat "
                "template): no room for any of it; raise max_tokens"
            )
        stop = self.stop - over
        last, offset = self.last, self.offset
        if self.whole is not None:
            known = [start for start in self.pieces.starts[stop : self.stop] if start >= 0]
            last, offset = (known[0], offset) if known else (last, -1)
        pieces = self.pieces.part(0, stop).then(self.pieces.part(self.stop))
        return self._replace(pieces=pieces, stop=stop, last=last, offset=offset)

    def char_starts(self) -> list[int]:
        """Character of the item at which each token of the text begins, -1 for all other tokens."""
        by = self.offset - self.first
        return [
            max(start, self.first) + by if self.start <= token < self.stop and start >= 0 <= self.offset else -1
            for token, start in enumerate(self.pieces.starts)
        ]

    def chars(self) -> tuple[int, int] | None:
        """First character of the item that the text's tokens stand for, and one past the last."""
        if self.offset < 0:
            return None
        before = max((end for end in self.pieces.ends[: self.start]), default=-1)
        behind = min((start for start in self.pieces.starts[self.stop :] if start >= 0), default=self.last)
        first, last = max(self.first, before), min(self.last, behind)
        return first - self.first + self.offset, last - self.first + self.offset

    def n_control(self, spelled: Mapping[int, str]) -> int:
        """Number of special tokens that the text itself spells out; 0 where the characters of tokens are unknown."""
        if self.whole is None:
            return 0
        tokens = zip(self.pieces.ids, self.pieces.starts, self.pieces.ends, strict=True)
        inside = ((token, self.whole[start:end]) for token, start, end in tokens if self.first <= start < self.last)
        return sum(spelled.get(token) == text.strip() for token, text in inside)


def place(
    model: Reader, text: str, bos: BosPolicy, chat: Chat | None, special_tokens: SpecialTokens, before: Turns
) -> Placed:
    """Tokens of a text, in its template if there is one."""
    tokenizer = tokenizer_of(model)
    special = special_ids(tokenizer)
    if chat is None:
        pieces, behind = read_framed(tokenizer, text, bos, special_tokens, model.name)
        if behind and model.is_causal:
            pieces, behind = pieces.part(0, len(pieces.ids) - behind), 0
        stop = len(pieces.ids) - behind
        return Placed(pieces, min(leading(pieces.ids, special), stop), stop, text, 0, len(text), 0)
    if not text:
        raise PromptError("empty prompt: it holds no token besides special ones")
    whole, first, last, offset = render(tokenizer, chat, text, before=before, name=model.name)
    pieces = tokenise(tokenizer, whole)
    if special_tokens == "text":
        own = tokenise(tokenizer, whole[first:last], special_tokens="text").moved(first)
        front, behind = (tokenise(tokenizer, part) for part in (whole[:first], whole[last:]))
        pieces = front.then(own).then(behind.moved(last))
    pieces = with_one_bos(tokenizer, pieces, bos, model.name)
    start, stop = _inside(tokenizer, pieces, whole, first, last)
    return Placed(pieces, start, stop, whole, first, last, offset if tokenizer.is_fast else -1)


def _inside(tokenizer: PreTrainedTokenizerBase, pieces: Pieces, whole: str, first: int, last: int) -> tuple[int, int]:
    """The tokens that stand for some characters and no others but white space, from the first such token to the last.

    A template's space before the text becomes part of the text's first word in many tokenizers.
    """
    if tokenizer.is_fast:
        spans = enumerate(zip(pieces.starts, pieces.ends, strict=True))
        own = [token for token, (start, end) in spans if _is_within(whole, start, end, first, last)]
        return (own[0], own[-1] + 1) if own else (0, 0)
    front, behind = (tokenise(tokenizer, part).ids for part in (whole[:first], whole[last:]))
    start, stop = len(front), len(pieces.ids) - len(behind)
    if pieces.ids[:start] != front or pieces.ids[stop:] != behind or start > stop:
        raise PromptError("this tokenizer does not say which of the template's tokens are the text; use a fast one")
    return start, stop


def _is_within(whole: str, start: int, end: int, first: int, last: int) -> bool:
    """True if a token covers characters of the text, and outside of it nothing but white space."""
    if first <= start < end <= last:
        return True
    own = whole[max(start, first) : min(end, last)]
    beyond = whole[start : max(start, first)] + whole[min(end, last) : end]
    return start >= 0 and bool(own.strip()) and not beyond.strip()


def leading(ids: Sequence[int], special: frozenset[int]) -> int:
    """Number of special tokens at the beginning."""
    return next((at for at, token in enumerate(ids) if token not in special), len(ids))
