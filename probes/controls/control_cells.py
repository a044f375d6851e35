"""The cells that the controls of a run fall into, and the order in which they are done.

A cell is what is computed, committed and resumed as one: the outliers of all sites, one site's bases, substitutions
and populations, the readout with the pins, the routing, the model before training. The site that hypotheses are
stated for, the final norm, comes first with its readout, then the end of the residual stream; the other sites follow
so that whenever time runs out the ones that are done lie spread over the depth.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Final

from probes.models.loading import LoadedModel
from probes.vocabulary.names import Control
from probes.vocabulary.sites import Site, SiteKind

OUTLIERS: Final = "outliers"
READOUT: Final = "readout"
ROUTING: Final = "routing"
UNTRAINED: Final = "untrained"
DENSITY: Final = "density"
GENERATION: Final = "generation"
OF_A_SITE: Final[frozenset[Control]] = frozenset({"bases", "populations", "substitution", "rotations", "shuffle"})

OF_UNITS: Final[frozenset[Control]] = frozenset({"populations", "substitution"})  # at sites with a vector per head


def cells_of(model: LoadedModel, sites: Sequence[Site], controls: Collection[Control]) -> tuple[str, ...]:
    """Names of the cells, in the order of work; a site's cell has its name."""
    whole = [site for site in sites if not model.taps.points[site].heads]
    of_units = bool(OF_UNITS.intersection(controls))
    final, last = final_of(model), last_of(model)
    ahead = [site for site in (final, last) if site in whole] if OF_A_SITE.intersection(controls) else []
    others = spread([site for site in whole if site not in ahead]) if OF_A_SITE.intersection(controls) else []
    cells = [OUTLIERS] if "outliers" in controls and whole else []
    cells += [str(site) for site in ahead if site == final]
    cells += [READOUT] if {"readout", "pinning"}.intersection(controls) else []
    cells += [str(site) for site in ahead if site != final]
    cells += [str(site) for site in others]
    cells += [str(site) for site in spread([site for site in sites if site not in whole])] if of_units else []
    has_routers = any(site.kind is SiteKind.ROUTER_LOGITS for site in sites)
    cells += [ROUTING] if "routing" in controls and has_routers else []
    has_neurons = any(site.kind is SiteKind.MLP_POST for site in sites)
    cells += [DENSITY] if DENSITY in controls and has_neurons else []
    cells += [GENERATION] if GENERATION in controls else []
    return (*cells, *([UNTRAINED] if "untrained" in controls and whole else []))


def final_of(model: LoadedModel) -> Site:
    """Site of the final norm, whether or not the model has one."""
    return Site(SiteKind.FINAL_NORM, model.n_layers)


def last_of(model: LoadedModel) -> Site:
    """The end of the residual stream."""
    return Site(SiteKind.RESID_POST, model.n_layers - 1)


def spread(sites: Sequence[Site]) -> list[Site]:
    """Sites in an order whose every beginning lies spread over the whole: the middle, then the middles of the halves.

    >>> [site.layer for site in spread([Site(SiteKind.RESID_POST, layer) for layer in range(7)])]
    [3, 1, 5, 0, 2, 4, 6]
    """
    found: list[Site] = []
    spans = [(0, len(sites))]
    while spans:
        found += [sites[(low + high) // 2] for low, high in spans if low < high]
        halves = [half for low, high in spans for half in ((low, (low + high) // 2), ((low + high) // 2 + 1, high))]
        spans = [(low, high) for low, high in halves if low < high]
    return found
