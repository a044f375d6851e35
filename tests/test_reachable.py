"""What can be asked is answered: one small spec or command for each promise, and its number repeated by transformers.

Everything goes through the command line, as a user's does; nothing on the other side of a comparison is ours
(`tests.plain`). Which key and table belongs to what: `docs/concepts/what-to-ask.md`.
"""

from __future__ import annotations

import json
import math
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
import transformers
import yaml
from scipy.spatial.distance import cdist
from scipy.special import gammaln
from scipy.stats import special_ortho_group
from sklearn.covariance import LedoitWolf
from typer.testing import CliRunner

from analyses import ANALYSES, analyse
from analyses.cli import app
from probes import open_run
from probes.capture.verification.verdict import TEXTS
from tests import plain
from tests.analyses.conftest import MODULES
from tests.probes.conftest import uneven
from tests.probes.models.families import FAMILIES
from tests.samples import ERRORS, of_quantile, of_share
from tests.tolerances import FLOAT64_SOLVED, LOGITS, NEAR_ZERO, STORED, TWO_ROUTES
from tests.trained import HELD_OUT, MODEL, PROSE
from tests.trained.stories import stories

TWO_DIGITS = 0.05  # relative: a number printed with two digits
FOUR_DIGITS = 0.00005 + LOGITS  # absolute: one printed with four decimals
RATIOS = TWO_ROUTES / 0.1  # logarithms of ratios, a tenth in size, of two distances that are off by LOGITS each
RANKS = (
    12 / 52**2
)  # rounding may let two neighbours of 52 items change places: sum d^2 moves by 2 n, rho by 6 x 2 n / n^3
TIES = 4  # neurons that rounding lets stay or go where a tail only just fits, of all that are counted
N_ROTATIONS, PROBED = 99, 32  # of a sweep; items that a dry run encodes
LENGTH, LOSS = 24, 0.05
PER_LEVEL, AGAIN = 16, 4
SUITE = {"file": "items.jsonl", "name": "items", "id": "id", "prompt": "text", "answer": "answer"}
SUITE |= {"level": "level", "split": "split", "axis": "reasoning_steps"}
LAYER = 3  # the last block
SPEC = {
    "models": [str(MODEL)],
    "suites": [SUITE],
    "sites": [f"attn_z.{LAYER}", "final_norm"],
    "positions": ["last", "mean"],
    "metrics": ["hoyer", "l2_norm"],
    "outcomes": ["nll", "next_token_entropy", "mean_next_token_entropy", "correct"],
    "controls": ["outliers", "bases", "substitution"],
    "populations": "default",
    "nulls": ["rotations", "shuffle", "untrained"],
    "states": ["final_norm"],
    "familiarity": {
        "measures": ["knn_distance(3)", "mahalanobis", "energy", "next_token_entropy"],
        "known": {"suite": "items", "site": "final_norm"},
    },
}

BRIEFLY = ("--set", "controls=none", "--set", "populations=none")


def run(*words: object, status: int = 0) -> str:
    """What one command prints."""
    result = CliRunner().invoke(app, [str(word) for word in words], env={"COLUMNS": "300"})
    assert result.exit_code == status, result.output
    return result.output


def items() -> list[dict[str, Any]]:
    """Beginnings of stories, longer ones, and prose that is like none of them; some with the text of another."""
    rng = np.random.default_rng(0)
    told, prose = stories(2 * PER_LEVEL, HELD_OUT), " ".join(PROSE).split()
    rows = []
    for k in range(PER_LEVEL):
        start = int(rng.integers(len(prose) - 40))
        texts = told[k].split()[: rng.integers(8, 20)], told[PER_LEVEL + k].split()[: rng.integers(12, 32)]
        for level, words in enumerate((*texts, prose[start : start + rng.integers(6, 24)]), 1):
            row = {"id": f"{level}-{k}", "text": " ".join(words[:-1]), "answer": words[-1], "level": level}
            rows.append(row | {"split": "shifted" if level == 3 else "in"})
    return rows + [{**rows[3 * k], "id": f"1-again-{k}", "answer": "cake."} for k in range(AGAIN)]


def spec_in(folder: Path, keys: dict[str, Any]) -> Path:
    """The items and a spec over them."""
    (folder / "items.jsonl").write_text("\n".join(map(json.dumps, items())))
    (folder / "spec.yaml").write_text(yaml.safe_dump(keys))
    return folder / "spec.yaml"


@pytest.fixture(scope="module", autouse=True)
def fewer_resamples() -> Iterator[None]:
    """Intervals are not asked about here."""
    with pytest.MonkeyPatch.context() as patch:
        for module in MODULES:
            patch.setattr(f"{module}.RESAMPLES", 50)
        yield


