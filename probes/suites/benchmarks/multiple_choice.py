"""Questions with lettered choices: by subject, by the number of options, easy against challenging."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Final

from probes.errors import InputError
from probes.suites.benchmarks.benchmark_suite import benchmark
from probes.suites.question import Question
from probes.suites.sources.hub import HubSource
from probes.suites.sources.keys import Choices, KeyReading
from probes.suites.sources.labelled import Record
from probes.vocabulary.axes import AXES

WORDING: Final = "Question: {question}\n{choices}\nAnswer:"
PUBLISHED: Final = KeyReading(as_text=False, first=0)  # letters, or numbers from 0
MMLU_CITATION: Final = "Hendrycks et al. 2021, arXiv:2009.03300"
NUMBERED: Final = re.compile(r"Answer(\d+): (.*?)(?= Answer\d+: |\n\nAnswer format|$)", re.DOTALL)
ASKED: Final = re.compile(r"the question: (.*?)\s*\n\nAnswer1:", re.DOTALL)


@benchmark(
    version=1,
    axis=AXES["subject"],
    wording=WORDING,
    parts=(HubSource(hub="cais/mmlu", config="all", hub_split="test"),),
    citation=MMLU_CITATION,
    licence="MIT",
)
def mmlu(records: Iterable[Record]) -> Iterator[Question]:
    """MMLU: exam questions with four options in 57 subjects; the level's name is the subject."""
    for number, record in enumerate(records):
        choices = record.texts("choices")
        subject = record.text("subject")
        yield Question(
            place=record.place,
            slots=record.slots(),
            choices=choices,
            right=PUBLISHED.right(record, "answer", Choices(choices)),
            id=f"test-{number}",
            level_name=subject,
            attrs=(("subject", subject),),
        )


@benchmark(
    version=1,
    axis=AXES["options"],
    wording=WORDING,
    parts=(HubSource(hub="TIGER-Lab/MMLU-Pro", hub_split="test"),),
    citation=f"Wang et al. 2024, arXiv:2406.01574, after {MMLU_CITATION}",
    licence="MIT",
)
def mmlu_pro(records: Iterable[Record]) -> Iterator[Question]:
    """MMLU-Pro: harder exam questions with three to ten options; the level is the number of options.

    Which questions have few options is not random; for the number of options alone see the shift ``choice_count``.
    """
    for record in records:
        choices = record.texts("options")
        yield Question(
            place=record.place,
            slots=record.slots(),
            choices=choices,
            right=PUBLISHED.right(record, "answer_index", Choices(choices)),
            id=record.text("question_id"),
            level=float(len(choices)),
            attrs=(("subject", record.text("category")),),
        )


@benchmark(
    version=1,
    axis=AXES["arc_set"],
    wording=WORDING,
    parts=tuple(HubSource(hub="allenai/ai2_arc", config=config) for config in ("ARC-Easy", "ARC-Challenge")),
    citation="Clark et al. 2018, arXiv:1803.05457",
    licence="CC-BY-SA-4.0",
)
def arc(records: Iterable[Record]) -> Iterator[Question]:
    """ARC: science questions of grades 3-9; challenge are those that retrieval and co-occurrence both got wrong.

    Local copies are told apart by ``easy`` or ``challenge`` in the file's name; the instruction format of LLM-Adapters
    is read too.
    """
    for record in records:
        part = record.part.lower()
        name = next((name for name in ("challenge", "easy") if name in part), None)
        if name is None:
            raise InputError(f"{record.place}: the file's name should say easy or challenge")
        question, choices, right = _instruction(record) if "instruction" in record.fields else _arc(record)
        yield Question(
            place=record.place,
            slots={"question": question},
            choices=choices,
            right=right,
            id=f"{name}-{record.text('id')}",
            level=float(name == "challenge"),
            level_name=name,
        )


def _arc(record: Record) -> tuple[str, tuple[str, ...], int]:
    columns = record.nested("choices", "text", "label")
    labels, key = columns.texts("label"), record.text("answerKey")
    if key not in labels:
        raise InputError(f"{record.place}: field 'answerKey' should be one of {', '.join(labels)} and is {key!r}")
    return record.text("question"), columns.texts("text"), labels.index(key)


def _instruction(record: Record) -> tuple[str, tuple[str, ...], int]:
    text = record.text("instruction")
    asked = ASKED.search(text)
    choices = {number: choice.strip() for number, choice in NUMBERED.findall(text)}
    key = record.text("answer").removeprefix("answer")
    if asked is None or key not in choices:
        raise InputError(f"{record.place}: field 'instruction' should hold a question and its numbered answers")
    return asked[1], tuple(choices.values()), list(choices).index(key)
