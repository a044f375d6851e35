"""Code lengths: bits are those of the probabilities, per byte of the text, and ordered as the world is."""

import itertools
import json
import math
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from probes.capture import encode
from probes.capture.prompts import pad
from probes.corpus.alphabet import Bytes, Tokens, span_ends
from probes.errors import InputError
from probes.familiarity.compressors import Compressor, train_dictionary
from probes.familiarity.predictor import Coder, Mixture, Prediction, Predictor, Uniform, bits_per_byte
from probes.familiarity.texts import CausalLM, read_text
from probes.models import LoadedModel, load_model
from probes.suites.shifts.noise import random_bytes, shuffled_words
from tests.tolerances import FLOAT64
from tests.trained import HELD_OUT, PROSE
from tests.trained.stories import stories as new_stories

BITS = 1e-9


class Biased(Predictor):
    """Bytes below 128 are likelier: a predictor with exact probabilities."""

    name = "biased"

    def probability(self, byte: int) -> Fraction:
        return Fraction(3, 512) if byte < 128 else Fraction(1, 512)

    def predict(self, text: str) -> Prediction:
        ids, starts, ends = Bytes().symbols(text)
        return Prediction(text, starts, ends, np.log2([float(self.probability(byte)) for byte in ids.tolist()]))


@given(st.text(min_size=1))
def test_bits_are_the_ideal_code_length(text):
    data = text.encode("utf-8", errors="ignore").decode()
    exact = math.prod((Biased().probability(byte) for byte in data.encode()), start=Fraction(1))
    ideal = math.log2(exact.denominator) - math.log2(exact.numerator)
    assert Biased().bits(data) == pytest.approx(ideal, abs=BITS)


@given(st.text(alphabet="aé漢😀 \n"), st.text(alphabet="bü"))
def test_spans_of_bytes_tile_the_text(text, more):
    ids, starts, ends = Bytes().symbols(text + more)
    assert bytes(ids.tolist()).decode() == text + more
    for byte, (start, end) in enumerate(zip(starts, ends, strict=True)):
        before = len((text + more)[:start].encode())
        assert before <= byte < before + len((text + more)[start:end].encode())


def test_a_lone_surrogate_is_one_line():
    with pytest.raises(InputError, match="not valid Unicode at character 2"):
        Bytes().symbols("ab\ud800")


def test_uniform_costs_eight_bits_per_byte_and_nothing_has_no_rate():
    assert bits_per_byte(Uniform(Bytes()), "漢字") == 8.0
    assert math.isnan(bits_per_byte(Uniform(Bytes()), ""))


@given(st.text(alphabet="aé~", min_size=1), st.floats(0, 1))
def test_a_mixture_is_the_weighted_mean_of_probabilities(text, weight):
    parts = [Biased(), Uniform(Bytes())]
    mixed = Mixture(parts, [weight, 1 - weight]).predict(text)
    expected = weight * 2 ** parts[0].predict(text).log2_p + (1 - weight) * 2 ** parts[1].predict(text).log2_p
    np.testing.assert_allclose(2**mixed.log2_p, expected, rtol=FLOAT64)


def test_a_mixture_refuses_wrong_weights_and_parts_that_cut_differently(tiny: LoadedModel):
    with pytest.raises(InputError, match="add up to 1"):
        Mixture([Biased()], [0.5])
    with pytest.raises(InputError, match="one weight per predictor"):
        Mixture([Biased()], [0.5, 0.5])
    with pytest.raises(InputError, match="cut the text alike"):
        Mixture([Biased(), CausalLM(tiny)], [0.5, 0.5]).predict("the cat sat")


CODECS = [Compressor(codec) for codec in ("zlib", "lzma", "bz2")]


@pytest.mark.parametrize("coder", CODECS, ids=lambda coder: coder.name)
def test_compressors_know_repetition_and_not_noise(coder: Coder):
    rng = np.random.default_rng(0)
    noise = "".join(map(chr, rng.integers(32, 127, 4000)))
    assert bits_per_byte(coder, "the cat sat on the mat. " * 200) < 0.5
    assert math.log2(95) < bits_per_byte(coder, noise) < 8
    assert coder.bits("") <= 14 * 8


def test_a_dictionary_helps_with_what_it_holds():
    seen = "Lily went to the park with her mom and played on the big red slide."
    taught = train_dictionary("zlib", [seen], size=1000)
    assert taught.bits(seen) < 0.5 * Compressor("zlib").bits(seen)
    assert taught.name == "zlib with dictionary"
    with pytest.raises(InputError, match="takes no dictionary"):
        train_dictionary("bz2", [seen], size=10)


def test_zstd_where_it_is_installed_and_a_clear_line_where_not():
    from probes.extras import has_extra

    if has_extra("zstandard"):
        text = "the cat sat on the mat. " * 20
        assert Compressor("zstd").bits(text) < 0.3 * 8 * len(text)
        seen = [f"the {colour} cat sat on the {place} and saw one dog under the tree, number {n}. "
                for n in range(200) for colour, place in (("grey", "mat"), ("red", "roof"))]  # fmt: skip
        taught = train_dictionary("zstd", seen, size=2000)
        new = "the blue cat sat on the roof and saw one dog under the mat, number 77."
        assert taught.bits(new) < 0.7 * Compressor("zstd").bits(new)
        assert taught.name == "zstd with dictionary"
        assert len(taught.dictionary) <= 2000
        with pytest.raises(InputError, match="not enough to train a zstd dictionary"):
            train_dictionary("zstd", ["a"], size=2000)
    else:
        with pytest.raises(InputError, match=r"activation-sparsity\[compression\]"):
            Compressor("zstd").bits("a")


