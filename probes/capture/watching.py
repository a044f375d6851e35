"""The import path of hooks that notebooks use; they are defined in :mod:`probes.models.hooks`."""

from probes.models.hooks import CaptureError, watching

__all__ = ["CaptureError", "watching"]
