"""Answers found from the text alone, by someone who does not know how it was made.

Generators know the answers they put in; that is no check of them. Here a prompt is parsed as it stands and worked out.
Beside the right answer stand three wrong ways to an answer, which need no understanding: the word that stood most
recently where answers stand (*recency*), the word the question itself ends with (*copy*), and the word most often seen
in such a place (*frequency*). Their accuracy is what a model has to beat, and is given beside its own.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Final

from probes.lab.lexicon import FILLER, NEXT

SHORTCUTS: Final = ("recency", "copy", "frequency")


def solve_links(prompt: str) -> str | None:
    """Follow the links that a prompt lists from the symbol it asks about; None if they do not lead so far.

    >>> solve_links("so alpha bravo, bravo tango. next alpha bravo. next next alpha")
    'tango'
    """
    listed, _, rest = prompt.partition(".")
    asked = rest.rpartition(".")[2].split()
    leads = _links(listed)
    found: str | None = asked[-1]
    for _ in range(asked.count(NEXT)):
        found = leads.get(found) if found is not None else None
    return found


def _links(listed: str) -> dict[str, str]:
    """Links of a context: the last two words before each comma."""
    pairs = [text.split()[-2:] for text in listed.split(",")]
    return {pair[0]: pair[1] for pair in pairs if len(pair) == 2}


def solve_sum(prompt: str) -> str | None:
    """The sum of the two numbers before the last ``=``, both written with spaces between digits or without.

    >>> solve_sum("27 + 15 =")
    '42'
    """
    found = re.search(r"(\d[\d ]*)\+([\d ]*\d)\s*=\s*$", prompt)
    return str(sum(int(number.replace(" ", "")) for number in found.groups())) if found else None


def solve_fact(prompt: str, facts: Mapping[frozenset[str], str]) -> str | None:
    """The tail of the stored fact that a prompt asks for, in whatever order its words stand, or where that tail leads.

    Args:
        prompt: a context, or none, and a question; ``next`` before it asks for a link of the context from the answer.
        facts: tails by the words of their prompts.

    >>> known = {frozenset({"Ada", "Moreau", "lives", "in"}): "Oslo"}
    >>> solve_fact("Rome, Oslo. Moreau Ada so lives in", known)
    'Oslo'
    >>> solve_fact("Oslo kilo, kilo lima. next next Ada Moreau lives in", known)
    'lima'
    """
    context, _, asked = prompt.rpartition(".")
    words = re.findall(r"\w+", asked)
    found = facts.get(frozenset(words) - {FILLER, NEXT})
    leads = _links(context) if NEXT in words else {}
    for _ in range(words.count(NEXT)):
        found = leads.get(found) if found is not None else None
    return found


def solve_said(prompt: str) -> str | None:
    """Answer that the context says in the very words that the prompt ends with; the last one where it says several.

    >>> solve_said("Ada Moreau lives in Rome. Ada Moreau lives in")
    'Rome'
    """
    *said, asked = re.split(r"\.\s*", prompt)
    answers = [text.removeprefix(asked).strip() for text in said if asked and text.startswith(f"{asked} ")]
    return answers[-1] if answers else None


def shortcut(name: str, prompt: str, answers: Sequence[str]) -> str:
    """Answer of a shortcut.

    Args:
        name: one of `SHORTCUTS`.
        prompt: the question.
        answers: the answers to other questions of the same kind, from which frequencies are taken.

    >>> shortcut("recency", "alpha bravo, kilo lima. next alpha", [])
    'lima'
    >>> shortcut("copy", "alpha bravo, kilo lima. next alpha", [])
    'alpha'
    """
    words = re.findall(r"\w+", prompt)
    if name == "copy":
        return words[-1]
    if name == "recency":
        context = re.findall(r"\w+", prompt.rpartition(".")[0])
        known = [word for word in context if word in set(answers)] or context
        return known[-1] if known else words[-1]
    return min(Counter(answers).items(), key=lambda entry: (-entry[1], entry[0]))[0] if answers else ""
