"""Difficulty around facts that are known: choices, conflict, phrasing, and links to follow from a stored answer.

All items rest on facts that the graded model was presented equally often, at least 56 times, and that it knows, so
that exposure is the same at every level and what differs is what is asked around the fact. Each relation has as many
items at one level as at another, and the same facts are asked at every level of a suite (they are a cluster). Nothing
of this was in training but the facts themselves and links between symbols: every level but the plain question is
``shifted``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Final, NamedTuple

import numpy as np

from probes.lab import TrainingRecord, graded_path, read_record
from probes.lab.lexicon import FILLER, NEXT
from probes.lab.links.episodes import Shape, draw_episode
from probes.lab.world import Fact
from probes.suites.example import Example, paired_suites, suite
from probes.suites.laboratory.world_facts import EXPOSURE, example_of
from probes.vocabulary.axes import AXES

SOURCE: Final = "made here: the world of the shipped graded model (probes/lab/graded/world.json)"
EXPOSED: Final = 1792
"""Presentations of the facts that are asked about."""
LOW_COUNTS: Final = (0, 1, 2, 4, 8)
CHOICES: Final = (2, 4, 8, 16)
STEPS: Final = (0, 1, 2)

CHOICE_AXIS: Final = AXES["choices"]
CONFLICT_AXIS: Final = AXES["said_before"]
PHRASING_AXIS: Final = AXES["phrasing"]
STEP_AXIS: Final = AXES["links_from_fact"]


@suite(version=1, axis=EXPOSURE, source=SOURCE)
def lab_low_counts(rng: np.random.Generator) -> Iterator[Example]:
    """Facts that training presented 0, 1, 2, 4 or 8 times, among others that it presented up to 1,792 times."""
    del rng
    for index, fact in enumerate(read_record(graded_path()).world.facts):
        if fact.exposure in LOW_COUNTS:
            yield example_of(index, fact)


@paired_suites(
    version=2,
    axis=CHOICE_AXIS,
    source=SOURCE,
    matched="The same with filler before the list, so that all prompts are equally long.",
)
def lab_choices(rng: np.random.Generator, *, matched: bool) -> Iterator[Example]:
    """A known fact after a list of 2 to 16 possible answers, the right one among them at a random place."""
    return _asked(rng, _choices, matched=matched)


@paired_suites(
    version=2,
    axis=CONFLICT_AXIS,
    source=SOURCE,
    matched="The same, the plain question too behind as many words, of filler.",
)
def lab_conflict(rng: np.random.Generator, *, matched: bool) -> Iterator[Example]:
    """A known fact after a statement that agrees with it, is about someone else, or contradicts it.

    The target is the stored answer; attribute ``said`` is what the statement says.
    """
    return _asked(rng, _conflict, matched=matched)


@paired_suites(version=2, axis=PHRASING_AXIS, source=SOURCE, matched="The same with filler before the shorter ones.")
def lab_phrasing(rng: np.random.Generator, *, matched: bool) -> Iterator[Example]:
    """A known fact asked as in training, with the surname first, the name twice, or words in between."""
    return _asked(rng, _phrasing, matched=matched)


@paired_suites(
    version=2,
    axis=STEP_AXIS,
    source=SOURCE,
    matched="The same with filler before the links of the shorter questions.",
)
def lab_stored_hops(rng: np.random.Generator, *, matched: bool) -> Iterator[Example]:
    """A stored fact, or where its answer leads by one or two links of the prompt: memory first, then sight."""
    return _asked(rng, _stored_hops, matched=matched)


class Asked(NamedTuple):
    """A fact at one level: the prompt in words, what should follow, and what the level is."""

    text: str
    target: str
    level: float
    label: str
    home: bool
    attrs: tuple[tuple[str, str], ...] = ()


Turn = Callable[[Fact, Sequence[Fact], np.random.Generator], list[Asked]]


def _asked(rng: np.random.Generator, turn: Turn, *, matched: bool) -> Iterator[Example]:
    facts = known_facts(read_record(graded_path()))
    for number, fact in enumerate(facts):
        found = turn(fact, facts, rng)
        longest = max(_n_words(asked.text) for asked in found)
        for asked in found:
            filler = [FILLER] * (longest - _n_words(asked.text)) if matched else []
            yield Example(
                id=f"{asked.label}-{number:04d}",
                text=" ".join([*filler, asked.text]),
                target=asked.target,
                split="in" if asked.home else "shifted",
                level=asked.level,
                level_name=asked.label,
                cluster=f"fact-{number:04d}",
                attrs=(("entity", fact.entity), ("relation", fact.relation), *asked.attrs),
            )


def known_facts(record: TrainingRecord) -> list[Fact]:
    """The facts that are asked about: presented so often, and known; equally many of each relation, in their order."""
    known = [
        fact for fact, known in zip(record.world.facts, record.known, strict=True) if known and fact.exposure == EXPOSED
    ]
    by_relation = {relation: [f for f in known if f.relation == relation] for relation in {f.relation for f in known}}
    fewest = min(map(len, by_relation.values()), default=0)
    chosen = {fact.prompt for facts in by_relation.values() for fact in facts[:fewest]}
    return [fact for fact in known if fact.prompt in chosen]


def _n_words(text: str) -> int:
    """Words and marks, which are the tokens of a laboratory model."""
    return len(text.replace(",", " ,").replace(".", " .").split())


def _others(fact: Fact, facts: Sequence[Fact], rng: np.random.Generator) -> list[str]:
    """Other tails of the relation in random order."""
    tails = sorted({other.tail for other in facts if other.relation == fact.relation} - {fact.tail})
    return [str(tail) for tail in rng.permutation(tails)]


def _choices(fact: Fact, facts: Sequence[Fact], rng: np.random.Generator) -> list[Asked]:
    others = _others(fact, facts, rng)
    found: list[Asked] = []
    for count in CHOICES:
        listed = others[: count - 1]
        listed.insert(int(rng.integers(count)), fact.tail)
        text = f"{', '.join(listed)}. {fact.prompt}"
        found.append(Asked(text, fact.tail, float(count), str(count), home=False))
    return [asked._replace(home=asked.level == min(CHOICES)) for asked in found]


def _conflict(fact: Fact, facts: Sequence[Fact], rng: np.random.Generator) -> list[Asked]:
    other = _others(fact, facts, rng)[0]
    strangers = [each for each in facts if each.relation == fact.relation and each.entity != fact.entity]
    stranger = strangers[int(rng.integers(len(strangers)))]
    said = {"agrees": (fact, fact.tail), "unrelated": (stranger, stranger.tail), "contradicts": (fact, other)}
    plain = Asked(fact.prompt, fact.tail, np.nan, "plain", home=True)
    return [
        plain,
        *(
            Asked(f"{who.prompt} {tail}. {fact.prompt}", fact.tail, np.nan, label, home=False, attrs=(("said", tail),))
            for label, (who, tail) in said.items()
        ),
    ]


def _phrasing(fact: Fact, facts: Sequence[Fact], rng: np.random.Generator) -> list[Asked]:
    del facts, rng
    first, last = fact.entity.split()
    phrased = {
        "trained": f"{fact.entity} {fact.relation}",
        "surname_first": f"{last} {first} {fact.relation}",
        "name_twice": f"{fact.entity}, {fact.entity} {fact.relation}",
        "interrupted": f"{fact.entity} {FILLER} {FILLER} {fact.relation}",
    }
    return [Asked(text, fact.tail, np.nan, label, home=label == "trained") for label, text in phrased.items()]


def _stored_hops(fact: Fact, facts: Sequence[Fact], rng: np.random.Generator) -> list[Asked]:
    chains = draw_episode(rng, Shape(4, 1)).links
    tails = [fact.tail, *_others(fact, facts, rng)[: len(chains) - 1]]
    links = [(tail, start) for tail, (start, _) in zip(tails, chains, strict=True)] + list(chains)
    listed = ", ".join(" ".join(links[int(i)]) for i in rng.permutation(len(links)))
    answers = (fact.tail, *chains[0])
    return [
        Asked(
            " ".join([f"{listed}.", *[NEXT] * steps, fact.prompt]), answers[steps], float(steps), str(steps), steps == 0
        )
        for steps in STEPS
    ]
