"""Arithmetic shared by the measures: arrays of either library, promotion, one sort, one set of moments."""
