"""The controlled vocabulary of places in a network.

Sparsity is a property of a vector at a place, and places are mixed up more easily than anything else in this field:
what Hugging Face calls ``hidden_states[-1]`` is not the last residual stream but the final norm's output, and "the MLP
output" is two different tensors on the families that normalise it before adding. So a place is a value with one
spelling, ``resid_post.7``, parsed once, and whether a model has it is answered by its table in
:mod:`probes.models.taps`.

The words are TransformerLens's; :data:`MEANINGS` says what each is. Tensors are ``(batch, position, width)`` unless
noted there. Its hook names are understood wherever sites are asked for: ``blocks.7.hook_resid_post``.

Encoder-decoder models put the stack in front: ``encoder.resid_post.3``.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, Protocol, runtime_checkable

from probes.errors import InputError


class SiteKind(StrEnum):
    """Every word a site may begin with, in the order in which a forward pass meets them."""

    EMBED = "embed"
    RESID_PRE = "resid_pre"
    ATTN_Z = "attn_z"
    ATTN_OUT = "attn_out"
    SSM_STATE = "ssm_state"
    RESID_MID = "resid_mid"
    ROUTER_LOGITS = "router_logits"
    MLP_PRE = "mlp_pre"
    MLP_GATE = "mlp_gate"
    MLP_POST = "mlp_post"
    MLP_OUT = "mlp_out"
    RESID_POST = "resid_post"
    FINAL_NORM = "final_norm"


MEANINGS: Final[dict[SiteKind, str]] = {
    SiteKind.EMBED: "what the token embedding returns (before positions are added, and before any scaling outside it)",
    SiteKind.RESID_PRE: "the residual stream entering block i",
    SiteKind.RESID_MID: "between attention and MLP of block i; parallel blocks have none, and asking raises",
    SiteKind.RESID_POST: "the residual stream leaving block i, before any final norm",
    SiteKind.ATTN_Z: "input of the attention's output projection, one vector per head",
    SiteKind.ATTN_OUT: "what attention adds to the residual stream (after a post-norm where the family has one)",
    SiteKind.MLP_PRE: "output of the MLP's input projection; of the up branch (no activation function) if it is gated",
    SiteKind.MLP_GATE: "gated MLPs: output of the gate projection, before its activation (TransformerLens: hook_pre)",
    SiteKind.MLP_POST: "input of the MLP's down projection: act(mlp_pre), or act(mlp_gate) * mlp_pre; dense layers"
    " only: experts run fused and show none, what a mixture has is router_logits",
    SiteKind.MLP_OUT: "what the MLP (or the mixture of experts) adds to the residual stream",
    SiteKind.ROUTER_LOGITS: "one logit per expert, before the softmax",
    SiteKind.SSM_STATE: "state-space layers: gated read-out of the recurrent state (input of the output projection)",
    SiteKind.FINAL_NORM: "output of the final norm, after its learned gain: what the unembedding reads",
}

# TransformerLens's hook names. hook_pre is what the activation function is applied to: the gate, where there is one
HOOKS: Final[dict[str, tuple[SiteKind, ...]]] = {
    "hook_embed": (SiteKind.EMBED,),
    "ln_final.hook_out": (SiteKind.FINAL_NORM,),
    "hook_resid_pre": (SiteKind.RESID_PRE,),
    "hook_in": (SiteKind.RESID_PRE,),
    "hook_resid_mid": (SiteKind.RESID_MID,),
    "hook_resid_post": (SiteKind.RESID_POST,),
    "hook_out": (SiteKind.RESID_POST,),
    "attn.hook_z": (SiteKind.ATTN_Z,),
    "hook_attn_out": (SiteKind.ATTN_OUT,),
    "mlp.hook_pre": (SiteKind.MLP_GATE, SiteKind.MLP_PRE),
    "mlp.hook_pre_linear": (SiteKind.MLP_PRE,),
    "mlp.hook_post": (SiteKind.MLP_POST,),
    "hook_mlp_out": (SiteKind.MLP_OUT,),
}
_BLOCK_HOOK: Final = re.compile(r"blocks\.(?P<layer>\d+)\.(?P<hook>.+)")

EMBED_LAYER: Final = -1
UNLAYERED: Final = frozenset({SiteKind.EMBED, SiteKind.FINAL_NORM})
STACKS: Final = ("encoder", "decoder")
_PATTERN: Final = re.compile(r"(?:(?P<stack>encoder|decoder)\.)?(?P<kind>[a-z_]+)(?:\.(?P<layer>\d+))?")


@dataclass(frozen=True, slots=True)
class Site:
    """One place in a network.

    Attributes:
        kind: what is there.
        layer: which block; -1 for ``embed`` and the number of blocks for ``final_norm``.
        stack: ``encoder`` or ``decoder`` of an encoder-decoder model, else ``""``.
    """

    kind: SiteKind
    layer: int
    stack: str = ""

    @property
    def name(self) -> str:
        """The site without its layer, as tables have it: ``resid_post``, ``encoder.resid_post``."""
        return f"{self.stack}.{self.kind}" if self.stack else str(self.kind)

    def __str__(self) -> str:
        return self.name if self.kind in UNLAYERED else f"{self.name}.{self.layer}"

    @classmethod
    def parse(cls, text: str, *, n_layers: int | None = None) -> Site:
        """Read what ``str(site)`` writes.

        Args:
            text: e.g. ``resid_post.7``, ``embed``, ``decoder.mlp_out.0``.
            n_layers: number of blocks; needed for ``final_norm``, whose layer it is.

        Returns:
            The site.

        Raises:
            InputError: if the word is unknown, the layer is missing, or ``n_layers`` is.

        >>> Site.parse("resid_post.7")
        Site(kind=<SiteKind.RESID_POST: 'resid_post'>, layer=7, stack='')
        >>> str(Site.parse("final_norm", n_layers=12))
        'final_norm'
        """
        stack, kind, layer = _split(text)
        if kind is SiteKind.EMBED:
            layer = EMBED_LAYER
        elif kind is SiteKind.FINAL_NORM:
            layer = n_layers
        if layer is None:
            raise InputError(f"site {text!r} names no layer; write {text}.0 for the first block")
        return cls(kind, layer, stack)


@runtime_checkable
class Sited(Protocol):
    """Anything that knows which sites it has: a loaded model."""

    @property
    def name(self) -> str:
        """Name in messages."""
        ...

    @property
    def sites(self) -> Collection[Site]:
        """Every site it has, in the order of a forward pass."""
        ...

    @property
    def lacks(self) -> Mapping[SiteKind, str]:
        """Reason that it has no site of some kind."""
        ...


def resolve_sites(model: Sited, texts: Iterable[str]) -> tuple[Site, ...]:
    """Turn asked names into sites of this model; a bare kind means all its layers.

    Args:
        model: the loaded model.
        texts: e.g. ``["resid_post", "mlp_post.3", "final_norm"]``, or TransformerLens's hook names.

    Returns:
        The sites without repetition, in the order asked, layers ascending.

    Raises:
        InputError: if a name is unknown or this model has no such place; the message says what it has.
    """
    asked: dict[Site, None] = {}
    for text in texts:
        stack, kind, layer = _split(_without_hook_name(model, text))
        found = [
            site
            for site in model.sites
            if site.kind is kind and (not stack or site.stack == stack) and (layer is None or site.layer == layer)
        ]
        if not found:
            raise InputError(_absent(model, text, kind, layer))
        asked.update(dict.fromkeys(found))
    return tuple(asked)


def _without_hook_name(model: Sited, text: str) -> str:
    """The site that a hook of TransformerLens's is on in this model; any other text as it is."""
    match = _BLOCK_HOOK.fullmatch(text.strip())
    kinds = HOOKS.get(match["hook"] if match else text.strip())
    if kinds is None or (match is None) != UNLAYERED.issuperset(kinds):
        return text
    there = {site.kind for site in model.sites}
    kind = next((kind for kind in kinds if kind in there), kinds[-1])
    return f"{kind}.{match['layer']}" if match else str(kind)


