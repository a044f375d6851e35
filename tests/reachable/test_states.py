"""States of every kind of model, and how far precision and padding move them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from probes import open_run
from probes.capture.verification.verdict import TEXTS
from tests.reachable import plain
from tests.reachable.asking import SUITE, bare, items, of, run, saved
from tests.tolerances import LOGITS
from tests.trained import MODEL

TWO_DIGITS = 0.05  # relative: a number printed with two digits
KINDS = {"sdpa": {}, "eager": {"attn_implementation": "eager"}, "bfloat16": {"dtype": torch.bfloat16}}


def test_states_that_a_resumed_sweep_keeps_are_those_of_transformers(swept: Any) -> None:
    n, first = len(swept.order), 2 * 3
    assert f"{n - first} items measured, 0 failed" in swept.said
    for position, tokens in (("last", slice(-1, None)), ("mean", slice(1, None))):
        found = swept.records.states("final_norm", position=position)
        assert sorted(found.keys["example_id"]) == sorted(swept.order)
        rows = [list(found.keys["example_id"]).index(name) for name in swept.order]
        expected = np.stack([own.hidden[-1][tokens].mean(axis=0) for own in swept.shown])
        np.testing.assert_allclose(found.vectors[rows], expected, rtol=LOGITS, atol=LOGITS * np.abs(expected).max())


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
