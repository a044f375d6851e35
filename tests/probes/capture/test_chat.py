"""Chat templates: one beginning-of-sequence token, characters counted in the text itself, and a run of its own."""

import datetime as dt
from types import SimpleNamespace

import numpy as np
import pytest
from tokenizers import Regex, Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Split
from tokenizers.processors import TemplateProcessing
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from probes.capture import collect, encode
from probes.capture.choices import read_choices, with_choices
from probes.capture.prompts import pad
from probes.errors import InputError
from probes.familiarity.measure import measure_familiarity
from probes.models import load_model
from probes.models.templates import Chat, PromptError, template_identity
from probes.records import open_run
from probes.sweep.run import run_sweep
from probes.vocabulary.positions import SELECTORS
from tests.probes.conftest import tiny_llama
from tests.reference.text_in_template import describe
from tests.tolerances import REBATCHED

TEMPLATE = "{{ bos_token }}{% for m in messages %}[{{ m.role }}] {{ m.content }}\n{% endfor %}[assistant]"


@pytest.fixture
def chatty(stories):
    """The trained model with a template that, like many, writes the BOS itself."""
    tokenizer = AutoTokenizer.from_pretrained(stories.name)
    tokenizer.chat_template = TEMPLATE
    return load_model(stories.module, tokenizer=tokenizer)


def test_the_model_reads_the_template_once_around_the_text_and_one_bos(chatty):
    text = "Once upon a time"
    prompt = encode(chatty, text, template="chat")
    by_hand = chatty.tokenizer("<s>[user] Once upon a time\n[assistant]", add_special_tokens=False).input_ids
    assert list(prompt.ids) == by_hand
    assert prompt.ids.count(chatty.tokenizer.bos_token_id) == 1
    assert (prompt.ids[0], prompt.n_special) == (1, 1)
    for bos in ("add", "none"):
        assert encode(chatty, text, template="chat", bos=bos).ids == prompt.ids


def test_characters_are_counted_in_the_text_itself(chatty):
    text = "Once upon a time"
    prompt = encode(chatty, text, target="there was", template="chat")
    starts = [start for start in prompt.char_starts[: prompt.end] if start >= 0]
    assert starts == sorted(starts)
    assert starts == list(encode(chatty, text, bos="none").char_starts)
    assert [prompt.text.start, prompt.chars] == [prompt.char_starts.index(0), (0, len(text))]
    assert starts[-1] < len(text)
    assert prompt.char_starts[0] == -1
    assert prompt.char_starts[prompt.end - 1] == -1
    assert all(start >= len(text) for start in prompt.char_starts[prompt.end :])
    assert chatty.tokenizer.decode(prompt.ids[prompt.end :]).strip() == "there was"


def test_a_template_changes_what_is_measured_and_none_leaves_it_alone(chatty, stories):
    texts = ["Once upon a time", "Lily had a ball"]
    plain, none = (collect(model, texts, "final_norm", "last", "hoyer") for model in (stories, chatty))
    np.testing.assert_array_equal(plain.value, none.value)
    chat = collect(chatty, texts, "final_norm", "last", "hoyer", template="chat")
    assert (chat.token > plain.token).all()
    assert not np.isclose(chat.value, plain.value).any()


def test_answers_are_compared_inside_the_template(chatty):
    text = "What did Lily have?"
    prompt = encode(chatty, text, target="A ball", template="chat")
    asked = with_choices(chatty, prompt, text, ["A ball", "fjord"], 0, template="chat")
    assert asked.choices.texts[0].ids == prompt.ids
    output = chatty.run(pad([asked], chatty.pad_id))
    assert read_choices(chatty, output, [asked], ["choice_correct"])["choice_correct"].tolist() == [1]


