import pytest

from probes.capture.positions import Selector, parse_position, parse_positions
from probes.capture.prompts import Prompt
from probes.errors import InputError

WITH_BOS = Prompt(tuple(range(10)), 1, False, (-1,) * 10, 7)
WITHOUT = Prompt(tuple(range(6)), 0, False, (-1,) * 6, None)


@pytest.mark.parametrize(
    ("asked", "with_bos", "without"),
    [
        ("last", [6], [5]),
        ("mean", [1, 2, 3, 4, 5, 6], [0, 1, 2, 3, 4, 5]),
        ("all", [1, 2, 3, 4, 5, 6], [0, 1, 2, 3, 4, 5]),
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
    with pytest.raises(InputError, match="did you mean 'mean'"):
        parse_position("meen")
    with pytest.raises(InputError, match="or a slice"):
        parse_position("1,2")
    with pytest.raises(InputError, match="no position"):
        parse_positions([])
