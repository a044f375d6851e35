"""From text to the token ids that a model reads, with everything about the way that a table must remember.

Three ways to a wrong number lie here. A beginning-of-sequence token that is missing or doubled changes every number
after it, so what is done about it is a policy with a recorded outcome. Padding must not be seen: it stands on the right
under an attention mask, which is exact on every architecture tried without position ids of our own, where padding on
the left is not. And words that the toolkit puts around a text (a chat template, special tokens) are not the text: a
prompt knows which of its tokens are.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from probes.errors import InputError
from probes.models.batch import Batch
from probes.models.joining import AUTO, between
from probes.models.placement import Placed, leading, place
from probes.models.templates import PromptError, Template, Turns, chat_of
from probes.models.tokens import (
    NOTHING,
    BosPolicy,
    Pieces,
    Reader,
    SpecialTokens,
    special_ids,
    spelling,
    tokenise,
    tokenizer_of,
    unplaced,
)
from probes.suites.example import half_character
from probes.vocabulary.prompt import Prompt


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
            answer; a :class:`~probes.models.templates.Chat` says with which arguments. Special tokens are then those
            of the template.
        answer_prefix: what is put between prompt and target: ``auto`` (the rule of :mod:`probes.models.joining`), or
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
        laid = place(model, text, bos, chat, special_tokens, before)
    elif chat is not None:
        raise InputError("template: chat takes texts, not token ids")
    else:
        given = unplaced([int(token) for token in text])
        laid = Placed(given, leading(given.ids, special_ids(model.tokenizer)), len(given.ids))
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
        n_special=leading(kept.pieces.ids, special),
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
    tokenizer = tokenizer_of(model)
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
