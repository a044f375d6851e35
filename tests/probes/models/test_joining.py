"""What stands between prompt and answer, where running text, code and other scripts have it."""

import pytest

from probes.models.joining import between


@pytest.mark.parametrize(
    ("text", "target", "expected"),
    [
        ("The capital of France is", "Paris", " "),
        ("The capital of France is ", "Paris", ""),
        ("The capital of France is", " Paris", ""),
        ("Question: what time?\nAnswer:", "12:30", " "),
        ("It was 12:30 when he came.\nAnswer:", "4", " "),
        ('He said "yes"', "and", " "),
        ('france_cap = "', "Paris", ""),
        ("print(", "x", ""),
        ("中国的首都是", "北京", ""),
        ("答案:", "北京", ""),
        ("ราคา", "สิบบาท", ""),
        ("In Chinese, Beijing is", "北京", " "),
        ("Count: 1,2,3,4,", "5", ""),
        ("In 1999, 3 men came, and in 2000,", "4", " "),
        ("12+7=", "19", ""),
        ("Once upon a time", ", there was", ""),
        ("", "Paris", ""),
    ],
)
def test_a_space_stands_where_running_text_has_one(text, target, expected):
    assert between(text, target) == expected


def test_a_prefix_that_is_given_is_taken_as_it_is():
    assert [between("a", "b", prefix) for prefix in ("", " ", "\n")] == ["", " ", "\n"]
