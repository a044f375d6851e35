"""Honest inference over items: ranks, resampling by cluster, permutation nulls, contrasts, multiplicity.

Everything here sees arrays, never a table or a model. Items are rows, measures are columns (site x layer x metric), and
one set of resamples serves all columns at once, so that their dependence is kept and a run of 10,000 items costs
seconds.
"""
