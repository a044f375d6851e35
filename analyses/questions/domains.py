"""Domains: difference of shifted texts from in-distribution ones.

Domains have no order, so each is contrasted with the in-distribution items: Cliff's delta over items, which says that
*these corpora differ*. Whether texts get sparser as they move away from training in general is a claim about domains,
of which each suite holds few: it rests on the mean delta over domains, and below six of them it is described and not
decided. A parallel corpus (the same sources in every domain, as translations) is paired: all domains together beside
the reference, with a source as the unit. Primary: Hoyer at the final norm, shifted sparser.

Suites that ask two questions about one text hold no shifted texts: what they say is the question `limits`, and here
they are secondary.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final, NamedTuple

import numpy as np
from jaxtyping import Bool, Float

from analyses.data.panels import Panel, read_panels
from analyses.data.runs import Run
from analyses.findings.contrast import independent, is_made, signs
from analyses.findings.null import sparser
from analyses.findings.panel import (
    FEWEST_ITEMS,
    Controlled,
    LevelMeans,
    bounded,
    controlled,
    covariates_of,
    detectable,
    family_of,
    fresh,
    left_out,
    level_means,
    levels_of,
    null_of,
    primary_column,
    scope_of,
    split_by_completeness,
    unanswered,
    undefined_columns,
)
from analyses.findings.record import FEWEST_TO_GENERALISE, LENGTH, Control, Effect, Finding, Level, Significance
from analyses.findings.registry import analysis
from analyses.findings.sentences import DOMAIN, contrast_sentence, farther_sentence
from analyses.findings.verdicts import Family, settle
from analyses.statistics.association import associate_items
from analyses.statistics.equivalence import noise_floor
from analyses.statistics.groups import Contrast, average, contrast
from analyses.statistics.permutation import CONTRAST_NAMES
from analyses.statistics.trend import RESAMPLES
from probes.vocabulary.axes import TWO_QUESTIONS

QUESTION: Final = "Are activations sparser on shifted texts than on in-distribution ones?"
NO_INTERVAL: Final = (float("nan"), float("nan"))
QUANTITY: Final = "Cliff's delta"
DELTA: Final = "Cliff's delta, positive = shifted is sparser"
DELTA_SIZE: Final = "Cliff's delta, positive = shifted is larger"


class Domain(NamedTuple):
    """One shifted domain against all in-distribution items.

    Attributes:
        name: its label.
        made: whether its items are made from the in-distribution ones (they share clusters).
        contrast: the comparison, per column.
        controls: the same with covariates held fixed.
        floor: noise floor of every column, from halves of the in-distribution items.
        family: all measures of sparsity permuted together.
    """

    name: str
    made: bool
    contrast: Contrast
    controls: list[Controlled]
    floor: Float[np.ndarray, " columns"]
    family: Family

    def difference(self, column: int) -> Effect:
        """Cohen's d of one column."""
        d = self.contrast.difference
        return Effect("Cohen's d", float(d.value[column]), (float(d.low[column]), float(d.high[column])))


@analysis(QUESTION, order=3, headline=True)
def domains(run: Run) -> list[Finding]:
    """Answer from all suites on nominal axes, pooled by axis."""
    findings: list[Finding] = []
    families: list[Family] = []
    for panel in read_panels(run, ["nominal"]):
        reason = _why_not(panel)
        if reason:
            findings.append(unanswered(panel, "domains", QUESTION, reason))
        else:
            found = _domains(panel)
            whole = _whole(panel, found)
            findings += _panel_findings(panel, found, whole)
            families += [domain.family for domain in (*found, *([whole] if whole else []))]
    return [_told(finding) for finding in settle(findings, families)]


def _why_not(panel: Panel) -> str:
    n_shifted = int(panel.shifted.sum())
    n_inside = len(panel.items) - n_shifted
    if not n_inside:
        return "it holds no in-distribution items to compare with; give one entry of the spec split: in"
    if not n_shifted:
        return "it holds in-distribution items only; give other entries of the spec split: shifted"
    if min(n_inside, n_shifted) < FEWEST_ITEMS:
        return f"{n_inside} in-distribution and {n_shifted} shifted items are too few; {FEWEST_ITEMS} are the least"
    if primary_column(panel) is None:
        return "no measure of sparsity was recorded, only sizes"
    return ""


