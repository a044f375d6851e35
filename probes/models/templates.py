"""Chat templates: a text as the turn of a user, and where in the rendered prompt it stands.

A template writes fixed words around the text: a system prompt, role names, the beginning of the answer. They are the
same for every item, so a number that is about them is not about the item. The text is found by construction: the
template is rendered around a mark that no text holds, which says what stands before and behind; whatever stands between
those two in the real prompt is what became of the text. It is never searched for, because short texts occur in system
prompts too.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any, Final, Literal, NamedTuple

from jinja2 import TemplateError
from pydantic import BaseModel, ConfigDict, Field
from transformers import PreTrainedTokenizerBase

from probes.errors import InputError

MARK: Final = "\ue0f0text\ue0f1"  # of the private use area, which no template and no text gives a meaning
DIGITS: Final = 8
CLOCK: Final = "strftime_now"  # what transformers lets templates ask for the date
DIRECTIVES: Final = "date_of_the_sweep"
LETTERS: Final = "aAbBdejmyYuUVwWxcDFHIMSp"  # of strftime; a day has no hour, so clocks say midnight
# templates are handed data and no functions, so the clock that shadows the real one is a macro of the template itself
DATED: Final = (
    "{%- macro strftime_now(form) %}{% set made = namespace(text=form) %}"
    "{% for directive, value in date_of_the_sweep.items() %}"
    "{% set made.text = made.text.replace(directive, value) %}{% endfor %}{{ made.text }}{% endmacro %}"
)


class PromptError(InputError):
    """A prompt that cannot be read by this model: a failure of that item alone."""


class Chat(BaseModel):
    """A tokenizer's chat template, and what it is rendered with. In a spec: ``{chat: {enable_thinking: false}}``.

    Attributes:
        arguments: what the template is told beside the messages, e.g. ``enable_thinking`` or ``reasoning_effort``.
        system: a system prompt in front of the messages of every item.
        date: what templates that write today's date are told instead; None is the day on which they are rendered. A
            sweep remembers the day on which it began.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)

    arguments: Mapping[str, Any] = Field(default_factory=dict[str, Any], alias="chat")
    system: str | None = None
    date: dt.date | None = None


Template = Literal["none", "chat"] | Chat
Turns = Sequence[tuple[str, str]]
"""Turns of a conversation: role and content of each."""


class Rendered(NamedTuple):
    """A prompt as a template writes it.

    Attributes:
        whole: all of it.
        first: index of the first character of the user's text.
        last: index after its last character.
        offset: how many characters of the text the template took off its beginning; -1 where it rewrote the text, so
            that its characters cannot be told.
    """

    whole: str
    first: int
    last: int
    offset: int


def chat_of(template: Template) -> Chat | None:
    """The chat template that is meant, None for none."""
    if isinstance(template, Chat):
        return template
    return Chat() if template == "chat" else None


def render(
    tokenizer: PreTrainedTokenizerBase, chat: Chat, text: str, *, before: Turns = (), name: str = "the model"
) -> Rendered:
    """Put a text into a chat template, as the last turn, which the model is to answer.

    Args:
        tokenizer: whose template.
        chat: what it is rendered with.
        text: the turn of the user.
        before: turns before it.
        name: how messages call the model.

    Raises:
        InputError: if the tokenizer has no chat template.
        PromptError: if the template refuses these turns, or does not hold the text in one piece.
    """
    if not getattr(tokenizer, "chat_template", None):
        raise InputError(f"template: chat, but the tokenizer of {name} has no chat template; use none")
    around = _written(tokenizer, chat, MARK, before)
    whole = _written(tokenizer, chat, text, before)
    if around.count(MARK) != 1:
        raise PromptError(f"the chat template of {name} writes the user's text {around.count(MARK)} times, not once")
    front, behind = around.split(MARK)
    if not (whole.startswith(front) and whole.endswith(behind) and len(whole) >= len(front) + len(behind)):
        raise PromptError(f"the chat template of {name} writes other words around this text than around others")
    found = whole[len(front) : len(whole) - len(behind)]
    return Rendered(whole, len(front), len(whole) - len(behind), _offset(text, found))


def template_identity(tokenizer: PreTrainedTokenizerBase | None, template: Template) -> str:
    """Name that is different for any two templates: ``none``, or ``chat:`` and a hash of what it writes around."""
    chat = chat_of(template)
    if chat is None:
        return "none"
    own = getattr(tokenizer, "chat_template", None)
    written = [own, dict(chat.arguments), chat.system]
    if tokenizer is not None and own:
        written.append(_written(tokenizer, chat, MARK, ()))  # a date, say
    content = json.dumps(written, sort_keys=True, default=str)
    return f"chat:{hashlib.sha256(content.encode()).hexdigest()[:DIGITS]}"


def _written(tokenizer: Any, chat: Chat, text: str, before: Turns) -> str:  # noqa: ANN401  any transformers tokenizer
    """The template around a text."""
    system = () if chat.system is None else (("system", chat.system),)
    turns = [{"role": role, "content": content} for role, content in (*system, *before, ("user", text))]
    told = dict(chat.arguments)
    try:
        source = str(tokenizer.get_chat_template())
        if CLOCK in source:
            source = DATED + source
            day = chat.date or dt.datetime.now().astimezone().date()
            told[DIRECTIVES] = {f"%{letter}": day.strftime(f"%{letter}") for letter in LETTERS}
        return str(
            tokenizer.apply_chat_template(
                turns, chat_template=source, tokenize=False, add_generation_prompt=True, **told
            )
        )
    except (TemplateError, TypeError, ValueError) as error:
        raise PromptError(f"the chat template cannot write these turns: {' '.join(str(error).split())}") from None


def _offset(text: str, found: str) -> int:
    """Number of characters stripped from the beginning of a text to give the other; -1 if it was changed otherwise."""
    offset = len(text) - len(text.lstrip())
    for left_off, left in ((0, text), (offset, text.strip()), (offset, text.lstrip()), (0, text.rstrip())):
        if found == left:
            return left_off
    return -1
