import copy
from types import SimpleNamespace

import pytest
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace
from tokenizers.processors import TemplateProcessing
from transformers import PreTrainedTokenizerFast

from probes.capture.prompts import encode, pad
from probes.errors import InputError
from probes.models import load_model
from probes.models.templates import PromptError
from probes.vocabulary.prompt import Prompt

BARE = SimpleNamespace(name="bare", tokenizer=None, context_length=8, vocabulary=50, is_causal=True)


def test_the_tokenizer_decides_about_bos_unless_told(stories):
    text = "Once there was a"
    auto, add, none = (encode(stories, text, bos=bos) for bos in ("auto", "add", "none"))
    assert auto.ids == add.ids == (1, *none.ids)
    assert (auto.n_special, none.n_special) == (1, 0)
    assert [text[start:][:2] for start in none.char_starts] == ["On", " t", " w", " a"]
    assert auto.char_starts == (-1, *none.char_starts)


def test_a_bos_in_the_text_is_not_doubled(stories):
    assert encode(stories, "<s>Once upon a time").ids == encode(stories, "Once upon a time").ids


def test_truncation_counts_bos_and_spares_the_target(stories):
    whole = encode(stories, "Once upon a time there was", target="a cat")
    cut = encode(stories, "Once upon a time there was", target="a cat", max_tokens=3)
    assert cut.truncated
    assert not whole.truncated
    assert cut.target_start == cut.end == 3
    assert cut.ids[3:] == whole.ids[whole.end :]
    assert not encode(stories, "Once", max_tokens=96).truncated


@pytest.mark.parametrize("gap", ["", " "])
def test_prompt_and_target_join_as_running_text_does(stories, gap):
    joined = encode(stories, "Once upon a time there was a cat")
    parted = encode(stories, f"Once upon a time{gap}", target="there was a cat")
    if not gap:
        assert parted.ids == joined.ids
        assert parted.char_starts == joined.char_starts
    assert stories.tokenizer.decode(parted.ids[parted.end :]).split() == ["there", "was", "a", "cat"]
    assert parted.content == range(1, parted.target_start)


def test_an_eos_that_the_tokenizer_appends_stands_neither_before_the_answer_nor_last(stories):
    tokenizer = copy.deepcopy(stories.tokenizer)
    bos, eos = tokenizer.bos_token_id, tokenizer.eos_token_id
    tokenizer.backend_tokenizer.post_processor = TemplateProcessing(
        single="<s> $A </s>", pair="<s> $A $B </s>", special_tokens=[("<s>", bos), ("</s>", eos)]
    )
    assert tokenizer("Once upon a")["input_ids"][-1] == eos
    framed = load_model(stories.module, tokenizer=tokenizer)
    for target in (None, "time"):
        prompt, plain = (encode(model, "Once upon a", target=target) for model in (framed, stories))
        assert eos not in prompt.ids[: prompt.end]
        assert prompt.ids[: len(plain.ids)] == plain.ids
        assert prompt.text[-1] == plain.text[-1]  # what `last` reads


def test_prompts_that_cannot_be_read_fail_alone_and_say_why(stories):
    with pytest.raises(PromptError, match="empty prompt"):
        encode(stories, "")
    with pytest.raises(PromptError, match="empty prompt"):
        encode(stories, "<s>")
    with pytest.raises(PromptError, match=r"\d+ tokens, but .* reads at most 512; set max_tokens"):
        encode(stories, "cat " * 600)
    assert len(encode(stories, "cat " * 600, max_tokens=512).ids) == 512
    with pytest.raises(PromptError, match="token id 50 is outside the vocabulary"):
        encode(BARE, [1, 50])
    with pytest.raises(PromptError, match="empty prompt"):
        encode(BARE, [])
    with pytest.raises(InputError, match="without a tokenizer"):
        encode(BARE, "text")
    with pytest.raises(InputError, match="max_tokens"):
        encode(BARE, [1], max_tokens=0)
    with pytest.raises(InputError, match="has no beginning-of-sequence token"):
        encode(SimpleNamespace(**vars(BARE) | {"tokenizer": words("a", "b")}), "a b", bos="add")


def words(*vocabulary):
    """A tokenizer of whole words, without any special token."""
    core = Tokenizer(WordLevel({word: index for index, word in enumerate(vocabulary)}, unk_token=vocabulary[0]))
    core.pre_tokenizer = Whitespace()
    return PreTrainedTokenizerFast(tokenizer_object=core)


def test_a_tokenizer_without_special_tokens_is_served():
    model = SimpleNamespace(**vars(BARE) | {"tokenizer": words("a", "b")})
    prompt = encode(model, "b a b", target="a")
    assert prompt == Prompt((1, 0, 1, 0), 0, False, (0, 2, 4, 6), 3, span=(0, 3), chars=(0, 5), joint=" ")


def test_unknown_words_are_words(stories):
    """The unknown token of the trained model is its padding too and is listed as special; a text of it is not empty."""
    unknown = stories.tokenizer.unk_token_id
    assert unknown == stories.tokenizer.pad_token_id
    assert encode(stories, [unknown, unknown]).text == range(2)


def test_padding_is_on_the_right_and_masked():
    batch = pad([Prompt((7, 8, 9), 0, False, (0,) * 3, None), Prompt((5,), 0, False, (0,), None)], pad_id=4)
    assert batch.ids.tolist() == [[7, 8, 9], [5, 4, 4]]
    assert batch.mask.tolist() == [[1, 1, 1], [1, 0, 0]]
