"""Tasks whose difficulty is built in: more objects, more supporting facts, more context, a fact farther away."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from typing import Final, cast

from probes.errors import InputError
from probes.suites.benchmarks.benchmark_suite import benchmark
from probes.suites.question import Question
from probes.suites.sources.hub import HubSource
from probes.suites.sources.labelled import Record
from probes.vocabulary.axes import AXES

PARQUET: Final = "refs/convert/parquet"
OBJECTS: Final = {"three": 3, "five": 5, "seven": 7}
FAMILIES: Final = ("logical_deduction", "tracking_shuffled_objects")
DEPTHS: Final = (0.0, 0.25, 0.5, 0.75, 1.0)
STORY_LINE: Final = re.compile(r"(\d+) (.+)", re.DOTALL)


@benchmark(
    version=1,
    axis=AXES["context_length"],
    wording="{prompt}",
    parts=tuple(HubSource(hub="lz1bytedance/LongReason", hub_split=split) for split in ("8k", "16k", "32k", "64k")),
    citation="Ling et al. 2025, arXiv:2501.15089",
    licence="CC-BY-4.0",
)
def longreason(records: Iterable[Record]) -> Iterator[Question]:
    """LongReason: the same 794 questions with their background spread over contexts of 8k to 64k tokens.

    Items are paired across lengths (cluster). Local copies need the length in the file's name (``8k``).
    """
    for record in records:
        length = re.search(r"(\d+)k\b", record.part)
        if length is None:
            raise InputError(f"{record.place}: the file's name should say how long the context is, such as 8k")
        index = record.text("example_idx")
        yield Question(
            place=record.place,
            slots=record.slots(),
            target=record.text("answer"),
            id=f"{length[0]}-{index}",
            level=float(length[1]),
            level_name=length[0],
            cluster=index,
        )


@benchmark(
    version=1,
    axis=AXES["objects"],
    wording="Q: {input}\nA:",
    parts=tuple(
        HubSource(hub="lukaemon/bbh", revision=PARQUET, folder=f"{family}_{count}_objects")
        for family in FAMILIES
        for count in OBJECTS
    ),
    citation="Suzgun et al. 2022, arXiv:2210.09261",
    licence="MIT",
)
def bbh_objects(records: Iterable[Record]) -> Iterator[Question]:
    """BIG-Bench Hard with three, five and seven objects: logical deduction and tracking of shuffled objects.

    More objects make longer prompts; see the token-matched variants of shifts for what length alone does.
    """
    for number, record in enumerate(records):
        found = re.search(rf"({'|'.join(FAMILIES)})_({'|'.join(OBJECTS)})_objects", record.part)
        if found is None:
            raise InputError(f"{record.place}: the file should be called like {FAMILIES[0]}_three_objects.jsonl")
        yield Question(
            place=record.place,
            slots=record.slots(),
            target=record.text("target"),
            id=f"{found[0]}-{number}",
            level=float(OBJECTS[found[2]]),
            attrs=(("family", found[1]),),
        )


@benchmark(
    version=1,
    axis=AXES["supporting_facts"],
    wording="{story}\nQuestion: {question}\nAnswer:",
    parts=tuple(HubSource(hub="facebook/babi_qa", revision=PARQUET, folder=f"en-qa{task}") for task in (1, 2, 3)),
    citation="Weston et al. 2015, arXiv:1502.05698",
    licence="CC-BY-3.0",
)
def babi(records: Iterable[Record]) -> Iterator[Question]:
    """The bAbI tasks 1-3: short stories of people and things, and questions that rest on one, two or three facts.

    Questions of one story share it (cluster). Local copies are the original text files.
    """
    number = 0
    story: list[str] = []
    for record in records:
        for line in _story_lines(record):
            found = STORY_LINE.fullmatch(line)
            if found is None:
                raise InputError(f"{record.place}: a line of bAbI should begin with its number and is {line!r}")
            if found[1] == "1":
                number, story = number + 1, []
            cells = [cell.strip() for cell in re.split(r"[\t|]", found[2])]
            if len(cells) == 1:
                story.append(cells[0])
                continue
            if len(cells) != 3:
                raise InputError(f"{record.place}: a question of bAbI should be question, answer and facts: {line!r}")
            facts = cells[2].split()
            cluster = f"{record.part}-{number}"
            yield Question(
                place=record.place,
                slots={"story": "\n".join(story), "question": cells[0]},
                target=cells[1],
                id=f"{cluster}-{found[1]}",
                level=float(len(facts)),
                cluster=cluster,
                attrs=(("sentences", str(len(story))),),
            )


def _story_lines(record: Record) -> list[str]:
    """A line of the original files, or a whole story of the hub's columns written as such lines."""
    if "story" not in record.fields:
        return [record.text("text")]
    names = ("id", "text", "answer", "supporting_ids")
    columns = record.nested("story", *names).fields
    return [
        f"{index} {text}\t{answer}\t{' '.join(map(str, facts))}" if answer else f"{index} {text}"
        for index, text, answer, facts in zip(*(columns[name] for name in names), strict=True)
    ]


@benchmark(
    version=1,
    axis=AXES["depth"],
    wording=(
        "Extract the value corresponding to the specified key in the JSON object below.\n\n"
        'JSON data:\n{pairs}\n\nKey: "{key}"\nCorresponding value:'
    ),
    parts=(),
    citation="Liu et al. 2023, arXiv:2307.03172; github.com/nelson-liu/lost-in-the-middle, kv_retrieval_data",
    licence="MIT",
)
def lost_in_the_middle(records: Iterable[Record]) -> Iterator[Question]:
    """Key-value retrieval: one pair among many is asked for, and stands at the beginning, at the end or in between.

    Each item is asked at five depths (cluster) with the same pairs, so that length is equal and place alone varies.
    """
    for number, record in enumerate(records):
        given = record.fields.get("ordered_kv_records")
        pairs = cast("list[list[str]]", given) if isinstance(given, list) else []
        key, value = record.text("key"), record.text("value")
        if [key, value] not in pairs:
            raise InputError(f"{record.place}: field 'ordered_kv_records' should list pairs, with the one asked for")
        others = [pair for pair in pairs if pair != [key, value]]
        for depth in DEPTHS:
            at = round(depth * len(others))
            placed = dict([*others[:at], [key, value], *others[at:]])
            yield Question(
                place=record.place,
                slots={"pairs": json.dumps(placed, indent=1), "key": key},
                target=f'"{value}"',
                id=f"{len(pairs)}-{number}-{depth:g}",
                level=depth,
                cluster=f"{len(pairs)}-{number}",
                attrs=(("pairs", str(len(pairs))),),
            )
