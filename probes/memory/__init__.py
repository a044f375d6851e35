"""Memories beside a language model: a datastore that is searched, and a small model that learned to answer for it."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
