"""Published benchmarks, one decorated function each, grouped by what they ask for."""