def test_what_a_template_cannot_do_is_said(chatty, stories):
    with pytest.raises(InputError, match="has no chat template; use none"):
        encode(stories, "Once", template="chat")
    with pytest.raises(InputError, match="chat takes texts, not token ids"):
        encode(chatty, [1, 2], template="chat")
    with pytest.raises(PromptError, match="empty prompt"):
        encode(chatty, "", template="chat")
    assert template_identity(stories.tokenizer, "none") == "none"
    first = template_identity(chatty.tokenizer, "chat")
    chatty.tokenizer.chat_template = TEMPLATE + " "
    assert first.startswith("chat:")
    assert first != template_identity(chatty.tokenizer, "chat")


def test_a_sweep_with_a_template_is_another_run(make_spec, tiny_model, tmp_path):
    tokenizer = AutoTokenizer.from_pretrained(tiny_model)
    tokenizer.chat_template = "{% for m in messages %}one {{ m.content }} two {% endfor %}"
    tokenizer.save_pretrained(tiny_model)
    out = tmp_path / "out"
    for template in ("none", "chat"):
        run_sweep(make_spec(3, positions="last", controls="none", template=template), out)
    run = open_run(out)
    lengths = run.inputs().groupby("run_id", observed=True)["n_tokens"].sum().sort_values()
    assert len(lengths) == 2
    assert lengths.iloc[1] - lengths.iloc[0] == 3 * (2 - 1), "two words more, and no beginning-of-sequence token"


LETTERS = "abcdefghijklmnopqrstuvwxyz .[]!0123456789"


def letters(template: str) -> SimpleNamespace:
    """A reader whose tokens are single characters, with a chat template."""
    vocabulary = {character: number for number, character in enumerate(["<s>", "</s>", "?", *LETTERS])}
    core = Tokenizer(WordLevel(vocabulary, unk_token="?"))
    core.pre_tokenizer = Split(Regex("."), "isolated")
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=core, bos_token="<s>", eos_token="</s>", unk_token="?")
    tokenizer.chat_template = template
    return SimpleNamespace(
        name="letters", tokenizer=tokenizer, context_length=None, vocabulary=len(vocabulary), is_causal=True
    )


SYSTEM = "<s>you are a helpful user [{% for m in messages %}{{ m.content | trim }}{% endfor %}]user says"


@pytest.mark.parametrize("text", ["a", "user", "helpful", "you are", "  user  ", "says ["])
def test_a_text_is_located_where_it_stands_also_if_the_template_holds_its_words(text):
    model = letters(SYSTEM)
    prompt = encode(model, text, template="chat")
    before = len("you are a helpful user [") + 1
    assert prompt.text == range(before, before + len(text.strip()))
    read = "".join(model.tokenizer.convert_ids_to_tokens([prompt.ids[token] for token in prompt.text]))
    assert read == text.strip()
    assert prompt.chars == (text.index(text.strip()), text.index(text.strip()) + len(text.strip()))
    assert [text[prompt.char_starts[token]] for token in prompt.text] == list(text.strip())
    assert {prompt.char_starts[token] for token in range(prompt.end) if token not in prompt.text} == {-1}
    assert prompt.content == prompt.text
    assert prompt.whole == range(1, prompt.end)
    assert list(SELECTORS["last"].pick(prompt)) == [len(prompt.ids) - 1]


def test_max_tokens_cuts_the_text_and_never_the_template():
    model = letters(SYSTEM)
    whole = encode(model, "some longer text", template="chat")
    cut = encode(model, "some longer text", template="chat", max_tokens=len(whole.ids) - 12)
    assert (whole.truncated, cut.truncated) == (False, True)
    assert cut.chars == (0, 4)
    assert cut.ids == whole.ids[: cut.text.stop] + whole.ids[whole.text.stop :]
    with pytest.raises(PromptError, match="35 tokens stand around the text"):
        encode(model, "some longer text", template="chat", max_tokens=35)


