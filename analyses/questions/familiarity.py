"""Familiarity: does a measure of sparsity rise as inputs get less familiar to the model?

The axis comes from the suite, never from the model under test. Primary: Hoyer at the final norm, sparser where less
familiar.
"""

from __future__ import annotations

from typing import Final

from analyses.data.panels import read_panels
from analyses.data.runs import Run
from analyses.findings.record import Finding
from analyses.findings.registry import analysis
from analyses.findings.trend import Wording, ordered_findings

QUESTION: Final = "Do activations get sparser as inputs get less familiar?"


@analysis(QUESTION)
def familiarity(run: Run) -> list[Finding]:
    """Answer from all suites whose axis is of kind ``familiarity``."""
    return ordered_findings(read_panels(run, ["familiarity"]), Wording("familiarity", QUESTION, "less familiar"))
