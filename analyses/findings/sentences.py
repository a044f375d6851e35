"""Findings in words. Every sentence is made from the fields of one finding and says no more than its verdict allows."""

from __future__ import annotations

import math
from typing import Final

from analyses.findings.formatting import number, p_value, shown, signed, with_interval
from analyses.findings.null import side_of, sparser
from analyses.findings.record import ALPHA, Finding, Level, Null

SLOPE: Final = "as a slope of ranks "
PLUS_MINUS: Final = "\N{PLUS-MINUS SIGN}"
POSITIONS: Final = {
    "mean": "mean over tokens",
    "last": "last token",
    "all": "mean over all tokens",
    "answer": "answer token",
}
TREND_CLAIMS: Final = (
    "States are sparser where inputs are {far}",
    "States are denser where inputs are {far}",
    "It is undecided whether states are sparser where inputs are {far}",
)
CONTRAST_CLAIMS: Final = (
    "{group} is sparser than {inside}",
    "{group} is denser than {inside}",
    "Undecided whether {group} differs from {inside}",
)
FARTHER_CLAIMS: Final = (
    "Shifted domains are sparser",
    "Shifted domains are denser",
    "Undecided whether shifted domains are sparser in general",
)
DOMAIN: Final = "domain"  # key of the effects of single domains
SIZE: Final = "A measure of size, which says nothing of sparsity"


def claim_of(finding: Finding, claims: tuple[str, str, str], described: str = "Descriptive only") -> str:
    """The claim that a verdict allows: positive, negative or neither; a secondary finding says that it is corrected.

    Args:
        finding: its verdict decides.
        claims: what to say where the estimate is positive, negative, or neither.
        described: what to say where nothing was to be decided.
    """
    if finding.verdict == "described":
        return described
    said = claims[{1: 0, -1: 1, 0: 2}[finding.side]]
    return f"{said} (significant after correction)" if finding.side and not finding.primary else said


def where_words(finding: Finding) -> str:
    """Measure, site and position as a sentence has them: ``Hoyer sparsity after the final norm (last token)``."""
    scope = finding.scope
    measure = "Hoyer sparsity" if scope.metric == "hoyer" else scope.metric
    site = "after the final norm" if scope.site == "final_norm" else f"at {scope.place}"
    position = POSITIONS.get(scope.position, f"position {scope.position}" if scope.position else "")
    return f"{measure} {site}" + (f" ({shown(position)})" if position else "")


def trend_sentence(finding: Finding, far: str) -> str:
    """Describe one measure along an ordered axis; the finding's levels run towards the harder end."""
    axis, near_end, far_end = shown(finding.scope.axis), finding.levels[0], finding.levels[-1]
    is_size = sparser(finding.scope.metric) is None
    claim = SIZE if is_size else claim_of(finding, TREND_CLAIMS).format(far=far)
    where = where_words(finding)
    return (
        f"{claim}. {where[0].upper()}{where[1:]} goes from {number(near_end.mean)} ({axis} {shown(near_end.name)}) "
        f"to {number(far_end.mean)} ({axis} {shown(far_end.name)}): Spearman "
        f"{with_interval(finding.estimate, finding.interval)}{length_adjusted(finding)}, n = {_items(finding)}"
        f"{_among(finding)}{_power(finding)}.{lost_to_length(finding)}{_lost(finding)}"
        f"{_null(finding.null, near_end, far_end)}"
    )


def length_adjusted(finding: Finding, called: str = "") -> str:
    """The same estimate adjusted for length, in brackets; nothing where length does not vary.

    Args:
        finding: its control of that name is the adjusted estimate.
        called: what the adjusted estimate is, where it is no longer what the finding's estimate is.
    """
    control = finding.length
    if control is None:
        return ""
    if not math.isfinite(control.interval[0]) and finding.generalises_over == "items":
        return " (not separable from length, which follows it)"
    if not math.isfinite(control.estimate):
        return " (not separable from length, which follows it)"
    return f" (adjusted for length {called}{with_interval(control.estimate, control.interval)})"


def lost_to_length(finding: Finding) -> str:
    """A sentence where a claim would stand by its interval and does not survive adjusting for length, or cannot."""
    low, high = finding.interval
    stands = finding.verdict in {"undecided", "not significant"} and (low > 0 or high < 0)
    if not stands or finding.survives_length:
        return ""
    inseparable = finding.length is not None and math.isnan(finding.length.estimate)
    return " Nothing is decided." if inseparable else " It does not survive adjusting for length."


