"""What does it mean? Analyses read the tables of a sweep, answer one question each, and never touch a model.

>>> from analyses import ANALYSES, Finding

``report`` is looked up when it is used, so that asking one question does not import what draws pages.
"""

from typing import TYPE_CHECKING

from analyses.findings.record import Finding as Finding
from analyses.findings.registry import ANALYSES as ANALYSES
from analyses.findings.registry import Analysis as Analysis
from analyses.findings.registry import analyse as analyse
from analyses.findings.registry import analysis as analysis

if TYPE_CHECKING:
    from analyses.reporting import report as report


def __getattr__(name: str) -> object:
    if name != "report":
        raise AttributeError(f"module 'analyses' has no attribute {name!r}")
    from analyses.reporting import report  # noqa: PLC0415  see above

    return report
