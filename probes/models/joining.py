"""Space, or none, between a prompt and its answer.

Running text has a space after "The answer is" and none after ``x = "``, "1,2,3," or a Chinese sentence, and a model
that is asked for " Paris" after an open quotation mark is asked for something nobody writes. Harnesses put one space
everywhere unless a task says otherwise (lm-evaluation-harness: ``target_delimiter``); here the rule reads the prompt.

A space is put between the two where

- the prompt ends with a letter or digit and the answer does not begin with a closing mark (``. , ; : ? ! ) ] }``), or
- the prompt ends with a closing mark or a closing quotation mark, unless it is between two digits here and elsewhere
  in the prompt (``1,2,3,`` and ``4``),

and nothing where either brings white space of its own, after anything else (an opening bracket or quotation mark, an
operator), beside a script that is written without spaces, and after a chat template, which ends as its answers begin.
"""

from __future__ import annotations

import re
import unicodedata
from typing import Final

CLOSING: Final = frozenset(".,;:?!)]}%\u2026\u201d\u2019\u00bb")  # with the ellipsis and closing quotation marks
OPENING: Final = frozenset("([{=:,\u201c\u2018\u00ab")
QUOTES: Final = frozenset("\"'`")
WITHOUT_SPACES: Final = ("CJK", "HIRAGANA", "KATAKANA", "FULLWIDTH", "IDEOGRAPHIC", "THAI", "LAO", "KHMER", "MYANMAR")

AUTO: Final = "auto"


def between(text: str, target: str, prefix: str = AUTO) -> str:
    """Text to put between a prompt and its answer: a space or nothing, unless a prefix is given.

    Args:
        text: the prompt.
        target: the answer.
        prefix: ``auto`` is the rule of this module; anything else is put there as it is.

    >>> between("two plus two is", "four"), between("two plus two is ", "four"), between("Answer:", "B")
    (' ', '', ' ')
    >>> between('x = "', "Paris"), between("1,2,3,", "4"), between("中国的首都是", "北京"), between("12+7=", "19")
    ('', '', '', '')
    """
    if prefix != AUTO:
        return prefix
    if not text or not target or text[-1].isspace() or target[0].isspace():
        return ""
    last, first = text[-1], target[0]
    if _is_unspaced(last) or (_is_unspaced(first) and not last.isalnum()):
        return ""
    if last.isalnum():
        return "" if first in CLOSING else " "
    if last in QUOTES:
        return " " if _closes(text) else ""
    return " " if last in CLOSING and not _between_digits(text, first) else ""


def _is_unspaced(character: str) -> bool:
    return unicodedata.name(character, "").startswith(WITHOUT_SPACES)


def _closes(text: str) -> bool:
    """True if the quotation mark at the end is a closing one: one after white space or an opening mark opens."""
    return len(text) > 1 and not (text[-2].isspace() or text[-2] in OPENING)


def _between_digits(text: str, first: str) -> bool:
    """True if the mark at the end is between two digits, as it is elsewhere in the prompt."""
    own = text[-2:-1].isdigit() and first.isdigit()
    return own and re.search(rf"\d{re.escape(text[-1])}\d", text[:-1]) is not None
