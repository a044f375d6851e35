"""Checking a directory: each planted fault is found, named, and its remedy works."""

from pathlib import Path

import pytest

from probes.errors import InputError
from probes.records import open_run
from probes.records.integrity import check
from probes.records.store import read_commits
from probes.sweep.run import run_sweep
from tests.probes.conftest import MakeSpec
from tests.probes.sweep.test_run import assert_same


@pytest.fixture
def swept(make_spec: MakeSpec, tmp_path: Path) -> Path:
    run_sweep(make_spec(), tmp_path / "run")
    return tmp_path / "run"


def test_a_whole_directory_has_no_fault(swept: Path) -> None:
    assert check(swept) == []


@pytest.mark.parametrize("damage", ["truncate", "delete"])
def test_a_damaged_part_is_found_and_its_remedy_restores_it(
    swept: Path, damage: str, make_spec: MakeSpec, tmp_path: Path
) -> None:
    part = next(part for commit in read_commits(swept) for part in commit.parts if part.table == "measurements")
    path = swept / part.file
    if damage == "truncate":
        path.write_bytes(path.read_bytes()[:-10])
    else:
        path.unlink()
    (fault,) = check(swept)
    assert fault.path == part.file
    commit = fault.remedy.split()[1]
    (swept / commit).unlink()
    run_sweep(make_spec(), swept)
    run_sweep(make_spec(), tmp_path / "fresh")
    assert_same(swept, tmp_path / "fresh")


@pytest.mark.parametrize("damage", ["truncated or damaged", "missing"])
def test_a_reader_of_a_damaged_part_says_which_in_one_line(swept: Path, damage: str) -> None:
    part = next(part for commit in read_commits(swept) for part in commit.parts if part.table == "measurements")
    path = swept / part.file
    if damage == "missing":
        path.unlink()
    else:
        path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(InputError, match=rf"{part.file} is {damage}.*; `sparsity runs check .*` says what") as caught:
        open_run(swept).measurements()
    assert "\n" not in str(caught.value)


def test_a_foreign_part_and_a_doubled_commit_are_found(swept: Path) -> None:
    commits = sorted((swept / "commits").glob("*.json"))
    measured = next(path for path in commits if '"example_ids"' in path.read_text())
    double = swept / "commits" / "000099.json"
    double.write_text(measured.read_text().replace(f'"id": "{measured.stem}"', '"id": "000099"'))
    (swept / "measurements" / "stray.parquet").write_bytes(b"x")
    faults = {fault.path: fault.what for fault in check(swept)}
    assert faults["measurements/stray.parquet"] == "no commit lists it"
    assert f"commits/{measured.stem}.json holds" in faults["commits/000099.json"]
