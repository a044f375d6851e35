"""List of what was run, as the page prints it: read from the tables, judged nowhere."""

from __future__ import annotations

from collections import Counter
from typing import Final, NamedTuple, cast

import numpy as np
import pandas as pd

from analyses.data.panels import place
from analyses.data.runs import Run, facts
from analyses.findings.formatting import short_model
from analyses.reporting.losses import LEFT_OUT, ControlsRow, Loss, take_controls, take_losses


class RunRow(NamedTuple):
    """One model x suite as the page shows it."""

    model: str
    dtype: str
    device: str
    suite: str
    version: str
    axis: str
    n_items: int
    levels: str
    tokens: str
    template: str
    bos: str
    max_tokens: str
    n_truncated: int
    n_failed: int
    left_out: str
    status: str


class UndefinedRow(NamedTuple):
    """Share of a measure that is undefined."""

    metric: str
    n_values: int
    n_undefined_values: int
    n_undefined_tokens: int


class FailureRow(NamedTuple):
    """Items that failed for one reason."""

    suite: str
    stage: str
    error: str
    n: int


class Inventory(NamedTuple):
    """List of what was run and what is missing.

    Attributes:
        runs: one row per model x suite.
        sites: places measured, in the order of a forward pass where known.
        positions: selectors.
        metrics: measures as the tables spell them.
        versions: packages and their versions.
        started: when the first run began.
        undefined: undefined values per measure.
        failures: failed items, equal reasons together.
        losses: what was cut, failed or has no value, by group.
        controls: what the controls of each run came to.
        constant_length: number of tokens, where every item of the sweep has the same; else 0.
        n_rows: measurement rows.
    """

    runs: list[RunRow]
    sites: list[str]
    positions: list[str]
    metrics: list[str]
    versions: dict[str, str]
    started: str
    undefined: list[UndefinedRow]
    failures: list[FailureRow]
    losses: list[Loss]
    controls: list[ControlsRow]
    constant_length: int
    n_rows: int

    @property
    def settings(self) -> list[str]:
        """Describe how the prompts were made and read, for the first screen; one line where all runs agree."""
        lines = dict.fromkeys(
            f"dtype {row.dtype}; template {row.template}; BOS {row.bos}; max_tokens {row.max_tokens}"
            for row in self.runs
        )
        n = sum(row.n_items for row in self.runs)
        cut = sum(row.n_truncated for row in self.runs)
        gone = sum(row.n_undefined_values for row in self.undefined)
        values = sum(row.n_values for row in self.undefined)
        lost = [f"{gone:,} of {values:,} values are undefined or not finite and left out"] if gone else []
        return [*lines, f"{cut:,} of {n:,} prompts were cut to max_tokens" if cut else "no prompt was cut", *lost]


def take_inventory(run: Run) -> Inventory:
    """Count what a sweep holds; empty tables give empty lists."""
    runs, examples, inputs, failures = run.runs(), run.examples(), run.inputs(), run.failures()
    rows, tokens = run.measurements(basis=None), run.token_measurements()
    places = _places(rows) + [name for name in _places(tokens) if name not in _places(rows)]
    lengths = inputs["n_tokens"].to_numpy(np.float64)
    constant = len(lengths) > 0 and np.ptp(lengths) == 0
    metrics = [str(name) for name in pd.unique(rows["metric"].astype(object))] if len(rows) else []
    token_metrics = [name for name in tokens.columns if name not in KEYS]
    return Inventory(
        runs=[_run_row(row, examples, inputs, failures) for _, row in runs.iterrows()],
        sites=places,
        positions=[str(name) for name in pd.unique(rows["position"].astype(object))] + (["all"] if len(tokens) else []),
        metrics=metrics + [name for name in token_metrics if name not in metrics and len(tokens)],
        versions=_versions(runs),
        started=str(runs["started"].min()) if len(runs) else "",
        undefined=_undefined(rows),
        failures=_failures(failures),
        losses=take_losses(run),
        controls=take_controls(run),
        constant_length=int(lengths[0]) if constant else 0,
        n_rows=len(rows) + len(tokens),
    )


MOST_REASONS: Final = 20
MOST_LEVELS_LISTED: Final = 16
KEYS: Final = frozenset({"run_id", "example_id", "site", "layer", "unit", "basis", "token"})


