"""A finding from a substitution: the share of a change of mean Hoyer that one unit accounts for.

Coordinates, heads and groups of experts are told in the same way: the share of the unit that was ranked first on other
items, how many units carry half, and which unit carries most when it alone is put into the reference. A share of a
change that is not there is not defined, so without a change nothing is named.
"""

from __future__ import annotations

import math
from typing import NamedTuple

from analyses.data.substitution import Substitution
from analyses.findings.formatting import level_name, percent, whole_numbers, with_interval
from analyses.findings.record import COUNT, Effect, Finding, Plot, Scope
from analyses.statistics.resampling import UNDEFINED, Estimate


class Unit(NamedTuple):
    """A kind of unit, in words."""

    one: str
    many: str


def substituted(
    found: Substitution, unit: Unit, *, analysis: str, question: str, plot: Plot | None, among: str = ""
) -> Finding:
    """Tell one substitution.

    Args:
        found: the substitution.
        unit: what was substituted.
        analysis: the question that tells it.
        question: its words.
        plot: its figure.
        among: among which changes this one is the largest, in brackets after it; empty where it was not chosen.
    """
    single = found.curve.get(1, UNDEFINED)
    effects = [Effect("change of mean hoyer", found.change.value, found.change.interval)]
    if found.has_change:
        effects.append(Effect(f"{unit.many} that account for half", found.k50.value, found.k50.interval, key=COUNT))
    if found.top is not None:
        number, share = found.top
        effects.append(Effect(f"{unit.one} {number} alone, put into the reference", share.value, share.interval))
    return Finding(
        analysis=analysis,
        question=question,
        scope=Scope(
            model=found.model,
            suite=found.suite,
            axis=found.axis,
            site=found.site,
            layer=found.layer,
            position=found.position,
            metric="hoyer",
            group=found.group,
        ),
        selected=True,
        estimate=single.value,
        unit=f"share of the change of mean Hoyer that one {unit.one} accounts for (ranked on other items)",
        quantity="share of the change",
        interval=single.interval,
        n=found.n,
        n_clusters=found.n,
        effects=tuple(effects),
        verdict="described" if found.has_change else "undecided",
        text=_sentence(found, unit, single, among),
        plot=plot,
    )


def _sentence(found: Substitution, unit: Unit, single: Estimate, among: str) -> str:
    change = f"{with_interval(found.change.value, found.change.interval)}{among}"
    group, where = level_name(found.group, found.axis), f"{found.place} ({found.position})"
    if not found.has_change:
        return (
            f"No significant change of mean Hoyer to {group} at {where}: {change}. Shares of it are not defined, and "
            f"no {unit.one} is named."
        )
    which = f"{unit.one} {found.top[0]}" if found.top else f"one {unit.one}"
    return (
        f"At {where} {which} accounts for {percent(single.value, single.interval)} of the change of mean Hoyer to "
        f"{group}, {change}, by substitution. Half of it needs {_needed(found, unit)}."
    )


def _needed(found: Substitution, unit: Unit) -> str:
    if math.isnan(found.k50.value):
        return f"more {unit.many} than were tried"
    return f"{whole_numbers(found.k50.value, found.k50.interval)} of {max(found.curve)} {unit.many}"
