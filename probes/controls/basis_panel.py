"""The states of the reservoir in other coordinates, and their metrics there.

================== ===================================================================================================
centred            less the mean of the reference
pca                along the principal axes of the reference, centred; cross-fitted: axes of one half of the items are
                   used for the other, because vectors are sparser along axes that were fitted to them
pca_pooled         along the principal axes of all groups together, each group counting alike, cross-fitted; a rotation
                   and nothing else. Axes of the reference are made for the reference, even for items they never saw:
                   along them it is at an advantage over every other group, and here nobody is
unembed            along the right singular vectors of the unembedding, after the linear part of the final norm (gain
                   and, for a LayerNorm, centring; neither scale nor bias), which at ``final_norm`` has already acted
without_top(m)     without the m coordinates of largest mean square in the reference
================== ===================================================================================================

All but ``pca_pooled`` are estimated on the reference, and all are applied to every group alike. Where a run has no
reference they are estimated on its ``in`` items, and on all it has where there are none.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from jaxtyping import Bool

from probes.capture.reading import Reading
from probes.controls.member_states import Sample, per_item
from probes.controls.readout import Unembedding, Unread
from probes.interventions.changes import FinalNorm
from probes.vocabulary import names
from probes.vocabulary.sites import SiteKind
from sparsity import MetricSpec, profile
from sparsity.bases import principal_axes
from sparsity.locate import outlier_dimensions, without

RESIDUAL = frozenset(
    {
        SiteKind.EMBED,
        SiteKind.RESID_PRE,
        SiteKind.RESID_MID,
        SiteKind.RESID_POST,
        SiteKind.ATTN_OUT,
        SiteKind.MLP_OUT,
        SiteKind.FINAL_NORM,
    }
)


View = tuple[str, np.ndarray | Unread]


def views(
    sample: Sample,
    reference: Bool[np.ndarray, " rows"],
    groups: np.ndarray,
    head: Unembedding | Unread,
    norm: FinalNorm | Unread,
) -> Iterator[View]:
    """Give the vectors of one site and position in every other basis, one after the other, or why there are none.

    Args:
        sample: finite vectors.
        reference: which of them are of the reference group.
        groups: the group of each.
        head: the unembedding.
        norm: the final norm, needed before it.
    """
    d = sample.vectors.shape[1]
    inside = sample.vectors[reference]
    yield names.CENTRED, sample.vectors - inside.mean(axis=0, dtype=np.float64)
    yield names.PCA, _pca(sample, reference)
    yield names.PCA_POOLED, _pca_pooled(sample, groups)
    yield names.UNEMBED, _unembed(sample, head, norm)
    for m, name in enumerate(names.WITHOUT_TOP, start=1):
        if d - m < 2:
            yield name, Unread(f"the site has {d} coordinates")
        else:
            yield name, without(sample.vectors, outlier_dimensions(inside, m=m).dimensions)


def _pca(sample: Sample, reference: Bool[np.ndarray, " rows"]) -> np.ndarray | Unread:
    found = np.empty(sample.vectors.shape)
    for mine, fitted in _cross_fitted(sample):
        seen = sample.vectors[reference & fitted]
        if len(seen) <= seen.shape[1]:
            return _too_few("the reference", seen)
        axes = principal_axes(seen)
        found[mine] = (sample.vectors[mine] - axes.centre) @ axes.directions
    return found


def _pca_pooled(sample: Sample, groups: np.ndarray) -> np.ndarray | Unread:
    found = np.empty(sample.vectors.shape)
    for mine, fitted in _cross_fitted(sample):
        seen = sample.vectors[fitted]
        if len(seen) <= seen.shape[1]:
            return _too_few("the reservoir", seen)
        _, group, sizes = np.unique(groups[fitted], return_inverse=True, return_counts=True)
        found[mine] = sample.vectors[mine] @ principal_axes(seen, 1 / sizes[group]).directions
    return found


def _cross_fitted(sample: Sample) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Each half of the items beside the half that its axes come from."""
    half = sample.item % 2 == 0
    yield half, ~half
    yield ~half, half


def _too_few(of: str, seen: np.ndarray) -> Unread:
    n, d = seen.shape
    return Unread(f"half of {of} has {n} vectors of {d} coordinates; it needs more than those")


def _unembed(sample: Sample, head: Unembedding | Unread, norm: FinalNorm | Unread) -> np.ndarray | Unread:
    if isinstance(head, Unread):
        return head
    if sample.site.kind not in RESIDUAL or sample.site.stack:
        return Unread("vectors of this site are not in the coordinates that the unembedding reads")
    if sample.site.kind is SiteKind.FINAL_NORM:
        return sample.vectors @ head.axes
    return norm if isinstance(norm, Unread) else norm.linear(torch.from_numpy(sample.vectors)).numpy() @ head.axes


def reading(sample: Sample, basis: str, vectors: np.ndarray, metrics: Sequence[MetricSpec]) -> Reading:
    """Metrics of a sample in one basis: token by token for ``last``, their mean per item for ``mean``."""
    threads = torch.get_num_threads()
    columns = profile(np.ascontiguousarray(vectors, dtype=np.float32), metrics=metrics, threads=threads)
    values = np.stack([np.asarray(columns[str(spec)], dtype=np.float32) for spec in metrics], axis=-1)
    return reading_of(sample, basis, values)


def reading_of(sample: Sample, basis: str, values: np.ndarray) -> Reading:
    """Values of a sample, a column per metric: token by token for ``last``, their mean per item for ``mean``."""
    undefined = np.isnan(values)
    if sample.position == "last":
        return Reading(
            sample.site, sample.position, -1, basis, sample.item, sample.token, values, undefined.astype("i4")
        )
    items, means = per_item(values, sample.item)
    counts = np.stack([np.bincount(sample.item, undefined[:, k])[items] for k in range(values.shape[1])], axis=-1)
    token = np.full(len(items), -1, dtype=np.int32)
    return Reading(
        sample.site, sample.position, -1, basis, items, token, means.astype(np.float32), counts.astype(np.int32)
    )
