"""Difficulty: does a measure of sparsity rise with the difficulty that the suite states?

The axis comes from the suite, never from the model under test. Primary: Hoyer at the final norm, sparser where harder.
"""

from __future__ import annotations

from typing import Final

from analyses.finding import Finding
from analyses.ordered import Wording, ordered_findings
from analyses.registry import analysis
from analyses.runs import Run
from analyses.tables import read_panels

QUESTION: Final = "Do activations get sparser as tasks get harder?"


@analysis(QUESTION)
def difficulty(run: Run) -> list[Finding]:
    """Answer from all suites whose axis is of kind ``difficulty``."""
    return ordered_findings(read_panels(run, ["difficulty"]), Wording("difficulty", QUESTION, "harder"))
