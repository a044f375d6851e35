"""The same item in several languages is compared with itself, also where only ids say that it is the same."""

import numpy as np
import pytest

from analyses import analyse
from analyses.data.parallel import sources_of
from tests.analyses.sweeps import text_domains, with_table

LANGUAGES = {"tinystories": "en", "wikitext": "te", "code": "de"}  # the endings are not the names of the groups


def renamed(sweep, called, *, clusters):
    """The same sweep with other ids, and with the clusters that a suite gives or none."""
    tables = {}
    for name, table in sweep.tables.items():
        if "example_id" in table and len(table):
            ids = table["example_id"].astype(str).map(called)
            assert ids.is_unique or name != "examples"
            tables[name] = table.assign(example_id=ids)
    examples = tables["examples"]
    own = examples["cluster"] if clusters else examples["example_id"]
    return with_table(sweep, **tables | {"examples": examples.assign(cluster=own)})


def by_language(name):
    suite, _, own = name.partition(":")
    group, _, number = own.rpartition("-")
    return f"{suite}:mgsm-{number}-{LANGUAGES[group]}"


def contrasts_of(sweep):
    found = [f for f in analyse(sweep, "domains") if f.scope.group and f.scope.metric == "hoyer"]
    return {(f.scope.group, f.scope.place): f for f in found}


def test_ids_that_end_in_the_language_pair_as_clusters_do():
    made = text_domains(
        np.random.default_rng(3),
        names=("wikitext", "code"),
        paired=True,
        n_per_level=15,
        n_layers=4,
        metrics=("hoyer",),
    )
    given, by_id = (contrasts_of(renamed(made, by_language, clusters=flag)) for flag in (True, False))
    apart = contrasts_of(renamed(made, lambda name: name, clusters=False))  # `te-17`: no ending that the group shares
    assert given.keys() == by_id.keys()
    for key, finding in given.items():
        assert by_id[key].interval == pytest.approx(finding.interval)
        assert by_id[key].test.p == pytest.approx(finding.test.p)
        assert (by_id[key].n_clusters, apart[key].n_clusters) == (15, 30)
        assert "within source items" in by_id[key].test.name
        assert "within source items" not in apart[key].test.name


@pytest.mark.parametrize(
    ("ids", "groups"),
    [
        (["a-1", "a-2", "b-1", "b-2"], ["x", "x", "y", "y"]),  # endings number the items
        (["1-en", "2-en", "3-te", "4-te"], ["x", "x", "y", "y"]),  # no source twice
        (["1-en", "2-te", "1-te", "2-en"], ["x", "x", "y", "y"]),  # two endings in a group
        (["1-en", "2-en", "1", "2"], ["x", "x", "y", "y"]),  # some ids have no ending
        (["1-en", "2-en"], ["x", "x"]),  # one group
    ],
)
def test_ids_that_do_not_follow_the_rule_pair_nothing(ids, groups):
    assert sources_of(ids, groups) is None


def test_an_item_without_a_partner_stays_alone():
    assert sources_of(["1-en", "2-en", "3-en", "1-te", "2-te"], list("xxxyy")) == ["1", "2", "3", "1", "2"]
