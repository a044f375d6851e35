"""Where the truth is known: which measures order the number of presentations in training, and which cannot.

The reference model is trained on the answers alone, so what it makes of the words of a prompt says nothing about how
often they met; what it makes of the answer, of the state it answers from, and what stands in the corpus do.
"""

import numpy as np
import pytest
from scipy.stats import norm, spearmanr

pytest.importorskip("pydivsufsort", reason="needs the extra `familiarity`")

from probes.corpus.alphabet import Tokens
from probes.corpus.corpora import build_index
from probes.familiarity import FamiliaritySpec
from probes.familiarity.known_states import remember
from probes.familiarity.measure import measure_familiarity
from probes.familiarity.measures.exposures import exposures_of
from probes.familiarity.sources import Sources
from probes.lab import read_record, reference_path
from probes.models import load_model
from probes.suites.example import Example, Item

N_FACTS = 512
SEES = {
    "answer.surprisal": 0.5,
    "answer.bits_per_byte": 0.5,
    "answer.min_k(0.2)": 0.5,
    "answer.text_count": 0.99,
    "answer.longest_match": 0.4,
    "knn_distance(1)": 0.0,
}
BLIND = ["surprisal", "min_k(0.2)", "min_k_plus_plus(0.2)"]


@pytest.fixture(scope="module")
def laboratory():
    world = read_record(reference_path()).world
    facts = [world.facts[n] for n in np.random.default_rng(0).permutation(len(world.facts))[:N_FACTS]]
    items = [Item(f"lab:{n}", Example(text=fact.prompt, target=fact.tail)) for n, fact in enumerate(facts)]
    model = load_model(str(reference_path()))
    unit = min(fact.exposure for fact in facts if fact.exposure)
    # the training stream of these facts, one presentation for every `unit`
    corpus = [fact.sentence for fact in facts for _ in range(fact.exposure // unit)]
    known = {name: example.text for (name, example), fact in zip(items, facts, strict=True) if fact.exposure}
    sources = Sources(
        index=build_index(corpus, alphabet=Tokens(model.tokenizer)),
        states=remember(model, known, site=f"resid_post.{model.n_layers - 1}"),
        exposures=exposures_of(world),
    )
    found = measure_familiarity(
        model, items, ["exposure", *SEES, *BLIND, "answer.min_k_plus_plus(0.2)"], sources=sources
    )
    assert len(found.failures) == 0
    return found.familiarity.pivot_table(index="example_id", columns="measure", values="value", observed=True), unit


def ordered(table, measure: str) -> tuple[float, float, float]:
    """Rank correlation with exposure, oriented so that above 0 is right, and its 95 % interval on Fisher's scale."""
    sign = 1 if FamiliaritySpec.parse(measure).record.familiar == "higher" else -1
    rho = sign * float(spearmanr(table["exposure"], table[measure]).statistic)
    half = norm.ppf(0.975) * np.sqrt((1 + rho**2 / 2) / (len(table) - 3))  # Bonett & Wright 2000
    z = np.arctanh(min(rho, 1 - 1e-12))
    return rho, float(np.tanh(z - half)), float(np.tanh(z + half))


@pytest.mark.parametrize(("measure", "at_least"), SEES.items())
def test_what_can_see_exposure_orders_it(laboratory, measure, at_least):
    _, low, _ = ordered(laboratory[0], measure)
    assert low > at_least


@pytest.mark.parametrize("measure", BLIND)
def test_what_looks_at_the_prompt_alone_cannot(laboratory, measure):
    _, low, high = ordered(laboratory[0], measure)
    assert low < 0 < high


def test_counts_are_the_presentations(laboratory):
    table, unit = laboratory
    assert (table["answer.text_count"] * unit).tolist() == table["exposure"].tolist()


def test_min_k_plus_plus_tells_seen_from_unseen_and_nothing_more(laboratory):
    """A certain prediction gives its token sqrt((1 - p) / p) or so: the score falls again as training goes on."""
    table = laboratory[0]
    seen = table[table["exposure"] > 0]
    assert table.loc[table["exposure"] == 0, "answer.min_k_plus_plus(0.2)"].median() < -1
    assert seen["answer.min_k_plus_plus(0.2)"].median() > 0
    rho, _, high = ordered(seen, "answer.min_k_plus_plus(0.2)")
    assert rho < high < 0
