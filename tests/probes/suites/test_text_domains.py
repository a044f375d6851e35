"""Text domains: paired shifts keep what they should keep, and leaving one out changes no other."""

import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from probes.suites import Example
from probes.suites.shifts.noise import PRINTABLE, character_noise, random_bytes, shuffled_words
from probes.suites.text_domains import ALL_MADE, NOISE_RATE, Made, TextDomains
from tests.samples import of_share

texts = st.text(alphabet=st.characters(exclude_categories=["Cs"]), max_size=80)


@given(text=texts, seed=st.integers(0, 2**32))
def test_shuffling_keeps_every_word(text: str, seed: int) -> None:
    assert Counter(shuffled_words(text, np.random.default_rng(seed)).split()) == Counter(text.split())


@given(text=texts, seed=st.integers(0, 2**32))
def test_noise_keeps_the_length_and_bytes_keep_the_byte_length(text: str, seed: int) -> None:
    assert len(character_noise(text, NOISE_RATE, np.random.default_rng(seed))) == len(text)
    made = random_bytes(text, np.random.default_rng(seed))
    assert len(made.encode()) == len(text.encode())
    assert set(made) <= set(PRINTABLE)


def test_noise_hits_as_many_characters_as_it_says() -> None:
    text = "é" * 20_000  # a character that noise never draws, so every hit shows
    changed = sum(character != "é" for character in character_noise(text, NOISE_RATE, np.random.default_rng(0)))
    assert abs(changed / len(text) - NOISE_RATE) < of_share(NOISE_RATE, len(text))


@pytest.fixture
def domains(tmp_path: Path) -> dict[str, object]:
    for name in ("in", "out"):
        rows = (json.dumps({"text": f"{name} number {i} and some more words"}) for i in range(6))
        (tmp_path / f"{name}.jsonl").write_text("\n".join(rows))
    return {
        "name": "text_domains",
        "in": {"home": {"file": str(tmp_path / "in.jsonl")}},
        "shifted": {"away": {"file": str(tmp_path / "out.jsonl")}},
    }


def made(domains: dict[str, object], shifts: tuple[Made, ...]) -> dict[str, Example]:
    suite = TextDomains.model_validate({**domains, "shifts": shifts}).suite()
    return {item.example_id: item.example for item in suite.items(np.random.default_rng(3))}


def test_every_domain_is_there_and_paired_items_share_a_cluster(domains: dict[str, object]) -> None:
    examples = made(domains, ALL_MADE)
    counts = Counter((example.split, example.level_name) for example in examples.values())
    assert counts == {("in", "home"): 6} | {
        ("shifted", name): 6 for name in ("away", "shuffled_words", "character_noise", "random_bytes", "python_stdlib")
    }
    clusters = Counter(example.cluster for example in examples.values())
    assert clusters["home-0"] == 4
    assert clusters["away-0"] == 1


def test_leaving_a_shift_out_changes_no_other(domains: dict[str, object]) -> None:
    everything, some = made(domains, ALL_MADE), made(domains, ("random_bytes",))
    assert all(everything[name] == example for name, example in some.items())


def test_python_source_is_code(domains: dict[str, object]) -> None:
    code = [example for example in made(domains, ("python_stdlib",)).values() if example.level_name == "python_stdlib"]
    assert all(example.text.startswith(("def ", "class ")) for example in code)
    assert {len(example.text) for example in code} == {len("in number 0 and some more words")}  # as long as at home
    assert len({example.text for example in code}) == len(code)
