"""Short stories for children, written by a small grammar: all that the model beside this file has ever read.

The text is ours, so it can be shipped and written again. A story keeps its hero, thing and place from sentence to
sentence, so there is something to learn beyond the frequency of words; names, things and numbers vary, so there is
something left to be unsure of.
"""

from __future__ import annotations

from typing import Final

import numpy as np

GIRLS: Final = ("Lily", "Mia", "Anna", "Sue", "Rosa", "Emma")
BOYS: Final = ("Tim", "Tom", "Ben", "Max", "Sam", "Leo")
ANIMALS: Final = ("cat", "dog", "bird", "frog", "fish", "bear", "duck", "fox")
THINGS: Final = ("ball", "hat", "book", "cake", "boat", "kite", "doll", "cup", "drum", "flower")
COLOURS: Final = ("red", "blue", "green", "yellow", "white", "black")
SIZES: Final = ("big", "little", "small", "new", "old")
PLACES: Final = ("park", "garden", "house", "forest", "school", "kitchen", "river", "hill")
MOODS: Final = ("happy", "sad", "tired", "proud", "scared")
NUMBERS: Final = ("one", "two", "three", "four", "five", "six", "seven", "eight")
DEEDS: Final = ("run", "play", "sing", "jump", "swim", "read")
GREETINGS: Final = ("Hello", "Look", "Come here", "Good day")


def tell(rng: np.random.Generator) -> str:
    """One story of about a hundred words.

    >>> tell(np.random.default_rng(0))[:45]
    'Once upon a time, there was a little boy name'
    """

    def one(words: tuple[str, ...]) -> str:
        return words[rng.integers(len(words))]

    girl = rng.random() < 0.5
    hero, friend = one(GIRLS if girl else BOYS), one(BOYS if girl else GIRLS)
    kind, he, his = ("girl", "She", "her") if girl else ("boy", "He", "his")
    thing, place, animal, deed = one(THINGS), one(PLACES), one(ANIMALS), one(DEEDS)
    size, colour = one(SIZES), one(COLOURS)
    number = int(rng.integers(1, 6))
    more = int(rng.integers(1, 3))
    opening = (
        f"Once upon a time, there was a little {kind} named {hero}.",
        f"One day, a {kind} named {hero} went to the {place}.",
        f"Once there was a {kind}. The {kind} was named {hero}.",
    )
    middle = [
        f"{he} loved to {deed} in the {place}.",
        f"{he} loved to play outside in the {place} with {his} toys.",
        f"{hero} had a {size} {colour} {thing}. The {thing} was very {size}.",
        f"{hero} saw a {animal} in the {place}. The {animal} was {size} and {colour}.",
        f"{friend} came to the {place}, too. {friend} and {hero} were friends.",
        f'"{one(GREETINGS)}, {friend}!" said {hero}. "I have a {colour} {thing}."',
        (
            f"{hero} had {NUMBERS[number - 1]} {thing}s. {he} found {NUMBERS[more - 1]} more. "
            f"Now {hero} had {NUMBERS[number + more - 1]} {thing}s."
        ),
        f"The {animal} wanted to {deed}. So the {animal} and {hero} went to the {place} to {deed}.",
        f"{hero} gave the {thing} to {friend}. Who had the {thing}? {friend} had the {thing}.",
        f'"Can I play with the {thing}?" asked the {animal}. "Yes, you can," said {hero}.',
        f"{hero} lost the {colour} {thing} and was {one(('sad', 'scared'))}. {friend} found it in the {place}.",
        f"{he} wanted to play with {his} {thing} and go to the {place}.",
        f"The {animal} sat on the {thing}. Then the {animal} ran to the {place}.",
    ]
    ending = (
        f"{hero} was {one(MOODS)} and went home.",
        f"They were very {one(MOODS)}. The end.",
        f"At the end of the day, {hero} and the {animal} went home. The end.",
    )
    told = [middle[i] for i in rng.permutation(len(middle))[: rng.integers(4, 8)]]
    return " ".join([one(opening), *told, one(ending)])


def stories(n: int, seed: int) -> list[str]:
    """Some stories, the same for the same seed."""
    rng = np.random.default_rng(seed)
    return [tell(rng) for _ in range(n)]
