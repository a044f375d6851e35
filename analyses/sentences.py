"""Findings in words. Every sentence is made from the fields of one finding and says no more than its verdict allows."""

from __future__ import annotations

import math
from pathlib import PurePath
from typing import Final

from analyses.chance import sparser
from analyses.finding import ALPHA, LENGTH, Finding, Level, Null

PARTIAL: Final = "partial slope of ranks "
PLUS_MINUS: Final = "\N{PLUS-MINUS SIGN}"
TREND_CLAIMS: Final = {
    "supported": "Sparser where {far}",
    "contradicted": "Denser where {far}",
    "undecided": "Undecided whether sparser where {far}",
    "described": "Described, not decided",
}
CONTRAST_CLAIMS: Final = {
    "supported": "{group} is sparser than {inside}",
    "contradicted": "{group} is denser than {inside}",
    "undecided": "Undecided whether {group} differs from {inside}",
    "described": "{group} beside {inside}",
}
FARTHER_CLAIMS: Final = {
    "supported": "Shifted domains are sparser",
    "contradicted": "Shifted domains are denser",
    "undecided": "Undecided whether shifted domains are sparser in general",
    "described": "Shifted domains beside {inside}",
}


def shown(name: str, most: int = 40) -> str:
    r"""A name from a stranger's file, fit for one line: no control characters, not too long.

    >>> shown("a" * 50, 8) == "aaa\N{HORIZONTAL ELLIPSIS}aaaa", shown("a\tb")
    (True, 'a b')
    """
    line = "".join(character if character.isprintable() else " " for character in name)
    half = (most - 1) // 2
    return line if len(line) <= most else f"{line[:half]}\N{HORIZONTAL ELLIPSIS}{line[-(most - 1 - half) :]}"


def short_model(name: str) -> str:
    """A model's name without the folders it lies in.

    >>> short_model("/data/models/stories260K"), short_model("EleutherAI/pythia-70m")
    ('stories260K', 'EleutherAI/pythia-70m')
    """
    return PurePath(name).name if name.startswith(("/", ".", "~")) else name


def number(value: float) -> str:
    r"""Three decimals below ten, else three digits; a dash for what is not there.

    >>> number(0.2201), number(123.4), number(float("nan")) == "\N{EN DASH}"
    ('0.220', '123', True)
    """
    if not math.isfinite(value):
        return "\N{EN DASH}"
    return (f"{value:.3f}" if abs(value) < 10 else f"{value:.3g}").replace("-", "\N{MINUS SIGN}")


def signed(value: float) -> str:
    r"""An effect with its sign, two decimals; a third where two would show nothing.

    >>> signed(0.6213), signed(0.0041), signed(-0.5) == "\N{MINUS SIGN}0.50"
    ('+0.62', '+0.004', True)
    """
    if not math.isfinite(value):
        return "\N{EN DASH}"
    digits = 3 if 0 < abs(value) < 0.005 else 2
    return f"{value:+.{digits}f}".replace("-", "\N{MINUS SIGN}")


def with_interval(value: float, interval: tuple[float, float]) -> str:
    """An effect and its 95 % interval, where it has one.

    >>> with_interval(0.62, (0.55, 0.68)), with_interval(0.62, (float("nan"), float("nan")))
    ('+0.62 [+0.55, +0.68]', '+0.62')
    """
    low, high = interval
    if math.isnan(low) and math.isnan(high):
        return signed(value)
    return f"{signed(value)} [{signed(low)}, {signed(high)}]"


def percent(value: float, interval: tuple[float, float]) -> str:
    """A share with its interval.

    >>> percent(0.81, (0.78, 0.84))
    '81 % [78, 84]'
    """
    if not math.isfinite(interval[0]):
        return f"{100 * value:.0f} %"
    low, high = interval
    return f"{100 * value:.0f} % [{100 * low:.0f}, {100 * high:.0f}]".replace("-", "\N{MINUS SIGN}")


def excess(value: float) -> str:
    """A difference from chance with its sign, in the unit of the measure.

    >>> excess(0.0213)
    '+0.021'
    """
    return f"{value:+.3f}".replace("-", "\N{MINUS SIGN}") if math.isfinite(value) else "\N{EN DASH}"


def p_value(p: float) -> str:
    """A p-value with two digits, never zero.

    >>> p_value(0.0312), p_value(1e-9)
    ('0.031', '< 0.0001')
    """
    if not math.isfinite(p):
        return "\N{EN DASH}"
    return "< 0.0001" if p < 1e-4 else f"{p:.2g}"


def trend_sentence(finding: Finding, far: str) -> str:
    """What one measure at one place does along an ordered axis; the finding's levels run towards the far end."""
    scope = finding.scope
    axis, near_end, far_end = shown(scope.axis), finding.levels[0], finding.levels[-1]
    claim = TREND_CLAIMS[finding.verdict].format(far=far)
    if sparser(scope.metric) is None:
        claim = "Size, which says nothing of sparsity"
    return (
        f"{claim}: {scope.metric} at {scope.place} goes from {number(near_end.mean)} ({axis} {shown(near_end.name)}) "
        f"to {number(far_end.mean)} ({axis} {shown(far_end.name)}), rank correlation "
        f"{with_interval(finding.estimate, finding.interval)}{length_twin(finding)} over {_items(finding)}"
        f"{_among(finding)}{_power(finding)}{_chance(finding.null, near_end, far_end)}."
    )