def _places(rows: pd.DataFrame) -> list[str]:
    if rows.empty:
        return []
    pairs = rows[["site", "layer"]].drop_duplicates().sort_values("layer", kind="stable")
    return [place(str(site), int(layer)) for site, layer in zip(pairs["site"], pairs["layer"], strict=True)]


def _run_row(row: pd.Series, examples: pd.DataFrame, inputs: pd.DataFrame, failures: pd.DataFrame) -> RunRow:
    run_id, suite = str(row["run_id"]), str(row["suite"])
    own = inputs[inputs["run_id"] == run_id]
    items = examples[examples["example_id"].isin(own["example_id"])]
    settings = facts(str(row["spec_json"]))
    recorded = settings.get("axis", {})
    lengths = own["n_tokens"].to_numpy(np.float64)
    if not len(lengths):
        tokens = ""
    elif np.ptp(lengths) == 0:
        tokens = f"{lengths[0]:.0f}"
    else:
        tokens = f"{lengths.min():.0f} to {lengths.max():.0f}, median {np.median(lengths):.0f}"
    return RunRow(
        model=short_model(str(row["model"])),
        dtype=str(row["dtype"]),
        device=str(row["device"]),
        suite=suite,
        version=str(row["suite_version"]),
        axis=f"{recorded.get('name', '')} ({recorded.get('kind', 'not recorded')})".strip(),
        n_items=len(own),
        levels=_level_counts(items),
        tokens=tokens,
        template=_setting(settings.get("template"), "none"),
        bos=_setting(settings.get("bos"), "not recorded"),
        max_tokens=_setting(settings.get("max_tokens"), "no limit"),
        n_truncated=int(own["truncated"].sum()),
        n_failed=int(((failures["run_id"] == run_id) & (failures["stage"] != LEFT_OUT)).sum()),
        left_out=_level_counts(examples[examples["example_id"].isin(_left_out(failures, run_id))]),
        status=str(row["status"]),
    )


def _setting(value: object, absent: str) -> str:
    """A setting in words; a mapping as its entries."""
    if value is None or value == "":
        return absent
    if isinstance(value, dict):
        return ", ".join(f"{name}: {entry}" for name, entry in cast("dict[str, object]", value).items())
    return str(value)


def _left_out(failures: pd.DataFrame, run_id: str) -> pd.Series:
    return failures.loc[(failures["run_id"] == run_id) & (failures["stage"] == LEFT_OUT), "example_id"]


def _level_counts(items: pd.DataFrame) -> str:
    names = items["level_name"].astype(object).fillna("").astype(str)
    written = ["" if np.isnan(level) else f"{level:g}" for level in items["level"].to_numpy(np.float64)]
    labels = names.where(names != "", pd.Series(written, index=items.index, dtype=object))
    order = items["level"].to_numpy(np.float64).argsort(kind="stable")
    written_in_order: list[str] = [str(label) for label in labels.to_numpy(object)[order]]
    counts = Counter(written_in_order)
    if len(counts) > MOST_LEVELS_LISTED or list(counts) == [""]:
        return f"{len(counts)} levels" if len(counts) > 1 else ""
    return ", ".join(f"{name}: {count}" for name, count in counts.items() if name)


def _versions(runs: pd.DataFrame) -> dict[str, str]:
    found: dict[str, str] = {}
    for text in runs["versions"].astype(str):
        found |= {name: str(version) for name, version in facts(text).items()}
    return found


def _undefined(rows: pd.DataFrame) -> list[UndefinedRow]:
    if rows.empty:
        return []
    table = pd.DataFrame(
        {
            "metric": rows["metric"],
            "missing": ~np.isfinite(rows["value"].to_numpy(np.float64)),
            "tokens": rows["n_undefined"].to_numpy(np.int64),
        }
    )
    counted = table.groupby("metric", observed=True, sort=False).agg(["size", "sum"]).to_numpy(np.int64)
    names = [str(name) for name in pd.unique(table["metric"].astype(object))]
    return [UndefinedRow(name, int(row[0]), int(row[1]), int(row[3])) for name, row in zip(names, counted, strict=True)]


def _failures(failures: pd.DataFrame) -> list[FailureRow]:
    failures = failures[failures["stage"] != LEFT_OUT]
    if failures.empty:
        return []
    suite = failures["example_id"].astype(str).str.partition(":")[0]
    reasons = zip(suite, failures["stage"].astype(str), failures["error"].astype(str), strict=True)
    return [FailureRow(*reason, n) for reason, n in Counter(reasons).most_common(MOST_REASONS)]
