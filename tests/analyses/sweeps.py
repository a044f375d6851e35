"""Sweeps made in memory, with the columns of the records schema and effects planted where a test wants them."""

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field

import numpy as np
import pandas as pd

from probes.records.schema import SCHEMAS
from probes.vocabulary.axes import Axis
from sparsity import METRICS, MetricSpec
from sparsity.nulls import gaussian

EXPOSURE = Axis(name="exposure", unit="presentations in training", kind="familiarity", harder="lower")
STEPS = Axis(name="steps", unit="calculation steps", kind="difficulty", harder="higher")
DOMAIN = Axis(name="domain", unit="", kind="nominal", harder=None)
WIDTH = 64
N_LAYERS = 4
METRIC_NAMES = ("hoyer", "participation_ratio", "l2_norm")

Effect = Callable[[str, int], float]


@dataclass(frozen=True)
class Sweep:
    """A run as analyses see it."""

    tables: dict[str, pd.DataFrame]
    widths: dict[str, int] = field(default_factory=dict)

    def runs(self):
        return self.tables["runs"]

    def examples(self):
        return self.tables["examples"]

    def inputs(self):
        return self.tables["inputs"]

    def outcomes(self):
        return self.tables["outcomes"]

    def populations(self):
        return self.tables["populations"]

    def familiarity(self):
        return self.tables["familiarity"]

    def familiarity_tokens(self):
        return self.tables["familiarity_tokens"]

    def failures(self):
        return self.tables["failures"]

    def measurements(self, *, suite=None, basis="raw"):
        rows = self._of("measurements", suite)
        return rows if basis is None else rows[rows["basis"] == basis]

    def token_measurements(self, *, suite=None, basis="raw"):
        rows = self._of("token_measurements", suite)
        return rows if basis is None or rows.empty else rows[rows["basis"] == basis]

    def width(self, _, site):
        return self.widths.get(site, WIDTH)

    def _of(self, table, suite):
        rows = self.tables[table]
        if suite is None:
            return rows
        wanted = self.runs().loc[self.runs()["suite"].isin(list(suite)), "run_id"]
        return rows[rows["run_id"].isin(list(wanted))]


