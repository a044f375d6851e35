"""A model that is ready to be looked into: its module, its tokenizer, its sites, and the facts that identify a run.

The forward pass here does what is asked and no more: the model without its head, in inference mode, without a key-value
cache, on right-padded ids under a mask. Logits are made afterwards, for the rows that need them and a few rows at a
time, by the model's own head: the head's forward runs with the body's output put in its place, so soft caps, scales and
biases of any family are the model's own and not retyped here.
"""

from __future__ import annotations

from collections.abc import Collection, Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any, cast

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from probes.errors import InputError
from probes.models.batch import Batch
from probes.models.bridge import ATTENTION, is_bridge, is_inside_bridge, unwrap
from probes.models.checkpoints import Checkpoint, fingerprint_object, open_checkpoint
from probes.models.devices import Devices, device_of
from probes.models.facts import body_of, check_weights, context_length_of, dtype_of, pad_id_of, text_model_of
from probes.models.hooks import watching
from probes.models.taps import Taps, find_taps
from probes.vocabulary.sites import Site, SiteKind

Output = Any  # transformers has one output class per family


@dataclass(frozen=True, eq=False, kw_only=True)
class LoadedModel:
    """A model with its sites found and its facts read. Make one with :func:`load_model`.

    Attributes:
        name: what the user called it.
        module: the transformers model, in evaluation mode.
        tokenizer: its tokenizer, or None: prompts are then token ids.
        taps: where its sites are.
        fingerprint: sha256 of weights, configuration and tokenizer.
        revision: hub revision, ``""`` for a directory or an object.
        weights: how they came from the files: ``as stored``, ``dequantised from GGUF (Q4_0)`` ..., or ``in memory``.
        dtype: of the weights; metrics are computed in float32 whatever it is.
        device: where token ids go.
        attention: name of the attention kernel.
        d_model: width of the residual stream.
        vocabulary: how many token ids it embeds.
        context_length: longest prompt it reads, None if unbounded or unknown.
        pad_id: what padding is filled with (and masked).
    """

    name: str
    module: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase | None
    taps: Taps
    fingerprint: str
    revision: str
    weights: str
    dtype: torch.dtype
    device: torch.device
    attention: str
    d_model: int
    vocabulary: int
    context_length: int | None
    pad_id: int
    _widths: dict[Site, int] = field(default_factory=dict[Site, int], repr=False)

    @property
    def n_layers(self) -> int:
        """Number of blocks."""
        return self.taps.n_layers

    @property
    def sites(self) -> Collection[Site]:
        """Every site it has, in the order of a forward pass."""
        return self.taps.points.keys()

    @property
    def lacks(self) -> Mapping[SiteKind, str]:
        """Reason that it has no site of some kind."""
        return self.taps.lacks

    @property
    def base(self) -> nn.Module:
        """The model without its head."""
        return body_of(self.module)

    @property
    def is_causal(self) -> bool:
        """True if it predicts the next token, so that outcomes can be read from it."""
        module: Any = self.module
        return module.can_generate() and self.base is not module and not module.config.is_encoder_decoder

    @property
    def is_answering(self) -> bool:
        """True for an encoder-decoder with a head: the encoder reads a prompt, the decoder predicts what follows it."""
        module: Any = self.module
        return bool(module.config.is_encoder_decoder) and module.get_output_embeddings() is not None

    def word(self, token: int) -> str:
        """Text of one token id, by itself.

        Raises:
            InputError: if there is no tokenizer.
        """
        if self.tokenizer is None:
            raise InputError(f"{self.name} came without a tokenizer: token texts are not known; hand one in")
        return str(self.tokenizer.decode([token]))

    def run(self, batch: Batch, *, keep: bool = False) -> Output:
        """Run the model without its head; hooks on its modules see every tensor.

        Args:
            batch: right-padded ids and their mask.
            keep: keep keys and values, so that other endings can be read (:mod:`probes.capture.continuing`).

        Returns:
            The body's own output; ``last_hidden_state`` is ``(prompts, longest, d_model)``.
        """
        ids, mask = batch.ids.to(self.device), batch.mask.to(self.device)
        arguments: dict[str, Any] = {"input_ids": ids, "attention_mask": mask, "use_cache": keep}
        if self.module.config.is_encoder_decoder:
            # the decoder reads the same tokens, so that row t of either stack is about token t; an encoder looks both
            # ways, and would see the answer
            arguments |= {"decoder_input_ids": ids, "decoder_attention_mask": mask}
            arguments["attention_mask"] = mask if batch.asked is None else batch.asked.to(self.device)
        with torch.inference_mode():
            return self.base(**arguments)

    def logits(self, output: Output, rows: Int[Tensor, " rows"]) -> Float[Tensor, "rows vocabulary"]:
        """Next-token logits of some rows of a finished forward pass, by the model's own head.

        Args:
            output: what :meth:`run` returned.
            rows: flat indices into ``(prompts * longest)``.

        Returns:
            Logits in float32.
        """
        hidden: Tensor = output.last_hidden_state
        chosen = hidden.reshape(-1, hidden.shape[-1])[rows.to(hidden.device)].unsqueeze(0)
        stand_in = type(output)(**{**output, "last_hidden_state": chosen})
        ids = torch.zeros(chosen.shape[:2], dtype=torch.long, device=self.device)
        with torch.inference_mode(), _replaced_forward(self.base, stand_in):
            logits: Tensor = self.module(input_ids=ids, use_cache=False).logits
        return logits[0].float()

    def width(self, site: Site) -> int:
        """Number of coordinates of a vector at a site (one head's for ``attn_z``), found by running one token once."""
        if not self._widths:
            seen: dict[Site, int] = {}

            def look(place: Site, vectors: Tensor) -> None:
                seen[place] = vectors.shape[-1] // max(self.taps.points[place].heads, 1)

            ids = torch.zeros((1, 1), dtype=torch.long)
            with watching(self.taps, tuple(self.sites), look):
                self.run(Batch(ids, torch.ones_like(ids)))
            self._widths.update(seen)
        return self._widths[site]


