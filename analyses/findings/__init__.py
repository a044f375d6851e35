"""Findings about a panel: the record of one, its parts, its verdict and its sentence."""
