"""Chat templates: one beginning-of-sequence token, characters counted in the text itself, and a run of its own."""

import numpy as np
import pytest
from transformers import AutoTokenizer

from probes.capture import collect, encode, load_model
from probes.capture.choices import read_choices, with_choices
from probes.capture.prompts import pad
from probes.capture.templates import PromptError, template_identity
from probes.errors import InputError
from probes.records import open_run
from probes.sweep.run import run_sweep

TEMPLATE = "{{ bos_token }}{% for m in messages %}[{{ m.role }}] {{ m.content }}\n{% endfor %}[assistant]"


@pytest.fixture
def chatty(stories):
    """stories260K with a template that, like many, writes the BOS itself."""
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
