"""Programs to complete."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from probes.suites.benchmark import benchmark
from probes.suites.example import Axis
from probes.suites.fields import Record
from probes.suites.hub import HubSource
from probes.suites.question import Question


@benchmark(
    version=1,
    axis=Axis(name="solution_lines", unit="lines of the reference solution", kind="difficulty", harder="higher"),
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
