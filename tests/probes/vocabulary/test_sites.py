import pytest
from hypothesis import given
from hypothesis import strategies as st

from probes.errors import InputError
from probes.vocabulary.sites import EMBED_LAYER, STACKS, UNLAYERED, Site, SiteKind, resolve_sites


@given(st.sampled_from(list(SiteKind)), st.integers(0, 200), st.sampled_from(["", *STACKS]))
def test_what_is_written_reads_back(kind, layer, stack):
    layer = {SiteKind.EMBED: EMBED_LAYER, SiteKind.FINAL_NORM: 12}.get(kind, layer)
    site = Site(kind, layer, stack)
    assert Site.parse(str(site), n_layers=12) == site
    assert str(site).startswith(site.name)
    assert (str(layer) in str(site)) != (kind in UNLAYERED)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("resid_pots.3", "did you mean 'resid_post'"),
        ("blocks.3.hook_resid_post", "is not written like"),
        ("final_norm.3", "has no layers"),
        ("resid_post", "names no layer"),
        ("", "is not written like"),
        ("quux.1", "known: embed"),
    ],
)
def test_a_site_that_cannot_be_read_says_why(text, says):
    with pytest.raises(InputError, match=says):
        Site.parse(text)


def test_a_bare_kind_means_all_layers_and_repetition_counts_once(llama):
    sites = resolve_sites(llama, ["resid_post.1", "resid_post", "final_norm"])
    assert [str(site) for site in sites] == ["resid_post.1", "resid_post.0", "resid_post.2", "final_norm"]
    assert sites[-1].layer == llama.n_layers == 3


def test_a_place_that_the_model_does_not_have_is_refused_with_what_it_has(llama):
    with pytest.raises(InputError, match=r"resid_post layers are 0\.\.2"):
        resolve_sites(llama, ["resid_post.3"])
    with pytest.raises(InputError, match=r"no site 'ssm_state'.*it has: .*resid_post.*final_norm"):
        resolve_sites(llama, ["ssm_state"])
