"""Which coordinates, heads, tokens, experts and neurons carry a change."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from probes import open_run
from tests.reachable import plain
from tests.reachable.asking import LAST_BLOCK, SUITE, bare, of, run, saved, values
from tests.samples import ERRORS
from tests.tolerances import LOGITS, NEAR_ZERO, TWO_ROUTES
from tests.trained import HELD_OUT, MODEL
from tests.trained.stories import stories

LOSS = 0.05  # growth of perplexity that a pruned model may have
TIES = 4  # neurons that rounding lets stay or go where a tail only just fits, of all that are counted


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
    for site, path, parts, of_unit in (("final_norm", "", 64, ""), ("attn_z", f".{LAST_BLOCK}.", 4, "unit_")):
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
