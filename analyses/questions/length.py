"""Length: does a measure of sparsity rise with the length of the input, on suites that vary nothing else?

The axis comes from the suite, never from the model under test. Primary: Hoyer at the final norm, sparser where longer.
"""

from __future__ import annotations

from typing import Final

from analyses.data.panels import read_panels
from analyses.data.runs import Run
from analyses.findings.record import Finding
from analyses.findings.registry import analysis
from analyses.findings.trend import Wording, ordered_findings

QUESTION: Final = "Do activations get sparser as inputs get longer?"


@analysis(QUESTION)
def length(run: Run) -> list[Finding]:
    """Answer from all suites whose axis is of kind ``length``."""
    return ordered_findings(read_panels(run, ["length"]), Wording("length", QUESTION, "longer"))
