"""Names of the controls' numbers in the tables: written here, read by the analyses.

========================== ============= ==========================================================================
table                      column        names
========================== ============= ==========================================================================
``measurements``           basis         ``centred pca pca_pooled unembed without_top(1) without_top(2)``, and at
                                         ``final_norm`` ``without_answer_row without_argmax_row``
``populations``            metric        ``substitution_*(hoyer)``, and the population measures of ``sparsity``; of
                                         the whole suite (``group`` is its name) the rows of
                                         :mod:`probes.controls.outliers`; of
                                         sites ``router_logits`` also, in basis ``routing``, the measures of
                                         :mod:`probes.capture.routing` over all tokens of the position
``populations``            metric        ``unit_substitution_*(hoyer)``: the same of heads and groups of experts
``populations``            metric        of the nulls: ``rotation_change(hoyer)``, whose interval holds 95 % of shared
                                         random rotations, ``rotation_p(hoyer)``, and in bases ``shuffled`` and
                                         ``untrained`` ``mean_hoyer`` and the population measures
``outcomes``               name          readout (``answer_alignment`` ...) and interventions (``nll|pin(...)`` ...)
========================== ============= ==========================================================================

Readout outcomes are about the last prompt token; with ``mean_`` in front they are means over the tokens of position
``mean`` that the reservoir kept (at most 16 of an item).
"""

from __future__ import annotations

import re
from typing import Final, Literal, NamedTuple, get_args

VERSION: Final = 5  # raised when any number below changes its meaning: old sweeps then redo their controls

Mechanism = Literal["outliers", "bases", "populations", "substitution", "readout", "pinning", "routing"]
Null = Literal["rotations", "shuffle", "untrained"]
Extra = Literal["density", "generation"]  # measured on the reservoir too, where its own key of a spec asks for it
Control = Mechanism | Null | Extra
CONTROLS: Final[tuple[Control, ...]] = get_args(Mechanism)  # what `controls: default` stands for
NULLS: Final[tuple[Control, ...]] = get_args(Null)  # only where a spec asks for them

# bases of ``measurements``
RAW: Final = "raw"  # the coordinates that the model computes in
CENTRED: Final = "centred"
PCA: Final = "pca"
PCA_POOLED: Final = "pca_pooled"
UNEMBED: Final = "unembed"
WITHOUT_TOP: Final = ("without_top(1)", "without_top(2)")
WITHOUT_ANSWER_ROW: Final = "without_answer_row"
WITHOUT_ARGMAX_ROW: Final = "without_argmax_row"
BASES: Final = (CENTRED, PCA, PCA_POOLED, UNEMBED, *WITHOUT_TOP, WITHOUT_ANSWER_ROW, WITHOUT_ARGMAX_ROW)

# what a null of the spec key ``nulls`` writes: bases of ``populations`` (and, untrained, of ``measurements``), and
# metrics of ``populations`` at basis ``raw``
SHUFFLED: Final = "shuffled"
UNTRAINED: Final = "untrained"
ROTATION_CHANGE: Final = "rotation_change(hoyer)"
ROTATION_P: Final = "rotation_p(hoyer)"

# neurons that an MLP can do without, in ``measurements`` at ``mlp_post``
TAILS: Final = "tails"  # the basis

# choices of experts, in ``populations`` at ``router_logits``
ROUTING: Final = "routing"  # the basis


def cett_sparsity(error: float) -> str:
    """The metric at one error of tail truncation.

    >>> cett_sparsity(0.2)
    'cett_sparsity(0.2)'
    """
    return f"cett_sparsity({error:g})"


# tokens that the model writes: the basis of ``token_measurements``, measures of ``familiarity_tokens``, ``outcomes``
GENERATED: Final = "generated"
SURPRISAL_WRITTEN: Final = "generated_surprisal"
ENTROPY_WRITTEN: Final = "generated_next_token_entropy"
WRITTEN_TOKENS: Final = "generated_tokens"
WRITTEN_CORRECT: Final = "generated_correct"


class Generate(NamedTuple):
    """Tokens to write after some items.

    Attributes:
        tokens: at most so many after each item; the end of a text ends it earlier.
        per_group: so many items of each group of the controls' sample.
        seed: of drawing tokens from the model's distribution; None writes the most likely one.
    """

    tokens: int
    per_group: int = 16
    seed: int | None = None


