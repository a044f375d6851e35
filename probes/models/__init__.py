"""A model ready to be measured: loaded, its sites found, its text side (templates, tokens) understood."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
