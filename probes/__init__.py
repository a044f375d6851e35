"""What does this model do on these inputs? Suites, collectors, familiarity, records and sweeps."""
