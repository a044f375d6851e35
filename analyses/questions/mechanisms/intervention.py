"""Intervention: change of the output when the coordinates that account for a change of sparsity are pinned.

A coordinate that accounts for most of a change of Hoyer by substitution may mean nothing to the model. Here it is
pinned to its mean in the reference group, and what counts is the change of the output's entropy and loss in excess of
an equally large random perturbation (primary: entropy, norm recomputed, the fewest coordinates, all groups outside the
reference together). A claim takes a change to begin with: where mean Hoyer does not change significantly at that site,
or the pinned coordinates account for no significant share of the change, nothing is claimed.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

import numpy as np
from jaxtyping import Bool

from analyses.data.panels import Panel, read_panels
from analyses.data.pinning import ENTROPY, LOSS, NORMS, Pinned, pinned, pinned_sites
from analyses.data.runs import Run
from analyses.data.substitution import Substitution, read_substitutions
from analyses.findings.contrast import ALL_SHIFTED, comparisons, fresh
from analyses.findings.formatting import number, shown, with_interval
from analyses.findings.record import Control, Effect, Finding, Mark, Plot, Scope, Verdict
from analyses.findings.registry import analysis
from probes.vocabulary.axes import AXIS_KINDS

QUESTION: Final = "Does the output depend on the coordinates that account for the change?"
RANDOM: Final = "random perturbation"
WORDS: Final = {ENTROPY: "entropy", LOSS: "nll"}


@analysis(QUESTION, order=10)
def intervention(run: Run) -> list[Finding]:
    """Answer from every suite whose sweep pinned coordinates."""
    findings: list[Finding] = []
    panels = read_panels(run, AXIS_KINDS)
    for panel in panels:
        findings += _panel_findings(panel, read_substitutions(run))
    if panels and not findings:
        first = panels[0]
        text = "Not answered: nothing was pinned; sweep with `controls: default` and a residual site."
        scope = Scope(model=first.model, suite=first.suite, axis=first.axis.name)
        findings.append(Finding(analysis="intervention", question=QUESTION, scope=scope, primary=True, text=text))
    return findings


def _panel_findings(panel: Panel, substitutions: list[Substitution]) -> list[Finding]:
    findings: list[Finding] = []
    own = [entry for entry in substitutions if entry.model == panel.model and entry.suite in panel.suites]
    groups = pinned_groups(panel)
    for site, m, prefix in pinned_sites(panel):
        for name, rows in groups:
            found = pinned(panel, rows, site, m, prefix, fresh())
            if found is not None and (ENTROPY, "recomputed") in found.cells:
                at_site = [entry for entry in own if entry.place == site and entry.position == position_of(prefix)]
                of_group = [entry for entry in at_site if name in (ALL_SHIFTED, entry.group)]
                findings.append(_finding(panel, name, found, of_group, primary=not findings))
    return findings


def position_of(prefix: str) -> str:
    """Position of the outcomes with this prefix."""
    return "mean" if prefix else "last"


def explained(found: Pinned, substitutions: Sequence[Substitution]) -> list[Substitution]:
    """The changes that there are to explain and of which the pinned coordinates account for a significant share."""
    return [
        entry for entry in substitutions if entry.has_change and found.m in entry.curve and entry.curve[found.m].low > 0
    ]


def pinned_groups(panel: Panel) -> list[tuple[str, Bool[np.ndarray, " items"]]]:
    """Groups of items away from the reference: all together first, then each shifted domain or the far end."""
    found = comparisons(panel)
    if not found:
        return []
    if found[0].is_contrast:
        groups = [(one.group, one.rows & (one.score == 1)) for one in found]
        everything = np.logical_or.reduce([rows for _, rows in groups])
        return [(ALL_SHIFTED, everything), *groups] if len(groups) > 1 else groups
    (one,) = found
    if panel.shifted.any():
        return [(one.far, panel.shifted & one.rows)]
    return [(one.far, one.rows & (one.score == one.score[one.rows].max()))]


def _finding(panel: Panel, group: str, found: Pinned, substitutions: list[Substitution], *, primary: bool) -> Finding:
    main = found.cells[ENTROPY, "recomputed"]
    marks: list[Mark] = []
    effects: list[Effect] = []
    for (outcome, norm), cell in found.cells.items():
        heading = f"{WORDS[outcome]}, norm {norm}"
        marks += [
            Mark(heading, name, float("nan"), *change) for name, change in (("pinned", cell.pin), (RANDOM, cell.random))
        ]
        effects += [
            Effect(f"{heading}, pinned", cell.pin.value, cell.pin.interval),
            Effect(f"{heading}, {RANDOM}", cell.random.value, cell.random.interval),
        ]
    depends = bool(main.beyond.sign and explained(found, substitutions))
    verdict: Verdict = "supported" if depends and primary else "described" if not primary else "undecided"
    site, _, layer = found.site.rpartition(".")
    return Finding(
        analysis="intervention",
        question=QUESTION,
        scope=Scope(
            model=panel.model,
            suite=panel.suite,
            axis=panel.axis.name,
            site=site if layer.isdigit() else found.site,
            layer=int(layer) if layer.isdigit() else None,
            position=position_of(found.prefix),
            metric=found.prefix + ENTROPY,
            group=group,
        ),
        primary=primary,
        estimate=main.beyond.value,
        unit="change of entropy by pinning, norm recomputed, less that by an equally large random perturbation (nats)",
        quantity="change of entropy",
        interval=main.beyond.interval,
        n=found.n,
        n_clusters=found.n_clusters,
        controls=(
            Control("pinned", "intervention", main.pin.value, main.pin.interval, float("nan")),
            Control(RANDOM, "intervention", main.random.value, main.random.interval, float("nan")),
        ),
        effects=tuple(effects),
        verdict=verdict,
        text=sentence(group if panel.axis.kind == "nominal" else f"{panel.axis.name} {group}", found, substitutions),
        plot=Plot("forest", "change against the clean pass (nats)", "", tuple(marks), 0.0),
    )


def sentence(group: str, found: Pinned, substitutions: Sequence[Substitution]) -> str:
    """The changes by pinning in numbers, and the pattern of their signs."""
    said: list[str] = []
    for norm in NORMS:
        cells = [
            (WORDS[outcome], found.cells[outcome, norm])
            for outcome in (ENTROPY, LOSS)
            if (outcome, norm) in found.cells
        ]
        moves = " and ".join(
            f"{word} {number(cell.clean)} \N{RIGHTWARDS ARROW} {number(cell.pinned)}" for word, cell in cells
        )
        if moves:
            said.append(f"{moves} with the norm {norm}")
    main = found.cells.get((ENTROPY, "recomputed"))
    beyond = ""
    if main:
        moved = with_interval(main.beyond.value, main.beyond.interval)
        beyond = f" That is {moved} nats of entropy in excess of an equally large random perturbation."
    ends = {
        "temperature": ", the pattern of an effective temperature",
        "something": "",
        "nothing told": ", which does not differ significantly from an equally large random perturbation",
    }
    return (
        f"{_no_claim(group, found, substitutions)}Pinning {coordinates(found, substitutions)} of {found.site} to the "
        f"reference mean on {shown(group)} gives {', '.join(said)}{ends[found.pattern]}.{beyond}"
    )


def coordinates(found: Pinned, substitutions: Sequence[Substitution]) -> str:
    """The pinned coordinates, the one with its number where it is known."""
    if found.m > 1:
        return f"the {found.m} top coordinates"
    known = list(dict.fromkeys(entry.top[0] for entry in substitutions if entry.top is not None))
    return f"coordinate {known[0]}" if len(known) == 1 else "the top coordinate"


def _no_claim(group: str, found: Pinned, substitutions: Sequence[Substitution]) -> str:
    """Reason that nothing is claimed; empty where the pinned coordinates account for a change."""
    if explained(found, substitutions):
        return ""
    known = [entry.change for entry in substitutions if math.isfinite(entry.change.value)]
    if not known:
        return "No claim: substitution at this site was not measured. "
    largest = max(known, key=lambda change: abs(change.value))
    change = with_interval(largest.value, (largest.low, largest.high))
    if not any(entry.has_change for entry in substitutions):
        return f"No claim: mean Hoyer on {shown(group)} does not change significantly at {found.site} ({change}). "
    return f"No claim: the pinned coordinates account for no significant share of the change at {found.site}. "
