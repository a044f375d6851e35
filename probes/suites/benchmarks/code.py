"""Programs to complete."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from probes.suites.benchmarks.benchmark_suite import benchmark
from probes.suites.question import Question
from probes.suites.sources.hub import HubSource
from probes.suites.sources.labelled import Record
from probes.vocabulary.axes import AXES


@benchmark(
    version=1,
    axis=AXES["solution_lines"],
    wording="{prompt}",
    parts=(HubSource(hub="openai/openai_humaneval", hub_split="test"),),
    citation="Chen et al. 2021, arXiv:2107.03374",
    licence="MIT",
)
def humaneval(records: Iterable[Record]) -> Iterator[Question]:
    """HumanEval: 164 Python functions to write; the level is how many lines the reference solution has.

    That is a proxy: nobody has graded these problems.
    """
    for record in records:
        solution = record.text("canonical_solution")
        yield Question(
            place=record.place,
            slots=record.slots(),
            target=solution,
            id=record.text("task_id"),
            level=float(sum(bool(line.strip()) for line in solution.splitlines())),
        )
