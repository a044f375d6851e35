"""What an answer key means is decided on the whole source, and refused where nobody can tell."""

import json
from pathlib import Path

import numpy as np
import pytest

from probes.errors import InputError
from probes.suites.files import FileSuite

FOUR = ["north", "east", "south", "west"]


def right(folder: Path, rows: list[tuple[list[str], object]], *, csv: bool = False, **keys: object) -> list[str | None]:
    """The answers in words that a suite of these choices and keys expects; None where the item has a fault."""
    if csv:
        path = folder / "t.csv"
        cells = ["q,c,k", *(f"{i},{_quoted(json.dumps(choices))},{key}" for i, (choices, key) in enumerate(rows))]
        path.write_text("\n".join(cells))
    else:
        path = folder / "t.jsonl"
        path.write_text("\n".join(json.dumps({"q": str(i), "c": c, "k": k}) for i, (c, k) in enumerate(rows)))
    suite = FileSuite.model_validate(
        {"file": str(path), "name": "t", "prompt": "q", "choices": "c", "answer": "k", **keys}
    )
    return [
        None if item.example.fault else item.example.target for item in suite.suite().items(np.random.default_rng(0))
    ]


def _quoted(text: str) -> str:
    doubled = text.replace('"', '""')
    return f'"{doubled}"'


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        (["A", "D", "B"], [0, 3, 1]),
        (["a", "(d)", "B."], [0, 3, 1]),
        (["north", "West ", "south"], [0, 3, 2]),
        (["1", "4", "2"], [0, 3, 1]),  # a 4 among four choices
        (["1", "2", "2"], [0, 1, 1]),  # ARC: labels, written as text
        (["0", "3", "1"], [0, 3, 1]),  # HellaSwag: a 0 among them
        ([0, 3, 1], [0, 3, 1]),
        ([1, 4, 2], [0, 3, 1]),
        ([0, 3, 7], [0, 3, None]),  # one key that is none
        (["A", "4", "1"], [0, 3, 0]),  # ARC has both in one file
        (["A", "B", "north east"], [0, 1, None]),
    ],
)
def test_one_rule_reads_every_kind_of_key(tmp_path: Path, keys: list[object], expected: list[int | None]) -> None:
    found = right(tmp_path, [(FOUR, key) for key in keys])
    assert found == [None if index is None else FOUR[index] for index in expected]


@pytest.mark.parametrize("keys", [[1, 2, 3], [2, 2], [0, 4]])
def test_numbers_that_leave_it_open_are_refused_with_what_to_write(tmp_path: Path, keys: list[object]) -> None:
    rows: list[tuple[list[str], object]] = [(FOUR, key) for key in keys]
    with pytest.raises(InputError, match=r"say `labels: \[0, 1, 2, 3\]` or `labels: \[1, 2, 3, 4\]`"):
        right(tmp_path, rows)
    assert right(tmp_path, rows, labels=[1, 2, 3, 4])[0] == (None if keys[0] == 0 else FOUR[int(str(keys[0])) - 1])
    assert right(tmp_path, rows, labels=[0, 1, 2, 3])[0] == FOUR[int(str(keys[0]))]


def test_cells_of_a_table_are_numbers_or_labels_and_nobody_can_tell(tmp_path: Path) -> None:
    assert right(tmp_path, [(FOUR, "A"), (FOUR, "D")], csv=True) == ["north", "west"]
    assert right(tmp_path, [(FOUR, 1), (FOUR, 4)], csv=True) == ["north", "west"]
    with pytest.raises(InputError, match="neither a 0 nor a 4 among them"):
        right(tmp_path, [(FOUR, 1), (FOUR, 2)], csv=True)


def test_numbers_as_choices_are_read_as_texts_where_only_that_fits(tmp_path: Path) -> None:
    sums = [["3", "4", "5", "6"], ["12", "11", "10", "9"]]
    assert right(tmp_path, [(sums[0], "5"), (sums[1], "12")]) == ["5", "12"]
    assert right(tmp_path, [(sums[0], "2"), (sums[1], "4")]) == ["4", "9"]
    both: list[tuple[list[str], object]] = [(["2", "1", "4", "3"], "2"), (["4", "3", "2", "1"], "3")]
    with pytest.raises(InputError, match="'2' is the text of one choice and the label of another; say `labels: text`"):
        right(tmp_path, both)
    assert right(tmp_path, both, labels="text") == ["2", "3"]
    assert right(tmp_path, both, labels=[1, 2, 3, 4]) == ["1", "2"]


def test_booleans_choose_among_yes_and_no(tmp_path: Path) -> None:
    rows: list[tuple[list[str], object]] = [(["No", "Yes"], True), (["Yes", "No"], False), (["false", "true"], True)]
    assert right(tmp_path, rows) == ["Yes", "No", "true"]
    with pytest.raises(InputError, match="should be one of 2 choices and is 'True'"):
        right(tmp_path, [(["red", "blue"], True)])


def test_labels_beside_the_texts_or_in_a_field_hold(tmp_path: Path) -> None:
    (tmp_path / "arc.jsonl").write_text(
        "\n".join(
            json.dumps({"q": str(key), "c": {"text": FOUR, "label": labels}, "k": key, "names": labels, "list": FOUR})
            for labels, key in ((["A", "B", "C", "D"], "C"), (["1", "2", "3", "4"], "2"), (["w", "x", "y", "z"], "z"))
        )
    )
    beside = {"file": str(tmp_path / "arc.jsonl"), "name": "t", "prompt": "q", "choices": "c", "answer": "k"}
    for keys in (beside, {**beside, "choices": "list", "labels": "names"}):
        suite = FileSuite.model_validate(keys).suite()
        assert [each.example.target for each in suite.items(np.random.default_rng(0))] == ["south", "east", "west"]


def test_choices_in_a_cell_may_be_written_as_json_or_as_python_writes_them(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text(
        'q,c,k\n1,"[""apple"", ""sky""]",A\n2,"[\'it\', \'\']",A\n3,"[\'apple\', \'sky\']",B\n4,apple;sky,B\n'
    )
    suite = FileSuite(file=str(path), name="t", prompt="q", choices="c", answer="k").suite()
    found = [item.example for item in suite.items(np.random.default_rng(0))]
    assert [example.target for example in found] == ["apple", "it", "sky", None]
    assert "should be a list of texts, as" in found[3].fault
