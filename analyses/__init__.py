"""What does it mean? Analyses read the tables of a sweep, answer one question each, and never touch a model.

>>> from analyses import ANALYSES, Finding
"""

from analyses.finding import ANALYSES as ANALYSES
from analyses.finding import Analysis as Analysis
from analyses.finding import Finding as Finding
from analyses.finding import analyse as analyse
from analyses.finding import analysis as analysis
