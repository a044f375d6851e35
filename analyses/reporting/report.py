"""The report of a sweep: ask every question that its suites pose, arrange the findings, write the files."""

from __future__ import annotations

import json
import math
import re
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

import jinja2
from markupsafe import Markup

from analyses.finding import ANALYSES, QUESTIONS, Finding, analyse
from analyses.reporting.caveats import caveats
from analyses.reporting.headline import headline
from analyses.reporting.inventory import Inventory, short_model, take_inventory
from analyses.reporting.sections import Section, answer_picture, arrange
from analyses.sentences import excess, p_value, signed, with_interval
from analyses.statistics.trend import RESAMPLES
from analyses.tables import Run
from probes.records import open_run
from sparsity import METRICS, MetricSpec, UnknownNameError

# Control characters and marks that turn the direction of text: in a name they hide what it says.
INVISIBLE: Final = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
TEMPLATES: Final = Path(__file__).parent / "templates"


class Report(NamedTuple):
    """What was written: the page, and the findings it shows."""

    html: Path
    findings: tuple[Finding, ...]


def report(path: str | Path, out: str | Path | None = None) -> Report:
    """Write the report of a sweep directory.

    Beside the page lie ``report.md``, ``findings.json`` and ``figures/``. A sweep that cannot answer a question (one
    level, a measure undefined throughout) still gets its report, which says what is missing and why.

    Args:
        path: the sweep directory.
        out: the HTML file; by default ``report/report.html`` in the sweep directory.

    Returns:
        Path of the HTML file and the findings.

    Raises:
        InputError: if ``path`` is no sweep directory.
    """
    page = Path(out) if out is not None else Path(path) / "report" / "report.html"
    return write_report(open_run(path), page, directory=str(path), command=_command(path, out))


def write_report(run: Run, page: Path, *, directory: str, command: str) -> Report:
    """Write the report of tables that are already open."""
    figures = page.parent / "figures"
    figures.mkdir(parents=True, exist_ok=True)
    ANALYSES.load(QUESTIONS)
    findings = [finding for question in ANALYSES for finding in analyse(run, question, reproduce=command)]
    inventory = take_inventory(run)
    sections = arrange(findings, figures)
    content = {
        "name": Path(directory).resolve().name,
        "command": command,
        "headline": headline(findings),
        "answer_picture": answer_picture(sections),
        "sections": sections,
        "inventory": inventory,
        "caveats": caveats(findings, inventory),
        "metrics": metric_records(inventory),
        "n_findings": len(findings),
        "sweep_spec": shlex.quote(f"{directory}/sweep.yaml"),
        "sweep_out": shlex.quote(directory),
        "resamples": RESAMPLES,
    }
    environment = _environment()
    for template, file in (("report.html.j2", page), ("report.md.j2", page.parent / "report.md")):
        text = environment.get_template(template).render(content)
        file.write_text(INVISIBLE.sub("\N{REPLACEMENT CHARACTER}", text), encoding="utf-8")
    listed = [finding.to_json() for finding in findings]
    (page.parent / "findings.json").write_text(json.dumps(listed, indent=1, allow_nan=False), encoding="utf-8")
    return Report(page, tuple(findings))


def metric_records(inventory: Inventory) -> list[tuple[str, Any]]:
    """The records of the measures in a sweep, for the methods; one that this version does not know is left out."""
    found: list[tuple[str, Any]] = []
    for text in inventory.metrics:
        try:
            found.append((text, METRICS[MetricSpec.parse(text).name]))
        except (UnknownNameError, ValueError):
            continue
    return found


def _command(path: str | Path, out: str | Path | None) -> str:
    words = ["sparsity", "report", str(path)] + (["--out", str(out)] if out is not None else [])
    return shlex.join(words)


def _environment() -> jinja2.Environment:
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
        "p_value": p_value,
        "short_model": short_model,
        "drawing": Markup,
        "cell": _cell,
        "covariates": _covariates,
        "control": _control,
        "effects": _effects,
        "grouped": _grouped,
    }
    names: dict[str, Any] = environment.globals
    names["css"] = Markup((TEMPLATES / "report.css").read_text(encoding="utf-8"))  # noqa: S704  a file of this package
    return environment


def _cell(text: object) -> str:
    """Text that cannot break out of a Markdown table."""
    return " ".join(str(text).replace("|", "\\|").replace("<", "&lt;").replace("`", "'").split())


def _covariates(findings: Sequence[Finding]) -> list[tuple[str, str]]:
    """Names and roles of the covariates that any of these findings holds fixed, pre-treatment ones first."""
    found = dict.fromkeys((control.name, control.role) for finding in findings for control in finding.controls)
    return sorted(found, key=lambda entry: (entry[1] != "pre_treatment", entry[0] != "n_tokens"))


def _control(finding: Finding, name: str) -> str:
    found = next((control for control in finding.controls if control.name == name), None)
    return "\N{EN DASH}" if found is None else with_interval(found.estimate, found.interval)


def _effects(finding: Finding) -> list[str]:
    """Other effect sizes, with intervals where they have one."""
    return [
        with_interval(effect.estimate, effect.interval)
        if math.isfinite(effect.interval[0])
        else signed(effect.estimate)
        for effect in finding.effects
    ]


def _grouped(findings: Sequence[Finding], section: Section) -> list[tuple[str, list[Finding]]]:
    """Contrasts by place, the place of the section's lead first."""
    places: dict[str, list[Finding]] = {}
    for finding in findings:
        places.setdefault(finding.scope.place, []).append(finding)
    first = section.lead.scope.place if section.lead else ""
    return sorted(places.items(), key=lambda entry: entry[0] != first)
