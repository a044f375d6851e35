"""From text to the token ids that a model reads, with everything about the way that a table must remember.

Two ways to a wrong number lie here. A beginning-of-sequence token that is missing or doubled changes every number after
it, so what is done about it is a policy with a recorded outcome. And padding must not be seen: it stands on the right
under an attention mask, which is exact on every architecture tried without position ids of our own, where padding on
the left is not.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, Literal, NamedTuple, Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor
from transformers import BatchEncoding, PreTrainedTokenizerBase

from probes.errors import InputError

BosPolicy = Literal["auto", "add", "none"]
Template = Literal["none", "chat"]
TEMPLATE_DIGITS: Final = 8


class PromptError(InputError):
    """A prompt that cannot be read by this model: a failure of that item alone."""


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


@dataclass(frozen=True, slots=True)
class Prompt:
    """One prompt as the model reads it.

    Attributes:
        ids: token ids: the prompt, then the target if there is one.
        n_special: number of special tokens at the beginning (a BOS, say); positions ``mean`` and ``all`` skip index 0
            iff
            this is not zero.
        truncated: whether the prompt was cut to ``max_tokens``.
        char_starts: where each token begins in the text (target included); -1 for special tokens, tokens of a chat
            template, and where the tokenizer cannot say.
        target_start: index of the first target token, None without a target.
        choices: what else could follow, or stand in its place, and which is right.
    """

    ids: tuple[int, ...]
    n_special: int
    truncated: bool
    char_starts: tuple[int, ...]
    target_start: int | None
    choices: Choices | None = None

    @property
    def end(self) -> int:
        """Number of prompt tokens, the target not counted."""
        return len(self.ids) if self.target_start is None else self.target_start

    @property
    def content(self) -> range:
        """Prompt positions without a leading special token: what ``mean`` and ``all`` are about."""
        return range(min(self.n_special, 1), self.end)


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


class _Pieces(NamedTuple):
    ids: list[int]
    starts: list[int]


def encode(
    model: Reader,
    text: str | Sequence[int],
    *,
    target: str | None = None,
    max_tokens: int | None = None,
    bos: BosPolicy = "auto",
    template: Template = "none",
) -> Prompt:
    """Turn a text, or ids already at hand, into a prompt.

    Args:
        model: the model that is to read it.
        text: the prompt; a sequence of token ids is taken as it is.
        target: what should follow; one space is put between the two unless either brings white space of its own. It is
            tokenised together with the prompt if that leaves the prompt's tokens as they are, else on its own.
        max_tokens: cut the prompt to this many tokens (BOS included, target not); None: too long is an error.
        bos: ``auto`` does what the tokenizer does; ``add`` makes sure that the prompt begins with its BOS; ``none``
            adds no
            special token at all. A BOS is never doubled, even if the text brings one.
        template: ``chat`` puts the text into the tokenizer's chat template, as a user's turn that the model is to
            answer. Special tokens are then those of the template; its tokens belong to the prompt (``mean`` is over
            them too, and ``max_tokens`` may cut off the last of them).

    Returns:
        The prompt.

    Raises:
        PromptError: if the prompt is empty, has unknown token ids, or is too long for the context.
        InputError: if there is text but no tokenizer, token ids or no template for ``chat``, or ``max_tokens`` is not
            positive.
    """
    if template == "chat":
        return _encode_chat(model, text, target=target, max_tokens=max_tokens, bos=bos)
    return _encode(model, text, target=target, max_tokens=max_tokens, bos=bos, special=bos != "none")


def _encode(
    model: Reader,
    text: str | Sequence[int],
    *,
    target: str | None,
    max_tokens: int | None,
    bos: BosPolicy,
    special: bool,
) -> Prompt:
    """Encode what the model is to read literally; ``special`` lets the tokenizer frame it."""
    if max_tokens is not None and max_tokens < 1:
        raise InputError(f"max_tokens must be at least 1, not {max_tokens}")
    given = _pieces_of_text(model, text, bos, special=special) if isinstance(text, str) else None
    prompt = given or _Pieces([int(token) for token in text], [-1] * len(text))
    frames = _special_ids(model.tokenizer)
    n_special = next((i for i, token in enumerate(prompt.ids) if token not in frames), len(prompt.ids))
    if all(token in frames for token in prompt.ids):
        raise PromptError("empty prompt: it holds no token besides special ones")
    wrong = next((token for token in prompt.ids if not 0 <= token < model.vocabulary), None)
    if wrong is not None:
        raise PromptError(f"token id {wrong} is outside the vocabulary of {model.name} (0..{model.vocabulary - 1})")
    following = _Pieces([], []) if target is None else _following(model, text, target, prompt)
    truncated = max_tokens is not None and len(prompt.ids) > max_tokens
    if truncated:
        prompt = _Pieces(prompt.ids[:max_tokens], prompt.starts[:max_tokens])
    ids, starts = prompt.ids + following.ids, prompt.starts + following.starts
    if model.context_length is not None and len(ids) > model.context_length:
        raise PromptError(
            f"{len(ids)} tokens, but {model.name} reads at most {model.context_length}; set max_tokens to cut prompts"
        )
    return Prompt(
        ids=tuple(ids),
        n_special=min(n_special, len(prompt.ids)),
        truncated=truncated,
        char_starts=tuple(starts),
        target_start=len(prompt.ids) if following.ids else None,
    )


def _encode_chat(
    model: Reader, text: str | Sequence[int], *, target: str | None, max_tokens: int | None, bos: BosPolicy
) -> Prompt:
    """Encode a text inside the chat template, and count characters in the text again."""
    if not isinstance(text, str):
        raise InputError("template: chat takes texts, not token ids")
    if not text:
        raise PromptError("empty prompt: it holds no token besides special ones")
    tokenizer: Any = _tokenizer_of(model)
    if not tokenizer.chat_template:
        raise InputError(f"template: chat, but the tokenizer of {model.name} has no chat template; use none")
    turn = [{"role": "user", "content": text}]
    whole = str(tokenizer.apply_chat_template(turn, tokenize=False, add_generation_prompt=True))
    prompt = _encode(model, whole, target=target, max_tokens=max_tokens, bos=bos, special=False)
    before = whole.find(text)  # a template may strip the text, and then nobody can say where it is
    return replace(prompt, char_starts=_within(prompt.char_starts, before, len(text), len(whole)))


def _within(starts: Sequence[int], before: int, length: int, whole: int) -> tuple[int, ...]:
    """Where tokens begin in a text of some length that stands behind ``before`` characters of a whole; -1 outside.

    A token that spans the text's beginning begins there, and a target as if it followed the text at once.
    """
    found: list[int] = []
    following = whole
    for start in reversed(starts):
        if start >= whole:
            found.append(start - whole + length)
        else:
            inside = 0 <= start < before + length and following > before >= 0
            found.append(max(start - before, 0) if inside else -1)
            following = start if start >= 0 else following
    return tuple(reversed(found))


def template_identity(tokenizer: PreTrainedTokenizerBase | None, template: Template) -> str:
    """What a run remembers of the template it was made with: ``none``, or ``chat:`` and the template's hash."""
    if template == "none":
        return template
    content = json.dumps(getattr(tokenizer, "chat_template", None))
    return f"{template}:{hashlib.sha256(content.encode()).hexdigest()[:TEMPLATE_DIGITS]}"


