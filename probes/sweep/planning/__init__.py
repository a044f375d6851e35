"""What is left of a sweep: runs, their batches, and what a run remembers of its model and settings."""
