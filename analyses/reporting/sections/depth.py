"""The sign of a pre-stated effect through the layers: where states are sparser, where denser, where neither.

What holds after the final norm often turns over in the middle of a network, so one number of one layer is no answer
about "the activations".
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final, NamedTuple

from analyses.figures.depth import in_order
from analyses.figures.marks import significant
from analyses.findings.formatting import signed
from analyses.findings.record import Finding

STREAM: Final = "resid_post"
FEWEST_LAYERS: Final = 3
FAR: Final = {  # whose states the sign is about, by question
    "difficulty": "harder tasks",
    "familiarity": "less familiar items",
    "domains": "shifted domains",
    "length": "longer inputs",
}


class Depth(NamedTuple):
    """One measure through the layers of the residual stream.

    Attributes:
        layers: the finding of each layer, first to last.
        tested: whether the layers have tests; without, signs are those of the estimates.
    """

    layers: list[Finding]
    tested: bool

    def side(self, finding: Finding) -> int:
        """1 where sparser, -1 where denser, 0 where neither is established."""
        if not math.isfinite(finding.estimate) or (self.tested and not significant(finding)):
            return 0
        return 1 if finding.estimate > 0 else -1

    def on(self, side: int) -> list[Finding]:
        """The layers of one side."""
        return [finding for finding in self.layers if self.side(finding) == side]

    @property
    def turns(self) -> bool:
        """True where some layers go one way and some the other."""
        return bool(self.on(1) and self.on(-1))


def by_depth(lead: Finding, findings: Sequence[Finding]) -> Depth | None:
    """The same measure, position and basis as a pre-stated finding at every layer; None below three layers."""
    scope = lead.scope
    wanted = (lead.analysis, scope.model, scope.suite, scope.metric, scope.position, scope.basis, scope.group)
    own = [
        finding
        for finding in findings
        if finding.scope.site == STREAM
        and finding.answered
        and finding.levels
        and wanted == (finding.analysis, *_asked(finding))
    ]
    tested = any(finding.test is not None for finding in own)
    return Depth(in_order(own), tested) if len(own) >= FEWEST_LAYERS else None


def _asked(finding: Finding) -> tuple[str, ...]:
    scope = finding.scope
    return scope.model, scope.suite, scope.metric, scope.position, scope.basis, scope.group


def sides(depth: Depth) -> str:
    """Both signs with their layers and strongest estimates, for a cell of a table."""
    said = [
        f"{word} at {layers_of(own)} (strongest of these {signed(strongest.estimate)} at layer {strongest.scope.layer})"
        for side, word in ((1, "sparser"), (-1, "denser"))
        if (own := depth.on(side))
        for strongest in (max(own, key=lambda finding: abs(finding.estimate)),)
    ]
    neither = len(depth.on(0))
    if not said and all(own.length is not None and math.isnan(own.length.estimate) for own in depth.layers):
        low, high = (signed(edge(own.estimate for own in depth.layers)) for edge in (min, max))
        return f"not separable from length at any of {neither} layers; unadjusted from {low} to {high}"
    if not said:
        return f"neither sparser nor denser significantly at any of {neither} layers"
    if neither:
        said.append(f"not significant at the other {neither} of {len(depth.layers)}")
    untested = "" if depth.tested else " (signs of the estimates; too few domains for a test)"
    return f"{', '.join(said)}{untested}"


def layers_of(findings: Sequence[Finding]) -> str:
    """Layers as people list them, neighbours together.

    >>> from analyses.findings.record import Scope
    >>> at = [Finding(analysis="", question="", text="", scope=Scope(layer=layer)) for layer in (0, 1, 2, 7)]
    >>> layers_of(at) == "layers 0\N{EN DASH}2, 7"
    True
    """
    layers = [finding.scope.layer or 0 for finding in findings]
    runs: list[list[int]] = []
    for layer in layers:
        if runs and layer == runs[-1][-1] + 1:
            runs[-1].append(layer)
        else:
            runs.append([layer])
    written = [str(run[0]) if len(run) == 1 else f"{run[0]}\N{EN DASH}{run[-1]}" for run in runs]
    return f"layer{'s' if len(layers) > 1 else ''} {', '.join(written)}"


def depth_sentence(lead: Finding, depth: Depth) -> str:
    """The signs of one answer through the layers, in one sentence."""
    who = FAR.get(lead.analysis, "far items")
    return f"Through the layers, states of {who} are {sides(depth)}."
