"""Run a comparison: score every item with an ordinary sweep, write the prompts of all arms, ask them with another.

Both sweeps lie in one directory, so a report reads them together, and both are resumed item by item. What stands
between them is computed anew by every call, to the same prompts: it depends on the recorded scores and on nothing else.
A prompt that would come out differently (another pool, another seed) is refused by the sweep, which knows its text.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from probes.curriculum.draws import Draw, draw
from probes.curriculum.prompts import Chooser, grade_of, prompts, suite_of
from probes.curriculum.scores import OUTCOMES, read_scores, read_states
from probes.curriculum.spec import Arm, CurriculumSpec
from probes.errors import InputError
from probes.records.read import open_sweep
from probes.suites.example import Item, Suite
from probes.suites.frozen import FrozenSuite, written_down
from probes.sweep.interface import Options, Progress, SweepResult
from probes.sweep.planning.run_plan import Survey
from probes.sweep.run import run_sweep

SPEC: Final = "curriculum.yaml"
FOLDER: Final = "items"
PREFIX: Final = "curriculum-"


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """Result of one call of :func:`run_curriculum`.

    Attributes:
        sweeps: what each sweep came to, the scoring first, then one per model.
        n_questions: test items.
        n_items: items that were scored.
        arms: names of the arms.
    """

    sweeps: tuple[SweepResult, ...]
    n_questions: int
    n_items: int
    arms: tuple[str, ...]

    @property
    def interrupted(self) -> bool:
        """True where it was told to stop before all was done."""
        return any(result.interrupted for result in self.sweeps)


def run_curriculum(
    spec: CurriculumSpec,
    directory: Path,
    options: Options | None = None,
    *,
    limit: int | None = None,
    on_progress: Callable[[Progress], None] = lambda _: None,
    should_stop: Callable[[], bool] = lambda: False,
) -> Comparison:
    """Run what is left of a comparison; run it again and nothing more is done.

    Args:
        spec: what to compare.
        directory: made if it is not there; a sweep directory, with what it was made from in ``items``.
        options: how to run the sweeps.
        limit: ask so many questions only.
        on_progress: called after every batch.
        should_stop: asked after every batch.

    Raises:
        InputError: if spec, data or directory cannot be used.
    """
    options = options or Options()
    found = draw(spec, limit)
    arms = spec.asked_arms(levels_differ=found.levels_differ)
    runs, result = _score(spec, found, arms, directory, options, on_progress, should_stop)
    results = [result]
    for number, name in enumerate(spec.model_names()):
        if results[-1].interrupted:
            break
        results.append(_ask(spec, found, arms, directory, number, runs[name], options, on_progress, should_stop))
    _write(directory / SPEC, spec.to_yaml())
    return Comparison(
        sweeps=tuple(results),
        n_questions=found.n_questions,
        n_items=len(found.items),
        arms=tuple(arm.name for arm in arms),
    )


def _score(
    spec: CurriculumSpec,
    found: Draw,
    arms: Sequence[Arm],
    directory: Path,
    options: Options,
    on_progress: Callable[[Progress], None],
    should_stop: Callable[[], bool],
) -> tuple[dict[str, list[str]], SweepResult]:
    """Ask every item without examples; the runs of each model by its name."""
    sites = dict.fromkeys(place.site for place in spec.places())
    by_states = any(arm.retrieval == "states" for arm in arms)
    if by_states:
        sites[spec.retrieval_site] = None
    entries = [_frozen(suite, found.items, directory) for suite in found.suites]
    sweep = spec.sweep(
        entries,
        spec.models,
        sites=tuple(sites),
        positions=(spec.position,),
        metrics=tuple(dict.fromkeys(place.metric.versioned for place in spec.places())),
        outcomes=tuple(OUTCOMES.values()),
        familiarity=spec.familiarity,
        states=(spec.retrieval_site,) if by_states else (),
    )
    runs: dict[str, list[str]] = {}

    def keep(survey: Survey) -> None:
        for plan in survey.plans:
            runs.setdefault(plan.run.model, []).append(plan.run.run_id)

    result = run_sweep(sweep, directory, options, on_survey=keep, on_progress=on_progress, should_stop=should_stop)
    return runs, result


def _ask(
    spec: CurriculumSpec,
    found: Draw,
    arms: Sequence[Arm],
    directory: Path,
    number: int,
    runs: Sequence[str],
    options: Options,
    on_progress: Callable[[Progress], None],
    should_stop: Callable[[], bool],
) -> SweepResult:
    """Ask one model all prompts."""
    model, name = spec.models[number], spec.model_names()[number]
    records = open_sweep(directory)
    scores = read_scores(records, runs, found, spec)
    by_states = any(arm.retrieval == "states" for arm in arms)
    states = read_states(records, runs, found, spec) if by_states else None
    chooser = Chooser(draw=found, spec=spec, scores=scores, states=states)
    suite = suite_of(f"{PREFIX}{_slug(name)}", found.suites[-1])
    items = [suite.named(example) for example in prompts(chooser, arms, chat=spec.chats(model))]
    grades = dict.fromkeys(grade_of(spec, item) for item in found.items[: found.n_questions])
    first = spec.places()[0]
    sweep = spec.sweep(
        [_frozen(suite, items, directory)],
        (model,),
        sites=(first.site,),
        positions=("last",),
        metrics=(first.metric.versioned,),
        outcomes=(*grades, *(grade.replace("correct", "margin") for grade in grades)),
    )
    return run_sweep(sweep, directory, options, on_progress=on_progress, should_stop=should_stop)


def _frozen(suite: Suite, items: Iterable[Item], directory: Path) -> dict[str, object]:
    """Write items of a suite down, and the entry of a spec that asks them."""
    path = directory / FOLDER / f"{_slug(suite.name)}.jsonl"
    own = (item for item in items if item.example_id.startswith(f"{suite.name}:"))
    _write(path, written_down(suite, own))
    return {"frozen": str(path), "name": suite.name, "growing": True}


def _write(path: Path, text: str) -> None:
    """Write a file whole or not at all, unless it says so already."""
    try:
        if path.is_file() and path.read_text(encoding="utf-8") == text:
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        unfinished = path.with_name(f"{path.name}.unfinished")
        unfinished.write_text(text, encoding="utf-8")
        unfinished.replace(path)
    except OSError as error:
        raise InputError(f"cannot write {path}: {error.strerror}") from None


def _slug(name: str) -> str:
    """A name as a file or a suite can have it.

    >>> _slug("smollm2-135m (template chat)")
    'smollm2-135m-template-chat'
    """
    return re.sub(r"[^\w.-]+", "-", name).strip("-")


def shown_prompt(directory: Path, asked: str) -> Item:
    """The prompt of one item of a comparison that was run, by its name with or without that of its suite.

    Raises:
        InputError: if there is none of that name, or it is that of several models.
    """
    files = sorted((directory / FOLDER).glob("*.jsonl"))
    if not files:
        raise InputError(f"{directory} holds no prompts yet; run the comparison first, with --limit 1 for a look")
    suites = [FrozenSuite(frozen=str(path), name=path.stem, growing=True).suite() for path in files]
    items = {item.example_id: item for suite in suites for item in suite.items(suite.generator(0))}
    found = [item for name, item in items.items() if asked in (name, name.partition(":")[2])]
    if not found:
        near = [name for name in items if asked in name][:3] or list(items)[:3]
        raise InputError(f"no prompt is called {asked!r}; there are, for instance, {', '.join(near)}")
    if len(found) > 1:
        raise InputError(f"{asked!r} is an item of several suites: {', '.join(item.example_id for item in found)}")
    return found[0]
