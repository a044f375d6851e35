"""What does it mean? Analyses read the tables of a sweep, answer one question each, and never touch a model.

>>> from analyses import ANALYSES, Finding

``report`` is looked up when it is used, so that asking one question does not import what draws pages.
"""

from typing import TYPE_CHECKING

from analyses.finding import Finding as Finding
from analyses.registry import ANALYSES as ANALYSES
from analyses.registry import Analysis as Analysis
from analyses.registry import analyse as analyse
from analyses.registry import analysis as analysis

if TYPE_CHECKING:
    from analyses.reporting import report as report


def __getattr__(name: str) -> object:
    if name != "report":
        raise AttributeError(f"module 'analyses' has no attribute {name!r}")
    from analyses.reporting import report  # noqa: PLC0415  see above

    return report
