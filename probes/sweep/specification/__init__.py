"""The parts of a spec: its YAML, its validation, and the entries of its suites."""
