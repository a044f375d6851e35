"""Train a model on your own text, so that you hold all it has read.

For a question about a corpus (how often does it hold this passage, and what does the model make of that) one needs a
model and every byte it was trained on. The text is cut into windows of the context length; every pass over it takes
all windows, each once, in a new order, so nothing is left out and nothing is read twice before the rest is read once.
Tokens are bytes, or entries of a BPE vocabulary learned from the same text.

An interrupted training is gone on with by the next call with the same files, recipe and number of steps, to the same
weights (`probes.lab.history`): the order of windows is drawn from the seed, never from where training stands.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final, cast

import numpy as np
import torch
from jaxtyping import Int
from safetensors.torch import save
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from torch import Tensor
from torch.nn.functional import cross_entropy
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from probes.errors import InputError
from probes.lab.families import build_model
from probes.lab.history import (
    FOLDER,
    STATE,
    checkpoint_name,
    checkpoint_steps,
    due,
    load_state,
    save_state,
)
from probes.lab.optimizers import build_update
from probes.lab.recipe import Recipe
from probes.lab.tokenizer import BOS, SPECIAL_TOKENS
from probes.lab.training import OnStep
from probes.lab.training_record import Lineage, write_lineage

N_BYTES: Final = 256


@dataclass(frozen=True, kw_only=True, slots=True)
class TextModel:
    """Model and record that `train_on_text` made.

    Attributes:
        path: the directory that holds model and tokenizer.
        n_tokens: tokens of the corpus.
        epochs: how often each of them was read, on average.
        losses: mean loss of every step, in nats per token.
    """

    path: Path
    n_tokens: int
    epochs: float
    losses: tuple[float, ...]


def train_on_text(
    corpus: Sequence[Path],
    out: Path,
    recipe: Recipe,
    *,
    n_steps: int,
    vocabulary: int | None = None,
    n_checkpoints: int = 0,
    on_step: OnStep | None = None,
) -> TextModel:
    """Train a model on the text of some files and write it to `out`, whole or not at all.

    Until then ``<out>.unfinished`` holds what is needed to go on after an interruption.

    Args:
        corpus: text files.
        out: a directory that does not exist yet or is empty.
        recipe: seed, architecture and optimisation; what it says of facts is not used.
        n_steps: optimizer steps of ``recipe.batch_size`` windows of ``recipe.context_length`` tokens.
        vocabulary: entries of a BPE vocabulary, more than 256; None reads bytes.
        n_checkpoints: how many models to keep from the way there; the first is the untrained one.
        on_step: told of every step.

    Raises:
        InputError: if a file cannot be read, there is too little text, or `out` or its unfinished neighbour is in use
            by something else.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise InputError(f"a model is written to a new or empty directory, but {out} is in use: name another one")
    if vocabulary is not None and vocabulary <= N_BYTES + len(SPECIAL_TOKENS):
        raise InputError(f"a BPE vocabulary has more than {N_BYTES + len(SPECIAL_TOKENS)} entries, got {vocabulary}")
    texts = [_text(path) for path in corpus]
    tokenizer = build_text_tokenizer(texts, vocabulary)
    tokens = [token for text in texts for token in cast("list[int]", tokenizer(text)["input_ids"])]
    windows = cut(tokens, recipe.context_length)
    order_rng, weights_rng = np.random.default_rng(recipe.seed).spawn(2)
    module = build_model(recipe, vocabulary=len(tokenizer), seed=int(weights_rng.integers(2**31)))
    unfinished = out.with_name(f"{out.name}.unfinished")
    task = {"recipe": asdict(recipe), "steps": n_steps, "vocabulary": vocabulary, "corpus": _digest(texts)}
    batches = _batches(len(windows), recipe.batch_size, n_steps, order_rng)

    def write(folder: Path, step: int) -> None:
        write_model(folder, module, tokenizer, Lineage(step, recipe.seed))

    kept = checkpoint_steps(n_steps, n_checkpoints)

    def keep(step: int) -> None:
        if step in kept:
            write(unfinished / FOLDER / checkpoint_name(step), step)

    losses = _read(module, recipe, windows, list(batches), unfinished, task, keep, on_step)
    module.eval()
    write(unfinished, n_steps)
    (unfinished / STATE).unlink(missing_ok=True)
    unfinished.replace(out)
    return TextModel(
        path=out, n_tokens=len(tokens), epochs=n_steps * recipe.batch_size / len(windows), losses=tuple(losses)
    )


