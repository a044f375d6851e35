"""Lists of the names that specs use: measures, suites, sites. Later packages add lists of their own."""

from __future__ import annotations

from collections.abc import Callable

from rich.table import Table

from probes.vocabulary.axes import AXES, ELSEWHERE
from probes.vocabulary.sites import MEANINGS
from sparsity.registry import Registry


def metrics_table() -> Table:
    """Metrics of one vector: the direction of sparser vectors, what is measured, and the range."""
    from sparsity import DEFAULT_METRICS, METRICS

    defaults = {spec.name for spec in DEFAULT_METRICS}
    table = Table("metric", "sparser", "built on", "default", "what it is")
    for name, metric in METRICS.items():
        parameters = f"({', '.join(metric.parameters)})" if metric.parameters else ""
        table.add_row(
            f"{name}{parameters}",
            metric.sparser or "-",
            metric.carrier,
            "yes" if name in defaults else "",
            metric.summary,
        )
    return table


def axioms_table() -> Table:
    """Table of the Hurley-Rickard axioms that each metric satisfies."""
    from sparsity import Axiom, axioms

    table = Table("metric", "carrier", "wealth", *(axiom.value for axiom in Axiom), "strict")
    for row in axioms.axioms_table():
        table.add_row(row.metric, row.carrier, row.wealth, *map(str, row.verdicts), str(row.satisfied))
    return table


def populations_table() -> Table:
    """Measures of a set of vectors, for the spec key `populations`."""
    from sparsity.population import POPULATION

    table = Table("measure", "sparser", "vectors at least", "what it is")
    for name, measure in POPULATION.items():
        summary = (measure.function.__doc__ or "").strip().split("\n\n")[0]
        table.add_row(name, measure.sparser or "-", str(measure.min_rows), " ".join(summary.split()))
    return table


def suites_table() -> Table:
    """Suites that ship, published benchmarks, paired shifts, and data of your own."""
    from probes.suites import SUITES
    from probes.suites.benchmarks.benchmark_suite import BENCHMARKS
    from probes.suites.shifts.shift_suite import SHIFTS
    from probes.suites.text_domains import ALL_MADE

    table = Table("suite", "version", "axis", "what it is")
    for name, suite in SUITES.items():
        table.add_row(name, suite.version, f"{suite.axis.name} ({suite.axis.kind})", suite.description.split("\n\n")[0])
    for name, found in BENCHMARKS.items():
        axis = f"{found.axis.name} ({found.axis.kind})"
        table.add_row(name, str(found.version), axis, found.description.split("\n\n")[0])
    table.add_row(
        "text_domains",
        "1",
        "domain (nominal)",
        f"Your familiar texts against shifted ones, or against shifts made of them: {', '.join(ALL_MADE)}.",
    )
    table.add_row(
        "modality",
        "1",
        "modality (nominal)",
        "Text, code, pictures, sound and chance as ASCII chunks of 2,048 bytes, of your files or a packaged sample.",
    )
    table.add_row(
        "concepts",
        "1",
        "typicality (familiarity)",
        "Members of people's categories and how typical they are, by norms of your own or a small list that ships.",
    )
    for name, shift in SHIFTS.items():
        axis = shift.model_construct(shift=name).ruler()
        summary = (shift.__doc__ or "").strip().split("\n\n")[0]
        table.add_row(f"{{shift: {name}, of: ...}}", "1", f"{axis.name} ({axis.kind})", summary)
    table.add_row("{file: ...}", "yours", "yours", "a JSON, CSV, Parquet or text file of yours")
    table.add_row("{hub: ...}", "yours", "yours", "a data set of the Hugging Face hub")
    return table


def axes_table() -> Table:
    """Axes whose harder end is known: in a spec their name is enough."""
    table = Table("axis", "kind", "harder", "unit")
    for axis in AXES.values():
        said = " (in a spec of yours say `kind` and `harder`)" if axis.name in ELSEWHERE else ""
        table.add_row(axis.name, axis.kind, axis.harder or "-", axis.unit + said)
    return table


def sites_table() -> Table:
    """Sites of a network that can be measured, in TransformerLens's names."""
    table = Table("site", "what is there")
    for kind, meaning in MEANINGS.items():
        table.add_row(str(kind), meaning)
    return table


def familiarity_table() -> Table:
    """Measures of familiarity: what each needs, what it stands for, and when it misleads."""
    from probes.familiarity import FAMILIARITY

    table = Table("measure", "more familiar", "needs", "unit", "stands for", "misleads")
    for measure in FAMILIARITY.values():
        table.add_row(measure.form, measure.familiar, measure.needs, measure.unit, measure.proxy, measure.fails)
    return table


LISTS: Registry[Callable[[], Table]] = Registry("list")
LISTS.add("metrics", metrics_table)
LISTS.add("populations", populations_table)
LISTS.add("suites", suites_table)
LISTS.add("axes", axes_table)
LISTS.add("sites", sites_table)
LISTS.add("familiarity", familiarity_table)
