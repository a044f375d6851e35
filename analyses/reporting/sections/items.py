"""The items behind a finding, for the pictures that show them and not their means only."""

from __future__ import annotations

import numpy as np

from analyses.data.panels import Panel, read_panels
from analyses.data.runs import Run
from analyses.findings.panel import levels_of
from analyses.findings.record import Finding
from probes.vocabulary.axes import AXIS_KINDS


def item_values(run: Run, finding: Finding) -> list[np.ndarray] | None:
    """Values of the items of each level of a finding, in its order; None where the levels are not found again."""
    panel = _panel_of(run, finding)
    column = None if panel is None else _column_of(panel, finding)
    if panel is None or column is None:
        return None
    codes, names, _, shifted = levels_of(panel)
    known = {pair: code for code, pair in enumerate(zip(names, shifted, strict=True))}
    wanted = [known.get((level.name, level.shifted)) for level in finding.levels]
    if any(code is None for code in wanted):
        return None
    return [panel.values[codes == code, column] for code in wanted]


def _panel_of(run: Run, finding: Finding) -> Panel | None:
    scope = finding.scope
    panels = read_panels(run, AXIS_KINDS)
    return next((p for p in panels if (p.model, p.suite, p.axis.name) == (scope.model, scope.suite, scope.axis)), None)


def _column_of(panel: Panel, finding: Finding) -> int | None:
    scope = finding.scope
    wanted = (scope.site, scope.layer, scope.position, scope.metric)
    found = (index for index, c in enumerate(panel.columns) if (c.site, c.layer, c.position, c.metric) == wanted)
    return next(found, None)
