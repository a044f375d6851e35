"""Frozen numbers with their provenance, and the scripts that made them."""
