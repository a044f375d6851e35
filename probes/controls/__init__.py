"""Which mechanism is it? What a sweep measures beside sparsity, on a sample of each group's states.

A difference of sparsity may be the story of one coordinate, of the basis, of the row of the unembedding that the state
points at, or of the model's temperature. Each has its control here, computed on states that a run keeps for a small,
seeded sample of every group (the reservoir). The names of what is written are in :mod:`probes.vocabulary.names`.
"""
