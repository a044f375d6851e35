"""Difficulty, familiarity, length: does a measure of sparsity rise along the axis that a suite states?

The axis comes from the suite, never from the model under test. Primary: Hoyer at the final norm, sparser where harder,
less familiar, longer.
"""

from __future__ import annotations

from analyses.data.concepts import AXIS
from analyses.data.panels import read_panels
from analyses.data.runs import Run
from analyses.findings.record import Finding
from analyses.findings.registry import analysis
from analyses.findings.trend import Wording, ordered_findings
from probes.vocabulary.axes import FARTHER

HARDER = Wording("difficulty", "Do activations get sparser as tasks get harder?", FARTHER["difficulty"])
LESS_FAMILIAR = Wording(
    "familiarity", "Do activations get sparser as inputs get less familiar?", FARTHER["familiarity"]
)
LONGER = Wording("length", "Do activations get sparser as inputs get longer?", FARTHER["length"])


@analysis(HARDER.question, order=1, headline=True)
def difficulty(run: Run) -> list[Finding]:
    """Answer from all suites whose axis is of kind ``difficulty``."""
    return ordered_findings(read_panels(run, ["difficulty"]), HARDER)


@analysis(LESS_FAMILIAR.question, order=2, headline=True)
def familiarity(run: Run) -> list[Finding]:
    """Answer from all suites whose axis is of kind ``familiarity``, but for members of categories.

    These are compared within their categories, which is what the question ``typicality`` does.
    """
    panels = [panel for panel in read_panels(run, ["familiarity"]) if panel.axis.name != AXIS]
    return ordered_findings(panels, LESS_FAMILIAR)


@analysis(LONGER.question, order=6)
def length(run: Run) -> list[Finding]:
    """Answer from all suites whose axis is of kind ``length``, which vary nothing else."""
    return ordered_findings(read_panels(run, ["length"]), LONGER)
