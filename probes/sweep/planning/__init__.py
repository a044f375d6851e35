"""Rest of a sweep: runs, their batches, and the recorded facts of a run's model and settings."""
