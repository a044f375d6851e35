"""Controls: measurements that tell apart the mechanisms behind a difference of sparsity, on a sample of each group.

A difference of sparsity may come from one coordinate, from the basis, from the row of the unembedding that the state
aligns with, or from the model's temperature. Each has its control here, computed on states that a run keeps for a
small, seeded sample of every group (the reservoir). The names of what is written are in :mod:`probes.vocabulary.names`.
"""