def join(text: str, target: str) -> str:
    """A prompt and its target as one text: one space between them unless either brings white space of its own.

    >>> join("two plus two is", "four"), join("two plus two is ", "four")
    ('two plus two is four', 'two plus two is four')
    """
    return text + ("" if text[-1:].isspace() or target[:1].isspace() else " ") + target


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


def special_id(tokenizer: PreTrainedTokenizerBase, role: str) -> int | None:
    """Id of the token that plays a role (``bos``, ``pad`` ...), or None."""
    found = getattr(tokenizer, f"{role}_token_id", None)
    return found if isinstance(found, int) else None


def _pieces_of_text(model: Reader, text: str, bos: BosPolicy, *, special: bool) -> _Pieces:
    """Tokenise a prompt under a BOS policy."""
    tokenizer = _tokenizer_of(model)
    bos_id = special_id(tokenizer, "bos")
    if bos == "add" and bos_id is None:
        raise InputError(f"bos: add, but the tokenizer of {model.name} has no beginning-of-sequence token; use auto")
    ids, starts = _tokenise(tokenizer, text, special=special)
    if bos_id is not None and ids[:2] == [bos_id, bos_id]:
        return _Pieces(ids[1:], starts[1:])
    if bos_id is not None and bos == "add" and ids[:1] != [bos_id]:
        return _Pieces([bos_id, *ids], [-1, *starts])
    return _Pieces(ids, starts)


def _following(model: Reader, text: str | Sequence[int], target: str, prompt: _Pieces) -> _Pieces:
    """Tokens of the target, as they follow this prompt."""
    tokenizer = _tokenizer_of(model)
    if isinstance(text, str):
        whole = join(text, target)
        joined = _tokenise(tokenizer, whole, special=False)
        plain = _tokenise(tokenizer, text, special=False)
        n = len(plain.ids)
        if joined.ids[:n] == plain.ids and len(joined.ids) > n:
            return _Pieces(joined.ids[n:], joined.starts[n:])
        alone = _tokenise(tokenizer, whole[len(text) :], special=False)
        starts = [start if start < 0 else start + len(text) for start in alone.starts]
    else:
        alone = _tokenise(tokenizer, target, special=False)
        starts = [-1] * len(alone.ids)
    if not alone.ids:
        raise PromptError(f"empty target after a prompt of {len(prompt.ids)} tokens: it holds no token")
    return _Pieces(alone.ids, starts)


def _tokenise(tokenizer: PreTrainedTokenizerBase, text: str, *, special: bool) -> _Pieces:
    """Ids and character offsets of one text."""
    fast = bool(tokenizer.is_fast)
    encoded: BatchEncoding = tokenizer(
        text, add_special_tokens=special, return_offsets_mapping=fast, return_attention_mask=False, verbose=False
    )
    ids = [int(token) for token in encoded["input_ids"]]
    if not fast:
        return _Pieces(ids, [-1] * len(ids))
    offsets: list[tuple[int, int]] = encoded["offset_mapping"]
    return _Pieces(ids, [start if end > start else -1 for start, end in offsets])


def _special_ids(tokenizer: PreTrainedTokenizerBase | None) -> frozenset[int]:
    """Ids that frame a text. Unknown and padding tokens are not among them: they stand for words, or never reach us."""
    if tokenizer is None:
        return frozenset()
    fillers = {special_id(tokenizer, role) for role in ("unk", "pad")}
    frames = {special_id(tokenizer, role) for role in ("bos", "eos", "cls", "sep")}
    ids = (set(tokenizer.all_special_ids) - fillers) | frames
    return frozenset(token for token in ids if token is not None)


def _tokenizer_of(model: Reader) -> PreTrainedTokenizerBase:
    """The tokenizer, or a plain sentence about there being none."""
    if model.tokenizer is None:
        raise InputError(f"{model.name} came without a tokenizer: hand one in (tokenizer=...) or pass token ids")
    return model.tokenizer
