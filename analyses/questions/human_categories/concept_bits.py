"""Categories in bits of the next token: what a label tells of what the model expects, whatever the geometry."""

from __future__ import annotations

from analyses.data.concepts import Members
from analyses.data.expectations import expected_after
from analyses.data.runs import Run
from analyses.findings.contrast import fresh
from analyses.findings.formatting import number, signed
from analyses.findings.record import Effect, Finding, LeftOut, Mark, Plot, Scope
from analyses.questions.human_categories.membership import AXIS, NO_INTERVAL, QUESTION, left_out_of, set_of
from analyses.statistics.concepts.bottleneck import told_by


def bits_finding(run: Run, own: Members) -> Finding | None:
    """Information of people's categories about the next token beside joined clusters; None where it was not kept."""
    expected = expected_after(run, own)
    if expected is None:
        return None
    found = told_by(expected.chances, own.categories[expected.known], fresh())
    n = int(expected.known.sum())
    marks = [Mark("joined clusters", "", x, y, *NO_INTERVAL) for x, y in found.curve]
    marks += [
        Mark("people's categories", "", found.bits, found.people, *NO_INTERVAL),
        Mark("random, same sizes", "", found.bits, found.null, *NO_INTERVAL),
    ]
    missing = len(own.items) - n
    left = (LeftOut("not read in every sentence", missing),) if missing else ()
    return Finding(
        analysis="concepts",
        question=QUESTION,
        scope=Scope(model=own.model, suite=set_of(own), axis=AXIS, metric="bits about the next token"),
        estimate=found.regret,
        unit="regret in bits of the next token, 0 = as much as joined clusters of no greater entropy, 1 = as random",
        quantity="regret",
        n=n,
        n_clusters=n,
        left_out=(*left_out_of(own), *left),
        effects=(
            Effect("bits told by people's categories", found.people, NO_INTERVAL, key="people"),
            Effect("by joined clusters of no greater entropy", found.joined, NO_INTERVAL, key="joined"),
            Effect("by random clusters of the same sizes", found.null, NO_INTERVAL, key="null"),
            Effect("by the item itself", found.each, NO_INTERVAL, key="each"),
            Effect("probability in the tokens put together", expected.others, NO_INTERVAL, key="others"),
        ),
        verdict="described",
        plot=Plot("curve", "bits that the label takes", "bits that it tells of the next token", tuple(marks)),
        text=(
            f"In bits of the model's next token, people's categories tell {number(found.people)}, clusters joined for "
            f"it {number(found.joined)} at no greater entropy, random clusters of the same sizes {number(found.null)} "
            f"(z {signed((found.people - found.null) / found.sd)}), the item itself {number(found.each)}."
        ),
    )
