"""Suites about the laboratory worlds of :mod:`probes.lab`, whose training exposure is counted."""