def contrast_sentence(finding: Finding) -> str:
    """Difference of one shifted domain from the in-distribution items in one measure at one site."""
    inside, shifted = finding.levels[0], finding.levels[-1]
    group, reference = shown(finding.scope.group), shown(inside.name)
    claim = claim_of(finding, CONTRAST_CLAIMS, "{group} beside {inside}").format(group=group, inside=reference)
    return (
        f"{claim}: {where_words(finding)} is {number(inside.mean)} on {reference} and "
        f"{number(shifted.mean)} on {group}, Cliff's delta {with_interval(finding.estimate, finding.interval)}"
        f"{length_adjusted(finding, SLOPE)} over {_items(finding)}{_among(finding)}{_power(finding)}."
        f"{lost_to_length(finding)}{_lost(finding)}{_null(finding.null, inside, shifted)}"
    )


def farther_sentence(finding: Finding) -> str:
    """All shifted domains together, and how far that generalises."""
    n_domains = finding.n_clusters
    shifted = [level for level in finding.levels if level.shifted]
    inside = next(level for level in finding.levels if not level.shifted)
    lower, higher = min(shifted, key=_mean), max(shifted, key=_mean)
    span = f"{number(lower.mean)} ({shown(lower.name)})"
    if len(shifted) > 1:
        span = f"from {span} to {number(higher.mean)} ({shown(higher.name)})"
    is_size = sparser(finding.scope.metric) is None
    claim = SIZE if is_size else claim_of(finding, FARTHER_CLAIMS, f"Shifted domains beside {shown(inside.name)}")
    interval = with_interval(finding.estimate, finding.interval)
    domains = "1 shifted domain" if len(shifted) == 1 else f"{len(shifted)} shifted domains"
    if finding.generalises_over == "items":
        over, delta = f" over {n_domains:,} sources, each in several domains (paired)", "Cliff's delta"
        few = " It generalises to more sources, not to other domains."
    else:
        over, delta = "", "mean Cliff's delta"
        if finding.verdict == "described" and not is_size:  # a mean over a handful of domains is no answer
            interval, delta = (
                "; ".join(
                    f"{shown(effect.of)} {with_interval(effect.estimate, effect.interval)}"
                    for effect in finding.effects_by(DOMAIN)
                ),
                "Cliff's delta",
            )
        if n_domains != len(shifted):
            domains += f" ({n_domains} independent: those made from the same texts count once)"
        n = "1 independent domain is" if n_domains == 1 else f"{n_domains} independent domains are"
        few = f" Descriptive only: {n} too few to generalise." if finding.verdict == "described" else ""
    adjusted = "" if finding.verdict == "described" else length_adjusted(finding, SLOPE)
    return (
        f"{claim}: {where_words(finding)} is {number(inside.mean)} on {shown(inside.name)} and {span} on "
        f"{domains}, {delta} {interval}{adjusted}{over}."
        f"{lost_to_length(finding)}{few}{_lost(finding)}{_null(finding.null, inside, higher)}"
    )


def _lost(finding: Finding) -> str:
    """Items that are not used, with the reason."""
    of = finding.n + sum(left.n for left in finding.left_out)
    return "".join(f" {left.n:,} of {of:,} items are left out: {left.reason}." for left in finding.left_out)


def _mean(level: Level) -> float:
    return level.mean if math.isfinite(level.mean) else math.inf


def _items(finding: Finding) -> str:
    sources = "" if finding.n_clusters == finding.n else f" from {finding.n_clusters:,} sources"
    return f"{finding.n:,} items{sources}"


def _among(finding: Finding) -> str:
    """The correction of a pre-stated claim; of a secondary one how often as large an effect arises somewhere."""
    test = finding.test
    if test is None:
        return ""
    if finding.primary:
        return f", corrected p {p_value(test.p_adjusted)} ({test.correction})" if test.correction else ""
    if not finding.side or not test.p_family >= ALPHA:
        return ""
    return f", as large somewhere in {test.p_family:.0%} of runs without any effect"


def _power(finding: Finding) -> str:
    """The effect that an undecided finding excludes, or could have detected; "no effect" only inside a stated bound."""
    if finding.verdict not in {"undecided", "not significant"}:
        return ""
    if finding.bound is not None and finding.bound.verdict == "negligible":
        return f", no effect larger than {signed(finding.bound.bound).replace('+', PLUS_MINUS)} (noise floor)"
    if math.isfinite(finding.detectable):
        return f", where {signed(finding.detectable).replace('+', PLUS_MINUS)} is detected with 80 % power"
    return ""


def _null(null: Null | None, *ends: Level) -> str:
    if null is None:
        return ""
    sides = {level: side_of(level.low - null.value, level.high - null.value, null.sparser) for level in ends}
    gaussian = f"a random Gaussian vector has {number(null.value)}"
    if len(sides) > 1 and len(set(sides.values())) == 1:
        return f" Both ends are {sides[ends[0]]}: {gaussian}."
    said = [f"{shown(level.name)} is {side}" for level, side in sides.items()]
    joined = " and ".join(said)
    return f" {joined[0].upper()}{joined[1:]}: {gaussian}."
