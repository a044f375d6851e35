"""Paired training runs: the same small world trained many times, to tell exposure from optimizer, stream and noise.

One trained model is one draw. Here a small recipe is trained with several seeds (world, order and weights drawn anew),
and beside it twins that differ from it in one thing. Each model gives one estimate: the Spearman correlation, over
facts, of how often a fact was presented with the Hoyer sparsity of the state after the final norm at the last word of
its prompt. Intervals are over seeds (Student's t), so they speak about training again, not about these facts.

Every estimate is also taken among mastered facts alone (presented and known), because a fact that is not known differs
in more than exposure; after the answer's own row of the unembedding is projected out of the state, because a state that
points at its answer shares that row's sparsity; and under rotations of the space that all facts share, which keep
everything but the coordinates (``sparsity.rotations``).

What came of it with eight seeds of each kind is shipped as a table (`probes.lab.paired_table`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final, cast

import numpy as np
import torch
from jaxtyping import Float, Int
from safetensors.torch import load
from scipy.stats import pearsonr, rankdata, spearmanr

import sparsity
from probes.errors import InputError
from probes.lab.paired_table import CONDITIONS, FAMILIES, TABLE, Twin, write_twins
from probes.lab.recipe import TINY, Recipe
from probes.lab.training import Course, prepare, train
from probes.lab.training_record import TrainingRecord, read_record
from sparsity.rotations import haar_rotation

ROTATIONS: Final = 64
FEWEST: Final = 10  # facts below which a rank correlation says nothing

OnModel = Callable[[str, int], None]
"""Called before a model is trained or read, with the condition and the seed."""


def train_twins(
    out: Path,
    *,
    n_seeds: int,
    conditions: Sequence[str] = tuple(CONDITIONS),
    recipe: Recipe = TINY,
    on_model: OnModel | None = None,
) -> list[Twin]:
    """Train every twin with every seed into `out`, and write what they show to ``twins.csv`` there.

    Models that are there already are read, not trained again, so an interrupted call is gone on with by repeating it.

    Raises:
        InputError: if a condition is unknown, or a model in `out` was made by another recipe.
    """
    known = {**CONDITIONS, **FAMILIES}
    unknown = [name for name in conditions if name not in known]
    if unknown:
        raise InputError(f"no condition is called {unknown[0]!r}; there are {', '.join(known)}")
    found: list[Twin] = []
    for seed in range(recipe.seed, recipe.seed + n_seeds):
        for name in conditions:
            if on_model is not None:
                on_model(name, seed)
            course = prepare(replace(recipe, seed=seed, **(known[name].changes or {})))
            record = None if known[name].changes is None else _trained(course, out / f"{name}-{seed}")
            found.append(measure_twin(name, course, record))
            write_twins(out / TABLE, found)
    return found


def measure_twin(condition: str, course: Course, record: TrainingRecord | None) -> Twin:
    """Measure the model of a course as it stands; without a record it has not been trained."""
    exposures = course.world.exposures
    states, answers = _states(course)
    dense = _hoyer(states)
    share = (states * answers).sum(-1, keepdims=True) / (answers**2).sum(-1, keepdims=True)
    without = _hoyer(states - share * answers)
    presented = exposures > 0 if record is not None else np.zeros(len(exposures), bool)
    known = np.zeros(len(exposures), bool) if record is None else np.array(record.known)
    mastered = known & presented
    last_seen = np.zeros(len(exposures)) if record is None else np.array([step or 0 for step in record.last_seen])
    rng = np.random.default_rng([course.recipe.seed, ROTATIONS])
    width = states.shape[-1]
    rotated = [_spearman(exposures, _hoyer(states @ haar_rotation(width, rng))) for _ in range(ROTATIONS)]
    chance = sparsity.nulls.gaussian("hoyer", width).mean
    return Twin(
        condition=condition,
        seed=course.recipe.seed,
        known_at_unit=float(known[exposures == min(exposures[exposures > 0])].mean()),
        n_mastered=int(mastered.sum()),
        all_facts=_spearman(exposures, dense),
        mastered=_spearman(exposures[mastered], dense[mastered]),
        all_facts_without_answer=_spearman(exposures, without),
        mastered_without_answer=_spearman(exposures[mastered], without[mastered]),
        rotated=float(np.mean(rotated)),
        rotated_sd=float(np.std(rotated, ddof=1)),
        exposure_given_recency=_partial(exposures[presented], dense[presented], last_seen[presented]),
        recency_given_exposure=_partial(last_seen[presented], dense[presented], exposures[presented]),
        unseen_excess=float(dense[exposures == 0].mean()) - chance,
        most_seen_excess=float(dense[exposures == exposures.max()].mean()) - chance,
    )


def _trained(course: Course, path: Path) -> TrainingRecord:
    """Bring the course's model to where training leaves it, by training or by reading what an earlier call trained."""
    if not path.exists():
        made = train(course.recipe, path)
        course.module.load_state_dict(made.module.state_dict())
        return made.record
    record = read_record(path)
    if record.recipe != course.recipe:
        raise InputError(f"{path} was trained by another recipe: name another --out or remove it")
    course.module.load_state_dict(load((path / "model.safetensors").read_bytes()))
    return record


def _states(course: Course) -> tuple[Float[np.ndarray, "facts d_model"], Float[np.ndarray, "facts d_model"]]:
    """The state after the final norm at the end of every prompt, and its answer's row of the unembedding."""
    course.module.eval()
    with torch.inference_mode():
        output = course.module.base_model(input_ids=course.sentences[:, :-2])
        head = cast("torch.nn.Linear", course.module.get_output_embeddings())
        rows = head.weight[course.sentences[:, -2]]
    return output.last_hidden_state[:, -1].double().numpy(), rows.double().numpy()


def _hoyer(states: Float[np.ndarray, "facts d_model"]) -> Float[np.ndarray, " facts"]:
    return np.asarray(sparsity.hoyer(states), np.float64)


def _spearman(
    first: Float[np.ndarray, " facts"] | Int[np.ndarray, " facts"], second: Float[np.ndarray, " facts"]
) -> float:
    if len(first) < FEWEST or np.ptp(first) == 0 or np.ptp(second) == 0:
        return np.nan
    return float(spearmanr(first, second).statistic)


def _partial(
    first: Float[np.ndarray, " facts"] | Int[np.ndarray, " facts"],
    second: Float[np.ndarray, " facts"],
    given: Float[np.ndarray, " facts"] | Int[np.ndarray, " facts"],
) -> float:
    """Partial rank correlation of two variables given a third, as the correlation of what is left of their ranks."""
    if len(first) < FEWEST:
        return np.nan
    x, y, z = (rankdata(values) for values in (first, second, given))
    design = np.column_stack([np.ones_like(z), z])
    left = [values - design @ np.linalg.lstsq(design, values, rcond=None)[0] for values in (x, y)]
    return float(pearsonr(*left).statistic)
