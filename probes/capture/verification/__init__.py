"""Self-checks of a model: what hooks see is what the model computes."""
