"""A world of categories with graded members, whose frequency either goes with typicality or does not.

Problem. Typical members of a category (a robin, an apple) are also its common words, so what a model makes of
typicality cannot be told from what it makes of frequency. Here both are known, because both are made.

Idea. A category has features, and a member has some of them: the more, the more typical it is (family resemblance,
Rosch and Mervis 1975). What it lacks it makes up for by features of other categories, so that all members have equally
many. Frequencies of a category's members follow Zipf's law; in the arm *coupled* they fall with typicality, in the arm
*decoupled* their order is drawn at random. No sentence names a category, so a category is nothing but shared features.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from scipy import stats

from probes.errors import InputError

ARMS: Final = ("coupled", "decoupled")
CATEGORIES: Final = 8
MEMBERS: Final = 12
FEATURES: Final = 12  # of a category, and of a member
FEWEST_OWN: Final = 4  # features of its category that the least typical member has
CORPUS, NORMS, COUNTS = "corpus.txt", "norms.csv", "counts.csv"
ONSETS: Final = ("b", "d", "f", "g", "k", "l", "m", "n", "p", "r", "s", "t", "v", "z")
VOWELS: Final = ("a", "e", "i", "o", "u")
SENTENCES: Final = (
    "a {item} can {feature} .",
    "a {item} will {feature} .",
    "every {item} may {feature} .",
    "people say that a {item} can {feature} .",
    "look how a {item} can {feature} .",
    "i saw a {item} {feature} .",
    "once a {item} did {feature} .",
    "when a {item} comes , it will {feature} .",
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Member:
    """One word of the world.

    Attributes:
        item: the word.
        category: which category it belongs to.
        typicality: share of its features that are the category's.
        features: what is said of it.
        weight: share of the corpus that is about it.
    """

    item: str
    category: str
    typicality: float
    features: tuple[str, ...]
    weight: float


@dataclass(frozen=True, kw_only=True, slots=True)
class ConceptWorld:
    """All members of all categories."""

    members: tuple[Member, ...]
    arm: str

    @property
    def n_categories(self) -> int:
        """Number of categories."""
        return len({member.category for member in self.members})

    @property
    def coupling(self) -> float:
        """Mean rank correlation of typicality with frequency inside categories."""
        by: dict[str, list[Member]] = {}
        for member in self.members:
            by.setdefault(member.category, []).append(member)
        found = [stats.spearmanr([m.typicality for m in own], [m.weight for m in own]).statistic for own in by.values()]
        return float(np.mean(found))


def build_concepts(*, coupled: bool, seed: int) -> ConceptWorld:
    """A world; equal seeds give the same words and features in both arms, which differ in frequency alone."""
    words_rng, features_rng, order_rng = np.random.default_rng(seed).spawn(3)
    words = _words(CATEGORIES * (MEMBERS + FEATURES + 1), words_rng)
    names, words = words[:CATEGORIES], words[CATEGORIES:]
    pools = [words[c * FEATURES : (c + 1) * FEATURES] for c in range(CATEGORIES)]
    items = words[CATEGORIES * FEATURES :]
    own_counts = np.linspace(FEATURES, FEWEST_OWN, MEMBERS).round().astype(int)
    members: list[Member] = []
    for c, pool in enumerate(pools):
        others = [feature for other, foreign in enumerate(pools) if other != c for feature in foreign]
        rank = np.arange(MEMBERS) if coupled else order_rng.permutation(MEMBERS)
        weight = 1 / (1 + rank)
        for i, n_own in enumerate(own_counts):
            own = features_rng.choice(pool, n_own, replace=False)
            borrowed = features_rng.choice(others, FEATURES - n_own, replace=False)
            members.append(
                Member(
                    item=items[c * MEMBERS + i],
                    category=names[c],
                    typicality=float(n_own / FEATURES),
                    features=(*map(str, own), *map(str, borrowed)),
                    weight=float(weight[i] / weight.sum() / CATEGORIES),
                )
            )
    return ConceptWorld(members=tuple(members), arm=ARMS[0] if coupled else ARMS[1])


def write_concepts(world: ConceptWorld, out: Path, *, n_sentences: int, seed: int) -> None:
    """Write the corpus, the norms and the counts of every member in the corpus.

    Raises:
        InputError: if the folder is in use or cannot be written.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise InputError(f"a world is written to a new or empty directory, but {out} is in use: name another one")
    rng = np.random.default_rng([seed, n_sentences])
    drawn = rng.choice(len(world.members), n_sentences, p=[member.weight for member in world.members])
    lines: list[str] = []
    for index in drawn:
        member = world.members[int(index)]
        frame = SENTENCES[int(rng.integers(len(SENTENCES)))]
        lines.append(frame.format(item=member.item, feature=member.features[int(rng.integers(FEATURES))]))
    counts = np.bincount(drawn, minlength=len(world.members))
    try:
        out.mkdir(parents=True, exist_ok=True)
        (out / CORPUS).write_text("\n".join(lines) + "\n", encoding="utf-8")
        with (out / NORMS).open("w", encoding="utf-8", newline="") as file:
            rows = csv.writer(file)
            rows.writerow(("item", "category", "typicality", "subdataset"))
            rows.writerows((m.item, m.category, f"{m.typicality:.4f}", world.arm) for m in world.members)
        with (out / COUNTS).open("w", encoding="utf-8", newline="") as file:
            rows = csv.writer(file)
            rows.writerow(("word", "count"))
            rows.writerows((m.item, int(count)) for m, count in zip(world.members, counts, strict=True))
    except OSError as error:
        raise InputError(f"cannot write {out}: {error.strerror}") from None


def _words(n: int, rng: np.random.Generator) -> list[str]:
    """Different words of two syllables and a closing consonant, in random order."""
    every = [
        f"{a}{b}{c}{d}{e}" for a in ONSETS for b in VOWELS for c in ONSETS for d in VOWELS for e in ("l", "n", "r", "s")
    ]
    return [every[int(index)] for index in rng.choice(len(every), n, replace=False)]
