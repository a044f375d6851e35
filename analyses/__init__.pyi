from .findings.record import Finding as Finding
from .findings.registry import ANALYSES as ANALYSES
from .findings.registry import Analysis as Analysis
from .findings.registry import analyse as analyse
from .findings.registry import analysis as analysis
from .reporting import report as report

__version__: str
