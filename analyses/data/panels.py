"""From tidy tables to panels: the items of one model on one axis as rows, what was measured of them as columns.

A sweep stores one row per number. Statistics want the opposite: all measures of the same items side by side, so that
one set of resamples serves every column and their dependence is kept. A :class:`Panel` is that matrix with the facts
about its items beside it, read once and without copies of text.

Suites with one axis are pooled where an axis has no order (domains), and where a suite holds one level only and so
could answer nothing alone (one file per level). A suite with levels of its own is a panel of its own.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Final, NamedTuple

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float, Int

from analyses.data.parallel import sources_of
from analyses.data.runs import Run, axis_of, facts, remember
from probes.vocabulary.axes import Axis
from probes.vocabulary.names import RAW
from probes.vocabulary.naming import PATHS, told_apart
from probes.vocabulary.sites import UNLAYERED

WHOLE: Final = -1  # `unit` of a row that is about the whole vector, `token` of one that is about several
ALL_TOKENS: Final = "all"
CHECKPOINT: Final = re.compile(r"(/checkpoints)?/step-?\d+/?$")


class Column(NamedTuple):
    """One measure at one place, over the positions asked for, in one basis."""

    site: str
    layer: int
    position: str
    metric: str
    basis: str = RAW

    @property
    def place(self) -> str:
        """The site as people write it: ``resid_post.3``, ``final_norm``."""
        return place(self.site, self.layer)


@dataclass(frozen=True, slots=True, kw_only=True)
class Panel:
    """The items of one model on one axis, and everything measured of them.

    Attributes:
        model: which model, as the sweep names it.
        suites: the suites the items come from.
        axis: the axis that the suites lie on.
        items: one row per item: suite, level, label, shifted, cluster (a number), n_tokens, n_bytes, n_text_tokens, the
            last token, the template and kin (whom it is about) where they are known, one column ``outcome:<name>`` per
            outcome, and ``token:<position>`` with the index of the token per position that is one.
        columns: what was measured.
        values: shape ``(items, columns)``, NaN where undefined or not measured.
        widths: number of coordinates behind each column; NaN where it is not recorded.
        run_ids: the runs that the rows come from.
    """

    model: str
    suites: tuple[str, ...]
    axis: Axis
    items: pd.DataFrame
    columns: tuple[Column, ...]
    values: Float[np.ndarray, "items columns"]
    widths: Float[np.ndarray, " columns"]
    run_ids: tuple[str, ...] = ()

    @property
    def suite(self) -> str:
        """Common name of the panel's suites."""
        return " + ".join(self.suites)

    @property
    def levels(self) -> Float[np.ndarray, " items"]:
        """Place of each item on the axis; NaN where it has none."""
        return self.items["level"].to_numpy(dtype=np.float64)

    @property
    def labels(self) -> np.ndarray:
        """Name of each item's level or domain."""
        return self.items["label"].to_numpy(dtype=object)

    @property
    def shifted(self) -> Bool[np.ndarray, " items"]:
        """Mask of the items that are not from the in-distribution split."""
        return self.items["shifted"].to_numpy(dtype=bool)

    @property
    def clusters(self) -> Int[np.ndarray, " items"]:
        """Cluster of every item, as a number."""
        return self.items["cluster"].to_numpy(dtype=np.int64)

    def outcome(self, name: str) -> Float[np.ndarray, " items"] | None:
        """One outcome of every item, or None where the sweep did not record it."""
        key = OUTCOME + name
        return self.items[key].to_numpy(dtype=np.float64) if key in self.items else None

    def token(self, position: str) -> Float[np.ndarray, " items"] | None:
        """Index of the token that a position is in each item; None where it is several, or always the last."""
        key = INDEX + position
        if key not in self.items:
            return None
        index = self.items[key].to_numpy(dtype=np.float64)
        behind = self.items["n_tokens"].to_numpy(dtype=np.float64) - index
        known = np.isfinite(behind)
        return index if known.any() and np.ptp(behind[known]) > 0 else None

    def of_items(self, example_ids: pd.Index) -> Panel:
        """The same panel with these of its items only, in this order."""
        rows = self.items.index.get_indexer(example_ids)
        rows = rows[rows >= 0]
        return replace(self, items=self.items.iloc[rows], values=self.values[rows])

    def find(self, column: Column) -> int | None:
        """Index of the column that measures the same thing in whichever basis this panel has; None if there is none."""
        return next((index for index, own in enumerate(self.columns) if own[:4] == column[:4]), None)