def make_sweep(
    axis: Axis,
    levels: Sequence[tuple[str, float, str]],
    *,
    effect: Effect,
    rng: np.random.Generator,
    n_per_level: int = 60,
    paired: bool = False,
    metrics: Sequence[str] = METRIC_NAMES,
    n_layers: int = N_LAYERS,
    suite: str = "planted",
    position: str = "mean",
    model: str = "/models/toy",
    length_effect: float = 0.0,
) -> Sweep:
    """A sweep of one suite.

    Args:
        axis: the ruler.
        levels: (name, level, split) of each level, from the near to the far end.
        effect: shift of the mean per step along `levels`, in standard deviations between items, by site and layer.
        rng: source of chance.
        n_per_level: items per level.
        paired: whether the i-th item of every level comes from the same source.
        metrics: what is measured; only Hoyer's direction is planted, measures where lower is sparser get the opposite.
        n_layers: blocks; `final_norm` is added at the end.
        suite: its name.
        position: which tokens.
        model: name of the model.
        length_effect: how much a token more than usual adds, in standard deviations; longer where farther.
    """
    run_id = f"run-{suite}" if model == "/models/toy" else f"run-{suite}-{model}"
    names, values, splits = zip(*levels, strict=True)
    step = np.repeat(np.arange(len(levels)), n_per_level)
    source = np.tile(np.arange(n_per_level), len(levels))
    n = len(step)
    ids = np.array([f"{suite}:{names[s]}-{i}" for s, i in zip(step, source, strict=True)])
    n_tokens = rng.integers(20, 60, n) + (6 * step if length_effect else 0)
    bent = rng.normal(size=n) * 0.6 + (rng.normal(size=n_per_level)[source] if paired else rng.normal(size=n)) * 0.8
    places = [("resid_post", layer) for layer in range(n_layers)] + [("final_norm", n_layers)]
    rows = []
    for site, layer in places:
        score = bent + rng.normal(size=n) * 0.5 + effect(site, layer) * step + length_effect * (n_tokens - 40) / 10
        rows += [
            pd.DataFrame(
                {
                    "run_id": run_id,
                    "example_id": ids,
                    "site": site,
                    "layer": np.int16(layer),
                    "unit": np.int32(-1),
                    "basis": "raw",
                    "position": position,
                    "token": np.int32(-1),
                    "metric": metric,
                    "value": _value(metric, score).astype(np.float32),
                    "n_undefined": np.int32(0),
                }
            )
            for metric in metrics
        ]
    entropy = 2 + 0.3 * score + rng.normal(size=n) * 0.2
    measurements = pd.concat(rows, ignore_index=True)
    for name in ("run_id", "example_id", "site", "basis", "position", "metric"):
        measurements[name] = measurements[name].astype("category")
    tables = {
        "runs": pd.DataFrame(
            {
                "run_id": [run_id],
                "model": [model],
                "revision": [None],
                "step": pd.array([None], dtype="Int64"),
                "model_seed": pd.array([None], dtype="Int64"),
                "dtype": ["float32"],
                "device": ["cpu"],
                "suite": [suite],
                "suite_version": ["1"],
                "spec_json": [json.dumps({"axis": asdict(axis), "n_layers": n_layers, "d_model": WIDTH})],
                "versions": [json.dumps({"torch": "2.13.0", "activation-sparsity": "0.1.0"})],
                "seed": [0],
                "started": ["2026-11-22T00:00:00+00:00"],
                "status": ["done"],
            }
        ),
        "examples": pd.DataFrame(
            {
                "example_id": ids,
                "suite": pd.Categorical([suite] * n),
                "axis": pd.Categorical([axis.name] * n),
                "level": np.asarray(values, dtype=float)[step],
                "level_name": pd.Categorical(np.asarray(names)[step]),
                "split": pd.Categorical(np.asarray(splits)[step]),
                "cluster": [f"source-{i}" if paired else "" for i in source],
                "text": [f"text {i}" for i in ids],
                "target": None,
                "n_bytes": (n_tokens * rng.uniform(3, 5, n)).astype(np.int32),
                "attrs": "{}",
            }
        ),
        "inputs": pd.DataFrame(
            {
                "run_id": run_id,
                "example_id": ids,
                "n_tokens": n_tokens.astype(np.int32),
                "n_special": np.int32(1),
                "truncated": False,
                "prompt_sha": "0",
            }
        ),
        "measurements": measurements,
        "token_measurements": pd.DataFrame(columns=["run_id", "example_id", "site", "layer", "unit", "basis", "token"]),
        "outcomes": pd.DataFrame(
            {"run_id": run_id, "example_id": ids, "name": "mean_next_token_entropy", "value": entropy}
        ),
        "populations": SCHEMAS["populations"].empty_table().to_pandas(),
        "familiarity": SCHEMAS["familiarity"].empty_table().to_pandas(),
        "familiarity_tokens": SCHEMAS["familiarity_tokens"].empty_table().to_pandas(),
        "failures": pd.DataFrame(columns=["run_id", "example_id", "stage", "error"]),
    }
    return Sweep(tables)


def merge(*sweeps: Sweep) -> Sweep:
    """Several sweeps in one directory."""
    first = sweeps[0].tables
    return Sweep(
        {
            name: pd.concat(
                [sweep.tables[name].astype(_plain(sweep.tables[name])) for sweep in sweeps], ignore_index=True
            )
            for name in first
        }
    )


def with_table(sweep: Sweep, **tables: pd.DataFrame) -> Sweep:
    """The same sweep with some tables replaced."""
    return Sweep({**sweep.tables, **tables}, sweep.widths)


def exposure(rng, *, effect=lambda _, layer: 0.12 * layer, **more) -> Sweep:
    """Familiar facts are denser than Gaussian, unseen ones near it, more so with depth."""
    levels = [(str(28 * 2**k), 28.0 * 2**k, "in") for k in range(6, -1, -1)] + [("0", 0.0, "shifted")]
    return make_sweep(EXPOSURE, levels, effect=effect, rng=rng, suite="lab_exposure", position="last", **more)


def text_domains(rng, *, names=("wikitext", "code", "random_bytes"), paired=False, **more) -> Sweep:
    """One in-distribution domain and some shifted ones, sparser the later they come."""
    levels = [("tinystories", float("nan"), "in")] + [(name, float("nan"), "shifted") for name in names]
    return make_sweep(
        DOMAIN,
        levels,
        effect=lambda _, layer: 0.6 if layer >= 3 else 0.0,
        rng=rng,
        suite="text_domains",
        paired=paired,
        **more,
    )


def _value(metric: str, score: np.ndarray) -> np.ndarray:
    if METRICS[MetricSpec.parse(metric).name].sparser is None:
        return 8 + score
    null = gaussian(MetricSpec.parse(metric), WIDTH)
    direction = 1 if METRICS[MetricSpec.parse(metric).name].sparser == "higher" else -1
    return null.mean + direction * null.sd * (score - 2) * 0.5


def _plain(table: pd.DataFrame) -> dict[str, str]:
    return {name: "object" for name in table if isinstance(table[name].dtype, pd.CategoricalDtype)}