def _split(text: str) -> tuple[str, SiteKind, int | None]:
    """Stack, kind and layer of a written site."""
    match = _PATTERN.fullmatch(text.strip())
    if match is None:
        raise InputError(f"site {text!r} is not written like 'resid_post', 'resid_post.7' or 'encoder.resid_post.7'")
    word = match["kind"]
    if word not in list(SiteKind):
        near = difflib.get_close_matches(word, list(SiteKind), n=1)
        hint = f"did you mean {str(near[0])!r}?" if near else f"known: {', '.join(SiteKind)}"
        raise InputError(f"unknown site {text!r}; {hint}")
    kind = SiteKind(word)
    if match["layer"] is not None and kind in UNLAYERED:
        raise InputError(f"site {text!r}: {kind} has no layers; write {kind}")
    return match["stack"] or "", kind, None if match["layer"] is None else int(match["layer"])


def _absent(model: Sited, text: str, kind: SiteKind, layer: int | None) -> str:
    """Reason that the model does not have what was asked, in one line."""
    layers = sorted({site.layer for site in model.sites if site.kind is kind})
    if layers and layer is not None:
        return f"{model.name} has no site {text!r}; its {kind} layers are {_ranges(layers)}"
    has = ", ".join(dict.fromkeys(site.name for site in model.sites))
    reason = model.lacks.get(kind)
    return f"{model.name} has no site {text!r}{f' ({reason})' if reason else ''}; it has: {has}"


def _ranges(layers: list[int]) -> str:
    """``0..4`` for a gapless list, else the list itself."""
    if layers == list(range(layers[0], layers[-1] + 1)):
        return f"{layers[0]}..{layers[-1]}"
    return ", ".join(map(str, layers))
