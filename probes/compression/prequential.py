r"""Prequential code: a model is trained while it codes, so that nobody has to be sent its weights.

Writer and reader begin with the same small model, drawn from a seed. A group of chunks is coded with the weights as
they are; then both sides take optimizer steps on the chunks, which both know by now, and go on with the next group.
The stream is therefore the whole description of the data, and its length is the area under the loss curve of the
training that wrote it:

.. math:: d(x) = \sum_{b} \sum_{i \in b} -\log_2 p_{\theta_b}(x_i \mid x_{<i}), \qquad
    \theta_{b+1} = \theta_b - \eta\, u(\nabla_{\theta} L_{B_b}(\theta_b))

with :math:`u` AdamW and :math:`B_b` group b (and groups before it, if they are read again). This is the executable form
of the theorem that training which compresses best is training whose loss curve encloses the least area
(arXiv:2402.17759, appendix A.1): a stream of about :math:`d(x)` bits was written, and another process decoded it.

>>> description = describe(b"a cat and a cat and a cat " * 40, Plan(size="0.3M"))           # doctest: +SKIP
>>> description.bits, 8 * len(description.stream)                                           # doctest: +SKIP
(3275.4, 3296)
>>> recall(description.archive)[:5]                                                         # doctest: +SKIP
b'a cat'
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from io import BytesIO
from typing import Any, Final, NamedTuple, cast

import numpy as np
import torch
from jaxtyping import Float64, Int64
from torch import Tensor
from torch.nn.functional import cross_entropy

from probes.compression.archive import Codec, Input, Progress, pack, unpack
from probes.compression.coding import Cost
from probes.compression.container import Opened
from probes.compression.reading import Lockstep
from probes.compression.spelling import Spelling, spelling_of
from probes.errors import InputError
from probes.lab.families import build_model
from probes.lab.optimizers import build_update
from probes.lab.recipe import SIZES, Recipe, changed
from probes.lab.text_training import build_text_tokenizer
from probes.lab.tokenizer import BOS, SPECIAL_TOKENS
from probes.models.loading import LoadedModel, load_model

CHUNK: Final = 256
BATCH: Final = 4
MOST_KEPT: Final = 4096
"""Groups that can be read again, at most, so that a file may be larger than memory."""
UNREAD: Final = -100  # what cross_entropy leaves out


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Settings of the training that writer and reader repeat; an archive holds them instead of weights.

    Attributes:
        size: of the model, by its name in ``sparsity lab train --size``: 0.3M, 1M ...
        seed: of its first weights and of which groups are read again.
        learning_rate: reached after the warm-up, then constant.
        warmup_steps: optimizer steps over which the learning rate rises linearly.
        replays: groups before the present one that are read again after it, a step each.
    """

    size: str = "0.3M"
    seed: int = 0
    learning_rate: float = 3e-3
    warmup_steps: int = 20
    replays: int = 4

    def __post_init__(self) -> None:
        """Refuse what cannot be trained."""
        if self.size not in SIZES:
            raise InputError(f"a model trained while coding has one of the sizes {', '.join(SIZES)}; got {self.size!r}")
        if not (self.learning_rate > 0 and self.warmup_steps >= 1 and self.replays >= 0):
            raise InputError("a training has a positive learning rate, a warm-up of 1 step or more, 0 replays or more")

    @property
    def name(self) -> str:
        """Name in tables."""
        return f"prequential {self.size}"


class Description(NamedTuple):
    """Data as a stream of a model that was trained on it meanwhile.

    Attributes:
        archive: the container that :func:`recall` reads.
        stream: bytes of the streams in it alone.
        bits: sum of the code lengths of all symbols under the weights that coded them, and a bit for every chunk.
        losses: mean code length of the symbols of each group, in nats, before the model was trained on it.
        n_symbols: symbols of each group.
    """

    archive: bytes
    stream: bytes
    bits: float
    losses: Float64[np.ndarray, " groups"]
    n_symbols: Int64[np.ndarray, " groups"]