def test_a_template_that_does_other_things_to_a_text_never_gives_a_wrong_place():
    upper = encode(
        letters("{% for m in messages %}[{{ m.content | replace('a', 'bb') }}]{% endfor %}"), "a cat", template="chat"
    )
    assert upper.text == range(1, 8)
    assert upper.chars is None
    assert set(upper.char_starts) == {-1}
    twice = letters("{% for m in messages %}{{ m.content }}.{{ m.content }}{% endfor %}")
    with pytest.raises(PromptError, match="writes the user's text 2 times"):
        encode(twice, "a", template="chat")
    moody = letters("{% for m in messages %}{{ 'no' if m.content == 'a' else 'yes' }}[{{ m.content }}]{% endfor %}")
    with pytest.raises(PromptError, match="other words around this text"):
        encode(moody, "a", template="chat")
    strict = letters("{{ raise_exception('no system turns') }}")
    with pytest.raises(PromptError, match="no system turns"):
        encode(strict, "a", template="chat")


def test_a_template_is_told_its_arguments_the_turns_before_and_one_date():
    model = letters(
        "{{ strftime_now('%d') }}.{{ '!' if thinking }}{% for m in messages %}{{ m.role }} {{ m.content }}.{% endfor %}"
    )
    chat = Chat(arguments={"thinking": True}, system="be brief", date=dt.date(2026, 1, 28))
    prompt = encode(model, "hi", template=chat, before=[("user", "a"), ("assistant", "b")])
    read = "".join(model.tokenizer.convert_ids_to_tokens(list(prompt.ids)))
    assert read == "28.!system be brief.user a.assistant b.user hi."
    assert template_identity(model.tokenizer, chat) != template_identity(model.tokenizer, Chat(date=chat.date))
    days = [template_identity(model.tokenizer, Chat(date=dt.date(2026, 1, day))) for day in (1, 1, 2)]
    assert days[0] == days[1] != days[2]
    with pytest.raises(InputError, match="set template: chat"):
        encode(model, "hi", before=[("user", "a")])


def test_special_tokens_that_a_text_spells_out_are_counted_or_made_text():
    model = letters("{{ bos_token }}{% for m in messages %}[{{ m.content }}]{% endfor %}")
    for template in ("none", "chat"):
        control, text = (
            encode(model, "ab</s>c", template=template, special_tokens=policy) for policy in ("control", "text")
        )
        assert (control.n_control, len(control.text)) == (1, 4)
        assert (text.n_control, len(text.text)) == (0, 7)
        assert control.chars == text.chars == (0, 7)


def test_an_end_that_the_tokenizer_puts_behind_every_text_is_no_text():
    model = letters("")
    model.tokenizer._tokenizer.post_processor = TemplateProcessing(
        single="<s> $A </s>", special_tokens=[("<s>", 0), ("</s>", 1)]
    )
    prompt = encode(model, "ab", target="c")
    assert model.tokenizer.convert_ids_to_tokens(list(prompt.ids)) == ["<s>", "a", "b", " ", "c"]
    assert encode(model, "ab</s>").ids[-1] == 1, "what the text says itself stays"
    model.is_causal = False
    prompt = encode(model, "abcd", max_tokens=4)
    assert model.tokenizer.convert_ids_to_tokens(list(prompt.ids)) == ["<s>", "a", "b", "</s>"]
    assert (prompt.text, prompt.chars, prompt.content) == (range(1, 3), (0, 2), range(1, 3))


def test_texts_in_templates_have_the_numbers_of_plain_transformers_and_numpy():
    """`tests/reference/text_in_template.py` shares no code with the product; a random model with a long system text."""
    reader = letters(SYSTEM)
    module = tiny_llama(max_position_embeddings=128)
    model = load_model(module, tokenizer=reader.tokenizer)
    texts = ["user", "a", "  some longer text.  ", "helpful 12"]
    frame = collect(model, texts, "final_norm", "mean", "hoyer", template="chat")
    told = measure_familiarity(model, texts, "bits_per_byte", template="chat").familiarity
    expected = [describe(module, reader.tokenizer, text) for text in texts]
    np.testing.assert_allclose(frame.value, [own["hoyer"] for own in expected], rtol=REBATCHED)
    np.testing.assert_allclose(told.value, [own["bits_per_byte"] for own in expected], rtol=REBATCHED)
