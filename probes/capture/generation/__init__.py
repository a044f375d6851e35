"""Sparsity of the tokens that a model writes itself."""
