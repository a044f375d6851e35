"""From text to the token ids that a model reads, with everything about the way that a table must remember.

Three ways to a wrong number lie here. A beginning-of-sequence token that is missing or doubled changes every number
after it, so what is done about it is a policy with a recorded outcome. Padding must not be seen: it stands on the right
under an attention mask, which is exact on every architecture tried without position ids of our own, where padding on
the left is not. And words that the toolkit puts around a text (a chat template, special tokens) are not the text: a
prompt knows which of its tokens are.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from probes.capture.joining import AUTO, between
from probes.capture.templates import Chat, PromptError, Template, Turns, chat_of, render
from probes.capture.tokens import (
    NOTHING,
    BosPolicy,
    Pieces,
    SpecialTokens,
    read_framed,
    special_ids,
    spelling,
    tokenise,
    unplaced,
    with_one_bos,
)
from probes.errors import InputError
from probes.suites.example import half_character


@runtime_checkable
class Reader(Protocol):
    """What encoding needs to know of a model."""

    @property
    def name(self) -> str:
        """How messages call it."""
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
        """How many token ids it embeds."""
        ...

    @property
    def is_causal(self) -> bool:
        """Whether it predicts the next token."""
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


@dataclass(frozen=True, slots=True)
class Prompt:
    """One prompt as the model reads it.

    Attributes:
        ids: token ids: the prompt, then the target if there is one.
        n_special: number of special tokens at the beginning (a BOS, say).
        truncated: whether the text was cut for the sake of ``max_tokens``.
        char_starts: where each token begins in the item's text (target included); -1 for special tokens, tokens of a
            chat template, and where the tokenizer cannot say.
        target_start: index of the first target token, None without a target.
        choices: what else could follow, or stand in its place, and which is right.
        span: first token of the item's text and one past its last; None: everything behind the special tokens at the
            beginning. Chat templates and special tokens at the end are not text.
        chars: first character of the item's text that these tokens stand for, and one past the last; None where that
            is not known (token ids, a template that rewrites the text).
        joint: what stands between the item's text and its target.
        n_control: how many special tokens the text itself spells out.
    """

    ids: tuple[int, ...]
    n_special: int
    truncated: bool
    char_starts: tuple[int, ...]
    target_start: int | None
    choices: Choices | None = None
    span: tuple[int, int] | None = None
    chars: tuple[int, int] | None = None
    joint: str = ""
    n_control: int = 0

    @property
    def end(self) -> int:
        """Number of prompt tokens, chat template included, the target not counted."""
        return len(self.ids) if self.target_start is None else self.target_start

    @property
    def text(self) -> range:
        """The tokens of the item's text: what ``all``, familiarity and code lengths are about."""
        return range(self.n_special, self.end) if self.span is None else range(*self.span)

    @property
    def content(self) -> range:
        """The tokens of the item's text that something precedes: what ``mean`` is about.

        The first token of a sequence is left out whatever it is. Nothing precedes it, so heads that look for nothing
        look at it, and models without a BOS turn whatever word stands there into their attention sink.
        """
        return range(max(self.text.start, 1), max(self.text.stop, 1))

    @property
    def whole(self) -> range:
        """The prompt with its template, its first token and special tokens at its beginning left out."""
        return range(min(max(self.n_special, 1), self.end), self.end)


@dataclass(frozen=True, slots=True)
class Choices:
    """Answers that are compared by how likely the model finds them. Made by :mod:`probes.capture.choices`.

    Attributes:
        right: index of the right one.
        texts: each answer as the target of the prompt (or from its second token on, where it stands in its place).
        n_bytes: UTF-8 bytes of each answer.
        letters: the letter of each answer as the target; empty where the prompt lists no letters.
    """

    right: int
    texts: tuple[Prompt, ...]
    n_bytes: tuple[int, ...]
    letters: tuple[Prompt, ...]


class _Laid(NamedTuple):
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

    def cut(self, max_tokens: int | None) -> _Laid:
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
        """Where each token of the text begins in the item, -1 for all others."""
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
        """How many special tokens the text itself spells out; 0 where the characters of tokens are not known."""
        if self.whole is None:
            return 0
        tokens = zip(self.pieces.ids, self.pieces.starts, self.pieces.ends, strict=True)
        inside = ((token, self.whole[start:end]) for token, start, end in tokens if self.first <= start < self.last)
        return sum(spelled.get(token) == text.strip() for token, text in inside)


