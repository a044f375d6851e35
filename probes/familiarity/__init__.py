"""How well does what a model has read know this input? Code lengths, exact counts in a corpus, distances to states."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
