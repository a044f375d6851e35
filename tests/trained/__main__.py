"""Write the small trained model that the tests read: `python -m tests.trained`, some minutes of one core.

A Llama of 0.2 million weights with a tokenizer of 512 pieces, both learned from 4,000 stories of
`tests.trained.stories`. Its tokenizer is of the kind that Llama 2 has (pieces begin with the space before them,
characters that are no piece become bytes, <s> stands before every text, <unk> pads), because that kind has the traps
that the tests are about. The residual stream, the heads side by side and the MLP have different widths, so that a
number belonging to one of them cannot pass for that of another.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import math
import re
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save
from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, processors, trainers
from torch.nn.functional import cross_entropy
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from tests.trained import HELD_OUT, MODEL, RECIPE
from tests.trained.stories import stories

SPECIAL = ("<unk>", "<s>", "</s>")


@dataclass(frozen=True)
class Recipe:
    """All that decides the weights, up to the arithmetic of torch and the processor."""

    seed: int = 0
    n_stories: int = 4_000
    vocabulary: int = 512
    d_model: int = 64
    n_layers: int = 4
    n_heads: int = 4
    n_kv_heads: int = 2
    head_dim: int = 12
    d_mlp: int = 160
    n_steps: int = 800
    batch_size: int = 16
    window: int = 128
    learning_rate: float = 3e-3
    weight_decay: float = 0.1


def learn_tokenizer(texts: list[str], size: int) -> PreTrainedTokenizerFast:
    """Pieces by byte-pair encoding of whole words, and a piece for every byte."""
    spaces = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    bytes_ = [f"<0x{byte:02X}>" for byte in range(256)]
    learner = Tokenizer(models.BPE(unk_token="<unk>"))
    trainer = trainers.BpeTrainer(vocab_size=size - 256, special_tokens=list(SPECIAL), show_progress=False)
    words = re.compile(r" ?[A-Za-z]+| ?[^\sA-Za-z]+")
    learner.train_from_iterator(
        (word.replace(" ", "▁") for text in texts for word in words.findall(f" {text}")), trainer
    )
    learned = json.loads(learner.to_str())["model"]
    pieces = sorted(learned["vocab"], key=learned["vocab"].get)[len(SPECIAL) :]
    ids = {piece: number for number, piece in enumerate([*SPECIAL, *bytes_, *pieces])}
    merges = [tuple(merge) for merge in learned["merges"]]
    core = Tokenizer(models.BPE(ids, merges, unk_token="<unk>", byte_fallback=True, fuse_unk=True))
    core.normalizer = spaces
    core.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    core.post_processor = processors.TemplateProcessing(
        single="<s> $A", pair="<s> $A <s> $B", special_tokens=[("<s>", ids["<s>"])]
    )
    core.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in SPECIAL])
    return PreTrainedTokenizerFast(
        tokenizer_object=core,
        unk_token="<unk>",
        bos_token="<s>",
        eos_token="</s>",
        pad_token="<unk>",
        model_max_length=512,
    )


def build(recipe: Recipe) -> LlamaForCausalLM:
    """The untrained model."""
    torch.manual_seed(recipe.seed)
    config = LlamaConfig(
        vocab_size=recipe.vocabulary,
        hidden_size=recipe.d_model,
        intermediate_size=recipe.d_mlp,
        num_hidden_layers=recipe.n_layers,
        num_attention_heads=recipe.n_heads,
        num_key_value_heads=recipe.n_kv_heads,
        head_dim=recipe.head_dim,
        max_position_embeddings=512,
        tie_word_embeddings=True,
        unk_token_id=0,
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=2,
        dtype="float32",
        architectures=["LlamaForCausalLM"],
    )
    return LlamaForCausalLM(config)


def teach(model: LlamaForCausalLM, texts: list[list[int]], recipe: Recipe) -> list[float]:
    """Train on windows of stories laid end to end; the loss of every step in nats per token."""
    rng = np.random.default_rng(recipe.seed)
    stream = torch.tensor([token for text in texts for token in text])
    optimizer = torch.optim.AdamW(model.parameters(), betas=(0.9, 0.95), weight_decay=recipe.weight_decay)
    losses: list[float] = []
    for step in range(recipe.n_steps):
        done = step / recipe.n_steps
        for group in optimizer.param_groups:
            group["lr"] = recipe.learning_rate * min(1, (step + 1) / 100) * 0.5 * (1 + math.cos(math.pi * done))
        starts = rng.integers(len(stream) - recipe.window, size=recipe.batch_size)
        ids = torch.stack([stream[start : start + recipe.window + 1] for start in starts])
        logits = model(input_ids=ids[:, :-1], use_cache=False).logits
        loss = cross_entropy(logits.flatten(0, 1), ids[:, 1:].flatten())
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        losses.append(loss.item())
        if not step % 100:
            print(f"step {step}: {losses[-1]:.3f} nats", flush=True)
    return losses


def digest(content: bytes) -> str:
    """Fingerprint of text or weights."""
    return hashlib.sha256(content).hexdigest()


def main() -> None:
    """Train and write model, tokenizer and recipe."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=MODEL)
    out: Path = parser.parse_args().out
    torch.set_num_threads(1)
    recipe = Recipe()
    told = stories(recipe.n_stories, seed=recipe.seed)
    tokenizer = learn_tokenizer(told, recipe.vocabulary)
    assert len(tokenizer) == recipe.vocabulary, len(tokenizer)
    texts = [tokenizer(text)["input_ids"] for text in told]
    model = build(recipe).train()
    losses = teach(model, texts, recipe)
    model.eval()
    out.mkdir(parents=True, exist_ok=True)
    weights = save(
        {name: value for name, value in model.state_dict().items() if name != "lm_head.weight"}, {"format": "pt"}
    )
    (out / "model.safetensors").write_bytes(weights)
    model.config.save_pretrained(out)
    tokenizer.save_pretrained(out)
    record = {
        "command": "python -m tests.trained",
        "recipe": asdict(recipe),
        "text": f"tests/trained/stories.py, seed {recipe.seed}; held out: seed {HELD_OUT}",
        "text_sha256": digest("\n".join(told).encode()),
        "n_weights": sum(value.numel() for value in model.parameters()),
        "last_loss": round(float(np.mean(losses[-100:])), 4),
        "torch": torch.__version__,
        "threads": 1,
        "sha256": digest(weights),
    }
    (out / RECIPE).write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
    print(json.dumps(record, indent=2))


if __name__ == "__main__":
    main()