class Learner:
    """Takes optimizer steps on chunks that both sides know, so that its model codes the next ones better.

    Args:
        model: the model; its weights are changed.
        spelling: its bytes.
        plan: the training.
        recipe: what the optimizer reads of it.
    """

    def __init__(self, model: LoadedModel, spelling: Spelling, plan: Plan, recipe: Recipe) -> None:
        self.plan = plan
        self._module = model.module
        self._tokens = spelling.byte_tokens
        self._begin = SPECIAL_TOKENS.index(BOS)
        self._update = build_update(model.module, recipe)
        self._rng = np.random.default_rng(plan.seed)
        self._seen: list[Int64[Tensor, "rows times"]] = []
        self._n_steps = 0

    def learn(self, chunks: Sequence[bytes]) -> None:
        """Read chunks, then some of those before them again, and take a step after each."""
        rows = [self._tokens[np.frombuffer(chunk, dtype=np.uint8)] for chunk in chunks]
        ids = np.full((len(rows), 1 + max(map(len, rows))), UNREAD, dtype=np.int64)
        ids[:, 0] = self._begin
        for row, tokens in zip(ids, rows, strict=True):
            row[1 : 1 + len(tokens)] = tokens
        own = torch.from_numpy(ids)
        self._step(own)
        for _ in range(self.plan.replays if self._seen else 0):
            self._step(self._seen[int(self._rng.integers(len(self._seen)))])
        if self.plan.replays and len(self._seen) < MOST_KEPT:
            self._seen.append(own)
        elif self.plan.replays:
            self._seen[int(self._rng.integers(MOST_KEPT))] = own

    def _step(self, ids: Int64[Tensor, "rows times"]) -> None:
        self._n_steps += 1
        with torch.enable_grad():
            logits = cast("Tensor", self._module(input_ids=ids[:, :-1].clamp(min=0), use_cache=False).logits)
            cross_entropy(logits.flatten(0, 1), ids[:, 1:].flatten(), ignore_index=UNREAD).backward()
        self._update(self.plan.learning_rate * min(1.0, self._n_steps / self.plan.warmup_steps))


def codec_in_training(plan: Plan, *, chunk: int = CHUNK) -> Codec:
    """A model that has read nothing, ready to write or read one container.

    Args:
        plan: the training.
        chunk: bytes that it reads from an empty context on; it can read no more.
    """
    plain = Recipe(seed=plan.seed, context_length=max(chunk, 4), learning_rate=plan.learning_rate)
    recipe = changed(plain, size=plan.size)
    tokenizer = build_text_tokenizer([], None)
    module = build_model(recipe, vocabulary=len(tokenizer), seed=plan.seed)
    model = load_model(module, tokenizer=tokenizer)
    spelling = spelling_of(tokenizer, size=model.vocabulary, model=plan.name)
    return Codec(model, "lockstep", Lockstep(model), spelling, Learner(model, spelling, plan, recipe))


def codec_of_archive(opened: Opened) -> Codec:
    """A codec that reads a container whose model was trained while it was written.

    Raises:
        InputError: if its header has no such training.
    """
    told = opened.header.trained
    if told is None:
        raise InputError("the archive was not written by a model in training: name the model that wrote it")
    plan = Plan()
    kinds: dict[str, Any] = {field.name: type(getattr(plan, field.name)) for field in fields(Plan)}
    if {name: type(value) for name, value in told.items()} != kinds:
        raise InputError("the archive has a header that this program does not write: take another copy of it")
    return codec_in_training(replace(plan, **told), chunk=opened.header.chunk)


def describe(
    data: bytes,
    plan: Plan | None = None,
    *,
    chunk: int = CHUNK,
    batch: int = BATCH,
    progress: Progress | None = None,
) -> Description:
    """Write bytes with a model that is trained on them meanwhile; :func:`recall` gives them back.

    Args:
        data: any bytes.
        plan: the training.
        chunk: bytes that the model reads from an empty context on.
        batch: chunks that are coded before a step is taken.
        progress: told of bytes done, and of all.
    """
    sink = BytesIO()
    groups: list[Sequence[Cost]] = []
    codec = codec_in_training(plan or Plan(), chunk=chunk)
    inputs = [Input("data", len(data), lambda: BytesIO(data))]
    packed = pack(inputs, sink, codec, chunk=chunk, batch=batch, progress=progress, on_costs=groups.append)
    bits = [np.concatenate([cost.bits for cost in group]) for group in groups]
    return Description(
        archive=sink.getvalue(),
        stream=b"".join(Opened(BytesIO(sink.getvalue()), "the archive").streams()),
        bits=packed.ideal_bits,
        losses=np.array([own.mean() * math.log(2) for own in bits]),
        n_symbols=np.array([len(own) for own in bits], dtype=np.int64),
    )


def recall(archive: bytes, *, progress: Progress | None = None) -> bytes:
    """The bytes that :func:`describe` was given, by the same training.

    Raises:
        InputError: if the archive is damaged, or was written under other circumstances (naming which).
    """
    opened, sink = Opened(BytesIO(archive), "the archive"), BytesIO()
    unpack(opened, codec_of_archive(opened), lambda _: sink, progress=progress)
    return sink.getvalue()
