"""Surprise of the model itself at an input: measures of its own probabilities.

They need nothing but the model, and see what it generalises to as well as what it has read: a text that was never seen
but is easy looks familiar. Text statistics (length, rare words, a date in the text) move all of them, so a score of
membership is read beside a baseline that never saw the model (`probes.familiarity.membership`).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
from jaxtyping import Float64

from probes.familiarity.compressors import Compressor
from probes.familiarity.definitions import Values, familiarity
from probes.familiarity.predictor import Coder
from sparsity.records import Interval

if TYPE_CHECKING:  # a measure can be asked for its record without torch
    from probes.familiarity.surprisals import Surprisals

FRACTION: Final = Interval(0, 1, closed=True)
UNKNOWN_TEXT: Final = "the text is not known, only its token ids (or the chat template rewrites it)"
EASY: Final = "an easy text that was never seen looks familiar, a text of rare words that was seen does not"


@dataclass(frozen=True, slots=True, eq=False)
class LogitsEvidence:
    """Prediction of one part of a text by a model.

    Attributes:
        tokens: of the part's tokens.
        opens: whether the first of them has nothing before it, so that nothing predicted it.
        text: of the part, None if it came as token ids.
        n_bytes: of the text, NaN if it came as token ids.
        vocabulary: number of tokens the model knows.
        n_unknown: tokens that stand for text which the tokenizer cannot write.
        before: the text before the part.
        reference: another coder to compare with.
    """

    tokens: Surprisals
    opens: bool
    text: str | None
    n_bytes: float
    vocabulary: int
    n_unknown: int
    before: str = ""
    reference: Coder | None = None

    def predicted(self, values: Float64[np.ndarray, " tokens"]) -> Float64[np.ndarray, " predicted"]:
        """Values of the tokens that something predicted."""
        return values[1:] if self.opens else values

    @property
    def bits(self) -> float:
        """Code length; a token that nothing predicts costs ``log2`` of the vocabulary."""
        opening = math.log2(self.vocabulary) if self.opens else 0.0
        return opening + math.fsum(self.predicted(self.tokens.surprisal).tolist())

    @property
    def reference_bits(self) -> float:
        """Code length of the part for the reference, given what is before; NaN without reference or text."""
        if self.reference is None or self.text is None:
            return math.nan
        whole = self.reference.bits(self.before + self.text)
        return whole - self.reference.bits(self.before) if self.before else whole

    def fault(self) -> str:
        """Reason that the part has no code length, ``""`` if it has one."""
        n_bad = int(np.isnan(self.predicted(self.tokens.surprisal)).sum())
        if n_bad:
            return f"the logits of {n_bad} tokens are not finite"
        if not len(self.tokens.surprisal):
            return "the text has no tokens"
        if self.n_unknown:
            return f"{self.n_unknown} tokens stand for text that the tokenizer cannot write"
        return UNKNOWN_TEXT if math.isnan(self.n_bytes) else ""


@familiarity(
    version=1,
    familiar="lower",
    needs="logits",
    unit="bits/byte",
    proxy="how much shorter training made the description of texts like this one",
    fails=EASY,
    source="Delétang et al. 2024, arXiv:2309.10668, section 2",
)
def bits_per_byte(evidence: LogitsEvidence) -> Values:
    """Ideal code length per byte of the text: 0 for what the model knows by heart, 8 for random bytes, more if misled.

    At least 0. Comparable across tokenizers. NaN where the text or a probability is not known.
    """
    reason = evidence.fault()
    return Values(math.nan if reason else evidence.bits / evidence.n_bytes, None, reason)


@familiarity(
    version=1,
    familiar="lower",
    needs="logits",
    unit="bits",
    proxy="how unexpected each token was",
    fails=EASY + "; tokens of different tokenizers are not comparable",
    source="Shannon 1948",
)
def surprisal(evidence: LogitsEvidence) -> Values:
    """Mean ``-log2 p`` of the tokens: 0 if each was certain, the ``log2`` of the vocabulary if all were equally likely.

    At least 0, unbounded. Per token it is the surprisal profile. A token that nothing predicts is left out.
    """
    return _mean(evidence, evidence.tokens.surprisal)


@familiarity(
    version=1,
    familiar="higher",
    needs="logits",
    unit="bits",
    proxy="whether the text was in the training data: a text that was has few very unlikely tokens",
    fails="random at telling members from non-members of one distribution (Duan et al. 2024); shifts in topic or date "
    "pass for membership",
    source="Shi et al. 2024, arXiv:2310.16789, eq. 1",
    parameters={"fraction": FRACTION},
    usual=(0.2,),
)
def min_k(evidence: LogitsEvidence, *, fraction: float) -> Values:
    """Mean log2-probability of the least likely tokens: 0 if even these were certain, lower for surprises.

    At most 0. ``fraction`` of the predicted tokens, rounded up, so that a short text keeps at least one.
    """
    return _lowest(evidence, -evidence.tokens.surprisal, fraction)


@familiarity(
    version=1,
    familiar="higher",
    needs="logits",
    unit="standard deviations",
    proxy="whether the tokens that came are modes of the prediction, as training makes those it has seen",
    fails="random at telling members from non-members of one distribution; undefined where a prediction is uniform",
    source="Zhang et al. 2024, arXiv:2404.02936, eq. 3",
    parameters={"fraction": FRACTION},
    usual=(0.2,),
)
def min_k_plus_plus(evidence: LogitsEvidence, *, fraction: float) -> Values:
    """Mean of the lowest standardised log-probabilities: below 0 for tokens less likely than a sample would be.

    Each token's log-probability less its mean under the prediction, over its standard deviation: mean 0 and variance 1
    under the model's own samples. Tokens under a uniform prediction have no such value and are left out.
    """
    return _lowest(evidence, evidence.tokens.z, fraction)


@familiarity(
    version=1,
    familiar="lower",
    needs="logits",
    unit="bits/bit",
    proxy="what the model knows of the text beyond its own repetitions",
    fails="short texts: a compressor needs some hundred bytes before it finds anything",
    source="Carlini et al. 2021, arXiv:2012.07805, section 5.2 (with raw deflate and total bits)",
)
def zlib_ratio(evidence: LogitsEvidence) -> Values:
    """Bits the model needs over bits deflate needs: 0 for what is known by heart, 1 where the model adds nothing.

    At least 0, unbounded. Not the published mean log-likelihood over compressed bytes, which grows with length.
    """
    reason = evidence.fault()
    if reason or evidence.text is None:
        return Values(math.nan, None, reason)
    return Values(evidence.bits / Compressor("zlib").bits(evidence.text))


@familiarity(
    version=1,
    familiar="lower",
    needs="logits",
    unit="bits/bit",
    proxy="what the model knows of the text and a model of other data does not",
    fails="the reference has read the text too, or is weaker on everything",
    source="Carlini et al. 2021, arXiv:2012.07805, section 5.2",
)
def reference_ratio(evidence: LogitsEvidence) -> Values:
    """Bits the model needs over bits a reference needs: 0 for what only the model knows, 1 where both know as much.

    At least 0, unbounded.
    """
    reason = evidence.fault()
    against = math.nan if reason else evidence.reference_bits
    if math.isnan(against) or against == 0:
        return Values(math.nan, None, reason or "no reference was given that needs bits for the text")
    return Values(evidence.bits / against)


@familiarity(
    version=1,
    familiar="lower",
    needs="logits",
    unit="nats",
    proxy="how sure the model is of what comes next",
    fails="sure and wrong is low too; an open question is high however well it is known",
    source="Shannon 1948",
)
def next_token_entropy(evidence: LogitsEvidence) -> Values:
    """Entropy of the prediction after the text: 0 when one token is certain, ``log`` of the vocabulary when none is.

    Per token, of the prediction after that token.
    """
    return _last(evidence.tokens.entropy)


@familiarity(
    version=1,
    familiar="lower",
    needs="logits",
    unit="rank",
    proxy="how far down its list the model finds what came",
    fails=EASY,
    source="Gehrmann et al. 2019, arXiv:1906.04043",
)
def true_token_rank(evidence: LogitsEvidence) -> Values:
    """Geometric mean of the ranks of the tokens that came: 1 if each was the likeliest, at most the vocabulary.

    Tied tokens share the mean of their ranks.
    """
    values = _mean(evidence, np.log2(evidence.tokens.rank))
    return Values(2**values.item, evidence.tokens.rank, values.reason)


@familiarity(
    version=1,
    familiar="lower",
    needs="logits",
    unit="nats",
    proxy="the density of inputs that the logits imply",
    fails="an offset common to all logits, which no probability depends on, moves it",
    source="Liu et al. 2020, arXiv:2010.03759, eq. 4",
)
def energy(evidence: LogitsEvidence) -> Values:
    """``-log sum exp`` of the logits after the text: low for inputs like those of training, unbounded either way.

    Per token, of the logits after that token.
    """
    return _last(evidence.tokens.energy)


def _mean(evidence: LogitsEvidence, values: Float64[np.ndarray, " tokens"]) -> Values:
    own = evidence.predicted(values)
    if not len(own):
        return Values(math.nan, values, "no token of the text is predicted from another")
    item = float(own.mean())
    return Values(item, values, evidence.fault() or "undefined" if math.isnan(item) else "")


def _last(values: Float64[np.ndarray, " tokens"]) -> Values:
    if not len(values):
        return Values(math.nan, values, "the text has no tokens")
    item = float(values[-1])
    return Values(item, values, "the logits after the last token are not finite" if math.isnan(item) else "")


def _lowest(evidence: LogitsEvidence, values: Float64[np.ndarray, " tokens"], fraction: float) -> Values:
    if np.isnan(evidence.predicted(evidence.tokens.surprisal)).any():
        return Values(math.nan, values, evidence.fault())
    own = evidence.predicted(values)
    own = np.sort(own[~np.isnan(own)])
    if not len(own):
        return Values(math.nan, values, "no token of the text has a prediction that could be more or less likely")
    return Values(float(own[: math.ceil(fraction * len(own))].mean()), values)
