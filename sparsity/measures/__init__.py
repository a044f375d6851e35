"""Measures of one vector, a module by family."""
