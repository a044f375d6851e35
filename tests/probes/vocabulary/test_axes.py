"""Which end of an axis is the hard one is known or said, never guessed."""

import pytest

from probes.errors import InputError
from probes.suites import SUITES
from probes.suites.benchmarks.benchmark_suite import BENCHMARKS
from probes.suites.files import FileSuite
from probes.suites.shifts.shift_suite import SHIFTS
from probes.suites.text_domains import AXIS
from probes.vocabulary.axes import AXES, Axis, Harder, declared


def test_every_suite_lies_on_an_axis_of_the_table() -> None:
    used = [
        *(suite.axis for suite in SUITES.values()),
        *(found.axis for found in BENCHMARKS.values()),
        *(kind.model_construct(shift=name).ruler() for name, kind in SHIFTS.items()),
        AXIS,
    ]
    assert all(AXES[axis.name] is axis for axis in used)


@pytest.mark.parametrize(
    ("name", "harder"),
    [
        *((name, "lower") for name in ("solve_rate", "pass_rate", "accuracy", "exposure", "popularity")),
        *((name, "higher") for name in ("steps", "hops", "difficulty", "length", "typos")),
    ],
)
def test_a_known_name_brings_its_direction(name: str, harder: Harder) -> None:
    assert declared(name, has_levels=True).harder == harder
    assert FileSuite(file="x", name="x", level=name).ruler().harder == harder


def test_an_unknown_name_has_to_say_both() -> None:
    with pytest.raises(InputError, match=r"axis 'elo' .*; say `harder: higher` or `harder: lower` .* and `kind:`"):
        FileSuite(file="x", name="x", level="elo").ruler()
    with pytest.raises(InputError, match=r"axis 'depth' .*; say `harder: higher` or `harder: lower`"):
        FileSuite(file="x", name="x", level="n", axis="depth", kind="difficulty").ruler()
    said = FileSuite(file="x", name="x", level="elo", harder="lower", kind="difficulty").ruler()
    assert said == Axis(name="elo", unit="elo", kind="difficulty", harder="lower")


def test_what_a_spec_says_goes_before_the_table_and_no_levels_mean_no_order() -> None:
    assert declared("steps", has_levels=True, harder="lower").harder == "lower"
    assert declared("steps", has_levels=True, kind="nominal").harder is None
    assert declared("anything", has_levels=False).kind == "nominal"
    with pytest.raises(InputError, match="a nominal axis has no harder end"):
        declared("steps", has_levels=True, kind="nominal", harder="lower")
