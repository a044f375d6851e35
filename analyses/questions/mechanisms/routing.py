"""Routing: does the choice of experts concentrate where inputs are shifted?

From the rows that the control ``routing`` writes at sites ``router_logits``, group by group: how even the loads of the
experts are (``load_evenness``: 1 when all get as many tokens, 1/E when one gets all), how certain the router is
(``router_entropy``), and over how many of the experts a token's weight is spread (``expert_density``). Groups are
compared with those of the reference, each with the interval that resampled prompts give; that two intervals do not
overlap is a cautious sign that they differ. Loads depend on the number of tokens: compare groups of equal size.
"""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import groupby
from typing import Final

import numpy as np

from analyses.data.runs import Run, facts
from analyses.data.sets import SetValue, read_sets
from analyses.findings.formatting import number, shown, with_interval
from analyses.findings.record import Effect, Finding, Mark, Plot, Scope
from analyses.findings.registry import analysis
from analyses.statistics.resampling import Estimate
from probes.vocabulary import names

QUESTION: Final = "Does the choice of experts concentrate where inputs are shifted?"
MEASURES: Final = ("load_evenness", "router_entropy", "expert_density")
WORDS: Final = {
    "load_evenness": "evenness of the experts' loads",
    "router_entropy": "entropy of the router (nats)",
    "expert_density": "share of the experts that a token uses",
}
NO_INTERVAL: Final = (math.nan, math.nan)


@analysis(QUESTION, order=9, title="Routing", counted="tokens")
def routing(run: Run) -> list[Finding]:
    """Answer for every model, suite and position with routers; evenness of loads at the last router is stated first."""
    references = _references(run)

    def key(value: SetValue) -> tuple[str, str, str, int]:
        return value.model, value.suite, value.position, MEASURES.index(value.metric)

    found = sorted(read_sets(run, MEASURES, (names.ROUTING,)), key=key)
    return [_finding([*own], references) for _, own in groupby(found, key)]


def _references(run: Run) -> set[str]:
    """The groups that others are compared with, as the controls of each run remember them."""
    told = [facts(str(row.spec_json)).get("controls", {}).get("reference", []) for row in run.runs().itertuples()]
    return {str(group) for own in told for group in own}


def _finding(own: list[SetValue], references: set[str]) -> Finding:
    """One measure through the routers, a line per group; the estimate is about the last router."""
    last = max(value.layer for value in own)
    there = [value for value in own if value.layer == last]
    metric = WORDS[there[0].metric]
    inside = [value for value in there if value.key in references]
    others = [value for value in there if value not in inside]
    marks = tuple(
        Mark(shown(value.group), value.place, float(value.layer), *value.estimate)
        for value in sorted(own, key=lambda value: value.layer)
    )
    finding = Finding(
        analysis="routing",
        question=QUESTION,
        scope=Scope(
            model=there[0].model,
            suite=there[0].suite,
            site=there[0].site,
            layer=last,
            position=there[0].position,
            metric=there[0].metric,
        ),
        primary=there[0].metric == MEASURES[0],
        unit=f"{metric}, shifted less reference",
        n=sum(value.n for value in there),
        n_clusters=sum(value.n for value in there),
        text="",
        plot=Plot("curve", "router, in the order of a forward pass", metric, marks),
    )
    if not inside or not others:
        return replace(finding, text=f"{_listed(metric, there)}; there is no reference to compare with.")
    change = _change(inside, others)
    effects = tuple(Effect(f"{metric}, {shown(one.group)}", one.estimate.value, one.estimate[1:]) for one in there)
    interval = (change.low, change.high)
    finding = replace(finding, estimate=change.value, interval=interval, effects=effects, verdict="described")
    if not change.low > 0 and not change.high < 0:
        words = f"No significant change of the {metric} at {there[0].place} from the reference to the other groups"
        return replace(finding, verdict="undecided", text=f"{words} ({with_interval(change.value, interval)}).")
    verb = "falls" if change.value < 0 else "rises"
    claim = "Routing concentrates where inputs are shifted: the" if _concentrates(there[0].metric, change) else "The"
    beside = f"{number(_mean(inside).value)} in the reference, {number(_mean(others).value)} elsewhere"
    text = f"{claim} {metric} at {there[0].place} {verb} by {with_interval(change.value, interval)} ({beside})."
    return replace(finding, text=text)


def _concentrates(metric: str, change: Estimate) -> bool:
    return metric == MEASURES[0] and change.value < 0


def _listed(metric: str, values: list[SetValue]) -> str:
    listed = ", ".join(f"{number(value.estimate.value)} at {shown(value.group)}" for value in values)
    return f"{metric[:1].upper() + metric[1:]} at {values[0].place}: {listed}"


def _mean(values: list[SetValue]) -> Estimate:
    """Mean over groups; its interval adds half-widths as those of independent groups."""
    middle = float(np.mean([value.estimate.value for value in values]))
    low, high = (
        math.hypot(*(abs(value.estimate[side] - value.estimate.value) for value in values)) / len(values)
        for side in (1, 2)
    )
    return Estimate(middle, middle - low, middle + high)


def _change(inside: list[SetValue], others: list[SetValue]) -> Estimate:
    """Difference of two means over groups; groups have no prompt in common, so half-widths add in squares."""
    one, other = _mean(inside), _mean(others)
    value = other.value - one.value
    low = math.hypot(other.value - other.low, one.high - one.value)
    high = math.hypot(other.high - other.value, one.value - one.low)
    return Estimate(value, value - low, value + high)
