"""Familiarity: does a measure of sparsity rise as inputs get less familiar to the model?

The axis comes from the suite, never from the model under test. Primary: Hoyer at the final norm, sparser where less
familiar.
"""

from __future__ import annotations

from typing import Final

from analyses.finding import Finding
from analyses.ordered import Wording, ordered_findings
from analyses.registry import analysis
from analyses.runs import Run
from analyses.tables import read_panels

QUESTION: Final = "Do activations get sparser as inputs get less familiar?"


@analysis(QUESTION)
def familiarity(run: Run) -> list[Finding]:
    """Answer from all suites whose axis is of kind ``familiarity``."""
    return ordered_findings(read_panels(run, ["familiarity"]), Wording("familiarity", QUESTION, "less familiar"))
