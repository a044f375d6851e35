"""Planted worlds make every claim of the retest come out supported and contradicted, through its own question."""

from functools import partial

import numpy as np
import pytest

from analyses import analyse
from analyses.data.written_tables import beside
from analyses.findings.record import Finding
from analyses.retest.claims import CLAIMS, named
from tests.analyses import test_concepts, test_contributions, test_decoder, test_generalisation, test_rates
from tests.analyses.test_limits_of_text import sweep_of
from tests.analyses.test_retest import GRADED, TEXT, judged, planted_exposure, planted_shift


def rates(*, holds: bool) -> list[Finding]:
    return analyse(beside(None, {"rates": {"m": test_rates.each(0.2 if holds else 0.8)}}), "rates")


def generalisation(*, holds: bool) -> list[Finding]:
    return analyse(test_generalisation.models(0.9 if holds else -0.9), "generalisation")


def learning(*, holds: bool) -> list[Finding]:
    return test_contributions.answers(2.0 if holds else -2.0)


def concepts(*, holds: bool) -> list[Finding]:
    """States whose clusters are others than people's, or the very categories."""
    rng = np.random.default_rng(41)
    sweep = test_concepts.made(rng)
    return analyse(test_concepts.turned(sweep, rng) if holds else sweep, "concepts")


def limits(*, holds: bool) -> list[Finding]:
    return analyse(sweep_of(right=(0.9, 0.4) if holds else (0.4, 0.9), bits=0.0, sparser=0.0), "limits")


def decoder(*, holds: bool) -> list[Finding]:
    tables = {"documents": {"m": test_decoder.documents(0.2 if holds else -0.2)}}
    return analyse(beside(None, tables), "decoder")


WORLDS = {
    "modalities": rates,
    "generalisation": generalisation,
    "learning": learning,
    "concepts": concepts,
    "limits": limits,
    "exposure": partial(planted_exposure, np.random.default_rng(2)),
    "shift": partial(planted_shift, np.random.default_rng(2)),
    "decoder": decoder,
}


def test_every_claim_has_a_planted_world() -> None:
    assert list(WORLDS) == [claim.name for claim in CLAIMS]


@pytest.mark.parametrize("name", WORLDS)
@pytest.mark.parametrize("holds", [True, False])
def test_a_claim_is_supported_where_it_holds_and_contradicted_where_its_opposite_does(name: str, holds: bool) -> None:
    (claim,) = named([name])
    found = WORLDS[name](holds=holds)
    assert judged(claim, GRADED if name == "exposure" else TEXT, found).verdict == (
        "supported" if holds else "contradicted"
    )
