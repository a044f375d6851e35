"""A text as a model reads it, with the characters of every token, in two parts: the prompt and the answer.

Measures of familiarity are about one part at a time and divide by its bytes, so what a token stands for must be known
to the character, also where a prompt was cut to a number of tokens. Windows take care of length here: a text may be
longer than the context.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int32

from probes.capture.prompts import encode
from probes.corpus.alphabet import encoded, span_ends
from probes.familiarity.definitions import Part
from probes.familiarity.predictor import Prediction, Predictor
from probes.familiarity.surprisals import read_surprisals
from probes.models.joining import AUTO
from probes.models.loading import LoadedModel
from probes.models.templates import PromptError, Template, Turns
from probes.models.tokens import BosPolicy, SpecialTokens, Unbounded, special_id
from probes.vocabulary.prompt import Prompt


@dataclass(frozen=True, slots=True, eq=False)
class TokenText:
    """A text and its tokens.

    Attributes:
        text: prompt and answer as one text; None if the prompt came as token ids.
        begin: where the first prompt token begins in the text.
        cut: where the last prompt token that was kept ends in it; -1 where that is unknown.
        answer_start: where the answer begins in the text.
        prompt: the token ids.
        starts: index of the first character of each token, -1 for special tokens.
        ends: index after its last character, -1 likewise.
        unknown_id: the token that stands for what the tokenizer cannot write, -1 if there is none.
    """

    text: str | None
    begin: int
    cut: int
    answer_start: int
    prompt: Prompt
    starts: Int32[np.ndarray, " tokens"]
    ends: Int32[np.ndarray, " tokens"]
    unknown_id: int

    def tokens(self, part: Part) -> range:
        """Indices of a part's tokens; special tokens and a chat template around the text are no part of it."""
        prompt = self.prompt
        return prompt.text if part == "prompt" else range(prompt.end, len(prompt.ids))

    def characters(self, part: Part) -> str | None:
        """The text of a part, None where it is not known."""
        if self.text is None or self.cut < 0:
            return None
        return self.text[self.begin : self.cut] if part == "prompt" else self.text[self.answer_start :]

    def n_bytes(self, part: Part) -> float:
        """Bytes of a part in UTF-8, NaN where its text is not known."""
        text = self.characters(part)
        return math.nan if text is None else float(len(encoded(text)))

    def n_unknown(self, part: Part) -> int:
        """Count the tokens of a part that stand for something that cannot be read back."""
        return sum(self.prompt.ids[token] == self.unknown_id for token in self.tokens(part))


def read_text(
    model: LoadedModel,
    text: str | Sequence[int],
    *,
    target: str | None = None,
    max_tokens: int | None = None,
    bos: BosPolicy = "auto",
    template: Template = "none",
    answer_prefix: str = AUTO,
    special_tokens: SpecialTokens = "control",
    before: Turns = (),
) -> TokenText:
    """Encode a text of any length; arguments as :func:`probes.capture.prompts.encode` takes them.

    Raises:
        PromptError: if the prompt is empty or has unknown token ids.
    """
    prompt = encode(
        Unbounded.of(model),
        text,
        target=target,
        max_tokens=max_tokens,
        bos=bos,
        template=template,
        answer_prefix=answer_prefix,
        special_tokens=special_tokens,
        before=before,
    )
    return align(model, prompt, text, target=target)


def align(model: LoadedModel, prompt: Prompt, text: str | Sequence[int], *, target: str | None = None) -> TokenText:
    """Tie a prompt that is encoded already to the characters it stands for; text and target as it was encoded with."""
    unknown = None if model.tokenizer is None else special_id(model.tokenizer, "unk")
    starts = np.array(prompt.char_starts, dtype=np.int32)
    if not isinstance(text, str):
        return TokenText(None, -1, -1, -1, prompt, starts, starts.copy(), -1)
    whole = text if target is None else text + prompt.joint + target
    begin, cut = (-1, -1) if prompt.chars is None else prompt.chars
    ends = span_ends(starts, len(whole))
    if prompt.chars is not None:
        ends[: prompt.end] = np.minimum(ends[: prompt.end], cut)
    return TokenText(whole, begin, cut, len(text), prompt, starts, ends, -1 if unknown is None else unknown)


@dataclass(frozen=True, eq=False)
class CausalLM(Predictor):
    """A causal language model as a predictor of texts of any length.

    A first token that nothing precedes (no BOS) is coded as one of the vocabulary, all equally likely. A text that the
    tokenizer cannot write (unknown tokens) has no code length: NaN.

    Attributes:
        model: the loaded model.
        bos: what to do about the beginning-of-sequence token.
    """

    model: LoadedModel
    bos: BosPolicy = "auto"

    @property
    def name(self) -> str:
        """Name that the user gave the model."""
        return self.model.name

    def predict(self, text: str) -> Prediction:
        """Log2-probability of each token, special tokens left out."""
        return self.predict_all([text])[0]

    def predict_all(self, texts: Sequence[str]) -> list[Prediction]:
        """Predictions of many texts, run in batches."""
        read = [self._read(text) for text in texts]
        found = read_surprisals(self.model, [one.prompt for one in read if one is not None])
        values = iter(found)
        return [
            _empty(text) if one is None else _prediction(self.model, text, one, next(values).surprisal)
            for text, one in zip(texts, read, strict=True)
        ]

    def _read(self, text: str) -> TokenText | None:
        """The tokens of a text, None for the empty text (which costs nothing)."""
        try:
            return read_text(self.model, text, bos=self.bos)
        except PromptError:
            if text:
                raise
            return None


def _prediction(model: LoadedModel, text: str, read: TokenText, surprisal: np.ndarray) -> Prediction:
    own = read.tokens("prompt")
    there = slice(own.start, own.stop)
    log2_p = -surprisal[there]
    if own.start == 0:
        log2_p[0] = -math.log2(model.vocabulary)
    unknown = np.array(read.prompt.ids[there], dtype=np.int64) == read.unknown_id
    return Prediction(text, read.starts[there], read.ends[there], np.where(unknown, np.nan, log2_p))


def _empty(text: str) -> Prediction:
    nothing = np.empty(0, dtype=np.int32)
    return Prediction(text, nothing, nothing, np.empty(0))
