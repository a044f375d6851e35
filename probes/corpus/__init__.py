"""Exact search in large texts: alphabets, suffix arrays, indexes and the engines of others."""
