"""Which tokens of a prompt are asked about.

A selector picks token indices of one prompt and says whether the vectors there are reported one by one or as the mean
of their metric values. It knows nothing of batches and padding: indices are those of the prompt's own ids, so padding
cannot be picked.

======== ===============================================================================================================
last     the last prompt token: the state that decides what follows
mean     mean of the metric over the prompt's tokens, index 0 left out iff it is a special token
all      the same tokens one by one
answer   mean over the target's tokens
5:10     mean over token indices 5..9 of the prompt (the usual slice rules, special tokens counted)
======== ===============================================================================================================
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from probes.capture.prompts import Prompt
from probes.errors import InputError

Pick = Callable[[Prompt], Sequence[int]]
_SLICE: Final = re.compile(r"(-?\d*):(-?\d*)")


@dataclass(frozen=True, slots=True)
class Selector:
    """A named choice of token indices.

    Attributes:
        name: as asked and as the ``position`` column holds it.
        pick: token indices of one prompt, ascending; may be empty.
        each: True to report every picked token, False to report the mean of their metric values.
    """

    name: str
    pick: Pick
    each: bool = False


SELECTORS: Final[dict[str, Selector]] = {
    "last": Selector("last", lambda prompt: range(prompt.end - 1, prompt.end), each=True),
    "mean": Selector("mean", lambda prompt: prompt.content),
    "all": Selector("all", lambda prompt: prompt.content, each=True),
    "answer": Selector("answer", lambda prompt: range(prompt.end, len(prompt.ids))),
}


Asked = str | Selector


def parse_position(asked: Asked) -> Selector:
    """The selector of a written position; a selector of one's own passes through.

    Raises:
        InputError: if the position is neither a known word nor a slice.

    >>> parse_position("5:10").pick(Prompt(tuple(range(8)), 1, False, (0,) * 8, None))
    range(5, 8)
    """
    if isinstance(asked, Selector):
        return asked
    if asked in SELECTORS:
        return SELECTORS[asked]
    match = _SLICE.fullmatch(asked)
    if match is None:
        near = difflib.get_close_matches(asked, SELECTORS, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(SELECTORS)}, or a slice such as 5:10"
        raise InputError(f"unknown position {asked!r}; {hint}")
    start, stop = (int(bound) if bound else None for bound in match.groups())
    return Selector(asked, lambda prompt: range(prompt.end)[start:stop])


def parse_positions(asked: Asked | Sequence[Asked]) -> tuple[Selector, ...]:
    """One position or several, without repetition."""
    several = [asked] if isinstance(asked, (str, Selector)) else asked
    found = {selector.name: selector for selector in map(parse_position, several)}
    if not found:
        raise InputError("no position asked; known: " + ", ".join(SELECTORS))
    return tuple(found.values())
