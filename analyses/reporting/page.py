"""Findings as a page: the templates' environment and the words they are filled with.

HTML is escaped by the template engine; Markdown has no engine that does, so names get every mark spelled out that could
draw an image, make a link or break a table. A content policy in the page allows the one inline script by its hash and
nothing else, so that even markup that slipped through could not run or load anything.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import jinja2
from markupsafe import Markup

from analyses.findings.formatting import excess, number, p_value, short_model, shown, with_interval
from analyses.reporting.grids import against_chance, tested, where
from analyses.reporting.sections.answers import meanings

# Control characters and marks that turn the direction of text: in a name they hide what it says.
INVISIBLE: Final = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]")
MARKDOWN: Final = re.compile(r"([\\`*\[\]|!])")
MOST_NAMES: Final = 6
TEMPLATES: Final = Path(__file__).parent / "templates"


def page_environment() -> jinja2.Environment:
    """The templates with their filters; HTML escaped throughout, undefined names refused."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        autoescape=jinja2.select_autoescape(["html.j2"]),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    filters: dict[str, Any] = environment.filters
    filters |= {
        "excess": excess,
        "against_chance": against_chance,
        "tested": tested,
        "meanings": meanings,
        "with_interval": with_interval,
        "number": number,
        "shown": shown,
        "p_value": p_value,
        "short_model": short_model,
        "drawing": Markup,
        "cell": _cell,
        "listed": _listed,
        "tight": _tight,
        "where": where,
        "policy": _policy,
    }
    names: dict[str, Any] = environment.globals
    for name in ("css", "js"):
        names[name] = Markup((TEMPLATES / f"report.{name}").read_text(encoding="utf-8"))  # noqa: S704  our own file
    return environment


def _policy(script: str) -> str:
    """A content policy that lets this script run and nothing be loaded."""
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return (
        f"default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{digest}'; base-uri 'none'; "
        "form-action 'none'"
    )


def _listed(names: Sequence[str]) -> str:
    """A few names as they are, many as their number and the ends."""
    if len(names) <= MOST_NAMES:
        return ", ".join(names)
    return f"{len(names)} from {names[0]} to {names[-1]}"


def _tight(text: str) -> str:
    """An interval that is never broken inside its brackets."""
    return text.replace(", ", ",\N{NO-BREAK SPACE}")


def _cell(text: object) -> str:
    """Text that stays text in Markdown and cannot break out of a table."""
    line = " ".join(str(text).replace("&", "&amp;").replace("<", "&lt;").split())
    return MARKDOWN.sub(r"\\\1", line)