def _domains(panel: Panel) -> list[Domain]:
    codes, names, _, shifted = levels_of(panel)
    values = _turned(panel)
    inside = ~panel.shifted
    floor = noise_floor(panel.values[inside], panel.clusters[inside], rng=fresh())
    return [
        _domain(panel, name, (codes == code) | inside, values, floor)
        for code, name in enumerate(names)
        if shifted[code] and (codes == code).sum() >= FEWEST_ITEMS
    ]


def _whole(panel: Panel, found: list[Domain]) -> Domain | None:
    """All shifted items beside the others, where each domain holds the same sources; None where any does not."""
    if not found or not all(domain.made for domain in found):
        return None
    floor = noise_floor(panel.values[~panel.shifted], panel.clusters[~panel.shifted], rng=fresh())
    return _domain(panel, "", np.ones(len(panel.items), dtype=bool), _turned(panel), floor)


def _turned(panel: Panel) -> Float[np.ndarray, "items columns"]:
    """The measures with larger meaning sparser; sizes as they are."""
    return panel.values * signs(panel)


def _panel_findings(panel: Panel, found: list[Domain], whole: Domain | None) -> list[Finding]:
    means = level_means(panel, resamples=RESAMPLES)
    primary = None if panel.axis.name in TWO_QUESTIONS else primary_column(panel)
    findings = [
        unanswered(panel, "domains", QUESTION, f"{metric} is undefined for every item at {', '.join(at)}")
        for metric, at in undefined_columns(panel)
    ]
    for column in range(len(panel.columns)):
        if found and any(np.isfinite(domain.contrast.delta.value[column]) for domain in found):
            if whole is None:
                findings.append(_farther(panel, found, means, column, primary=column == primary))
            else:
                findings.append(_paired(panel, whole, means, column, primary=column == primary))
            findings += [_contrast_finding(panel, domain, means, column) for domain in found]
    return findings


def _domain(
    panel: Panel,
    name: str,
    rows: Bool[np.ndarray, " items"],
    values: Float[np.ndarray, "items c"],
    floor: Float[np.ndarray, " c"],
) -> Domain:
    shifted, clusters, own = panel.shifted[rows], panel.clusters[rows], values[rows]
    complete, partial = split_by_completeness(covariates_of(panel), rows)
    scores = np.column_stack([c.values[rows] for c in complete]) if complete else None
    found = contrast(own, shifted, clusters, covariates=scores, resamples=RESAMPLES, rng=fresh())
    controls = controlled(found.association, complete, slope=True)
    for covariate in partial:
        pair = np.column_stack([shifted.astype(np.float64), covariate.values[rows]])
        alone = associate_items(own, pair, clusters, within=False, resamples=RESAMPLES, rng=fresh())
        controls += controlled(alone, [covariate], slope=True)
    score = shifted.astype(np.float64)
    family = family_of(panel, own, score, clusters, design=found.design, group=name)
    return Domain(name, is_made(panel, rows & panel.shifted), found, controls, floor, family)


def _contrast_finding(panel: Panel, domain: Domain, means: LevelMeans, column: int) -> Finding:
    is_size = sparser(panel.columns[column].metric) is None
    delta = domain.contrast.delta
    estimate, interval = float(delta.value[column]), (float(delta.low[column]), float(delta.high[column]))
    n_clusters = int(domain.contrast.association.n_clusters[column])
    inside = _inside(means, column)
    row = next(i for i, name in enumerate(means.names) if means.shifted[i] and name == domain.name)
    return Finding(
        analysis="domains",
        question=QUESTION,
        scope=scope_of(panel, column, domain.name),
        estimate=estimate,
        unit=_unit(panel, column),
        quantity=QUANTITY,
        interval=interval,
        n=int(domain.contrast.association.n[column]),
        n_clusters=n_clusters,
        null=null_of(panel, means.means[row], column),
        test=Significance(CONTRAST_NAMES[domain.contrast.design], float(domain.contrast.p[column]), float("nan")),
        generalises_over="items",
        controls=tuple(control.of_column(column) for control in domain.controls),
        effects=(domain.difference(column), detectable(interval)),
        bound=None if is_size else bounded(estimate, interval, float(domain.floor[column]), n_clusters),
        verdict="described" if is_size else "undecided",
        text="",
        levels=(inside, means.of_column(column)[row]),
    )