OUTCOME: Final = "outcome:"
INDEX: Final = "token:"
LAST_READ: Final = "last_token"
TEMPLATE: Final = "template"
KIN: Final = "kin"
ASKED: Final = (
    TEMPLATE,
    "relation",
)  # attributes of an item that say in which words it is asked, the first that is there


def place(site: str, layer: int) -> str:
    """A site with its layer, as people write it.

    >>> place("resid_post", 3), place("final_norm", 5)
    ('resid_post.3', 'final_norm')
    """
    return site if site.rpartition(".")[2] in UNLAYERED else f"{site}.{layer}"


def read_panels(run: Run, kinds: Sequence[str], basis: str = RAW) -> list[Panel]:
    """All panels of a run whose axis is of one of these kinds, kinds in this order, then as the sweep has them.

    Only the measurements of matching suites are read. Rows about single heads or experts are left to analyses of their
    own; rows in other bases than the raw one are read by asking for them, and hold the items that were drawn for it.
    """
    found = (
        remember(run, f"panels {kind} {basis}", partial(_panels, run, kind, basis, every_step=False)) for kind in kinds
    )
    return [panel for panels in found for panel in panels]


def read_checkpoints(run: Run, kinds: Sequence[str]) -> list[Panel]:
    """The same in the raw basis with every checkpoint of a training as a panel of its own."""
    return [panel for kind in kinds for panel in _panels(run, kind, RAW, every_step=True)]


def lineage(model: str) -> str:
    """A model's name without the checkpoint: all checkpoints of one training are one model.

    >>> lineage("lab/seed-0/checkpoints/step-000034"), lineage("lab/seed-0"), lineage("EleutherAI/pythia-70m")
    ('lab/seed-0', 'lab/seed-0', 'EleutherAI/pythia-70m')
    """
    return CHECKPOINT.sub("", model)


def _last_steps(runs: pd.DataFrame) -> pd.DataFrame:
    """Of the checkpoints of one training on one suite only the last; runs without a step stand alone."""
    steps = runs["step"].astype("Float64").astype(np.float64)
    own = runs.assign(step=steps, lineage=runs["model"].astype(str).map(lineage)).sort_values("step", kind="stable")
    seeds = runs["model_seed"].astype("Float64").astype(np.float64).fillna(-1.0)
    keys = [own["lineage"], own["suite"].astype(str), own["dtype"].astype(str), seeds[own.index]]
    is_last = ~pd.concat(keys, axis=1).duplicated(keep="last")
    return runs[(is_last | own["step"].isna()).reindex(runs.index)]


def _panels(run: Run, kind: str, basis: str, *, every_step: bool) -> list[Panel]:
    runs = run.runs()
    runs = runs if every_step else _last_steps(runs)
    examples = run.examples()
    examples = examples.drop(columns=[name for name in ("text", "target") if name in examples])
    axes = _axes(runs, examples)
    wanted = [suite for suite, axis in axes.items() if axis.kind == kind]
    if not wanted:
        return []
    labels = model_labels(runs)
    runs = runs[runs["suite"].isin(wanted)]
    rows = _long(run, wanted, basis)
    if rows.empty:
        return []
    inputs, outcomes = run.inputs(), run.outcomes()
    panels: list[Panel] = []
    for model, own in runs.groupby(labels[runs.index], sort=False):
        for suites in _pools(list(dict.fromkeys(own["suite"].astype(str))), axes, examples):
            run_ids = list(own.loc[own["suite"].isin(suites), "run_id"].astype(str))
            selected = rows[rows["run_id"].isin(run_ids)]
            if len(selected):
                items = _items(selected, examples, inputs, outcomes, run_ids)
                columns, values, widths = _pivot(selected, items, run, basis)
                panels.append(
                    Panel(
                        model=str(model),
                        suites=tuple(suites),
                        axis=axes[suites[0]],
                        items=items,
                        columns=columns,
                        values=values,
                        widths=widths,
                        run_ids=tuple(run_ids),
                    )
                )
    return panels


def model_labels(runs: pd.DataFrame) -> pd.Series:
    """The model's name; where one name was run twice on a suite (two dtypes, say), with what tells them apart."""
    asked = [str(name) for name in runs["model"]]
    apart = told_apart(asked)
    # a path is shown by its last part, and two paths may share it: theirs are shortened here, as far as they differ
    shown = [apart[name] if name.startswith(PATHS) and "/" in apart[name] else name for name in asked]
    names = pd.Series(shown, index=runs.index, dtype=str)
    twice = runs.assign(model=names).duplicated(["model", "suite"], keep=False)
    several = names.isin(set(names[twice]))
    details = runs["dtype"].astype(str) + " " + runs["revision"].fillna("").astype(str)
    step = runs["step"].map(lambda step: "" if pd.isna(step) else f" step {int(step)}")
    return names.where(~several, names + " (" + (details.str.strip() + step) + ")")


