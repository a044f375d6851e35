"""Exact search in large texts: alphabets, suffix arrays, indexes and the engines of others."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
