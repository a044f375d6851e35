"""Readout: the change at the final norm with the unembedding rows that read it projected out.

A state that lies along one row of the unembedding takes over that row's own shape: if the row is sparse or dense, so is
the state, and more so the surer the answer. So the effect is measured again with the answer's row projected out of
every state (primary: how much of it that removes, Hoyer at the final norm), and adjusted for the alignment itself,
which is a mediator: it is read off the output.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final, NamedTuple

import numpy as np

from analyses.data.panels import Column, Panel, read_panels
from analyses.data.runs import Run
from analyses.findings.contrast import (
    Comparison,
    associate_with,
    at,
    comparisons,
    effect,
    effect_given,
    effect_lost,
    fresh,
    judge,
    length_control,
    overall,
    share_lost,
)
from analyses.findings.formatting import level_name, percent, shown, with_interval
from analyses.findings.panel import scope_of
from analyses.findings.record import Control, Effect, Finding, Mark, Plot, Scope, Verdict
from analyses.findings.registry import analysis
from analyses.findings.training_pairs import cited
from analyses.statistics.association import associate_items
from analyses.statistics.trend import RESAMPLES
from probes.vocabulary import names
from probes.vocabulary.axes import AXIS_KINDS

QUESTION: Final = "Is the change at the final norm alignment with the unembedding rows that read it?"
ROWS: Final = {names.WITHOUT_ANSWER_ROW: "the answer's row", names.WITHOUT_ARGMAX_ROW: "the top token's row"}
ALIGNMENTS: Final = (names.ANSWER_ALIGNMENT, names.ARGMAX_ALIGNMENT, names.TOP10_ALIGNMENT, names.NULL_SHARE)
SITE: Final = "final_norm"
METRIC: Final = "hoyer"


class Projected(NamedTuple):
    """The states of a panel at the final norm, as they are and with one row projected out, for the same items."""

    panel: Panel
    basis: str
    raw: Column


@analysis(QUESTION, order=9)
def readout(run: Run) -> list[Finding]:
    """Answer from every suite whose sweep has controls at the final norm."""
    findings: list[Finding] = []
    panels = read_panels(run, AXIS_KINDS)
    for panel in panels:
        own = [finding for basis in ROWS for finding in _answers(run, panel, basis)]
        # the answer's row was stated first; where the suite has no answers, the top token's
        own = [replace(finding, primary=index == 0) for index, finding in enumerate(own)]
        findings += [cited(finding) if finding.primary else finding for finding in own]
    if panels and not findings:
        findings.append(_not_answered(panels[0]))
    return findings


def _not_answered(panel: Panel) -> Finding:
    text = (
        "Not answered: the sweep holds no states with unembedding rows projected out; "
        "sweep with `controls: default` and the site final_norm."
    )
    scope = Scope(model=panel.model, suite=panel.suite, axis=panel.axis.name)
    return Finding(analysis="readout", question=QUESTION, scope=scope, primary=True, text=text)


def projected(run: Run, panel: Panel, basis: str) -> list[Projected]:
    """The panel's items that were also measured with a row projected out, one entry per position."""
    matching = (
        other
        for other in read_panels(run, [panel.axis.kind], basis)
        if (other.model, other.suites) == (panel.model, panel.suites)
    )
    other = next(matching, None)
    if other is None:
        return []
    found: list[Projected] = []
    for column in other.columns:
        index = panel.find(column)
        if column.metric != METRIC or index is None:
            continue
        raw = panel.of_items(other.items.index)
        both = np.column_stack(
            [raw.values[:, index], other.of_items(raw.items.index).values[:, other.find(column) or 0]]
        )
        known = np.flatnonzero(np.isfinite(both).all(axis=1))
        merged = Panel(
            model=raw.model,
            suites=raw.suites,
            axis=raw.axis,
            items=raw.items.iloc[known],
            columns=(raw.columns[index], column),
            values=both[known],
            widths=np.repeat(raw.widths[index], 2),
        )
        found.append(Projected(merged, basis, raw.columns[index]))
    return found


def _answers(run: Run, panel: Panel, basis: str) -> list[Finding]:
    findings: list[Finding] = []
    for states in projected(run, panel, basis):
        whole = overall(states.panel)
        if whole is None:
            continue
        findings.append(_finding(states, whole))
        if whole.is_contrast:
            findings += [_finding(states, one) for one in comparisons(states.panel) if one.group != whole.group]
    return findings


