"""The import path of sites that notebooks use; they are defined in :mod:`probes.vocabulary.sites`."""

from probes.vocabulary.sites import Site, SiteKind, resolve_sites

__all__ = ["Site", "SiteKind", "resolve_sites"]
