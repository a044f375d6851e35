"""One word is one token, saved and loaded, with a BOS in front."""

import numpy as np
from transformers import AutoTokenizer

from probes.lab.tokenizer import SPECIAL_TOKENS, build_tokenizer
from probes.lab.world import build_world


def test_a_saved_tokenizer_loads_with_autotokenizer_and_gives_the_same_ids(tmp_path):
    world = build_world(np.random.default_rng(0), multiples=(0, 1), unit=1, n_tails=3)
    tokenizer = build_tokenizer(world.words)
    tokenizer.save_pretrained(tmp_path)
    loaded = AutoTokenizer.from_pretrained(tmp_path, local_files_only=True)
    assert {"tokenizer.json", "tokenizer_config.json"} <= {path.name for path in tmp_path.iterdir()}
    assert len(loaded) == len(world.words) + len(SPECIAL_TOKENS)
    assert (loaded.bos_token, loaded.unk_token, loaded.pad_token) == SPECIAL_TOKENS
    for fact in world.facts:
        ids = loaded(fact.sentence)["input_ids"]
        assert ids == tokenizer(fact.sentence)["input_ids"]
        assert loaded.convert_ids_to_tokens(ids) == ["<bos>", *fact.prompt.split(), fact.tail, "."]


def test_an_unknown_word_is_unknown_and_not_left_out():
    tokenizer = build_tokenizer(["Ada", "lives", "in"])
    assert tokenizer.convert_ids_to_tokens(tokenizer("Ada sings in")["input_ids"]) == ["<bos>", "Ada", "<unk>", "in"]


def test_special_tokens_can_be_left_out():
    tokenizer = build_tokenizer(["Ada"])
    assert tokenizer("Ada", add_special_tokens=False)["input_ids"] == [len(SPECIAL_TOKENS)]