def load_model(
    model: object,
    *,
    tokenizer: PreTrainedTokenizerBase | None = None,
    device: Devices = "cpu",
    dtype: str | torch.dtype | None = None,
    revision: str | None = None,
    attention: str | None = None,
) -> LoadedModel:
    """Make a model ready to be looked into.

    Unless its family has a table, one pass of eight tokens is run to find its sites: the inputs and outputs of its
    modules are compared as numbers (:mod:`probes.models.taps.derived`), which names and shapes alone do not allow.

    Args:
        model: a local directory, a hub name, a transformers model, or a TransformerLens bridge. An object is put into
            evaluation mode and otherwise taken as it is.
        tokenizer: its tokenizer; read from the directory or the hub, or taken from the bridge, when not given.
        device: where to put a model that is read from disk; ``auto`` spreads it over what there is, a map of modules
            to places (``cpu``, ``cuda:1``, ``disk``) as it says (:mod:`probes.models.devices`).
        dtype: of the weights: ``float32``, ``bfloat16``, ``float16``, or ``int8`` (8-bit weights by bitsandbytes, which
            computes in float16); None: as stored.
        revision: of a hub model.
        attention: kernel, e.g. ``eager`` or ``sdpa``; None: the family's default.

    Returns:
        The loaded model.

    Raises:
        InputError: in one line, if there is no such model, its weights are incomplete or not there (meta device), it
            has no blocks that can be found, its tokenizer knows more tokens than it embeds, or it is a bridge whose
            states are not the model's (:func:`probes.models.bridge.unwrap`). Tokens that were added to a tokenizer
            (padding, images) need not be embedded: a prompt that holds one is refused when it is encoded.
    """
    if isinstance(model, LoadedModel):
        return model
    if isinstance(model, str):
        source = open_checkpoint(
            model, tokenizer=tokenizer, device=device, dtype=dtype_of(dtype), revision=revision, attention=attention
        )
    else:
        source = _from_object(model, tokenizer)
    module = text_model_of(source.module).eval()
    check_weights(module, source.name)
    whole: Any = module.config
    config: Any = whole if whole.is_encoder_decoder else whole.get_text_config()
    embedding = module.get_input_embeddings()
    vocabulary = int(cast("Tensor", embedding.weight).shape[0])
    known = 0 if source.tokenizer is None else source.tokenizer.vocab_size
    if known > vocabulary:
        raise InputError(
            f"{source.name}: the tokenizer has {known} tokens but the model embeds only {vocabulary}; "
            "they do not belong together"
        )
    return LoadedModel(
        name=source.name,
        module=module,
        tokenizer=source.tokenizer,
        taps=find_taps(body_of(module), config),
        fingerprint=source.fingerprint,
        revision=source.revision,
        weights=source.weights,
        dtype=torch.int8 if getattr(module, "is_loaded_in_8bit", False) else module.dtype,
        device=device_of(embedding),
        attention=_attention_of(module),
        d_model=int(config.hidden_size),
        vocabulary=vocabulary,
        context_length=context_length_of(config),
        pad_id=pad_id_of(source.tokenizer, config, vocabulary),
    )


def _from_object(model: object, tokenizer: PreTrainedTokenizerBase | None) -> Checkpoint:
    """Take a model that is already in memory."""
    module = getattr(model, "_orig_mod", model)  # torch.compile's wrapper hides the modules that hooks go on
    if is_bridge(module):
        wrapped = unwrap(module)
        module, tokenizer = wrapped.module, tokenizer or wrapped.tokenizer
    elif isinstance(module, PreTrainedModel) and is_inside_bridge(module):
        raise InputError(
            f"a bridge has replaced modules of this {type(module).__name__}, and may have changed its weights: "
            "hand in the bridge"
        )
    if not isinstance(module, PreTrainedModel):
        raise InputError(
            f"expected a directory, a hub name, a transformers model or a TransformerBridge, not {type(model).__name__}"
        )
    check_weights(module, type(module).__name__)
    name = module.name_or_path or type(module).__name__
    return Checkpoint(name, module, tokenizer, fingerprint_object(module, tokenizer), "", "in memory")


def _attention_of(module: PreTrainedModel) -> str:
    """The kernel that computes attention."""
    if is_inside_bridge(module):
        return ATTENTION
    return str(getattr(module.config, "_attn_implementation", None) or "none")


@contextmanager
def _replaced_forward(module: nn.Module, output: object) -> Generator[None]:
    """Let a module return a ready output instead of computing one, for as long as the context lasts."""
    own = module.__dict__.get("forward")  # accelerate puts a forward of its own on the instance
    module.__dict__["forward"] = partial(_ready, output)
    try:
        yield
    finally:
        del module.__dict__["forward"]
        if own is not None:
            module.__dict__["forward"] = own


def _ready(output: object, *_args: object, **_kwargs: object) -> object:
    return output
