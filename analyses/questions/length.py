"""Length: does a measure of sparsity rise with the length of the input, on suites that vary nothing else?

The axis comes from the suite, never from the model under test. Primary: Hoyer at the final norm, sparser where longer.
"""

from __future__ import annotations

from typing import Final

from analyses.finding import Finding
from analyses.ordered import Wording, ordered_findings
from analyses.registry import analysis
from analyses.runs import Run
from analyses.tables import read_panels

QUESTION: Final = "Do activations get sparser as inputs get longer?"


@analysis(QUESTION)
def length(run: Run) -> list[Finding]:
    """Answer from all suites whose axis is of kind ``length``."""
    return ordered_findings(read_panels(run, ["length"]), Wording("length", QUESTION, "longer"))
