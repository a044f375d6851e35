"""Positions: the tokens of a prompt that are asked about.

A selector picks token indices of one prompt and says whether the vectors there are reported one by one or as the mean
of their metric values. It knows nothing of batches and padding: indices are those of the prompt's own ids, so padding
cannot be picked.

========= ==============================================================================================================
last      the last prompt token (with a chat template: of the generation prompt): the state that decides what follows
mean      mean of the metric over the tokens of the item's text. Left out are a chat template, special tokens around the
          text, and the first token of the sequence, special or not (nothing precedes it: it is the attention sink)
typical   the same mean without massive tokens: those whose state is more than five times as long as the median of the
          text's tokens there (attention sinks elsewhere); how many are left out is counted
all       the tokens of the item's text, one by one, the first of a sequence among them unless it is special
prompt    mean over all tokens of the prompt, chat template included, special tokens at its beginning and its first
          token left out; without a template the same as mean
answer    mean over the target's tokens
5:10      mean over token indices 5..9 of the prompt (the usual slice rules, special tokens and template counted); 4:
          skips the first four
/[0-9]+/  mean over the tokens of mean whose text, white space around it taken off, holds a match of the expression
========= ==============================================================================================================

The spec key ``skip_first`` leaves so many tokens at the beginning of the sequence out of ``mean``, ``typical``,
``all``, ``prompt`` and expressions: attention sinks that are not one token long.

In a notebook any function from a :class:`~probes.vocabulary.prompt.Prompt` to token indices is a position too.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final

from probes.errors import InputError
from probes.vocabulary.prompt import Prompt

Pick = Callable[[Prompt], Sequence[int]]
Words = Callable[[int], str]
_SLICE: Final = re.compile(r"(-?\d*):(-?\d*)")


@dataclass(frozen=True, slots=True)
class Selector:
    """A named choice of token indices.

    Attributes:
        name: as asked and as the ``position`` column holds it.
        pick: token indices of one prompt, ascending; may be empty.
        each: True to report every picked token, False to report the mean of their metric values.
        typical: leave massive tokens out of the mean.
        expression: what the text of a token should match, where that is how it is picked.
    """

    name: str
    pick: Pick
    each: bool = False
    typical: bool = False
    expression: re.Pattern[str] | None = None

    def bound(self, words: Words) -> Selector:
        """The same choice by a model that knows the texts of tokens; an expression cannot pick without."""
        return self if self.expression is None else parse_position(self.name, words)

    @property
    def is_single(self) -> bool:
        """True where a prompt gives one vector, or one mean, at most: every word but ``all``."""
        return self.name != "all"


SELECTORS: Final[dict[str, Selector]] = {
    "last": Selector("last", lambda prompt: range(prompt.end - 1, prompt.end), each=True),
    "mean": Selector("mean", lambda prompt: prompt.content),
    "typical": Selector("typical", lambda prompt: prompt.content, typical=True),
    "all": Selector("all", lambda prompt: prompt.each, each=True),
    "prompt": Selector("prompt", lambda prompt: prompt.whole),
    "answer": Selector("answer", lambda prompt: range(prompt.end, len(prompt.ids))),
}


Asked = str | Selector | Pick


def parse_position(asked: Asked, words: Words | None = None) -> Selector:
    """The selector of a written position; a selector or a function of one's own passes through.

    Args:
        asked: a word, a slice, an expression between slashes, a selector, or a function that picks.
        words: the text of a token id; an expression cannot be used without it, only checked.

    Raises:
        InputError: if the position is neither a known word, nor a slice, nor an expression that can be read.

    >>> parse_position("5:10").pick(Prompt(tuple(range(8)), 1, False, (0,) * 8, None))
    range(5, 8)
    """
    if isinstance(asked, Selector):
        return asked
    if not isinstance(asked, str):
        return Selector(getattr(asked, "__name__", type(asked).__name__), asked)
    if asked in SELECTORS:
        return SELECTORS[asked]
    if len(asked) > 2 and asked[0] == asked[-1] == "/":
        expression = _expression(asked)
        return Selector(asked, partial(_matching, expression, words), expression=expression)
    match = _SLICE.fullmatch(asked)
    if match is None:
        near = difflib.get_close_matches(asked, SELECTORS, n=1)
        hint = (
            f"did you mean {near[0]!r}?"
            if near
            else f"known: {', '.join(SELECTORS)}, a slice such as 5:10, or an expression such as /[0-9]+/"
        )
        raise InputError(f"unknown position {asked!r}; {hint}")
    start, stop = (int(bound) if bound else None for bound in match.groups())
    return Selector(asked, lambda prompt: range(prompt.end)[start:stop])


def parse_positions(asked: Asked | Sequence[Asked], words: Words | None = None) -> tuple[Selector, ...]:
    """One position or several, without repetition."""
    several: Sequence[Asked] = [asked] if isinstance(asked, (str, Selector)) or callable(asked) else asked
    found = {selector.name: selector for selector in (parse_position(own, words) for own in several)}
    if not found:
        raise InputError("no position asked; known: " + ", ".join(SELECTORS))
    return tuple(found.values())


def _expression(asked: str) -> re.Pattern[str]:
    try:
        return re.compile(asked[1:-1])
    except re.error as error:
        raise InputError(f"position {asked!r} is not a regular expression: {error}") from None


def _matching(expression: re.Pattern[str], words: Words | None, prompt: Prompt) -> list[int]:
    """Tokens of a prompt whose text holds a match."""
    if words is None:
        raise InputError(f"position /{expression.pattern}/ needs the texts of tokens: hand in a tokenizer")
    return [token for token in prompt.content if expression.search(words(prompt.ids[token]).strip())]
