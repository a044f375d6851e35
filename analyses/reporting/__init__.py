"""Findings as a page: one self-contained HTML file, Markdown, JSON and figures. Nothing is computed here."""

from analyses.reporting.sections.headline import headline as headline
from analyses.reporting.writing import Report as Report
from analyses.reporting.writing import report as report
