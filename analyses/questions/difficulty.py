"""Difficulty: does a measure of sparsity rise with the difficulty that the suite states?

The axis comes from the suite, never from the model under test. Primary: Hoyer at the final norm, sparser where harder.
"""

from __future__ import annotations

from typing import Final

from analyses.data.panels import read_panels
from analyses.data.runs import Run
from analyses.findings.record import Finding
from analyses.findings.registry import analysis
from analyses.findings.trend import Wording, ordered_findings

QUESTION: Final = "Do activations get sparser as tasks get harder?"


@analysis(QUESTION)
def difficulty(run: Run) -> list[Finding]:
    """Answer from all suites whose axis is of kind ``difficulty``."""
    return ordered_findings(read_panels(run, ["difficulty"]), Wording("difficulty", QUESTION, "harder"))
