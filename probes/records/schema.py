"""The tables of a sweep: the one place where a column name is spelled.

A sweep is a small star: one row per input and vector in ``measurements``, wide rows per token in
``token_measurements``, and narrow tables around them that say what the run, the item and the prompt were. Names repeat
a lot and are dictionary-encoded; values are float32, which is what the hook computed in.

A position of ``all`` goes to ``token_measurements``, whose metric columns differ from part to part: that table's schema
here holds its key columns, and :func:`token_measurements` adds one float32 column per metric.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, Literal

import pyarrow as pa

SCHEMA_VERSION: Final = 5
READABLE: Final = (1, 2, 3, 4, 5)  # 2 added compactions, 3 states, 4 next_tokens, 5 states of every token

Table = Literal[
    "runs",
    "examples",
    "inputs",
    "measurements",
    "token_measurements",
    "populations",
    "outcomes",
    "next_tokens",
    "familiarity",
    "familiarity_tokens",
    "states",
    "failures",
]

NAME: Final = pa.dictionary(pa.int32(), pa.string())

# The parts of a measurement's identity that stand in its row; with the metric's version they make the cell.
WHERE: Final = [
    ("site", NAME),
    ("layer", pa.int16()),
    ("unit", pa.int32()),
    ("basis", NAME),
]
ITEM: Final = [("run_id", NAME), ("example_id", NAME)]

SCHEMAS: Final[dict[Table, pa.Schema]] = {
    "runs": pa.schema(
        [
            ("run_id", pa.string()),
            ("model", pa.string()),
            ("revision", pa.string()),
            ("step", pa.int64()),
            ("model_seed", pa.int64()),
            ("dtype", pa.string()),
            ("device", pa.string()),
            ("suite", pa.string()),
            ("suite_version", pa.string()),
            ("spec_json", pa.string()),
            ("versions", pa.string()),
            ("seed", pa.int64()),
            ("started", pa.string()),
            ("status", pa.string()),
        ]
    ),
    "examples": pa.schema(
        [
            ("example_id", pa.string()),
            ("suite", NAME),
            ("axis", NAME),
            ("level", pa.float64()),
            ("level_name", NAME),
            ("split", NAME),
            ("cluster", pa.string()),
            ("text", pa.string()),
            ("target", pa.string()),
            ("n_bytes", pa.int32()),
            ("attrs", pa.string()),
        ]
    ),
    "inputs": pa.schema(
        [
            *ITEM,
            ("n_tokens", pa.int32()),
            ("n_special", pa.int32()),
            ("text_start", pa.int32()),  # tokens of the item's text: what positions and familiarity are about
            ("text_end", pa.int32()),
            ("n_control", pa.int32()),  # special tokens that the text spells out
            ("truncated", pa.bool_()),
            ("prompt_sha", pa.string()),
            ("token_ids", pa.list_(pa.int32())),
            ("char_starts", pa.list_(pa.int32())),
        ]
    ),
    "measurements": pa.schema(
        [
            *ITEM,
            *WHERE,
            ("position", NAME),
            ("token", pa.int32()),
            ("metric", NAME),
            ("value", pa.float32()),
            ("n_undefined", pa.int32()),
        ]
    ),
    "token_measurements": pa.schema([*ITEM, *WHERE, ("token", pa.int32())]),
    "populations": pa.schema(
        [
            ("run_id", NAME),
            ("group", NAME),
            *WHERE,
            ("position", NAME),
            ("metric", NAME),
            ("value", pa.float64()),
            ("ci_low", pa.float64()),
            ("ci_high", pa.float64()),
            ("n_vectors", pa.int64()),
        ]
    ),
    "outcomes": pa.schema([*ITEM, ("name", NAME), ("value", pa.float64())]),
    "next_tokens": pa.schema([*ITEM, ("tokens", pa.list_(pa.int32())), ("chances", pa.list_(pa.float32()))]),
    "familiarity": pa.schema([*ITEM, ("measure", NAME), ("corpus", NAME), ("value", pa.float64())]),
    "familiarity_tokens": pa.schema(
        [
            *ITEM,
            ("token", pa.int32()),
            ("char_start", pa.int32()),
            ("char_end", pa.int32()),
            ("measure", NAME),
            ("corpus", NAME),
            ("value", pa.float64()),
        ]
    ),
    # vectors as the bytes of their dtype; parts of this table are safetensors, see probes.records.tensors
    "states": pa.schema(
        [
            *ITEM,
            ("site", NAME),
            ("layer", pa.int16()),
            ("position", NAME),
            ("dtype", NAME),
            ("token", pa.int32()),  # of the first vector; -1 (or null) where one vector stands for the item
            ("n_vectors", pa.int32()),  # of so many tokens that follow each other, back to back
            ("vector", pa.large_binary()),
        ]
    ),
    "failures": pa.schema([*ITEM, ("stage", NAME), ("error", pa.string())]),
}

ONE_ROW_PER: Final[dict[Table, str]] = {
    "runs": "model and suite",
    "examples": "item: its text, target, axis, level, split and cluster",
    "inputs": "item and run: the tokens as the model read them",
    "measurements": "item, site, layer, position and metric, for positions that give one value per item",
    "token_measurements": "token, site and layer, with one column per metric (position `all`)",
    "populations": "group of items, site, layer and measure of a set of vectors or of single coordinates (controls)",
    "outcomes": "item and outcome (losses in nats per target token, entropies in nats), also under interventions",
    "next_tokens": "item: the tokens likeliest to follow it and their probabilities (outcome `next_tokens`)",
    "familiarity": "item, familiarity measure and corpus",
    "familiarity_tokens": "token, familiarity measure and corpus",
    "states": "item (position `all`: token) and site of those under `states`: the vector (safetensors)",
    "failures": "item that could not be measured or was left out, and why",
}

FAMILIARITY_STAGE: Final = "familiarity"  # of rows of ``failures`` that say why one value is NaN

TABLES: Final[tuple[Table, ...]] = tuple(SCHEMAS)


def token_measurements(metrics: Iterable[str]) -> pa.Schema:
    """Schema of a ``token_measurements`` part: its keys and one float32 column per metric."""
    schema = SCHEMAS["token_measurements"]
    for metric in metrics:
        schema = schema.append(pa.field(metric, pa.float32()))
    return schema
