"""Caveats that a skeptic must know, from the findings and the inventory alone."""

from __future__ import annotations

import math
from collections.abc import Sequence

from analyses.findings.formatting import shown
from analyses.findings.record import FEWEST_TO_GENERALISE, Finding, Role
from analyses.reporting.inventory import Inventory
from analyses.statistics.resampling import FEW_CLUSTERS


def caveats(findings: Sequence[Finding], inventory: Inventory) -> list[str]:
    """Sentences in the order in which a reviewer would ask."""
    answered = [finding for finding in findings if finding.answered]
    said = [*_generality(answered, inventory), *_length(answered, inventory), *_output(answered)]
    said += [*_chance(answered), *_multiplicity(answered), *_few(answered), *_missing(inventory)]
    return said


def caveats_of(findings: Sequence[Finding], lead: Finding | None) -> list[str]:
    """Caveats of one answer; what holds for all of them is said once, at the end of the page."""
    about = [lead] if lead is not None else list(findings)
    said: list[str] = []
    few = [finding for finding in about if finding.generalises_over == "domains" and finding.verdict == "described"]
    said += [_few_domains(finding) for finding in few[:1]]
    if chosen := [finding.scope.place for finding in about if finding.selected and finding.primary]:
        said.append(
            f"The data chose {_joined(list(dict.fromkeys(chosen)))}: that site and layer were not stated before "
            "looking, and the estimate is of items that did not choose them."
        )
    if any(_few_items(finding) for finding in about):
        said.append(f"Fewer than {FEW_CLUSTERS} independent items: intervals leave one out at a time and are wide.")
    if moved := _taking_away(about, "pre_treatment"):
        said.append(f"After adjusting for {_joined(moved)} the interval reaches zero.")
    if accounted := _taking_away(about, "mediator"):
        said.append(f"After adjusting for {_joined(accounted)} the interval no longer excludes zero.")
    return said


def _taking_away(findings: Sequence[Finding], role: Role) -> list[str]:
    """Covariates of a role with which an interval reaches zero that does not without them."""
    return [
        control.name
        for finding in findings
        for control in finding.controls
        if control.role == role and _crosses(control.interval) and not _crosses(finding.interval)
    ]


def _few_domains(finding: Finding) -> str:
    """Explain why a claim over domains (or suites) is descriptive only, and why there may be fewer than are listed."""
    n, shifted = finding.n_clusters, sum(level.shifted for level in finding.levels)
    what = "domains" if finding.levels else "suites"
    of = f" of {shifted} shifted ones: those made from the same items count once" if 0 < n < shifted else ""
    return f"{n} independent {what}{of}; a claim in general takes {FEWEST_TO_GENERALISE} and is described below that."


def _few_items(finding: Finding) -> bool:
    return finding.generalises_over == "items" and 0 < finding.n_clusters < FEW_CLUSTERS and _has_interval(finding)


def _has_interval(finding: Finding) -> bool:
    return not math.isnan(finding.interval[0])


def _crosses(interval: tuple[float, float]) -> bool:
    return interval[0] <= 0 <= interval[1]


def _generality(findings: Sequence[Finding], inventory: Inventory) -> list[str]:
    models = {row.model for row in inventory.runs}
    said: list[str] = []
    if any(finding.generalises_over != "seeds" for finding in findings):
        whom = "this model" if len(models) == 1 else "each of these models"
        said.append(
            f"Intervals and tests are over items: they generalise to more items like these, put to {whom}, and not "
            "to other models, seeds or templates."
        )
    if any(finding.generalises_over == "seeds" for finding in findings):
        said.append("Intervals over seeds generalise to other draws of the same training, and to no other task.")
    if any(finding.generalises_over == "domains" for finding in findings):
        said.append(
            "A contrast over items says that these corpora differ. That farther texts are sparser in general is a "
            f"claim over domains; with fewer than {FEWEST_TO_GENERALISE} of them it is described and not decided."
        )
    return said


def _length(findings: Sequence[Finding], inventory: Inventory) -> list[str]:
    if inventory.constant_length:
        return [f"Every prompt has {inventory.constant_length} tokens, so length explains nothing here."]
    controls = [control for finding in findings for control in finding.controls if control.name == "n_tokens"]
    if controls:
        return ["Each estimate stands beside the same one adjusted for length (partial ranks, number of tokens)."]
    return (
        ["No prompt lengths that vary are recorded, so nothing is adjusted for length."]
        if findings and inventory.runs
        else []
    )