@pytest.fixture(scope="module")
def swept(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """One sweep, begun with a few items and gone on with: its tables, and what transformers shows of its texts."""
    folder = tmp_path_factory.mktemp("reachable")
    spec, out = spec_in(folder, SPEC), folder / "run"
    run("sweep", spec, "--out", out, "--limit", 2, "--batch-size", 3, *BRIEFLY)
    said = run("sweep", spec, "--out", out)
    records = open_run(out)
    model = plain.stories()
    order = [f"items:{item['id']}" for item in items()]
    by_text = {item["text"]: model.read(item["text"], "o_proj") for item in items()}
    shown = [by_text[item["text"]] for item in items()]
    return SimpleNamespace(
        said=said,
        records=records,
        order=order,
        shown=shown,
        sets=records.populations(),
        level=np.array([item["level"] for item in items()]),
        last=np.stack([own.hidden[-1][-1] for own in shown]),
    )


def bare(folder: Path, *words: object, **keys: Any) -> str:
    """A sweep of these keys alone, into ``run`` in the folder; what it prints."""
    return run("sweep", spec_in(folder, keys), "--out", folder / "run", *words)


def of(rows: pd.DataFrame, **where: object) -> pd.DataFrame:
    """Rows with these values."""
    for column, value in where.items():
        rows = rows[rows[column] == value]
    return rows


def values(swept: Any, rows: pd.DataFrame) -> np.ndarray:
    """One value per item, in the order of the file."""
    return rows.astype({"example_id": str}).set_index("example_id")["value"][swept.order].to_numpy()


def in_set(swept: Any, metric: str, level: int, **where: object) -> float:
    """One measure of one group's states after the final norm, at its last tokens."""
    split = "shifted" if level == 3 else "in"
    asked = {"site": "final_norm", "position": "last", "basis": "raw", "unit": -1} | where
    return of(swept.sets, metric=metric, group=f"items/{split}/{level}", **asked)["value"].item()


# Activations


def test_states_that_a_resumed_sweep_keeps_are_those_of_transformers(swept: Any) -> None:
    n, first = len(swept.order), 2 * 3
    assert f"{n - first} items measured, 0 failed" in swept.said
    for position, tokens in (("last", slice(-1, None)), ("mean", slice(1, None))):
        found = swept.records.states("final_norm", position=position)
        assert sorted(found.keys["example_id"]) == sorted(swept.order)
        rows = [list(found.keys["example_id"]).index(name) for name in swept.order]
        expected = np.stack([own.hidden[-1][tokens].mean(axis=0) for own in swept.shown])
        np.testing.assert_allclose(found.vectors[rows], expected, rtol=LOGITS, atol=LOGITS * np.abs(expected).max())


def saved(name: str, folder: Path) -> Path:
    """A tiny model of random weights that reads the words of the trained one, as a folder."""
    prefix, suffix, settings = FAMILIES[name]
    torch.manual_seed(0)
    config = getattr(transformers, f"{prefix}Config")(**settings | {"vocab_size": 512})
    uneven(getattr(transformers, prefix + suffix)(config).eval()).save_pretrained(folder)
    plain.stories().tokenizer.save_pretrained(folder)
    return folder


@pytest.mark.parametrize(
    ("family", "ends"),
    [
        ("mixtral", {"attn_z": "o_proj", "router_logits": ""}),
        ("mamba", {"ssm_state": "out_proj"}),
        ("jamba", {"ssm_state": "mamba.out_proj", "attn_z": "o_proj", "router_logits": ""}),
    ],
)
def test_sites_of_mixtures_state_spaces_and_hybrids_are_those_of_transformers(
    family: str, ends: dict[str, str], tmp_path: Path
) -> None:
    folder = saved(family, tmp_path / family)
    keys = {"models": [str(folder)], "suites": [SUITE], "sites": ["resid_post", *ends], "metrics": ["hoyer"]}
    bare(tmp_path, **keys, controls="none", limit=1)
    rows, model = open_run(tmp_path / "run").measurements(), plain.Plain(folder)
    assert set(rows["site"]) == {"resid_post", *ends}
    texts = {f"items:{item['id']}": item["text"] for item in items()}
    before = 0 if family == "mamba" else 1  # what transformers calls hidden state i is the input of block i elsewhere
    for example_id, mine in rows.groupby(rows["example_id"].astype(str)):
        shown = model.read(texts[example_id], *filter(None, ends.values()), routers="router_logits" in ends)
        routed = sorted(set(of(mine, site="router_logits")["layer"]))
        assert len(routed) == len(shown.routers)
        for row in mine.itertuples():
            if row.site == "resid_post":
                if row.layer + before == len(shown.hidden) - 1:
                    continue  # shown after the final norm only
                x = shown.hidden[row.layer + before][-1]
            elif row.site == "router_logits":
                x = shown.routers[routed.index(row.layer)][-1]
            else:
                x = next(
                    x[-1]
                    for path, x in shown.entering.items()
                    if f".{row.layer}." in path and path.endswith(ends[row.site])
                )
                x = x.reshape(4, -1)[row.unit] if row.unit >= 0 else x
            assert row.value == pytest.approx(plain.hoyer(x), rel=LOGITS, abs=LOGITS), (row.site, row.layer)


KINDS = {"sdpa": {}, "eager": {"attn_implementation": "eager"}, "bfloat16": {"dtype": torch.bfloat16}}


def every_state(model: plain.Plain, prompts: list[list[int]], *, left: bool = False) -> dict[str, np.ndarray]:
    """What every part of every block takes and gives in one padded batch, tokens of padding left out."""
    ids, mask = torch.zeros(2, len(prompts), max(map(len, prompts)), dtype=torch.long)
    for row, own in enumerate(prompts):
        at = slice(-len(own), None) if left else slice(len(own))
        ids[row, at], mask[row, at] = torch.tensor(own), 1
    placed = {"position_ids": (mask.cumsum(1) - 1).clamp(min=0)} if left else {}
    found: dict[str, np.ndarray] = {}

    def keep(name: str, x: Any) -> None:
        state = x[0] if isinstance(x, tuple) else x
        found[name] = np.concatenate([own[real.bool()] for own, real in zip(state.float().numpy(), mask, strict=True)])

    with torch.inference_mode():
        hooks = []
        for path, module in model.module.model.named_modules():
            if path and not path.endswith(("layers", "rotary_emb", "q_proj", "k_proj", "v_proj", "act_fn")):
                hooks.append(module.register_forward_hook(lambda _module, _args, out, path=path: keep(path, out)))
            if path.endswith(("o_proj", "down_proj", "post_attention_layernorm")):
                hooks.append(module.register_forward_pre_hook(lambda _, args, path=path: keep(f"into {path}", args)))
        model.module.model(ids, attention_mask=mask, use_cache=False, **placed)
    for hook in hooks:
        hook.remove()
    inside = ("self_attn.o_proj", "mlp.down_proj", "input_layernorm", "post_attention_layernorm")
    return {name: x for name, x in found.items() if name.startswith("into") or not name.endswith(inside)}


def test_verify_says_how_far_precision_padding_and_kernel_move_the_states() -> None:
    said = {
        line.split("│")[1].strip(): line.split("│")[2:] for line in run("verify", MODEL).splitlines() if "│" in line
    }
    prompts = [plain.stories().ids(text)[:64] for text in TEXTS]
    together = {kind: every_state(plain.Plain(MODEL, **options), prompts) for kind, options in KINDS.items()}
    alone = [every_state(plain.stories(), [ids]) for ids in prompts]
    side_by_side = {site: np.concatenate([own[site] for own in alone]) for site in alone[0]}
    left = every_state(plain.stories(), prompts, left=True)
    whole = together["sdpa"]
    for check, one, other in (
        ("alone or padded", whole, side_by_side),
        ("eager or sdpa", together["eager"], whole),
        ("left or right padding", left, whole),
        ("other precision", together["bfloat16"], whole),
    ):
        apart = max(np.abs(one[site] - other[site]).max() / np.abs(other[site]).max() for site in whole)
        verdict, printed = (cell.strip() for cell in said[check][:2])
        assert verdict == ("described" if check in ("left or right padding", "other precision") else "pass")
        assert float(printed) == pytest.approx(apart, rel=TWO_DIGITS), check
    assert "fail" not in {cells[0].strip() for cells in said.values()}


def test_verify_fails_by_the_distance_of_two_blocks_where_a_hook_is_in_the_wrong_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from probes.models import loading
    from probes.models.taps import Point
    from tests.probes.capture.test_verification import moved

    own = loading.load_model

    def misplaced(*words: Any, **options: Any) -> Any:
        model = own(*words, **options)
        return moved(model, "resid_post.1", Point(model.module.model.layers[2], "out"))

    monkeypatch.setattr(loading, "load_model", misplaced)
    said = next(line.split("│") for line in run("verify", MODEL, status=1).splitlines() if "hidden states" in line)
    shown = [plain.stories().read(text).hidden for text in TEXTS]
    right, wrong = (np.concatenate([own[at] for own in shown]) for at in (2, 3))
    assert said[2].strip() == "fail"
    assert float(said[3]) == pytest.approx(np.abs(wrong - right).max() / np.abs(right).max(), rel=TWO_DIGITS)


# Sets of vectors and nulls


@pytest.mark.parametrize("level", [1, 2, 3])
def test_lifetime_population_ranks_and_dimension_of_a_set_are_those_of_its_states(swept: Any, level: int) -> None:
    x = swept.last[swept.level == level]
    a, singular, variance = np.abs(x), np.linalg.svd(x, compute_uv=False), np.linalg.eigvalsh(np.cov(x.T))
    share, used = singular / singular.sum(), a > 0.1 * np.median(a)
    by_hand = {
        "mean_lifetime_sparseness": (1 - a.mean(0) ** 2 / np.square(x).mean(0)).mean(),
        "mean_population_sparseness": (1 - a.mean(1) ** 2 / np.square(x).mean(1)).mean(),
        "dead_unit_share": (~used).all(0).mean(),
        "always_on_unit_share": used.all(0).mean(),
        "rankme": math.exp(-(share[share > 0] * np.log(share[share > 0])).sum()),
        "covariance_participation_ratio": variance.sum() ** 2 / np.square(variance).sum(),
        "stable_rank": np.square(singular).sum() / singular[0] ** 2,
    }
    for metric, value in by_hand.items():
        assert in_set(swept, metric, level) == pytest.approx(value, rel=TWO_ROUTES), metric
    texts = [tuple(own.ids) for own, at in zip(swept.shown, swept.level, strict=True) if at == level]
    distinct = np.stack([x[texts.index(text)] for text in dict.fromkeys(texts)])
    assert in_set(swept, "repeated_share", level) == pytest.approx(1 - len(distinct) / len(x))
    assert level > 1 or len(distinct) <= len(x) - AGAIN
    assert in_set(swept, "two_nn_dimension", level) == pytest.approx(plain.two_nn(distinct), rel=RATIOS)


def test_lifetime_and_population_sparseness_of_shards_are_those_of_the_whole(swept: Any, tmp_path: Path) -> None:
    measures = ["mean_lifetime_sparseness", "mean_population_sparseness"]
    keys = {"models": [str(MODEL)], "suites": [SUITE], "sites": ["final_norm"], "metrics": ["treves_rolls"]}
    for words in (("--shard", "0/2"), ("--shard", "1/2"), ()):
        bare(tmp_path, *words, **keys, controls="none", populations=measures)
    records = open_run(tmp_path / "run")
    for level in (1, 2, 3):
        a = np.abs(swept.last[swept.level == level])
        lifetime, population = ((a.mean(axis) ** 2 / np.square(a).mean(axis)) for axis in (0, 1))
        for metric, shares in zip(measures, (lifetime, population), strict=True):
            found = of(records.populations(), metric=metric, group=f"items/{'shifted' if level == 3 else 'in'}/{level}")
            assert found["value"].item() == pytest.approx((1 - shares).mean(), rel=TWO_ROUTES)
            assert found["n_vectors"].item() == len(a)
    every = 1 - np.abs(swept.last).mean(1) ** 2 / np.square(swept.last).mean(1)
    np.testing.assert_allclose(values(swept, records.measurements()), every, rtol=TWO_ROUTES)


def gaussian_hoyer(d: int) -> float:
    """Expectation for a random direction: d times that of one magnitude, a ratio of gamma functions."""
    l1 = d * math.exp(gammaln(d / 2) - gammaln((d + 1) / 2)) / math.sqrt(math.pi)
    return (math.sqrt(d) - l1) / (math.sqrt(d) - 1)


def test_a_prompt_is_printed_beside_the_gaussian_null() -> None:
    text = items()[0]["text"]
    rows = [line.split() for line in run("measure", MODEL, "--text", text, "--metrics", "hoyer").splitlines()]
    printed = {row[0]: float(row[-1]) for row in rows if row and row[-1].startswith("0.")}
    shown = plain.stories().read(text)
    for layer in range(LAYER):
        assert printed[f"resid_post.{layer}"] == pytest.approx(
            plain.hoyer(shown.hidden[layer + 1][-1]), abs=FOUR_DIGITS
        )
    assert printed["final_norm"] == pytest.approx(plain.hoyer(shown.hidden[-1][-1]), abs=FOUR_DIGITS)
    assert printed["Gaussian,"] == pytest.approx(gaussian_hoyer(64), abs=FOUR_DIGITS)


def test_the_change_under_rotations_is_what_other_rotations_give(swept: Any) -> None:
    inside, outside = swept.last[swept.level < 3], swept.last[swept.level == 3]
    row = of(swept.sets, metric="rotation_change(hoyer)", site="final_norm", position="last")
    change = plain.hoyer(outside).mean() - plain.hoyer(inside).mean()
    assert row["value"].item() == pytest.approx(change, abs=LOGITS)
    turned = np.array(
        [
            plain.hoyer(outside @ q).mean() - plain.hoyer(inside @ q).mean()
            for q in special_ortho_group(64).rvs(N_ROTATIONS, 1)
        ]
    )
    for p, bound in ((0.025, "ci_low"), (0.975, "ci_high")):
        error = math.sqrt(2) * of_quantile(p, N_ROTATIONS) * turned.std()  # of two samples
        assert row[bound].item() == pytest.approx(np.quantile(turned, p), abs=error)
    p = (np.abs(turned - turned.mean()) >= abs(change - turned.mean())).mean()
    found = of(swept.sets, metric="rotation_p(hoyer)", site="final_norm", position="last")["value"].item()
    assert found == pytest.approx(p, abs=math.sqrt(2) * of_share(p, N_ROTATIONS))


def test_the_untrained_null_is_the_architecture_before_training(swept: Any) -> None:
    config = transformers.AutoConfig.from_pretrained(MODEL)
    with torch.random.fork_rng():
        torch.manual_seed(0)  # of the sweep
        module = transformers.LlamaForCausalLM(config).eval()
    with torch.inference_mode():
        states = [module.model(torch.tensor([own.ids])).last_hidden_state[0, -1] for own in swept.shown]
    hoyer = plain.hoyer(torch.stack(states).double().numpy())
    rows = swept.records.measurements(site="final_norm", metric="hoyer", position="last", basis="untrained")
    np.testing.assert_allclose(values(swept, rows), hoyer, rtol=LOGITS)
    for level in (1, 2, 3):
        found = in_set(swept, "mean_hoyer", level, basis="untrained")
        assert found == pytest.approx(hoyer[swept.level == level].mean(), rel=LOGITS)


def test_the_shuffled_null_keeps_coordinates_and_loses_what_goes_together(swept: Any) -> None:
    x, rng = swept.last[swept.level == 3], np.random.default_rng(1)
    found = in_set(swept, "mean_lifetime_sparseness", 3, basis="shuffled")
    assert found == pytest.approx(in_set(swept, "mean_lifetime_sparseness", 3), rel=FLOAT64_SOLVED)
    spectra = [np.linalg.eigvalsh(np.cov(rng.permuted(x, axis=0).T)) for _ in range(200)]
    ratios = [own.sum() ** 2 / np.square(own).sum() for own in spectra]
    found = in_set(swept, "covariance_participation_ratio", 3, basis="shuffled")
    assert found == pytest.approx(np.mean(ratios), abs=ERRORS * np.std(ratios))
    assert in_set(swept, "covariance_participation_ratio", 3) < np.mean(ratios) - ERRORS * np.std(ratios)


def test_texts_of_one_length_are_reported_as_excess_over_the_null(tmp_path: Path) -> None:
    keys = {
        "models": [str(MODEL)],
        "suites": [SUITE],
        "sites": ["final_norm"],
        "metrics": ["hoyer"],
        "controls": "none",
    }
    bare(tmp_path, **keys, min_tokens=LENGTH, max_tokens=LENGTH)
    records = open_run(tmp_path / "run")
    assert set(records.inputs()["n_tokens"]) == {LENGTH}
    (found,) = (one for one in analyse(records, "difficulty") if one.primary)
    shown = (plain.stories().read(item["text"]) for item in items())
    states = np.stack([own.hidden[-1][LENGTH - 1] for own in shown if len(own.ids) >= LENGTH])
    assert 0 < len(states) < len(items())
    assert found.n == len(states)
    assert found.null is not None
    assert found.null.value == pytest.approx(gaussian_hoyer(64), rel=STORED)
    assert found.null.excess == pytest.approx(plain.hoyer(states).mean() - gaussian_hoyer(64), abs=LOGITS)


# Familiarity, covariates


def test_distances_to_known_states_energy_and_entropy_are_those_of_scikit_learn(swept: Any) -> None:
    texts, splits = [item["text"] for item in items()], [item["split"] for item in items()]
    known = list(dict.fromkeys(text for text, split in zip(texts, splits, strict=True) if split == "in"))
    states = swept.last[[texts.index(text) for text in known]]
    apart = np.where(np.array(texts)[:, None] == known, np.inf, cdist(swept.last, states))  # not its own neighbour
    cloud = LedoitWolf().fit(states)
    logits = np.stack([own.logits[-1] for own in swept.shown])
    by_hand = {
        "knn_distance(3)": np.sort(apart, axis=1)[:, 2],
        "mahalanobis": np.sqrt(cloud.mahalanobis(swept.last)),
        "energy": -np.log(np.exp(logits - logits.max(1, keepdims=True)).sum(1)) - logits.max(1),
        "next_token_entropy": np.array([own.entropy[-1] for own in swept.shown]),
    }
    rows = swept.records.familiarity()
    for measure, expected in by_hand.items():
        found = values(swept, of(rows, measure=measure))
        np.testing.assert_allclose(found, expected, rtol=TWO_ROUTES, atol=TWO_ROUTES * np.abs(expected).max())


def test_the_ledger_adjusts_for_length_norm_entropy_and_bytes_per_token(swept: Any) -> None:
    found = analyse(swept.records, "covariates")
    (primary,) = (one for one in found if one.primary)
    x = [own.hidden[-1][1:] for own in swept.shown]  # position mean
    y = np.array([plain.hoyer(own).mean() for own in x])
    level = swept.level.astype(float)
    n_tokens = np.array([len(own.ids) for own in swept.shown], dtype=float)
    per_token = np.array([len(item["text"].encode()) for item in items()]) / (n_tokens - 1)
    after = [plain.stories().read(f"{item['text']} {item['answer']}") for item in items()]
    answers = [one.nats[len(own.ids) - 1 :].mean() for one, own in zip(after, swept.shown, strict=True)]
    covariates = {
        "n_tokens": n_tokens,
        "bytes_per_token": per_token,
        "next_token_entropy": np.array([own.entropy[-1] for own in swept.shown]),
        "mean_next_token_entropy": np.array([own.entropy[1:].mean() for own in swept.shown]),
        "nll": np.array(answers),
        "l2_norm at final_norm": np.array([np.linalg.norm(own, axis=1).mean() for own in x]),
    }
    given = {control.name: control.estimate for control in primary.controls}
    assert given.keys() == covariates.keys()
    for name, covariate in covariates.items():
        assert given[name] == pytest.approx(plain.partial_rank_correlation(y, level, covariate), abs=RANKS), name
    jointly = plain.partial_rank_correlation(y, level, n_tokens, per_token)
    assert primary.estimate == pytest.approx(jointly, abs=RANKS)
    assert "correct is a collider and not conditioned on" in primary.text
    greedy = [
        (one.logits[len(own.ids) - 1 : -1].argmax(1) == one.ids[len(own.ids) :]).all()
        for one, own in zip(after, swept.shown, strict=True)
    ]
    np.testing.assert_array_equal(values(swept, of(swept.records.outcomes(), name="correct")), greedy)


# What carries a change


def test_without_its_largest_coordinate_a_state_is_measured_anew(swept: Any) -> None:
    top = int(np.square(swept.last[swept.level < 3]).sum(axis=0).argmax())
    rows = swept.records.measurements(site="final_norm", metric="hoyer", position="last", basis="without_top(1)")
    np.testing.assert_allclose(values(swept, rows), plain.hoyer(np.delete(swept.last, top, axis=1)), rtol=TWO_ROUTES)


def kept(swept: Any, path: str = "") -> list[np.ndarray]:
    """The tokens of every item that substitution is about: sixteen evenly spaced ones, where there are more."""
    found = []
    for own in swept.shown:
        x = next(x for name, x in own.entering.items() if path in name) if path else own.hidden[-1]
        at = np.unique(np.linspace(1, len(x) - 1, 16).round().astype(int))
        found.append(x[at])
    return found


def test_coordinates_heads_and_tokens_that_carry_the_change_are_named(swept: Any) -> None:
    where = {"group": "items/shifted/3", "position": "mean"}
    for site, path, parts, of_unit in (("final_norm", "", 64, ""), ("attn_z", f".{LAYER}.", 4, "unit_")):
        x = kept(swept, path)
        inside, outside = (
            np.concatenate([own for own, level in zip(x, swept.level, strict=True) if (level == 3) == shifted])
            for shifted in (False, True)
        )
        rows = of(swept.sets, site=site, **where, metric=f"{of_unit}substitution_forward(hoyer)").set_index("unit")
        assert len(rows) == parts
        shares = plain.by_exchange(inside[::3], outside, parts)
        error = (rows["ci_high"] - rows["ci_low"]) / 3.92  # pairs are drawn, of halves of the items
        assert (np.abs(rows["value"] - shares) < ERRORS * error).all()
        assert np.corrcoef(rows["value"], shares)[0, 1] > 0.9
    energy = np.square(np.concatenate([own.hidden[-1][1:] for own in swept.shown])).sum(axis=0)
    top = of(swept.sets, site="final_norm", metric="top_coordinate_energy")
    assert top["unit"].item() == energy.argmax()
    assert top["value"].item() == pytest.approx(energy.max() / energy.sum(), rel=LOGITS)
    lengths = [np.linalg.norm(own.hidden[-1], axis=1) for own in swept.shown]
    for metric, token in (("first_token_norm", lambda own: own[0]), ("largest_token_norm", lambda own: own[1:].max())):
        expected = np.median([token(own) / np.median(own) for own in lengths])
        found = of(swept.sets, site="final_norm", metric=metric)["value"].item()
        assert found == pytest.approx(expected, rel=LOGITS)
    assert of(swept.sets, site="final_norm", metric="massive_tokens")["value"].item() == np.mean(
        np.concatenate([own > 5 * np.median(own) for own in lengths])
    )


def test_routing_of_every_group_is_that_of_the_routers_logits(tmp_path: Path) -> None:
    folder = saved("mixtral", tmp_path / "mixtral")
    keys = {"models": [str(folder)], "suites": [SUITE], "sites": ["router_logits"], "positions": "mean"}
    bare(tmp_path, **keys, metrics=["hoyer"], controls=["routing"], limit=4, max_tokens=30)
    records, model = open_run(tmp_path / "run"), plain.Plain(folder)
    texts = records.examples().astype({"example_id": str}).set_index("example_id")
    for level in (1, 3):
        shown = [model.read(text, routers=True) for text in texts[texts["level"] == level]["text"]]
        for layer in range(3):
            logits = np.concatenate([own.routers[layer][1:30] for own in shown])
            log_p = plain.log_softmax(logits)
            chosen = np.argsort(-logits, axis=1)[:, :2]
            weight = np.exp(plain.log_softmax(np.take_along_axis(logits, chosen, 1)))
            load = np.bincount(chosen.ravel(), minlength=4) / len(logits)
            share = load[load > 0] / 2
            by_hand = {
                ("router_entropy", -1): -(np.exp(log_p) * log_p).sum(1).mean(),
                ("expert_density", -1): np.exp(-(weight * np.log(weight)).sum(1)).mean() / 4,
                ("load_evenness", -1): math.exp(-(share * np.log(share)).sum()) / 4,
                ("unused_experts", -1): (load == 0).mean(),
                **{("expert_load", expert): load[expert] for expert in range(4)},
            }
            group = f"items/{'shifted' if level == 3 else 'in'}/{level}"
            rows = of(records.populations(), group=group, layer=layer, basis="routing").set_index(["metric", "unit"])[
                "value"
            ]
            assert dict(rows) == pytest.approx(by_hand, rel=TWO_ROUTES, abs=NEAR_ZERO)


def tail(a: np.ndarray, w: np.ndarray, error: float) -> np.ndarray:
    """The longest tail of neurons, by bisection, without which an MLP's output is off by at most so much."""
    parts = a[:, None] * w
    order = np.argsort(np.linalg.norm(parts, axis=1), kind="stable")
    sums = np.vstack([np.zeros(w.shape[1]), np.cumsum(parts[order], axis=0)])
    errors, low, high = np.linalg.norm(sums, axis=1) / np.linalg.norm(sums[-1]), 0, len(a)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if errors[middle] <= error else (low, middle)
    gone = np.zeros(len(a), dtype=bool)
    gone[order[:low]] = True
    return gone


def test_density_is_the_perplexity_of_a_model_without_its_tails(tmp_path: Path) -> None:
    texts, errors = [" ".join(text.split()[:14]) for text in stories(2, HELD_OUT)], (0.1, 0.4)
    (tmp_path / "texts.txt").write_text("\n\n".join(texts))
    words = ("--errors", "0.1 0.4", "--loss", LOSS, "--out", tmp_path / "curve.json")
    said = run("density", MODEL, "--texts", tmp_path / "texts.txt", *words)
    model = plain.Plain(MODEL)
    nats = [np.concatenate([model.read(text).nats for text in texts])]
    cut = [np.zeros(1)]
    for error in errors:
        taken: list[np.ndarray] = []

        def without(module: Any, args: tuple[torch.Tensor], error: float = error, taken: Any = taken) -> Any:
            a, w = args[0][0].double().numpy(), module.weight.detach().double().numpy().T
            gone = np.stack([tail(row, w, error) for row in a])
            taken.append(gone[1:])
            return (args[0].masked_fill(torch.from_numpy(gone), 0),)

        hooks = [layer.mlp.down_proj.register_forward_pre_hook(without) for layer in model.module.model.layers]
        nats.append(np.concatenate([model.read(text).nats for text in texts]))
        for hook in hooks:
            hook.remove()
        cut.append(np.concatenate(taken).mean(axis=1))
    told = json.loads((tmp_path / "curve.json").read_text())
    perplexity = [math.exp(own.mean()) for own in nats]
    sparsity = [own.mean() for own in cut]
    assert [point["perplexity"] for point in told["curve"]] == pytest.approx(perplexity, rel=TWO_ROUTES)
    assert [point["sparsity"] for point in told["curve"]] == pytest.approx(sparsity, abs=TIES / (160 * len(cut[1])))
    limit = (1 + LOSS) * perplexity[0]
    assert perplexity[0] < limit < perplexity[-1]
    critical = float(np.interp(limit, perplexity, sparsity))
    assert told["critical_sparsity"] == pytest.approx(critical, rel=TWO_ROUTES)
    assert f"critical sparsity at {LOSS:.0%} growth of perplexity: {critical:.3f} of the neurons" in said


# Sweeps


def test_a_dry_run_says_items_tokens_time_and_disk_and_options_replace_keys(tmp_path: Path) -> None:
    keys = {"models": [str(MODEL)], "suites": [SUITE], "sites": ["resid_post"], "positions": "all", "controls": "none"}
    said = bare(tmp_path, "--dry-run", "--batch-size", 5, **keys, seed=1)
    assert not (tmp_path / "run").exists()
    row = [cell.strip() for cell in next(line for line in said.splitlines() if "x items" in line).split("│")[1:-1]]
    n = len(items())
    assert row[2:5] == [str(n), str(n), str(math.ceil(n / 5))]
    tokens = [len(plain.stories().ids(item["text"])) for item in items()]
    n_bytes = [len(item["text"]) for item in items()]
    rate = np.array(tokens) / n_bytes  # tokens are extrapolated from some of the items, by their bytes
    assert float(row[5]) == pytest.approx(sum(tokens), rel=ERRORS * np.std(rate) / np.mean(rate) / math.sqrt(PROBED))
    assert row[6].endswith("s")
    bare(tmp_path, "--batch-size", 5, **keys, seed=1)
    written = sum(path.stat().st_size for path in (tmp_path / "run").rglob("*.parquet")) / 1e6
    assert written / 2 < float(row[8].removesuffix(" MB")) < 2 * written
    other = tmp_path / "other"
    other.mkdir()
    bare(other, "--set", "positions=last", "--limit", 3, "--seed", 7, "--device", "cpu", **keys, seed=1)
    records = open_run(other / "run")
    assert dict(records.examples()["level"].value_counts()) == dict.fromkeys((1.0, 2.0, 3.0), 3)
    assert set(records.measurements()["position"]) == {"last"}
    assert [(row.seed, row.device) for row in records.runs().itertuples()] == [(7, "cpu")]


def test_a_service_is_told_the_means_that_transformers_gives(
    swept: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: dict[str, float] = {}
    service = SimpleNamespace(
        **dict.fromkeys(("set_experiment", "start_run", "log_dict", "end_run"), lambda *_, **__: None)
    )
    service.log_metrics = lambda values, step: told.update(values)  # noqa: ARG005  as MLflow calls it
    monkeypatch.setitem(sys.modules, "mlflow", service)
    keys = {"models": [str(MODEL)], "suites": [SUITE], "sites": ["resid_post", "final_norm"], "metrics": ["hoyer"]}
    bare(tmp_path, "--sink", "mlflow", **keys, controls="none")
    hoyer, entropy = plain.hoyer(swept.last), [own.entropy[-1] for own in swept.shown]
    assert told["model x items/final_norm/last/hoyer"] == pytest.approx(hoyer.mean(), rel=LOGITS)
    assert told["model x items/next_token_entropy"] == pytest.approx(np.mean(entropy), rel=TWO_ROUTES)
    for level in (1, 2, 3):
        mean = hoyer[swept.level == level].mean()
        assert told[f"model x items/final_norm/last/hoyer/{level}"] == pytest.approx(mean, rel=LOGITS)


def test_the_page_of_what_can_be_asked_names_tests_and_questions_that_there_are() -> None:
    root = Path(__file__).resolve().parents[1]
    page = (root / "docs/concepts/what-to-ask.md").read_text(encoding="utf-8")
    there = {
        name for path in root.glob("tests/**/test_*.py") for name in re.findall(r"def (test_\w+)", path.read_text())
    }
    named = set(re.findall(r"`(test_\w+)`", page))
    assert len(named) > 20
    assert named <= there
    questions = {
        name for part in re.findall(r"questions? (`\w+`(?:, `\w+`)*)", page) for name in re.findall(r"\w+", part)
    }
    assert len(questions) > 6
    assert questions <= set(ANALYSES)