def encode(
    model: Reader,
    text: str | Sequence[int],
    *,
    target: str | None = None,
    max_tokens: int | None = None,
    bos: BosPolicy = "auto",
    template: Template = "none",
    answer_prefix: str = AUTO,
    special_tokens: SpecialTokens = "control",
    before: Turns = (),
) -> Prompt:
    """Turn a text, or ids already at hand, into a prompt.

    Args:
        model: the model that is to read it.
        text: the prompt; a sequence of token ids is taken as it is.
        target: what should follow. It is tokenised together with the prompt if that leaves the prompt's tokens as they
            are, else on its own.
        max_tokens: cut the text so that the prompt has at most this many tokens (special tokens and chat template
            included, target not); None: too long is an error.
        bos: ``auto`` does what the tokenizer does; ``add`` makes sure that the prompt begins with its BOS; ``none``
            adds no special token at all. A BOS is never doubled, even if the text brings one. An EOS that a tokenizer
            puts behind every text is left out for a model that predicts the next token: nothing follows it.
        template: ``chat`` puts the text into the tokenizer's chat template, as a user's turn that the model is to
            answer; a :class:`~probes.capture.templates.Chat` says with which arguments. Special tokens are then those
            of the template.
        answer_prefix: what is put between prompt and target: ``auto`` (the rule of :mod:`probes.capture.joining`), or
            this text itself.
        special_tokens: what a special token is that the text spells out: ``control``, as the tokenizer has it, or
            ``text`` like any other.
        before: turns of a conversation before the text; they need a template.

    Returns:
        The prompt.

    Raises:
        PromptError: if the prompt is empty or no valid Unicode, has unknown token ids, is too long for the context, or
            does not survive the template in one piece.
        InputError: if there is text but no tokenizer, token ids or no template for ``chat``, turns without a template,
            or ``max_tokens`` is not positive.
    """
    if max_tokens is not None and max_tokens < 1:
        raise InputError(f"max_tokens must be at least 1, not {max_tokens}")
    _refuse_halves(text, target)
    chat = chat_of(template)
    if before and chat is None:
        raise InputError("the items are conversations (messages), which only a template can write: set template: chat")
    if isinstance(text, str):
        laid = _lay(model, text, bos, chat, special_tokens, before)
    elif chat is not None:
        raise InputError("template: chat takes texts, not token ids")
    else:
        given = unplaced([int(token) for token in text])
        laid = _Laid(given, _leading(given.ids, special_ids(model.tokenizer)), len(given.ids))
    special = special_ids(model.tokenizer)
    if all(token in special for token in laid.pieces.ids[laid.start : laid.stop]):
        raise PromptError("empty prompt: it holds no token besides special ones")
    wrong = next((token for token in laid.pieces.ids if not 0 <= token < model.vocabulary), None)
    if wrong is not None:
        raise PromptError(f"token id {wrong} is outside the vocabulary of {model.name} (0..{model.vocabulary - 1})")
    joint = ""
    following = NOTHING
    if target is not None:
        prefix = "" if answer_prefix == AUTO and chat is not None else answer_prefix
        joint = between(text, target, prefix) if isinstance(text, str) else ""
        following = _following(model, laid.whole, joint, target, special_tokens)
        if isinstance(text, str) and laid.whole is not None:
            following = following.moved(len(text) - len(laid.whole))
    kept = laid.cut(max_tokens)
    ids = kept.pieces.ids + following.ids
    if model.context_length is not None and len(ids) > model.context_length:
        raise PromptError(
            f"{len(ids)} tokens, but {model.name} reads at most {model.context_length}; set max_tokens to cut prompts"
        )
    return Prompt(
        ids=tuple(ids),
        n_special=_leading(kept.pieces.ids, special),
        truncated=kept is not laid,
        char_starts=(*kept.char_starts(), *following.starts),
        target_start=len(kept.pieces.ids) if following.ids else None,
        span=(kept.start, kept.stop),
        chars=kept.chars(),
        joint=joint,
        n_control=kept.n_control(spelling(model.tokenizer)),
    )


def _refuse_halves(*texts: object) -> None:
    for text in texts:
        fault = half_character(text) if isinstance(text, str) else ""
        if fault:
            raise PromptError(fault)


