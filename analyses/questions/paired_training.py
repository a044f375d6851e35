"""Paired training runs: is it exposure, or the optimizer, that makes familiar facts denser?

A sweep of one model cannot say. The laboratory trains pairs of models on the same facts, in the same order, that differ
in the optimizer alone: AdamW, which scales every coordinate by itself, and a rotation-equivariant one. Primary: the
difference of their associations of exposure with Hoyer at the final norm among mastered facts, with a seed as one draw.
The answer comes from the table that is shipped with the laboratory, and is given where a sweep asks about its facts.
"""

from __future__ import annotations

from typing import Final

from analyses.data.panels import read_panels
from analyses.data.runs import Run
from analyses.findings.record import FEWEST_TO_GENERALISE, Effect, Finding, Mark, Plot, Scope, Significance, decide
from analyses.findings.registry import analysis
from analyses.findings.training_pairs import OTHER, PLAIN, READINGS, is_laboratory, sentence, shipped

QUESTION: Final = (
    "Is it exposure or the optimizer that makes familiar facts denser, over paired training runs of the laboratory?"
)
UNIT: Final = "rank correlation of mastered facts under AdamW less that under a rotation-equivariant optimizer"


@analysis(QUESTION, order=15)
def paired_training(run: Run) -> list[Finding]:
    """Answer once where the sweep holds laboratory facts."""
    panels = [panel for panel in read_panels(run, ["familiarity"]) if is_laboratory(panel.suite)]
    found = shipped()
    if not panels or found.n_pairs < 2:
        return []
    panel, (mean, interval, p) = panels[0], found.difference
    few = found.n_pairs < FEWEST_TO_GENERALISE
    shown = [(f"{own.meaning}, {READINGS[own.reading]}", own.over_seeds) for own in found.shown]
    marks = [
        Mark(own.meaning, READINGS[own.reading], float("nan"), own.over_seeds.mean, *own.over_seeds.interval)
        for own in found.shown
    ]
    return [
        Finding(
            analysis="paired_training",
            question=QUESTION,
            scope=Scope(
                model=f"laboratory, {PLAIN} and {OTHER}",
                suite=panel.suite,
                axis=panel.axis.name,
                site="final_norm",
                position="last",
                metric="hoyer",
            ),
            primary=True,
            estimate=mean,
            unit=f"{UNIT}, positive = sparser where less familiar",
            interval=interval,
            n=2 * found.n_pairs,
            n_clusters=found.n_pairs,
            test=None if few else Significance("Student's t over pairs of one seed", p, p),
            generalises_over="seeds",
            effects=tuple(Effect(name, own.mean, own.interval) for name, own in shown),
            verdict="described" if few else decide(mean, interval, p),
            text=sentence(found),
            plot=Plot("forest", "rank correlation, + = sparser where less familiar", "", tuple(marks), 0.0),
        )
    ]