def test_bits_of_a_model_are_those_of_its_logits(tiny: LoadedModel):
    text = "the cat sat on the mat and saw one dog"
    prompt = encode(tiny, text)
    output = tiny.run(pad([prompt], tiny.pad_id))
    rows = torch.arange(len(prompt.ids))
    logits = tiny.logits(output, rows).double().numpy()
    ideal = math.fsum(
        (np.logaddexp.reduce(logits[t]) - logits[t, token]) / math.log(2) for t, token in enumerate(prompt.ids[1:])
    )
    assert CausalLM(tiny).bits(text) == pytest.approx(ideal, abs=BITS)


def test_without_bos_the_first_token_is_one_of_the_vocabulary(tiny: LoadedModel):
    assert CausalLM(tiny, bos="none").predict("cat sat").log2_p[0] == -math.log2(tiny.vocabulary)


def test_what_the_tokenizer_cannot_write_has_no_code_length(tiny: LoadedModel):
    assert math.isnan(CausalLM(tiny).bits("the zebra sat"))
    assert CausalLM(tiny).bits("") == 0.0


def test_tokens_are_counted_over_the_bytes_of_the_text_also_where_it_is_cut(stories: LoadedModel):
    text = "Once upon a time, a naïve café owner 😀 named Zoë sat down."
    whole = read_text(stories, text)
    assert whole.n_bytes("prompt") == len(text.encode())
    for n in range(2, len(whole.prompt.ids)):
        cut = read_text(stories, text, max_tokens=n)
        kept, end = cut.characters("prompt"), whole.starts[n]
        assert kept == text[:end]
        assert cut.ends[:n].max() == end
        assert read_text(stories, text, max_tokens=n, target="Yes.").characters("answer") == " Yes."


def test_spans_of_tokens_tile_the_text(stories: LoadedModel):
    text = "A naïve 😀  story"
    ids, starts, ends = Tokens(stories.tokenizer).symbols(text)
    spans = sorted(set(zip(starts.tolist(), ends.tolist(), strict=True)))
    assert len(ids) > len(spans)  # bytes of one character share its span
    assert "".join(text[start:end] for start, end in spans) == text
    assert span_ends(np.array([-1, -1], dtype=np.int32), 4).tolist() == [-1, -1]


def test_alphabets_are_the_same_iff_their_rules_are(stories: LoadedModel, tiny: LoadedModel):
    again = load_model(stories.name)
    again.tokenizer.padding_side = "left"
    again.tokenizer(["one", "two words"], padding=True, truncation=True, max_length=8)
    assert Tokens(stories.tokenizer).identity == Tokens(again.tokenizer).identity
    assert Tokens(stories.tokenizer).identity != Tokens(tiny.tokenizer).identity


def test_a_trained_model_knows_new_stories_better_than_their_words_and_noise_least(stories: LoadedModel):
    rng = np.random.default_rng(0)
    tales = [text[:200] for text in new_stories(8, seed=HELD_OUT)]
    domains = {
        "stories": tales,
        "shuffled": [shuffled_words(text, rng) for text in tales],
        "prose": [text[:200] for text in PROSE[:8]],
        "random": [random_bytes(text, rng) for text in tales],
    }
    lm = CausalLM(stories)
    rate = [np.median([p.bits / len(p.text.encode()) for p in lm.predict_all(own)]) for own in domains.values()]
    assert rate == sorted(rate)
    assert 2 * rate[0] < rate[1], "the order of words is most of what it knows"


def test_the_published_story_model_knows_stories_best_and_noise_least(stories260k: LoadedModel, assets: Path):
    """TinyStories < shuffled, fiction, GSM8K < WikiText < code < random bytes, each by its median over ten texts."""
    rng = np.random.default_rng(0)

    def texts(file: str, field: str, start: int = 0) -> list[str]:
        with (assets / file).open(encoding="utf-8") as lines:
            return [json.loads(line)[field][:400] for line in itertools.islice(lines, start, start + 10)]

    tales = texts("text/tinystories.jsonl", "text")
    book = next(iter(sorted((assets / "text" / "children_fiction").glob("*.txt")))).read_text(encoding="utf-8")
    domains = {
        "stories": tales,
        "shuffled": [shuffled_words(text, rng) for text in tales],
        "fiction": [book[start : start + 400] for start in range(20_000, 60_000, 4_000)],
        "gsm8k": texts("tasks/gsm8k.jsonl", "question"),
        "wikitext": texts("text/wikitext.jsonl", "text"),
        "code": texts("tasks/humaneval.jsonl", "canonical_solution", 40),
        "random": [random_bytes(text, rng) for text in tales],
    }
    lm = CausalLM(stories260k)
    rate = {
        name: float(np.median([p.bits / len(p.text.encode()) for p in lm.predict_all(own)]))
        for name, own in domains.items()
    }
    assert rate["stories"] < min(rate["shuffled"], rate["fiction"], rate["gsm8k"]), rate
    assert max(rate["shuffled"], rate["fiction"], rate["gsm8k"]) < rate["wikitext"] < rate["code"], rate
    assert rate["code"] < rate["random"], rate
