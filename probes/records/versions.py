"""Versions of the metrics behind rows.

A formula that changes its meaning raises its metric's version, and cells are owed in the new one. Rows name a metric
without its version; each part holds every metric in one version only, and says which in its file's metadata, beside the
schema version: ``["gini@1", "top_k_energy(0.1)@1"]``. So rows of a sweep that went on under another version can be told
apart for ever, also by readers that know nothing but Parquet. Parts of older sweeps do not say it; theirs are the
versions that their commit settled cells in.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, cast

import pyarrow as pa
import pyarrow.parquet as pq

from probes.records.arrow import compute
from probes.records.cells import Done
from probes.records.schema import SCHEMAS
from sparsity import MetricSpec
from sparsity.population import POPULATION
from sparsity.registry import UnknownNameError

KEY: Final = b"metrics"  # in the metadata of a part
UNTOLD: Final = "?"  # of rows that an earlier toolkit compacted together, in several versions
TOKENS: Final = "token_measurements"
VERSIONED: Final = frozenset({"measurements", TOKENS, "populations"})

Versions = Mapping[str, str]


def recorded(done: Iterable[Done]) -> Mapping[str, frozenset[str]]:
    """The versions in which each metric is recorded: ``gini`` -> ``{"1"}``."""
    found: dict[str, set[str]] = {}
    for block in {entry.block for entry in done}:
        for name, version in map(parted, block.metrics):
            found.setdefault(name, set()).add(version)
    return {name: frozenset(numbers) for name, numbers in found.items()}


def parted(text: str) -> tuple[str, str]:
    """Name and version of a versioned metric; no version is empty.

    >>> parted("top_k_energy(0.1)@2"), parted("gini")
    (('top_k_energy(0.1)', '2'), ('gini', ''))
    """
    name, _, version = text.rpartition("@")
    return (name, version) if name else (text, "")


def in_words(versions: Iterable[str]) -> str:
    """Versions as people list them, the oldest first.

    >>> in_words({"10", "2"}), in_words(["1", "?"])
    ('2 and 10', '1 and one that is not recorded')
    """
    ordered = sorted(versions, key=lambda one: (one == UNTOLD, len(one), one))
    return " and ".join("one that is not recorded" if one == UNTOLD else one for one in ordered)


def newest(versions: Iterable[str]) -> str:
    """The highest version."""
    return max(versions, key=lambda one: int(one) if one.isdecimal() else -1)


def stamped(table: str, rows: pa.Table, done: Sequence[Done] = (), versions: Versions | None = None) -> pa.Table:
    """Rows whose metadata say in which version each of their metrics is; rows that say it already stay as they are.

    Args:
        table: the table that they are of.
        rows: the rows.
        done: the cells that they settle; a metric that none names (those of controls) is in the version of today.
        versions: what is known of rows that were read.
    """
    metadata: dict[bytes, bytes] = cast("Any", rows.schema).metadata or {}
    if table not in VERSIONED or KEY in metadata:
        return rows
    settled = {name: next(iter(found)) for name, found in recorded(done).items()} if versions is None else versions
    names = (_with_version(name, settled, today=versions is None) for name in metrics_in(table, rows))
    told = json.dumps([name for name in names if name is not None]).encode()
    return rows.replace_schema_metadata({**metadata, KEY: told})


def versions_in(file: Path, done: Sequence[Done], known: Mapping[str, frozenset[str]]) -> Versions:
    """The version of each metric in a part.

    Args:
        file: the part.
        done: the cells that its commit settled, believed where the part says nothing.
        known: the versions recorded in the whole sweep.

    Returns:
        Name to version, :data:`UNTOLD` where nobody can tell; names that are in one version everywhere may be missing.
    """
    metadata: dict[bytes, bytes] = cast("Any", pq.read_schema(file)).metadata or {}
    told = metadata.get(KEY)
    if told is not None:
        return dict(map(parted, json.loads(told)))
    own = {**known, **recorded(done)}
    return {name: next(iter(found)) if len(found) == 1 else UNTOLD for name, found in own.items()}


def compatible(files: Iterable[tuple[str, Versions]]) -> list[tuple[list[str], dict[str, str]]]:
    """Files in as few groups as one pass makes, none of which holds a metric in two versions.

    >>> compatible([("a", {"gini": "1"}), ("b", {"gini": "2"}), ("c", {"hoyer": "1"})])
    [(['a', 'c'], {'gini': '1', 'hoyer': '1'}), (['b'], {'gini': '2'})]
    """
    groups: list[tuple[list[str], dict[str, str]]] = []
    for file, versions in files:
        fitting = (group for group in groups if all(group[1].get(name, one) == one for name, one in versions.items()))
        found = next(fitting, None)
        if found is None:
            groups.append(found := (list[str](), dict[str, str]()))
        found[0].append(file)
        found[1].update(versions)
    return groups


def of_versions(table: str, rows: pa.Table, versions: Versions, accepted: Mapping[str, frozenset[str]]) -> pa.Table:
    """Rows of one part, less those of versions that are not accepted.

    Where two versions of a metric are accepted, rows (columns, of tokens) are named with theirs: ``gini@2``.
    """

    def name_of(metric: str) -> str | None:
        version, wanted = versions.get(metric, UNTOLD), accepted.get(metric)
        if wanted is None:
            return metric
        return None if version not in wanted else metric if len(wanted) == 1 else f"{metric}@{version}"

    if table == TOKENS:
        called = {metric: name_of(metric) for metric in metrics_in(table, rows)}
        left = [name for name in rows.column_names if called.get(name, name) is not None]
        return rows.select(left).rename_columns([called.get(name) or name for name in left])
    metric: Any = rows.column("metric").to_pandas()
    named = metric.map({name: name_of(name) for name in metrics_in(table, rows)})
    renamed = cast("Any", pa).array(named.astype(object), pa.string(), from_pandas=True).dictionary_encode()
    changed: Any = cast("Any", rows).set_column(rows.column_names.index("metric"), "metric", renamed)
    return changed.filter(compute.is_valid(renamed))


def metrics_in(table: str, rows: pa.Table) -> list[str]:
    """The metrics of some rows: names in a column, or columns of their own."""
    if table == TOKENS:
        keys = set(SCHEMAS[TOKENS].names)
        return [name for name in rows.column_names if name not in keys]
    return [str(name) for name in cast("Any", rows.column("metric")).unique().to_pylist()]


def _with_version(name: str, settled: Versions, *, today: bool) -> str | None:
    """``name@version``; None for quantities that have none."""
    version = settled.get(name) or (_of_today(name) if today else None)
    return None if version is None else f"{name}@{version}"


def _of_today(name: str) -> str | None:
    try:
        return str(MetricSpec.parse(name).record.version)
    except (UnknownNameError, ValueError):
        return str(POPULATION[name].version) if name in POPULATION else None