def _lay(
    model: Reader, text: str, bos: BosPolicy, chat: Chat | None, special_tokens: SpecialTokens, before: Turns
) -> _Laid:
    """Tokens of a text, in its template if there is one."""
    tokenizer = _tokenizer_of(model)
    special = special_ids(tokenizer)
    if chat is None:
        pieces, behind = read_framed(tokenizer, text, bos, special_tokens, model.name)
        if behind and model.is_causal:
            pieces, behind = pieces.part(0, len(pieces.ids) - behind), 0
        stop = len(pieces.ids) - behind
        return _Laid(pieces, min(_leading(pieces.ids, special), stop), stop, text, 0, len(text), 0)
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
    return _Laid(pieces, start, stop, whole, first, last, offset if tokenizer.is_fast else -1)


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
    """Whether a token stands for characters of the text, and for nothing else but white space."""
    if first <= start < end <= last:
        return True
    own = whole[max(start, first) : min(end, last)]
    beyond = whole[start : max(start, first)] + whole[min(end, last) : end]
    return start >= 0 and bool(own.strip()) and not beyond.strip()


def _leading(ids: Sequence[int], special: frozenset[int]) -> int:
    """How many tokens at the beginning are special."""
    return next((at for at, token in enumerate(ids) if token not in special), len(ids))


def encode_all(
    model: Reader,
    texts: Sequence[str] | Sequence[Sequence[int]],
    *,
    max_tokens: int | None = None,
    bos: BosPolicy = "auto",
    template: Template = "none",
) -> list[Prompt]:
    """Encode several prompts, none of which may fail.

    Raises:
        PromptError: naming the first prompt that cannot be read.
        InputError: if there are none.
    """
    if not texts:
        raise InputError("no prompts: hand in at least one text or list of token ids")
    if isinstance(texts, str):
        raise InputError("prompts must be a list of texts, not one text; write [text]")
    prompts: list[Prompt] = []
    for index, text in enumerate(texts):
        try:
            prompts.append(encode(model, text, max_tokens=max_tokens, bos=bos, template=template))
        except PromptError as error:
            raise PromptError(f"prompt {index}: {error}") from error
    return prompts


class Batch(NamedTuple):
    """Prompts side by side, padded on the right.

    Attributes:
        ids: token ids, ``(prompts, longest)``.
        mask: 1 where there is a token and 0 where there is padding.
        asked: 1 where there is a token of the prompt itself, 0 where there is one of its target; None: no targets.
    """

    ids: Int[Tensor, "prompts longest"]
    mask: Int[Tensor, "prompts longest"]
    asked: Int[Tensor, "prompts longest"] | None = None


def pad(prompts: Sequence[Prompt], pad_id: int) -> Batch:
    """Lay prompts of different lengths into one rectangle."""
    lengths = [len(prompt.ids) for prompt in prompts]
    mask = np.less.outer(np.arange(max(lengths)), lengths).T
    ids = np.full(mask.shape, pad_id, dtype=np.int64)
    ids[mask] = np.concatenate([prompt.ids for prompt in prompts])
    asked = np.less.outer(np.arange(max(lengths)), [prompt.end for prompt in prompts]).T
    return Batch(*(torch.from_numpy(part.astype(np.int64)) for part in (ids, mask, asked)))


def _following(model: Reader, text: str | None, joint: str, target: str, special_tokens: SpecialTokens) -> Pieces:
    """Tokens of the target, as they follow a prompt (None: token ids); characters are those of both together."""
    tokenizer = _tokenizer_of(model)
    if text is None:
        alone = tokenise(tokenizer, target, special_tokens=special_tokens)
        found = unplaced(alone.ids)
    else:
        joined, plain = (
            tokenise(tokenizer, one, special_tokens=special_tokens) for one in (text + joint + target, text)
        )
        n = len(plain.ids)
        if joined.ids[:n] == plain.ids and len(joined.ids) > n:
            return joined.part(n)
        found = tokenise(tokenizer, joint + target, special_tokens=special_tokens).moved(len(text))
    if not found.ids:
        raise PromptError("empty target: it holds no token")
    return found


def _tokenizer_of(model: Reader) -> PreTrainedTokenizerBase:
    """The tokenizer, or a plain sentence about there being none."""
    if model.tokenizer is None:
        raise InputError(f"{model.name} came without a tokenizer: hand one in (tokenizer=...) or pass token ids")
    return model.tokenizer
