"""The list of faults that `make mutants` plants fits the product; planting them is left to that command."""

import pytest

from tests.mutants import ROOT, Mutant, StaleError, changed, named, place, read


def test_every_fault_has_its_place_and_its_tests():
    mutants = read()
    assert len({mutant.id for mutant in mutants}) == len(mutants)
    for mutant in mutants:
        path = place(mutant, ROOT)
        assert changed(mutant, path) != path.read_text(encoding="utf-8")
        assert named(mutant, ROOT)


def test_a_fault_that_does_not_fit_is_an_error_and_not_a_missed_one(tmp_path):
    (tmp_path / "sparsity").mkdir()
    (tmp_path / "tests").mkdir()
    (tmp_path / "sparsity" / "one.py").write_text("a = 1\nb = 1\n")
    gone, twice, broken = (
        Mutant(id="m", search=s, replacement="a =", tests=("test_x",)) for s in ("c", "= 1", "a = 1")
    )
    for mutant, said in ((gone, "stands nowhere"), (twice, r"one.py x 2")):
        with pytest.raises(StaleError, match=said):
            place(mutant, tmp_path)
    with pytest.raises(StaleError, match="no Python"):
        changed(broken, place(broken, tmp_path))
    with pytest.raises(StaleError, match="test of one module, but is one of 0"):
        named(broken, tmp_path)
