"""What the model shows: hidden states of any architecture, reduced to a few numbers while the forward pass runs."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