def _finding(states: Projected, one: Comparison) -> Finding:
    panel = states.panel
    association = associate_with(panel, one, [0, 1], resamples=RESAMPLES)
    both = effect(association, one)
    (value, bounds), (left, left_bounds) = at(both, 0), at(both, 1)
    lost, lost_bounds = at(effect_lost(association, one, before=0, after=1), 0)
    adjusted = length_control(panel, one, [0, 1])
    share = share_lost(association, one, before=0, after=1)
    mediated = _mediated(panel, one, states.raw.position)
    controls = (
        *([adjusted] if adjusted else []),
        Control(states.basis, "basis", left, left_bounds, float("nan")),
        *(m.control for m in mediated),
    )
    marks = [
        Mark("as measured", "as measured", float("nan"), value, *bounds),
        Mark("another basis", f"{ROWS[states.basis]} projected out", float("nan"), left, *left_bounds),
        *(
            Mark(
                "adjusted for, read off the output",
                m.control.name,
                float("nan"),
                m.control.estimate,
                *m.control.interval,
            )
            for m in mediated
        ),
    ]
    whole_effect = judge(bounds)
    verdict: Verdict = "undecided" if whole_effect == "undecided" else judge(lost_bounds)
    scope = scope_of(panel, 0, one.group)
    return Finding(
        analysis="readout",
        question=QUESTION,
        scope=scope,
        estimate=lost,
        unit=f"{one.quantity} removed by projecting out {ROWS[states.basis]}",
        quantity=one.quantity,
        interval=lost_bounds,
        n=int(one.rows.sum()),
        n_clusters=len(np.unique(panel.clusters[one.rows])),
        controls=controls,
        effects=(
            Effect("as measured", value, bounds),
            Effect("share of the effect that is lost", *share),
            *(
                Effect(f"{m.control.name} itself, positive = larger where {one.farther}", m.change, m.change_interval)
                for m in mediated
            ),
            *_row_shape(panel, one, states),
        ),
        verdict=verdict,
        text=_sentence(
            one, states, verdict, (value, bounds), (left, left_bounds), (lost, lost_bounds), share, adjusted, mediated
        ),
        plot=Plot("forest", one.unit, "", tuple(marks), 0.0),
    )


class _Mediated(NamedTuple):
    """The effect given one reading of the output, and how that reading itself changes along the comparison."""

    control: Control
    change: float
    change_interval: tuple[float, float]


def _mediated(panel: Panel, one: Comparison, position: str) -> list[_Mediated]:
    prefix = names.MEAN if position == "mean" else ""
    found: list[_Mediated] = []
    for name in ALIGNMENTS:
        values = panel.outcome(prefix + name)
        if values is None or np.isfinite(values[one.rows]).mean() < 0.5 or np.nanstd(values[one.rows]) == 0:
            continue
        given = associate_with(panel, one, [0], values[:, None], resamples=RESAMPLES)
        rows = one.rows
        within = one.design == "paired" and not one.is_contrast
        own = associate_items(
            values[rows, None],
            one.score[rows, None],
            panel.clusters[rows],
            within=within,
            resamples=RESAMPLES,
            rng=fresh(),
        )
        control = Control(
            prefix + name, "mediator", *at(effect_given(given, one, 1), 0), float(given.correlation(1).value[0])
        )
        found.append(_Mediated(control, *at(effect(own, one), 0)))
    return found


def _row_shape(panel: Panel, one: Comparison, states: Projected) -> list[Effect]:
    """Mean Hoyer of the rows themselves at the near and the far end, which a state along them takes over."""
    prefix = names.MEAN if states.raw.position == "mean" else ""
    name = names.ANSWER_ROW_HOYER if states.basis == names.WITHOUT_ANSWER_ROW else names.ARGMAX_ROW_HOYER
    values = panel.outcome(prefix + name)
    if values is None:
        return []
    score = one.score[one.rows]
    own = values[one.rows]
    ends = ((one.near, score == score.min()), (one.far, score == score.max()))
    nothing = (float("nan"), float("nan"))
    return [
        Effect(f"mean Hoyer of {ROWS[states.basis]}, {shown(end)}", float(np.nanmean(own[mask])), nothing)
        for end, mask in ends
        if np.isfinite(own[mask]).any()
    ]


Numbers = tuple[float, tuple[float, float]]


def _sentence(
    one: Comparison,
    states: Projected,
    verdict: Verdict,
    whole: Numbers,
    left: Numbers,
    lost: Numbers,
    shared: Numbers,
    adjusted: Control | None,
    mediated: list[_Mediated],
) -> str:
    row = ROWS[states.basis]
    unit = one.quantity
    axis = "" if one.is_contrast else states.panel.axis.name
    ends = f"{level_name(one.far, axis)} beside {level_name(one.near, axis)}"
    claims = {
        "supported": f"Part of the change at final_norm is alignment with {row}",
        "contradicted": f"The change at final_norm is not alignment with {row}: it grows without it",
        "undecided": f"Undecided whether the change at final_norm is alignment with {row}",
    }
    share = f" ({percent(*shared)} of the change)" if verdict == "supported" and np.isfinite(shared[1]).all() else ""
    beside = f" ({with_interval(adjusted.estimate, adjusted.interval)} adjusted for length)" if adjusted else ""
    wanted = names.ANSWER_ALIGNMENT if states.basis == names.WITHOUT_ANSWER_ROW else names.ARGMAX_ALIGNMENT
    first = next((m for m in mediated if m.control.name.endswith(wanted)), None)
    given = (
        f" Adjusting for {first.control.name} leaves {with_interval(first.control.estimate, first.control.interval)}."
        if first
        else ""
    )
    return (
        f"{claims[verdict]}: the {unit} of hoyer, {ends}, is {with_interval(*whole)}, and {with_interval(*left)} after "
        f"projecting out {row}. That removes {with_interval(*lost)}{share}{beside}.{given}"
    )