def length_twin(finding: Finding, called: str = "") -> str:
    """The same estimate with the number of tokens held fixed, which no correlation goes without; else nothing.

    Args:
        finding: its first control of that name is the twin.
        called: what the twin is, where it is no longer what the finding's estimate is.
    """
    twin = next((control for control in finding.controls if control.name == LENGTH), None)
    if twin is None:
        return ""
    if not math.isfinite(twin.estimate):
        return f" (not separable from {LENGTH}, which follows it)"
    return f" ({called}{with_interval(twin.estimate, twin.interval)} with {LENGTH} held fixed)"


def contrast_sentence(finding: Finding) -> str:
    """How one shifted domain differs from the in-distribution items in one measure at one place."""
    scope = finding.scope
    inside, shifted = finding.levels[0], finding.levels[-1]
    group, reference = shown(scope.group), shown(inside.name)
    claim = CONTRAST_CLAIMS[finding.verdict].format(group=group, inside=reference)
    return (
        f"{claim}: {scope.metric} at {scope.place} is {number(inside.mean)} on {reference} and "
        f"{number(shifted.mean)} on {group}, Cliff's delta {with_interval(finding.estimate, finding.interval)}"
        f"{length_twin(finding, PARTIAL)} over {_items(finding)}{_among(finding)}{_power(finding)}"
        f"{_chance(finding.null, inside, shifted)}."
    )


def farther_sentence(finding: Finding) -> str:
    """What all shifted domains together say, and whether that is enough for a general claim."""
    scope = finding.scope
    n_domains = finding.n_clusters
    shifted = [level for level in finding.levels if level.shifted]
    inside = next(level for level in finding.levels if not level.shifted)
    lower, higher = min(shifted, key=_mean), max(shifted, key=_mean)
    span = f"{number(lower.mean)} ({shown(lower.name)})"
    if len(shifted) > 1:
        span = f"from {span} to {number(higher.mean)} ({shown(higher.name)})"
    claim = FARTHER_CLAIMS[finding.verdict].format(inside=shown(inside.name))
    few = " Described, not decided: {n} too few for a general claim." if finding.verdict == "described" else ""
    if sparser(scope.metric) is None:
        claim = "Size, which says nothing of sparsity"
    interval = with_interval(finding.estimate, finding.interval) if n_domains > 1 else signed(finding.estimate)
    twin = length_twin(finding, PARTIAL)
    domains = "1 shifted domain" if len(shifted) == 1 else f"{len(shifted)} shifted domains"
    if n_domains != len(shifted):
        domains += f" ({n_domains} independent: those made from the same texts count once)"
    return (
        f"{claim}: {scope.metric} at {scope.place} is {number(inside.mean)} on {shown(inside.name)} and {span} on "
        f"{domains}, mean Cliff's delta {interval}{twin}{_chance(finding.null, inside, higher)}."
        f"{few.format(n='1 independent domain is' if n_domains == 1 else f'{n_domains} independent domains are')}"
    )


def _mean(level: Level) -> float:
    return level.mean if math.isfinite(level.mean) else math.inf


def _items(finding: Finding) -> str:
    sources = "" if finding.n_clusters == finding.n else f" from {finding.n_clusters:,} sources"
    return f"{finding.n:,} items{sources}"


def _among(finding: Finding) -> str:
    """How likely as large an effect is somewhere among all places and measures, where that is not rare."""
    test = finding.test
    if finding.primary or test is None or finding.verdict not in {"supported", "contradicted"}:
        return ""
    if not test.p_family >= ALPHA:
        return ""
    return f", one of many (by chance as large somewhere in {test.p_family:.0%} of runs)"


def _power(finding: Finding) -> str:
    """What an undecided finding excludes, or could have found; "no effect" only inside a declared bound."""
    if finding.verdict != "undecided":
        return ""
    if finding.bound is not None and finding.bound.verdict == "negligible":
        return f", no effect beyond {signed(finding.bound.bound).replace('+', PLUS_MINUS)} (noise floor)"
    if math.isfinite(finding.detectable):
        return f", where {signed(finding.detectable).replace('+', PLUS_MINUS)} would be found four times in five"
    return ""


def _chance(null: Null | None, *ends: Level) -> str:
    if null is None:
        return ""
    sides = {level: side_of_chance(null, level) for level in ends}
    if len(sides) > 1 and len(set(sides.values())) == 1:
        return f"; chance is {number(null.value)}, both are {sides[ends[0]]}"
    said = [f"{shown(level.name)} is {side}" for level, side in sides.items()]
    return f"; chance is {number(null.value)}, {' and '.join(said)}"


def side_of_chance(null: Null, level: Level) -> str:
    """On which side of chance a level's mean lies, by its interval.

    >>> null = Null("gaussian", 0.22, 0.03, 0.0, (0.0, 0.0), "higher", "at chance")
    >>> side_of_chance(null, Level("0", 0.0, False, 9, 0.19, 0.18, 0.20))
    'denser than that'
    """
    if level.low > null.value:
        above = True
    elif level.high < null.value:
        above = False
    else:
        return "not told from it"
    return "sparser than that" if above == (null.sparser == "higher") else "denser than that"
