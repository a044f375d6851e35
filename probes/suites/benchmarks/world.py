"""Benchmarks of the world behind the words: physics of everyday things, space, and cause.

They come without a control. The shift ``two_questions`` asks each of their items a second question, which the words of
its choices answer; the question ``limits`` compares the two.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Final

from probes.errors import InputError
from probes.suites.benchmarks.benchmark_suite import benchmark
from probes.suites.benchmarks.multiple_choice import PUBLISHED, WORDING
from probes.suites.question import Question
from probes.suites.sources.hub import HubSource
from probes.suites.sources.keys import Choices
from probes.suites.sources.labelled import Record
from probes.vocabulary.axes import AXES

PARQUET: Final = "refs/convert/parquet"
TASKS: Final = ("geometric_shapes", "navigate", "causal_judgement")
OPTIONS: Final = "\nOptions:\n"
OPTION: Final = re.compile(r"^(?:\(([A-Z])\)|-) (.+)$")


@benchmark(
    version=1,
    axis=AXES["subject"],
    wording=WORDING,
    parts=(HubSource(hub="ybisk/piqa", revision=PARQUET, hub_split="validation"),),
    citation="Bisk et al. 2020, arXiv:1911.11641",
    licence="AFL-3.0",
)
def piqa(records: Iterable[Record]) -> Iterator[Question]:
    """PIQA: a goal of everyday life and two ways to it, one of which would work."""
    for number, record in enumerate(records):
        choices = (record.text("sol1"), record.text("sol2"))
        yield Question(
            place=record.place,
            slots={"question": record.text("goal")},
            choices=choices,
            right=PUBLISHED.right(record, "label", Choices(choices)),
            id=f"piqa-{number}",
            level_name="physics",
        )


@benchmark(
    version=1,
    axis=AXES["subject"],
    wording=WORDING,
    parts=tuple(HubSource(hub="lukaemon/bbh", revision=PARQUET, folder=task) for task in TASKS),
    citation="Suzgun et al. 2022, arXiv:2210.09261",
    licence="MIT",
)
def bbh_world(records: Iterable[Record]) -> Iterator[Question]:
    """BIG-Bench Hard on shapes, walks and causes: geometric_shapes, navigate and causal_judgement, by task."""
    for number, record in enumerate(records):
        task = next((task for task in TASKS if task in record.part), None)
        if task is None:
            raise InputError(f"{record.place}: the file should be called like {TASKS[0]}.jsonl")
        stem, _, listed = record.text("input").partition(OPTIONS)
        found = [OPTION.match(line.strip()) for line in listed.splitlines() if line.strip()]
        options = [option for option in found if option is not None]
        target = record.text("target").strip("()")
        names = [option[1] or option[2] for option in options]
        if len(options) < 2 or len(options) < len(found) or target not in names:
            raise InputError(f"{record.place}: field 'input' should end in options, and 'target' be one of them")
        yield Question(
            place=record.place,
            slots={"question": stem},
            choices=tuple(option[2] for option in options),
            right=names.index(target),
            id=f"{task}-{number}",
            level_name=task,
        )
