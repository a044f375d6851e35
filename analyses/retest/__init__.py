"""Retest: the claims of the compression view, what tests each on a model, and one page of verdicts."""