def _farther(panel: Panel, found: list[Domain], means: LevelMeans, column: int, *, primary: bool) -> Finding:
    """The mean delta over independent domains; Student's interval with a domain as the unit."""
    deltas = independent(
        [float(domain.contrast.delta.value[column]) for domain in found], [domain.made for domain in found]
    )
    n_domains = len(deltas)
    mean, (low, high), p = average(deltas)
    few = n_domains < FEWEST_TO_GENERALISE
    return replace(
        _about_all(panel, means, column, primary=primary),
        estimate=mean,
        unit=("mean " + _unit(panel, column)) + " over domains",
        # Student's interval over a handful of domains is as wide as the range and says nothing
        interval=NO_INTERVAL if few else (max(low, -1.0), min(high, 1.0)),
        n_clusters=n_domains,
        test=None if few else Significance("Student's t over domains", p, float("nan")),
        generalises_over="domains",
        controls=_over_domains(found, column, few=few),
        effects=tuple(_of_domain(domain, column) for domain in found),
        verdict="described" if few or sparser(panel.columns[column].metric) is None else "undecided",
    )


def _paired(panel: Panel, whole: Domain, means: LevelMeans, column: int, *, primary: bool) -> Finding:
    """All domains of a parallel corpus beside the reference: the same sources in each, so sources are the unit."""
    delta = whole.contrast.delta
    return replace(
        _about_all(panel, means, column, primary=primary),
        estimate=float(delta.value[column]),
        unit=_unit(panel, column),
        interval=(float(delta.low[column]), float(delta.high[column])),
        n_clusters=int(whole.contrast.association.n_clusters[column]),
        test=Significance(CONTRAST_NAMES[whole.contrast.design], float(whole.contrast.p[column]), float("nan")),
        controls=tuple(control.of_column(column) for control in whole.controls),
        effects=(whole.difference(column),),
    )


def _about_all(panel: Panel, means: LevelMeans, column: int, *, primary: bool) -> Finding:
    """Finding on all domains together, with the fields that do not depend on the way of averaging them."""
    known = np.isfinite(panel.values[:, column])
    return Finding(
        analysis="domains",
        question=QUESTION,
        scope=scope_of(panel, column),
        primary=primary,
        quantity=QUANTITY,
        n=int(known.sum()),
        left_out=left_out(panel, known),
        null=null_of(panel, means.overall, column),
        generalises_over="items",
        verdict="described" if sparser(panel.columns[column].metric) is None else "undecided",
        text="",
        levels=means.of_column(column),
    )


def _unit(panel: Panel, column: int) -> str:
    return DELTA_SIZE if sparser(panel.columns[column].metric) is None else DELTA


def _of_domain(domain: Domain, column: int) -> Effect:
    delta = domain.contrast.delta
    value, low, high = (float(numbers[column]) for numbers in delta)
    return Effect(f"Cliff's delta, {domain.name}", value, (low, high), key=DOMAIN, of=domain.name)


def _over_domains(found: list[Domain], column: int, *, few: bool) -> tuple[Control, ...]:
    """The mean over domains with the number of tokens held fixed where it varies; nothing where it never does."""
    adjusted_each = [[c.of_column(column) for c in domain.controls if c.covariate.name == LENGTH] for domain in found]
    if not any(adjusted_each):
        return ()
    plain = [float(domain.contrast.delta.value[column]) for domain in found]
    given = [own[0].estimate if own else delta for own, delta in zip(adjusted_each, plain, strict=True)]
    adjusted = average(independent(given, [domain.made for domain in found]))
    return (Control(LENGTH, "pre_treatment", adjusted.mean, NO_INTERVAL if few else adjusted.interval, float("nan")),)


def _inside(means: LevelMeans, column: int) -> Level:
    """The in-distribution items as one level; the mean of several in-distribution labels is weighted by their items."""
    inside = [level for level in means.of_column(column) if not level.shifted]
    if len(inside) == 1:
        return inside[0]
    n = sum(level.n for level in inside)
    mean = sum(level.mean * level.n for level in inside if level.n) / n if n else float("nan")
    return Level("in-distribution", float("nan"), shifted=False, n=n, mean=mean, low=float("nan"), high=float("nan"))


def _told(finding: Finding) -> Finding:
    if not finding.levels:
        return finding
    if finding.scope.group:
        return replace(finding, text=contrast_sentence(finding))
    return replace(finding, text=farther_sentence(finding))
