"""Suites of in-distribution and shifted inputs, one file per suite or family of suites."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