def _axes(runs: pd.DataFrame, examples: pd.DataFrame) -> dict[str, Axis]:
    first = examples.drop_duplicates("suite")
    names = dict(zip(first["suite"].astype(str), first["axis"].astype(str), strict=True))
    suites = runs["suite"].astype(str)
    return {
        suite: axis_of(spec, names.get(suite, suite))
        for suite, spec in zip(suites, runs["spec_json"].astype(str), strict=True)
    }


def _pools(suites: Sequence[str], axes: dict[str, Axis], examples: pd.DataFrame) -> list[list[str]]:
    """Suites that are looked at together; see the module's docstring."""
    n_levels = examples.groupby("suite", observed=True)["level"].nunique()
    pools: dict[tuple[str, str], list[str]] = {}
    for suite in suites:
        axis = axes[suite]
        alone = axis.kind != "nominal" and int(n_levels.get(suite, 0)) > 1
        pools.setdefault((axis.name, suite if alone else ""), []).append(suite)
    return list(pools.values())


def _long(run: Run, suites: Sequence[str], basis: str) -> pd.DataFrame:
    """Measurements of whole vectors in one basis; tokens of position ``all`` as their mean per item."""
    rows = run.measurements(suite=suites, basis=basis)
    rows = rows[_whole_in(rows, basis)]
    tokens = run.token_measurements(suite=suites)
    keys = ["run_id", "example_id", "site", "layer"]
    tokens = tokens[_whole_in(tokens, basis)] if len(tokens) else tokens
    if tokens.empty:
        return rows
    metrics = [name for name in tokens.columns if name not in {*keys, "unit", "basis", "token"}]
    means = tokens.groupby(keys, observed=True, sort=False)[metrics].mean().reset_index()
    melted = means.melt(keys, var_name="metric").assign(position=ALL_TOKENS, token=WHOLE)
    return pd.concat([rows[[*keys, "position", "token", "metric", "value"]], melted]).reset_index(drop=True)


def _whole_in(rows: pd.DataFrame, basis: str) -> Bool[np.ndarray, " rows"]:
    return ((rows["unit"] == WHOLE) & (rows["basis"] == basis)).to_numpy(dtype=bool)


def by_item(rows: pd.DataFrame, items: pd.Index) -> Float[np.ndarray, " items"]:
    """The ``value`` of every item in a table with one row per item; NaN where it has none."""
    values = rows.drop_duplicates("example_id").set_index("example_id")["value"]
    return values.reindex(items).to_numpy(dtype=np.float64)


def text_tokens(inputs: pd.DataFrame) -> pd.Series:
    """Tokens of the item's own text, chat template and special tokens left out; all of the prompt in older sweeps.

    >>> text_tokens(pd.DataFrame({"n_tokens": [40, 12], "text_start": [24, None], "text_end": [30, None]})).tolist()
    [6.0, 12.0]
    """
    whole = inputs["n_tokens"].astype(np.float64)
    if "text_start" not in inputs:
        return whole
    own = inputs["text_end"].astype(np.float64) - inputs["text_start"].astype(np.float64)
    return own.where(own.notna(), whole)


