"""The shipped graded model is what its record says, knows what it was shown, and follows two links but not three."""

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from probes.lab import dynamics_paths, graded_path, read_record, reference_path
from probes.lab.history import checkpoint_steps, checkpoints
from probes.lab.links.curriculum import learned
from probes.lab.recipe import GRADED, TINY
from probes.lab.training import prepare, train
from probes.suites.laboratory.grading import grade_model
from probes.suites.laboratory.knowledge import LOW_COUNTS
from tests.tolerances import LOGITS

MEGABYTE = 1_000_000


@pytest.fixture(scope="module")
def record():
    return read_record(graded_path())


@pytest.fixture(scope="module")
def grades():
    names = (
        "lab_recall",
        "lab_recall_matched",
        "lab_chains",
        "lab_chains_matched",
        "lab_choices",
        "lab_choices_matched",
    )
    return {(g.suite, g.level): g for g in grade_model(graded_path(), limit=100, suites=(*names, "lab_conflict"))}


def test_the_whole_shipped_set_is_small():
    shipped = [
        path
        for folder in (reference_path(), graded_path(), reference_path().parent / "dynamics")
        for path in folder.rglob("*")
        if path.is_file()
    ]
    assert sum(path.stat().st_size for path in shipped) <= 24 * MEGABYTE


def test_it_is_made_by_the_graded_recipe_and_its_stream_is_covered_whole(record):
    assert record.recipe == GRADED
    course = prepare(GRADED)
    assert course.world == record.world
    counts = Counter(course.stream.tolist())
    assert record.presented == tuple(counts[i] for i in range(len(record.world.facts)))
    assert record.presented == tuple(fact.exposure for fact in record.world.facts)
    assert len(record.losses) == course.n_presenting
    assert record.step == len(record.lesson_losses)


def test_practice_ended_as_soon_as_it_was_of_no_more_use(record):
    practised = record.lesson_losses[len(record.losses) :]
    assert learned(practised, GRADED.practice)
    assert not learned(practised[:-1], GRADED.practice)


def test_training_sets_out_on_the_recorded_path(record, tmp_path):
    class EnoughError(Exception):
        pass

    losses: list[float] = []

    def watch(step, _, loss):
        losses.append(loss)
        if step == 3:
            raise EnoughError

    with pytest.raises(EnoughError):
        train(GRADED, tmp_path / "model", on_step=watch)
    assert losses == pytest.approx(record.losses[:3], rel=LOGITS)


def test_facts_are_known_from_the_unit_on_and_low_counts_by_degrees(record):
    accuracy = record.accuracy
    assert all(share >= 0.95 for level, share in accuracy.items() if level > max(LOW_COUNTS))
    low = [accuracy[level] for level in LOW_COUNTS]
    assert low == sorted(low)
    assert low[0] <= 3 / GRADED.n_tails
    assert low[-1] >= 0.5
    surprised = [record.loss[level] for level in record.world.levels]
    assert surprised == sorted(surprised, reverse=True)


@pytest.mark.parametrize("matched", ["", "_matched"])
def test_links_are_found_within_the_taught_range_whatever_the_length(matched, grades):
    assert all(grades[f"lab_recall{matched}", level].correct >= 0.95 for level in ("2", "4", "8"))
    assert grades[f"lab_chains{matched}", "1"].correct >= 0.95


@pytest.mark.parametrize("matched", ["", "_matched"])
def test_two_links_in_a_row_are_followed(matched, grades):
    assert grades[f"lab_chains{matched}", "2"].correct >= 0.9


@pytest.mark.parametrize("matched", ["", "_matched"])
def test_no_shortcut_explains_it_and_beyond_the_range_chains_fail(matched, grades):
    assert max(grades[f"lab_chains{matched}", "1"].shortcuts) < 0.3
    assert max(grades[f"lab_recall{matched}", "8"].shortcuts) < 0.3
    assert all(grades[f"lab_chains{matched}", level].correct < 0.3 for level in ("3", "4"))


@pytest.mark.parametrize("matched", ["", "_matched"])
def test_recall_reaches_to_twelve_links_and_fails_at_thirty_two_whatever_the_length(matched, grades):
    assert grades[f"lab_recall{matched}", "12"].correct >= 0.95
    assert max(grades[f"lab_recall{matched}", "32"].shortcuts) < 0.3 < grades[f"lab_recall{matched}", "32"].correct
    assert grades[f"lab_recall{matched}", "32"].correct < 0.75


def test_knowledge_gets_harder_as_its_knobs_are_turned(grades):
    """What is stored is told whatever the prompt says of it, and less surely among many choices or strangers."""
    assert grades["lab_conflict", "plain"].correct == 1.0
    assert grades["lab_conflict", "contradicts"].correct >= 0.95
    assert grades["lab_conflict", "unrelated"].correct < 0.6
    for matched in ("", "_matched"):
        choices = [grades[f"lab_choices{matched}", level].correct for level in ("2", "4", "8", "16")]
        assert choices == sorted(choices, reverse=True)
        assert choices[0] >= 0.9
        assert choices[-1] < 0.6


@pytest.mark.parametrize("path", dynamics_paths(), ids=lambda path: path.name)
def test_the_shipped_paths_are_whole(path):
    records = [read_record(folder) for folder in checkpoints(path)]
    n_steps = records[-1].step
    assert [record.step for record in records] == [*checkpoint_steps(n_steps, 8), n_steps]
    assert all(record.world == records[-1].world for record in records)
    assert records[-1].recipe.seed == int(path.name.removeprefix("seed-"))
    assert records[-1].recipe == replace(TINY, seed=records[-1].recipe.seed)
    known = [np.mean([r.accuracy[level] for level in r.accuracy if level]) for r in records]
    assert known[0] < 0.1
    assert known[-1] > 0.95