def write_model(folder: Path, module: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, found: Lineage) -> None:
    """Write a model as every loader reads it, with its place in its training.

    Args:
        folder: made where it is not there.
        module: the model.
        tokenizer: its tokenizer.
        found: steps taken, and the seed.
    """
    folder.mkdir(parents=True, exist_ok=True)
    module.config.save_pretrained(folder)
    (folder / "model.safetensors").write_bytes(save(module.state_dict(), metadata={"format": "pt"}))
    tokenizer.save_pretrained(folder)
    write_lineage(folder, found)


def _read(
    module: PreTrainedModel,
    recipe: Recipe,
    windows: Int[Tensor, "windows length"],
    batches: Sequence[Int[np.ndarray, " batch"]],
    unfinished: Path,
    task: Mapping[str, Any],
    keep: Callable[[int], None],
    on_step: OnStep | None,
) -> list[float]:
    """Read what is left of the batches; the losses of all of them, those before an interruption too."""
    update = build_update(module, recipe)
    losses: list[float] = []
    state = load_state(unfinished, task)
    if state is not None:
        module.load_state_dict(state.weights)
        losses = cast("list[float]", state.history["losses"].tolist())
        update.restore(state.moments, len(losses))
    unfinished.mkdir(parents=True, exist_ok=True)
    saved = time.monotonic()
    if not losses:
        keep(0)
    for step in range(len(losses) + 1, len(batches) + 1):
        ids = windows[torch.from_numpy(batches[step - 1])]
        logits = cast("Tensor", module(input_ids=ids[:, :-1], use_cache=False).logits)
        loss = cross_entropy(logits.flatten(0, 1), ids[:, 1:].flatten())
        loss.backward()
        update(recipe.learning_rate * min(1.0, step / recipe.warmup_steps))
        losses.append(loss.item())
        keep(step)
        if due(saved):
            history = {"losses": torch.tensor(losses, dtype=torch.float64)}
            save_state(unfinished, task, module.state_dict(), update.state(), history)
            saved = time.monotonic()
        if on_step is not None:
            on_step(step, len(batches), losses[-1])
    return losses


def build_text_tokenizer(texts: Sequence[str], vocabulary: int | None) -> PreTrainedTokenizerFast:
    """A byte-level tokenizer: of bytes alone, or with merges learned from the texts. Any text can be written in it."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    bare = {token: i for i, token in enumerate((*SPECIAL_TOKENS, *alphabet))}
    tokenizer = Tokenizer(models.BPE(bare, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    if vocabulary is not None:
        trainer = trainers.BpeTrainer(
            vocab_size=vocabulary,
            special_tokens=list(SPECIAL_TOKENS),
            initial_alphabet=alphabet,
            show_progress=False,
        )
        tokenizer.train_from_iterator(texts, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token=SPECIAL_TOKENS[0],
        unk_token=SPECIAL_TOKENS[1],
        pad_token=SPECIAL_TOKENS[2],
    )


def cut(tokens: Sequence[int], length: int) -> Int[Tensor, "windows length"]:
    """A text in windows that begin with ``<bos>``; what is left at the end gets a window that starts earlier.

    Every token is in some window, and in one only but for those that fill up the last.

    Raises:
        InputError: if there is not enough text for one window.
    """
    inner = length - 1
    if len(tokens) < inner:
        raise InputError(
            f"a window has {inner} tokens and the corpus {len(tokens)}: take a shorter context or more text"
        )
    starts = [*range(0, len(tokens) - inner + 1, inner)]
    if starts[-1] + inner < len(tokens):
        starts.append(len(tokens) - inner)
    bos = SPECIAL_TOKENS.index(BOS)
    return torch.tensor([[bos, *tokens[start : start + inner]] for start in starts])


def _batches(n_windows: int, size: int, n_steps: int, rng: np.random.Generator) -> Iterator[Int[np.ndarray, " batch"]]:
    """Batches of windows; a batch may end one pass and begin the next."""
    waiting = np.array([], np.int64)
    for _ in range(n_steps):
        while len(waiting) < size:
            waiting = np.concatenate([waiting, rng.permutation(n_windows)])
        yield waiting[:size]
        waiting = waiting[size:]


def _digest(texts: Sequence[str]) -> str:
    """A hash of the corpus, so that a training is not gone on with on other text."""
    return hashlib.sha256("\0".join(texts).encode()).hexdigest()


def _text(path: Path) -> str:
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is not UTF-8 (byte {error.start})") from None
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}") from None
    if not text.strip():
        raise InputError(f"{path} is empty")
    return text