def _items(
    rows: pd.DataFrame, examples: pd.DataFrame, inputs: pd.DataFrame, outcomes: pd.DataFrame, run_ids: Sequence[str]
) -> pd.DataFrame:
    """One row per measured item, with what is known about it."""
    measured = examples["example_id"].isin(pd.unique(rows["example_id"].astype(object)))
    items = examples[measured].drop_duplicates("example_id").set_index("example_id")
    cluster = items["cluster"].astype(object).where(lambda names: names.notna() & (names != ""), items.index)
    # a cluster is a name within its suite: two files may both have an item called 1
    names = items["suite"].astype(str) + "\0" + cluster.astype(str)
    if (cluster == items.index).all():
        own_names = [str(name).partition(":")[2] for name in items.index]
        sources = sources_of(own_names, _labels(items).astype(str).tolist())
        names = names if sources is None else pd.Series(sources, index=items.index)
    lengths = inputs[inputs["run_id"].isin(run_ids)].drop_duplicates("example_id").set_index("example_id")
    table = pd.DataFrame(
        {
            "suite": items["suite"].astype(str),
            "level": items["level"].astype(np.float64),
            "label": _labels(items),
            "shifted": items["split"].astype(str) == "shifted",
            "cluster": pd.factorize(names)[0],
            "n_tokens": lengths["n_tokens"].reindex(items.index).astype(np.float64),
            "n_bytes": items["n_bytes"].astype(np.float64),
            "n_text_tokens": text_tokens(lengths).reindex(items.index),
        }
    )
    if "token_ids" in lengths:
        # what a model read last says much of its state; NaN where a sweep keeps no tokens
        last = [ids[-1] if ids is not None and len(ids) else math.nan for ids in lengths["token_ids"]]
        table[LAST_READ] = pd.Series(last, index=lengths.index, dtype=np.float64).reindex(items.index)
    if "attrs" in items:
        known = [facts(attrs) if isinstance(attrs, str) and attrs != "{}" else {} for attrs in items["attrs"]]
        table[TEMPLATE] = [next((str(own[name]) for name in ASKED if name in own), None) for own in known]
        table[KIN] = [str(own["entity"]) if "entity" in own else None for own in known]
    if "token" in rows:
        single = rows[rows["token"] >= 0].drop_duplicates(["example_id", "position"])
        for position, own in single.groupby(single["position"].astype(str)):
            index = own.set_index(own["example_id"].astype(str))["token"].astype(np.float64)
            table[INDEX + str(position)] = index.reindex(items.index)
    return table.join(_outcomes_by_item(outcomes[outcomes["run_id"].isin(run_ids)], items.index))


def _outcomes_by_item(rows: pd.DataFrame, items: pd.Index) -> pd.DataFrame:
    """A column per outcome; the first of several values of an item counts, as in :func:`by_item`."""
    codes, names = pd.factorize(rows["name"].astype(object), sort=True)
    at = pd.Index(items.astype(object)).get_indexer(pd.Index(rows["example_id"].astype(object)))
    known = np.flatnonzero(at >= 0)[::-1]  # of values written to one place the last one stays
    values = np.full((len(items), len(names)), np.nan)
    values[at[known], codes[known]] = rows["value"].to_numpy(np.float64)[known]
    return pd.DataFrame(values, index=items, columns=[OUTCOME + str(name) for name in names])


def _labels(items: pd.DataFrame) -> pd.Series:
    """The level's name, else the level written out, else the suite."""
    names = items["level_name"].astype(object).fillna("").astype(str)
    written = [
        name or (suite if math.isnan(level) else f"{level:g}")
        for name, level, suite in zip(names, items["level"], items["suite"].astype(str), strict=True)
    ]
    return pd.Series(written, index=items.index, dtype=object)


def _pivot(
    rows: pd.DataFrame, items: pd.DataFrame, run: Run, basis: str
) -> tuple[tuple[Column, ...], Float[np.ndarray, "items columns"], Float[np.ndarray, " columns"]]:
    item_codes, item_names = pd.factorize(rows["example_id"])
    parts = [pd.factorize(rows[name]) for name in ("site", "layer", "position", "metric")]
    code = np.zeros(len(rows), dtype=np.int64)
    for own, names in parts:
        code = code * len(names) + own
    used, column_codes = np.unique(code, return_inverse=True)
    columns = [
        Column(str(site), int(layer), str(position), str(metric), basis)
        for site, layer, position, metric in (_names(int(number), parts) for number in used)
    ]
    row_of = items.index.get_indexer(pd.Index(np.asarray(item_names, dtype=object)))
    known = row_of[item_codes] >= 0
    values = np.full((len(items), len(columns)), np.nan)
    values[row_of[item_codes][known], column_codes.reshape(-1)[known]] = rows["value"].to_numpy(np.float64)[known]
    values[~np.isfinite(values)] = np.nan
    run_id = str(rows["run_id"].iloc[0])
    width = {site: _width(run, run_id, site) for site in {column.site for column in columns}}
    order = sorted(range(len(columns)), key=lambda i: (columns[i].position, columns[i].site, columns[i].layer))
    ordered = tuple(columns[i] for i in order)
    return ordered, values[:, order], np.array([width[column.site] for column in ordered], dtype=np.float64)


def _names(code: int, parts: Sequence[tuple[np.ndarray, Any]]) -> tuple[Any, ...]:
    found: list[Any] = []
    for _, names in reversed(parts):
        code, own = divmod(code, len(names))
        found.append(names[own])
    return tuple(reversed(found))


def _width(run: Run, run_id: str, site: str) -> float:
    try:
        return float(run.width(run_id, site))
    except (ValueError, KeyError):
        return math.nan
