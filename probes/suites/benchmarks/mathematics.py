"""Problems with an answer to work out, graded by people, by the steps of a solution, or by a model."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator

from probes.errors import InputError
from probes.suites.benchmarks.benchmark_suite import benchmark
from probes.suites.question import Question
from probes.suites.sources.hub import HubSource
from probes.suites.sources.labelled import Record
from probes.vocabulary.axes import AXES

CALCULATION = re.compile(r"<<[^<>]*>>")  # how GSM8K marks each calculation of its solutions
FINAL = "####"


@benchmark(
    version=1,
    axis=AXES["math_level"],
    wording="Problem: {problem}\nAnswer:",
    parts=(HubSource(hub="HuggingFaceH4/MATH-500", hub_split="test"),),
    citation="Hendrycks et al. 2021, arXiv:2103.03874; the 500 of Lightman et al. 2023, arXiv:2305.20050",
    licence="MIT",
)
def math_500(records: Iterable[Record]) -> Iterator[Question]:
    """500 competition problems of MATH; the level is the one that Art of Problem Solving gave them.

    Harder problems are longer here, so read it beside its length.
    """
    for record in records:
        yield Question(
            place=record.place,
            slots=record.slots(),
            target=record.text("answer"),
            id=record.text("unique_id"),
            level=record.number("level"),
            attrs=(("subject", record.text("subject")),),
        )


@benchmark(
    version=1,
    axis=AXES["steps"],
    wording="Question: {question}\nAnswer:",
    parts=(HubSource(hub="openai/gsm8k", config="main", hub_split="test"),),
    citation="Cobbe et al. 2021, arXiv:2110.14168",
    licence="MIT",
)
def gsm8k(records: Iterable[Record]) -> Iterator[Question]:
    """Grade-school word problems; the level is the number of calculations that the written solution marks.

    Some solutions calculate without marking it; their number of steps is not known (NaN).
    """
    for number, record in enumerate(records):
        solution = record.text("solution" if "solution" in record.fields else "answer")
        if FINAL not in solution:
            raise InputError(f"{record.place}: the solution should end with {FINAL!r} and the final answer")
        yield Question(
            place=record.place,
            slots=record.slots(),
            target=solution.rsplit(FINAL, 1)[1].strip(),
            id=f"test-{number}",
            level=float(len(CALCULATION.findall(solution))) or math.nan,
        )


@benchmark(
    version=1,
    axis=AXES["math_difficulty"],
    wording="Problem: {question}\nAnswer:",
    parts=(HubSource(hub="zwhe99/DeepMath-103K", hub_split="train", streaming=True),),
    citation="He et al. 2025, arXiv:2504.11456",
    licence="MIT",
)
def deepmath(records: Iterable[Record]) -> Iterator[Question]:
    """DeepMath-103K: problems from many sources; the level is a difficulty that a language model rated.

    The whole is two gigabytes, so it is streamed.
    """
    for number, record in enumerate(records):
        yield Question(
            place=record.place,
            slots=record.slots(),
            target=record.text("final_answer"),
            id=f"train-{number}",
            level=record.number("difficulty"),
            attrs=(("topic", record.text("topic")),),
        )