def _output(findings: Sequence[Finding]) -> list[str]:
    names = {control.name for finding in findings for control in finding.controls if control.role == "mediator"}
    if not names:
        return []
    verb = "is a mediator" if len(names) == 1 else "are mediators"
    text = (
        f"{_joined(sorted(names))} {verb}, read off the model's output: an association that remains after "
        "adjusting is not accounted for by the output. This is no removal of a confounder."
    )
    return [text]


def _chance(findings: Sequence[Finding]) -> list[str]:
    if not any(finding.null for finding in findings):
        return []
    text = (
        "The Gaussian null is the expectation for an i.i.d. Gaussian vector of the same width (exact where a closed "
        "form is known). Differences between levels do not depend on it; whether a value is sparse at all does."
    )
    said = [text]
    if any(finding.scope.site.endswith("final_norm") for finding in findings):
        said.append(
            "final_norm is read after the norm's learned gain, which alone moves these measures; resid_post is read "
            "before it."
        )
    return said


def _multiplicity(findings: Sequence[Finding]) -> list[str]:
    primary = [finding for finding in findings if finding.primary]
    secondary = [finding for finding in findings if finding.test is not None and not finding.primary]
    if not secondary:
        return []
    text = (
        f"Stated before looking: {_by_place(primary, selected=False) or 'nothing'}. The other {len(secondary):,} "
        "tested findings are secondary; their p-values are adjusted by Benjamini-Hochberg within each question, over "
        "sites, layers, measures and groups together."
    )
    said = [text]
    if chosen := _by_place(primary, selected=True):
        said.append(f"Not stated before looking, because the data chose the site and layer: {chosen}.")
    return [*said, *_holm(primary)]


def _by_place(primary: Sequence[Finding], *, selected: bool) -> str:
    """Measures at sites, with the questions that read them there; of those that the data chose, or of the others."""
    by_place: dict[str, list[str]] = {}
    for finding in primary:
        if finding.scope.metric and finding.selected == selected and (finding.scope.place or not finding.scope.model):
            where = " at ".join(filter(None, (finding.scope.metric, finding.scope.place)))
            by_place.setdefault(where, []).append(finding.analysis)
    return "; ".join(f"{what} ({', '.join(dict.fromkeys(own))})" for what, own in by_place.items())


def _holm(primary: Sequence[Finding]) -> list[str]:
    """Name the pre-stated claims that were corrected together."""
    families: dict[str, dict[str, None]] = {}
    for finding in primary:
        if finding.test is not None and finding.test.correction:
            families.setdefault(finding.analysis, {})[shown(finding.scope.suite)] = None
    if not families:
        return []
    named = "; ".join(f"{question} over {_joined(list(suites))}" for question, suites in families.items())
    return [f"Pre-stated claims are corrected by Holm over the suites that each model was asked about: {named}."]


def _few(findings: Sequence[Finding]) -> list[str]:
    few = sum(_few_items(finding) for finding in findings)
    if not few:
        return []
    rest = "1 finding rests" if few == 1 else f"{few:,} findings rest"
    text = (
        f"{rest} on fewer than {FEW_CLUSTERS} independent items; "
        "such intervals leave one out at a time and use Student's t instead of the bootstrap."
    )
    return [text]


def _missing(inventory: Inventory) -> list[str]:
    said: list[str] = []
    failed = sum(row.n_failed for row in inventory.runs)
    truncated = sum(row.n_truncated for row in inventory.runs)
    undefined = sum(row.n_undefined_values for row in inventory.undefined)
    values = sum(row.n_values for row in inventory.undefined)
    if failed:
        said.append(f"{failed:,} items failed and are missing from every number; the reasons are listed below.")
    said += [f"Shorter than the spec asks and left out: {row.left_out}." for row in inventory.runs if row.left_out]
    said += [row.said for row in inventory.controls if row.left_out]
    if truncated:
        said.append(f"{truncated:,} prompts were cut to the length the spec allows.")
    if undefined:
        said.append(
            f"{undefined:,} of {values:,} values are undefined or not finite (an overflow of half precision, say); "
            "they are left out where they occur and counted by measure."
        )
    return said


def _joined(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
