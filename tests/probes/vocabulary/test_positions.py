import pytest

from probes.errors import InputError
from probes.vocabulary.positions import Selector, parse_position, parse_positions
from probes.vocabulary.prompt import Prompt

WITH_BOS = Prompt(tuple(range(10)), 1, False, (-1,) * 10, 7)
WITHOUT = Prompt(tuple(range(6)), 0, False, (-1,) * 6, None)


@pytest.mark.parametrize(
    ("asked", "with_bos", "without"),
    [
        ("last", [6], [5]),
        ("mean", [1, 2, 3, 4, 5, 6], [1, 2, 3, 4, 5]),
        ("all", [1, 2, 3, 4, 5, 6], [0, 1, 2, 3, 4, 5]),
        ("typical", [1, 2, 3, 4, 5, 6], [1, 2, 3, 4, 5]),
        ("prompt", [1, 2, 3, 4, 5, 6], [1, 2, 3, 4, 5]),
        ("answer", [7, 8, 9], []),
        ("2:4", [2, 3], [2, 3]),
        ("-2:", [5, 6], [4, 5]),
        (":2", [0, 1], [0, 1]),
        ("8:20", [], []),
    ],
)
def test_a_position_picks_prompt_tokens_and_only_answer_picks_the_target(asked, with_bos, without):
    selector = parse_position(asked)
    assert list(selector.pick(WITH_BOS)) == with_bos
    assert list(selector.pick(WITHOUT)) == without
    assert selector.name == asked


def test_positions_are_words_slices_or_selectors():
    own = Selector("even", lambda prompt: range(0, prompt.end, 2))
    assert [selector.name for selector in parse_positions(["last", own, "last"])] == ["last", "even"]

    def first(prompt: Prompt) -> range:
        return range(min(prompt.end, 1))

    assert [selector.name for selector in parse_positions(first)] == ["first"]
    assert [list(selector.pick(WITH_BOS)) for selector in parse_positions(["last", first])] == [[6], [0]]
    with pytest.raises(InputError, match="did you mean 'mean'"):
        parse_position("meen")
    with pytest.raises(InputError, match="a slice such as 5:10"):
        parse_position("1,2")
    with pytest.raises(InputError, match="no position"):
        parse_positions([])


def test_an_expression_picks_the_content_tokens_whose_text_matches():
    words = ["<s>", " 12", "cat", "7", " dogs2", "x", " 9 ", "8", "1", "0"]
    assert list(parse_position("/^[0-9]+$/", words.__getitem__).pick(WITH_BOS)) == [1, 3, 6]
    assert list(parse_position("/[0-9]/", words.__getitem__).pick(WITHOUT)) == [1, 3, 4]
    assert parse_position("/^[0-9]+$/").name == "/^[0-9]+$/"
    with pytest.raises(InputError, match="hand in a tokenizer"):
        parse_position("/a/").pick(WITH_BOS)
    with pytest.raises(InputError, match="'/\\(/' is not a regular expression"):
        parse_position("/(/")


def test_an_expression_picks_once_a_model_lends_its_words():
    words = ["a", "12", "b", " 3", "4x", "c"]
    unbound = parse_position("/[0-9]/")
    with pytest.raises(InputError, match="needs the texts of tokens"):
        unbound.pick(WITHOUT)
    assert list(unbound.bound(words.__getitem__).pick(WITHOUT)) == [1, 3, 4]
    last = parse_position("last")
    assert last.bound(words.__getitem__) is last
