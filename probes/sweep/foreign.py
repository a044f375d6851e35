"""A sweep directory made of states that another engine wrote: the same tables, and no model was run.

What a model's own sweep knows and such files do not (texts, outcomes, familiarity, controls) is not there, and
questions about it have no answer. The directory can be read, reported and compared; it cannot be gone on with.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

import pyarrow as pa

from probes.capture.engine_states import Entry
from probes.capture.reading import Reading
from probes.errors import InputError
from probes.records.cells import Block, Done
from probes.records.rows import measurement_rows
from probes.records.schema import SCHEMAS, Table
from probes.records.sessions import MANIFEST, manifest
from probes.records.store import Writer
from probes.sweep.provenance import package_versions
from probes.vocabulary.axes import Axis
from probes.vocabulary.run_facts import RunFacts
from sparsity import MetricSpec

RUN_ID_DIGITS: Final = 16
UNKNOWN: Final = "another engine"


def write_foreign(
    directory: Path,
    entries: Sequence[Entry],
    readings: Sequence[Reading],
    metrics: Sequence[MetricSpec],
    *,
    model: str,
    suite: str,
    axis: Axis,
    widths: dict[str, int],
    n_tokens: Iterable[int],
) -> None:
    """Write one run into a new directory.

    Args:
        directory: made; it must not hold anything.
        entries: the texts.
        readings: their measures, items numbered as the texts are.
        metrics: the columns of the readings.
        model: what the model is called.
        suite: what the texts are called together.
        axis: what their levels measure.
        widths: coordinates at each kind of site.
        n_tokens: of each text.

    Raises:
        InputError: if the directory holds something already.
    """
    if directory.exists() and any(directory.iterdir()):
        raise InputError(f"{directory} is not empty; name a new directory with --out")
    ids = [f"{suite}:{entry.id}" for entry in entries]
    names = [str(metric) for metric in metrics]
    identity = json.dumps([model, suite, ids, names, [reading.values.tolist() for reading in readings]])
    run_id = hashlib.sha256(identity.encode()).hexdigest()[:RUN_ID_DIGITS]
    values = measurement_rows(readings, run_id=run_id, example_ids=ids, metrics=names)
    layers = [reading.site.layer for reading in readings]
    facts = RunFacts(
        model=model,
        weights=UNKNOWN,
        n_layers=max(layers) + 1,
        d_model=max(widths.values()),
        widths=widths,
        axis=axis,
        n_items=len(entries),
        suite_source=UNKNOWN,
        metrics=tuple(metric.versioned for metric in metrics),
    )
    started = dt.datetime.now(dt.UTC).isoformat(timespec="seconds")
    run = {
        "run_id": run_id,
        "model": model,
        "dtype": UNKNOWN,
        "device": UNKNOWN,
        "suite": suite,
        "suite_version": "1",
        "spec_json": facts.to_json(),
        "versions": json.dumps(package_versions()),
        "seed": 0,
        "started": started,
        "status": "done",
    }
    about = {MANIFEST: manifest([{"started": started, "packages": package_versions(), "device": UNKNOWN}])}
    sites = tuple(dict.fromkeys(str(reading.site) for reading in readings))
    positions = tuple(dict.fromkeys(reading.position for reading in readings))
    block = Block(sites=sites, bases=("raw",), positions=positions, metrics=facts.metrics)
    inputs = [
        {"run_id": run_id, "example_id": name, "n_tokens": n, "n_special": 0, "n_control": 0, "truncated": False}
        for name, n in zip(ids, n_tokens, strict=True)
    ]
    with Writer.open(directory, lambda: about) as writer:
        tables: dict[Table, pa.Table] = {
            "runs": pa.Table.from_pylist([run], schema=SCHEMAS["runs"]),
            "examples": pa.Table.from_pylist(_examples(entries, ids, suite, axis), schema=SCHEMAS["examples"]),
            "inputs": pa.Table.from_pylist(inputs, schema=SCHEMAS["inputs"]),
            "measurements": values,
        }
        writer.commit(tables, [Done(run_id, tuple(ids), block)])


def _examples(entries: Sequence[Entry], ids: Sequence[str], suite: str, axis: Axis) -> list[dict[str, object]]:
    return [
        {
            "example_id": name,
            "suite": suite,
            "axis": axis.name,
            "level": entry.level,
            "level_name": entry.level_name or entry.split,
            "split": entry.split,
            "cluster": entry.cluster or name,
            "attrs": "{}",
        }
        for name, entry in zip(ids, entries, strict=True)
    ]