# metrics of ``populations``; the column ``unit`` is the coordinate, the number m of coordinates, or -1
SUBSTITUTION_FORWARD: Final = "substitution_forward(hoyer)"
SUBSTITUTION_BACKWARD: Final = "substitution_backward(hoyer)"
SUBSTITUTION_CURVE: Final = "substitution_curve(hoyer)"
SUBSTITUTION_K50: Final = "substitution_k50(hoyer)"
SUBSTITUTION_CHANGE: Final = "substitution_change(hoyer)"

# the same of units, blocks of coordinates: heads at sites ``attn_z``, groups of experts at ``router_logits``; ``unit``
# is the head or group, the number m of them, or -1
UNIT: Final = "unit_"

# outlier coordinates and massive tokens of a site, over the items of the whole suite; ``unit`` is the coordinate or -1
TOP_COORDINATE_ENERGY: Final = "top_coordinate_energy"
MEAN_HOYER: Final = "mean_hoyer"
FIRST_NORM: Final = "first_token_norm"
LARGEST_NORM: Final = "largest_token_norm"
MASSIVE_TOKENS: Final = "massive_tokens"

# readout, in ``outcomes``
ANSWER_ALIGNMENT: Final = "answer_alignment"
ARGMAX_ALIGNMENT: Final = "argmax_alignment"
TOP10_ALIGNMENT: Final = "top10_alignment"
NULL_SHARE: Final = "null_share"
ANSWER_ROW_HOYER: Final = "answer_row_hoyer"
ARGMAX_ROW_HOYER: Final = "argmax_row_hoyer"
READOUT: Final = (
    ANSWER_ALIGNMENT,
    ARGMAX_ALIGNMENT,
    TOP10_ALIGNMENT,
    NULL_SHARE,
    ANSWER_ROW_HOYER,
    ARGMAX_ROW_HOYER,
)
MEAN: Final = "mean_"

Arm = Literal["clean", "pin", "random"]
Norm = Literal["recomputed", "frozen"]
_INTERVENTION: Final = re.compile(r"(?P<outcome>\w+)\|(?P<arm>\w+)(?:\((?P<site>[^,]+), (?P<m>\d+), (?P<norm>\w+)\))?")


class Intervened(NamedTuple):
    """An outcome of the ``outcomes`` table that was read under an intervention.

    Attributes:
        outcome: what was read: ``nll``, ``next_token_entropy``, ``mean_nll`` or ``mean_next_token_entropy``.
        arm: ``clean`` (nothing was done; the baseline, on the very tokens of the other arms), ``pin`` (the m carrying
            coordinates were set to their mean in the reference group) or ``random`` (m others moved as far).
        site: where, e.g. ``resid_post.4``; ``""`` for ``clean``.
        m: how many coordinates; 0 for ``clean``.
        norm: whether the final norm's scale was ``recomputed`` or ``frozen`` at that of the clean pass; ``clean`` has
            ``recomputed``, where the two are the same.

    >>> str(Intervened("nll", "pin", "resid_post.4", 1, "frozen"))
    'nll|pin(resid_post.4, 1, frozen)'
    >>> Intervened.parse("mean_nll|clean")
    Intervened(outcome='mean_nll', arm='clean', site='', m=0, norm='recomputed')
    >>> Intervened.parse("nll") is None
    True
    """

    outcome: str
    arm: Arm
    site: str = ""
    m: int = 0
    norm: Norm = "recomputed"

    def __str__(self) -> str:
        if self.arm == "clean":
            return f"{self.outcome}|clean"
        return f"{self.outcome}|{self.arm}({self.site}, {self.m}, {self.norm})"

    @classmethod
    def parse(cls, name: str) -> Intervened | None:
        """Read what ``str`` writes; None for an outcome that no intervention touched."""
        found = _INTERVENTION.fullmatch(name)
        if found is None or found["arm"] not in {"clean", "pin", "random"}:
            return None
        arm: Arm = "clean" if found["arm"] == "clean" else "pin" if found["arm"] == "pin" else "random"
        norm: Norm = "frozen" if found["norm"] == "frozen" else "recomputed"
        return cls(found["outcome"], arm, found["site"] or "", int(found["m"] or 0), norm)
