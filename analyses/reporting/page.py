"""How findings are written on a page: the templates' environment and the words they are filled with.

HTML is escaped by the template engine; Markdown has no engine that does, so names get every mark spelled out that could
draw an image, make a link or break a table. A content policy in the page allows the one inline script by its hash and
nothing else, so that even markup that slipped through could not run or load anything.
"""

from __future__ import annotations

import base64
import hashlib
import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import jinja2
from markupsafe import Markup

from analyses.finding import Finding
from analyses.reporting.inventory import short_model
from analyses.reporting.sections import Section
from analyses.sentences import excess, number, p_value, shown, signed, with_interval

# Control characters and marks that turn the direction of text: in a name they hide what it says.
INVISIBLE: Final = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]")
MARKDOWN: Final = re.compile(r"([\\`*\[\]|!])")
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
        "with_interval": with_interval,
        "number": number,
        "shown": shown,
        "p_value": p_value,
        "short_model": short_model,
        "drawing": Markup,
        "cell": _cell,
        "covariates": _covariates,
        "control": _control,
        "effects": _effects,
        "grouped": _grouped,
        "where": _where,
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


def _cell(text: object) -> str:
    """Text that stays text in Markdown and cannot break out of a table."""
    line = " ".join(str(text).replace("&", "&amp;").replace("<", "&lt;").split())
    return MARKDOWN.sub(r"\\\1", line)


def _where(finding: Finding) -> str:
    """Place, and basis where it is not the raw one."""
    scope = finding.scope
    return scope.place if scope.basis in {"", "raw"} else f"{scope.place} ({scope.basis})"


def _covariates(findings: Sequence[Finding]) -> list[tuple[str, str]]:
    """Names and roles of the covariates that any of these findings holds fixed, pre-treatment ones first."""
    found = dict.fromkeys((control.name, control.role) for finding in findings for control in finding.controls)
    return sorted(found, key=lambda entry: (entry[1] != "pre_treatment", entry[0] != "n_tokens"))


def _control(finding: Finding, name: str) -> str:
    found = next((control for control in finding.controls if control.name == name), None)
    return "\N{EN DASH}" if found is None else with_interval(found.estimate, found.interval)


def _effects(finding: Finding, names: Sequence[str]) -> list[str]:
    """Other effect sizes under these headings, with intervals where they have one."""
    found = {effect.name: effect for effect in finding.effects}
    return [
        "\N{EN DASH}"
        if name not in found
        else with_interval(found[name].estimate, found[name].interval)
        if math.isfinite(found[name].interval[0])
        else signed(found[name].estimate)
        for name in names
    ]


def _grouped(findings: Sequence[Finding], section: Section) -> list[tuple[str, list[Finding]]]:
    """Contrasts by place and unit, the place of the section's lead first."""
    places: dict[tuple[str, str], list[Finding]] = {}
    for finding in findings:
        places.setdefault((finding.scope.place, finding.unit), []).append(finding)
    first = section.lead.scope.place if section.lead else ""
    return sorted(((place, own) for (place, _), own in places.items()), key=lambda entry: entry[0] != first)
