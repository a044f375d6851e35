"""Findings as figures that a paper could print, one module per picture. No statistics here: what is drawn are fields.

=========  ========================================================================================================
profile    every level through the layers, with the band in which chance would put such means
levels     one place along the axis: the items of each level as a violin, their mean and its interval
overview   measures x layers, or domains x layers: the sign of an effect everywhere at once
effects    estimate and interval per layer beside its length-adjusted value; or one line per model
curve      a mean over a number: coordinates taken, training steps, doses
forest     estimates below each other: covariates held fixed, other bases, interventions beside their controls
matrix     a value for each pair: how far measures rank the same items alike
strip      one item: tokens x layers
=========  ========================================================================================================

Chance is drawn wherever values are, because a value means nothing without it. Labels sit beside what they name, not in
legends. Figures are small enough to be read on a phone without zooming; how they look and leave is in
:mod:`analyses.figures.drawing`.
"""

from analyses.figures.curve import curve as curve
from analyses.figures.effects import across_models as across_models
from analyses.figures.effects import effects as effects
from analyses.figures.forest import forest as forest
from analyses.figures.levels import levels as levels
from analyses.figures.matrix import matrix as matrix
from analyses.figures.overview import overview as overview
from analyses.figures.profile import profile as profile
from analyses.figures.strip import Strip as Strip
from analyses.figures.strip import strip as strip
