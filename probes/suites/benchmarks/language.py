"""Language itself as the knob: grammatical or not, one language or another, seen combinations of words or new ones."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Final

from probes.errors import InputError
from probes.suites.benchmarks.benchmark_suite import benchmark
from probes.suites.benchmarks.paradigms import PARADIGMS
from probes.suites.question import Question
from probes.suites.sources.hub import HubSource
from probes.suites.sources.labelled import Record
from probes.vocabulary.axes import AXES

PARQUET: Final = "refs/convert/parquet"
LANGUAGES: Final = ("en", "bn", "de", "es", "fr", "ja", "ru", "sw", "te", "th", "zh")
SCAN_SPLITS: Final = ("simple", "length", "addprim_jump")
SCAN_LINE: Final = re.compile(r"IN: (.+) OUT: (.+)")
COGS_HOME: Final = "in_distribution"


@benchmark(
    version=1,
    axis=AXES["grammaticality"],
    wording="{sentence}",
    parts=tuple(HubSource(hub="nyu-mll/blimp", config=name, hub_split="train") for name in PARADIGMS),
    citation="Warstadt et al. 2020, arXiv:1912.00582",
    licence="CC-BY-4.0",
)
def blimp(records: Iterable[Record]) -> Iterator[Question]:
    """BLiMP: minimal pairs of sentences, one grammatical (split in), one not (split shifted); a pair is a cluster."""
    for record in records:
        paradigm = record.text("UID")
        pair = f"{paradigm}-{record.text('pair_id' if 'pair_id' in record.fields else 'pairID')}"
        sentences = (record.text("sentence_good"), record.text("sentence_bad"))
        for split, side, name in (("in", "good", "grammatical"), ("shifted", "bad", "ungrammatical")):
            yield Question(
                place=record.place,
                slots={"sentence": record.text(f"sentence_{side}")},
                pair=sentences,
                id=f"{pair}-{side}",
                split="in" if split == "in" else "shifted",
                level_name=name,
                cluster=pair,
                attrs=(("phenomenon", record.text("linguistics_term")), ("paradigm", paradigm)),
            )


@benchmark(
    version=1,
    axis=AXES["language"],
    wording="{question}\n",
    parts=tuple(HubSource(hub="juletxara/mgsm", revision=PARQUET, folder=language) for language in LANGUAGES),
    citation="Shi et al. 2022, arXiv:2210.03057",
    licence="CC-BY-SA-4.0",
    columns=("question", "answer_number"),
)
def mgsm(records: Iterable[Record]) -> Iterator[Question]:
    """MGSM: 250 problems of GSM8K in eleven languages (English is the split in); one problem is a cluster.

    Local copies are told apart by the language code that ends their name (``mgsm_de.tsv``); they may have a
    header or, as published, none.
    """
    counts: dict[str, int] = {}
    for record in records:
        language = next((code for code in re.split(r"[^a-z]+", record.part.lower()) if code in LANGUAGES), None)
        if language is None:
            raise InputError(f"{record.place}: the file's name should hold a language: {', '.join(LANGUAGES)}")
        number = counts[language] = counts.get(language, 0) + 1
        yield Question(
            place=record.place,
            slots=record.slots(),
            target=record.text("answer_number"),
            id=f"{language}-{number}",
            split="in" if language == "en" else "shifted",
            level_name=language,
            cluster=f"problem-{number}",
        )


@benchmark(
    version=1,
    axis=AXES["composition"],
    wording="Command: {commands}\nActions:",
    parts=tuple(
        HubSource(hub="scan-tasks/scan-tasks", revision=PARQUET, folder=split, hub_split=half)
        for split in SCAN_SPLITS
        for half in ("train", "test")
    ),
    citation="Lake & Baroni 2018, arXiv:1711.00350",
    licence="BSD",
)
def scan(records: Iterable[Record]) -> Iterator[Question]:
    """SCAN: commands and the actions they mean; train halves are the split in, test halves shifted.

    The level's name is the split (simple, length, addprim_jump). Only a model that was trained on a train half has a
    reason to find one half more familiar than the other. Local copies are the original text files.
    """
    for number, record in enumerate(records):
        name = next((split for split in SCAN_SPLITS if split in record.part), None)
        half = next((half for half in ("train", "test") if half in record.part), None)
        if name is None or half is None:
            raise InputError(f"{record.place}: the file should be called like tasks_train_length.txt")
        if "commands" in record.fields:
            commands, actions = record.text("commands"), record.text("actions")
        else:
            line = SCAN_LINE.fullmatch(record.text("text"))
            if line is None:
                raise InputError(f"{record.place}: a line of SCAN should read 'IN: ... OUT: ...'")
            commands, actions = line[1], line[2]
        yield Question(
            place=record.place,
            slots={"commands": commands},
            target=actions,
            id=f"{name}-{half}-{number}",
            split="in" if half == "train" else "shifted",
            level_name=name,
            attrs=(("actions", str(len(actions.split()))),),
        )


@benchmark(
    version=1,
    axis=AXES["generalisation"],
    wording="Sentence: {input}\nMeaning:",
    parts=tuple(HubSource(hub="Punchwe/COGS", hub_split=split) for split in ("test", "gen")),
    citation="Kim & Linzen 2020, arXiv:2010.05465",
    licence="MIT",
)
def cogs(records: Iterable[Record]) -> Iterator[Question]:
    """COGS: sentences and their logical forms; new combinations are shifted, named by kind of novelty."""
    for number, record in enumerate(records):
        kind = record.text("domain")
        yield Question(
            place=record.place,
            slots=record.slots(),
            target=record.text("output"),
            id=f"{kind}-{number}",
            split="in" if kind == COGS_HOME else "shifted",
            level_name=kind,
        )
