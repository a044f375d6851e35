"""Intervention: does the output depend on the coordinates that carry the change?

A coordinate that carries most of a change of Hoyer by substitution may mean nothing to the model. Here it is pinned to
its mean in the reference group, and what counts is the change of the output's entropy and loss beyond an equally large
push elsewhere (primary: entropy, norm recomputed, the fewest coordinates, all groups outside the reference together).
Without it nothing is said to be carried by anything.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from jaxtyping import Bool

from analyses.comparison import ALL_SHIFTED, comparisons, fresh
from analyses.finding import Control, Effect, Finding, Mark, Plot, Scope, Verdict, analysis
from analyses.pinning import ENTROPY, LOSS, NORMS, Pinned, pinned, pinned_sites
from analyses.runs import Run
from analyses.sentences import number, shown, with_interval
from analyses.tables import Panel, read_panels

QUESTION: Final = "Does the output depend on the coordinates that carry the change?"
KINDS: Final = ("familiarity", "difficulty", "nominal", "length")
WORDS: Final = {ENTROPY: "entropy", LOSS: "nll"}


@analysis(QUESTION)
def intervention(run: Run) -> list[Finding]:
    """Answer from every suite whose sweep pinned coordinates."""
    findings: list[Finding] = []
    panels = read_panels(run, KINDS)
    for panel in panels:
        findings += _panel_findings(panel)
    if panels and not findings:
        first = panels[0]
        text = "Not answered: nothing was pinned; sweep with `controls: default` and a residual site."
        scope = Scope(model=first.model, suite=first.suite, axis=first.axis.name)
        findings.append(Finding(analysis="intervention", question=QUESTION, scope=scope, primary=True, text=text))
    return findings


def _panel_findings(panel: Panel) -> list[Finding]:
    findings: list[Finding] = []
    groups = pinned_groups(panel)
    for site, m, prefix in pinned_sites(panel):
        for name, rows in groups:
            found = pinned(panel, rows, site, m, prefix, fresh())
            if found is not None and (ENTROPY, "recomputed") in found.cells:
                findings.append(_finding(panel, name, found, primary=not findings))
    return findings


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


def _finding(panel: Panel, group: str, found: Pinned, *, primary: bool) -> Finding:
    main = found.cells[ENTROPY, "recomputed"]
    marks: list[Mark] = []
    effects: list[Effect] = []
    for (outcome, norm), cell in found.cells.items():
        heading = f"{WORDS[outcome]}, norm {norm}"
        marks += [
            Mark(heading, name, float("nan"), *change)
            for name, change in (("pinned", cell.pin), ("random push", cell.random))
        ]
        effects += [
            Effect(f"{heading}, pinned", cell.pin.value, cell.pin.interval),
            Effect(f"{heading}, random push", cell.random.value, cell.random.interval),
        ]
    verdict: Verdict = "supported" if main.beyond.sign else "undecided"
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
            position="mean" if found.prefix else "last",
            metric=found.prefix + ENTROPY,
            group=group,
        ),
        primary=primary,
        estimate=main.beyond.value,
        unit="change of entropy by pinning, norm recomputed, beyond an equal random push (nats)",
        interval=main.beyond.interval,
        n=found.n,
        n_clusters=found.n_clusters,
        controls=(
            Control("pinned", "intervention", main.pin.value, main.pin.interval, float("nan")),
            Control("random push", "intervention", main.random.value, main.random.interval, float("nan")),
        ),
        effects=tuple(effects),
        verdict=verdict,
        text=sentence(group, found),
        plot=Plot("forest", "change against the clean pass (nats)", "", tuple(marks), 0.0),
    )


def sentence(group: str, found: Pinned) -> str:
    """What pinning does, in numbers, and what the pattern of signs is called."""
    many = "the top coordinate" if found.m == 1 else f"the {found.m} top coordinates"
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
        beyond = f" Beyond an equally large random push entropy moves by {moved}."
    ends = {
        "temperature": ": an effective temperature",
        "something": "",
        "nothing told": ": not told from an equal random push",
    }
    return (
        f"Pinning {many} of {found.site} to the reference mean on {shown(group)} gives {', '.join(said)}"
        f"{ends[found.pattern]}.{beyond}"
    )
