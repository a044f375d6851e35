"""Familiarity of inputs to a model: code lengths, exact counts in a corpus, distances to states."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
