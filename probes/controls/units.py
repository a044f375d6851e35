"""Units of a site: heads, groups of experts and neurons.

Which heads or groups carry a change of mean Hoyer, each head's vectors as a set, and how many neurons can be cut.

A site ``attn_z`` has a vector per head, side by side what the output projection reads: heads are equal blocks of it.
``router_logits`` of a model that chooses among groups of experts first (DeepSeek) has a block per group; its single
coordinates are the experts. Substitution exchanges whole blocks between the reference and a group, as it does single
coordinates elsewhere, so k50 counts heads. Experts whose neurons a fused kernel keeps to itself have no site at all,
and asking for one says so.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import torch

from probes.capture.reading import Reading
from probes.controls.basis_panel import reading_of
from probes.controls.member_states import Sample
from probes.controls.populations import PopulationRows
from probes.controls.substitution import substitute
from probes.interventions.tails import DownProjection, cett_sparsity
from probes.models.loading import LoadedModel
from probes.vocabulary import names
from probes.vocabulary.sites import Site, SiteKind

if TYPE_CHECKING:
    from probes.controls.request import Ask

CHANCE: Final = 4  # which generator of a sample is theirs; the stage has 0 and 1, the nulls 2 and 3


def unit_blocks(model: LoadedModel, site: Site) -> int:
    """Number of equal blocks that a site's vector consists of: heads, or groups of experts; 0 where it has none."""
    heads = model.taps.points[site].heads
    if heads or site.kind is not SiteKind.ROUTER_LOGITS:
        return heads
    config: Any = model.module.config
    groups = int(getattr(config, "n_group", 0) or 0)
    return groups if groups > 1 else 0


def add_units(
    rows: PopulationRows,
    sample: Sample,
    blocks: int,
    groups: np.ndarray,
    ask: Ask,
    reference: Sequence[str],
    chance: Callable[[int], np.random.Generator],
    pause: Callable[[], None] = lambda: None,
) -> dict[str, str]:
    """Add substitution over the blocks of every group beside the reference, and each head's population measures.

    Args:
        rows: what they are added to.
        sample: finite vectors of one site and position, all blocks side by side.
        blocks: how many.
        groups: the group of each vector.
        ask: controls, and measures of sets.
        reference: groups that the others are compared with.
        chance: the generator of a number.
        pause: called now and then; may raise to break off.

    Returns:
        What there cannot be, and why.
    """
    exact = sample.vectors.astype(np.float64)
    inside = np.isin(groups, reference)
    items = sample.item.astype(np.int64)
    for group in dict.fromkeys(groups.tolist()):
        pause()
        mine = groups == group
        if "populations" in ask.controls and sample.site.kind is SiteKind.ATTN_Z:
            each = exact[mine].reshape(int(mine.sum()), blocks, -1)
            for unit in range(blocks):
                rows.add_population(group, sample, each[:, unit], ask.populations, unit=unit)
        if "substitution" in ask.controls and reference and group not in reference:
            found = substitute(exact[inside], exact[mine], items[inside], items[mine], chance(CHANCE), blocks)
            rows.add_substitution(group, sample, found, int(mine.sum()), of=names.UNIT)
    if "substitution" in ask.controls and not reference:
        return {"substitution": "no group of this run is a reference for the others"}
    return {}


def tail_reading(sample: Sample, down: DownProjection, errors: Sequence[float]) -> Reading:
    """Share of the neurons of an MLP that can be cut, per item, a column per error of what it writes."""
    vectors = torch.from_numpy(sample.vectors).to(down.rows.device)
    shares = [cett_sparsity(vectors, down, error) for error in errors]
    return reading_of(sample, names.TAILS, np.stack(shares, axis=-1).astype(np.float32))
