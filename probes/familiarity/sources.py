"""From one text, read once, to the evidence that each kind of measure asks for.

A measure sees one part of a text (the prompt or the answer) and nothing of where it came from. Here the parts are cut
out of what was read of the whole: rows of surprisals, states of tokens, and the symbols of a corpus index, which need
not be the model's tokens. Symbols of another alphabet are tied to tokens by their characters: a token has the value of
the symbol with which it ends.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePath
from typing import Final, NamedTuple

import numpy as np
from jaxtyping import Float32, Float64, Int64

from probes.corpus.alphabet import Tokens
from probes.corpus.index import Corpus
from probes.familiarity.definitions import FamiliaritySpec, Needs, Part
from probes.familiarity.known_states import KnownStates
from probes.familiarity.measures.counts import CorpusEvidence, CorpusTexts
from probes.familiarity.measures.distances import StatesEvidence
from probes.familiarity.measures.exposures import WorldEvidence
from probes.familiarity.measures.memories import Beside, MemoryEvidence
from probes.familiarity.measures.surprise import LogitsEvidence
from probes.familiarity.predictor import Coder
from probes.familiarity.surprisals import Surprisals
from probes.familiarity.texts import TokenText
from probes.models.loading import LoadedModel

REFERENCE: Final = "reference_ratio"  # the one measure that compares with another coder


def name_of(reference: Coder) -> str:
    """Name of a reference in tables: a path by its last part."""
    return PurePath(reference.name).name


@dataclass(frozen=True, eq=False, kw_only=True)
class Sources:
    """Sources of measures besides the model's logits; None for what is not at hand.

    Attributes:
        index: of the training corpus.
        states: of texts that the model knows.
        exposures: presentations of the laboratory's facts, by prompt.
        reference: another coder to compare code lengths with.
        memory: what stands beside the model.
    """

    index: Corpus | None = None
    states: KnownStates | None = None
    exposures: Mapping[str, int] | None = None
    reference: Coder | None = None
    memory: Beside | None = None

    def corpus(self, spec: FamiliaritySpec) -> str:
        """The ``corpus`` column of a measure: what it compares with, ``""`` for the model itself."""
        needs = spec.record.needs
        if needs == "corpus" and self.index is not None:
            return self.index.name
        if needs == "states" and self.states is not None:
            return self.states.name
        if needs == "memory" and self.memory is not None:
            return self.memory.memory_name
        if spec.name == REFERENCE and self.reference is not None:
            return name_of(self.reference)
        return "world" if needs == "world" else ""

    def lacks(self, needs: Needs) -> str:
        """Missing input of a measure, ``""`` if it is there."""
        missing = {"corpus": self.index is None, "states": self.states is None, "world": self.exposures is None}
        missing["memory"] = self.memory is None
        names = {"corpus": "index", "states": "states", "world": "world", "memory": "memory"}
        return names[needs] if missing.get(needs) else ""


class IndexedText(NamedTuple):
    """Prompt and answer in the alphabet of an index.

    Attributes:
        texts: this text and others beside the corpus.
        item: which of them it is.
        last: the symbol with which each token ends, -1 where that is unknown.
    """

    texts: CorpusTexts
    item: int
    last: Int64[np.ndarray, " tokens"]


def index_texts(index: Corpus | None, model: LoadedModel, texts: Sequence[TokenText]) -> list[IndexedText | None]:
    """Write texts in the alphabet of an index; None for those whose text is not known, or without an index."""
    if index is None:
        return [None] * len(texts)
    tokenizer = model.tokenizer
    same = tokenizer is None or index.identity == Tokens(tokenizer).identity
    written = [_of_tokens(text) if same else _of_characters(index, text) for text in texts]
    there = [one for one in written if one is not None]
    beside = CorpusTexts(index, [one.ids for one in there], [one.n_prompt for one in there])
    number = iter(range(len(there)))
    return [None if one is None else IndexedText(beside, next(number), one.last) for one in written]


class _Written(NamedTuple):
    ids: Int64[np.ndarray, " symbols"]
    n_prompt: int
    last: Int64[np.ndarray, " tokens"]


def _of_tokens(text: TokenText) -> _Written:
    """The model's own tokens."""
    own, answer = text.tokens("prompt"), text.tokens("answer")
    kept = [*own, *answer]
    last = np.full(len(text.prompt.ids), -1, dtype=np.int64)
    last[kept] = np.arange(len(kept))
    return _Written(np.array(text.prompt.ids, dtype=np.int64)[kept], len(own), last)


def _of_characters(index: Corpus, text: TokenText) -> _Written | None:
    """Other symbols, tied to the tokens by their characters."""
    before, after = text.characters("prompt"), text.characters("answer")
    if before is None or after is None:
        return None
    ids, starts, ends = index.written().symbols(before + after)
    reach = text.ends.astype(np.int64) - text.begin
    # white space between prompt and answer belongs to the span of the last prompt token, and to the answer's text
    reach[: text.prompt.end] = np.minimum(reach[: text.prompt.end], len(before))
    # a prompt that was cut leaves a gap in the text between it and its answer
    reach[text.prompt.end :] -= text.answer_start - text.cut
    last = np.where(text.ends < 0, -1, np.searchsorted(ends, reach, side="right") - 1)
    return _Written(ids, int((starts < len(before)).sum()), last)


@dataclass(frozen=True, eq=False, kw_only=True)
class ReadText:
    """Everything that was read of one text.

    Attributes:
        model: the model.
        text: the text and its tokens.
        document: id of the item.
        sources: what it is compared with.
        origin: the document that it comes from; known states of the same are left out. None: the item itself.
        surprisals: per token, None if no measure asked.
        states: of the tokens in ``state_tokens``, None if no measure asked.
        state_tokens: tokens whose states were read.
        indexed: the text beside the corpus, None if there is no corpus or the text is not known.
        saved: bits that the memory saves, per token; None if no measure asked.
    """

    model: LoadedModel
    text: TokenText
    document: str
    sources: Sources
    origin: str | None = None
    surprisals: Surprisals | None = None
    states: Float32[np.ndarray, "tokens width"] | None = None
    state_tokens: tuple[int, ...] = field(default=())
    indexed: IndexedText | None = None
    saved: Float64[np.ndarray, " tokens"] | None = None

    def logits(self, part: Part) -> LogitsEvidence | None:
        """Prediction of a part by the model."""
        if self.surprisals is None:
            return None
        own = self.text.tokens(part)
        return LogitsEvidence(
            Surprisals(*(values[own.start : own.stop] for values in self.surprisals)),
            opens=own.start == 0,
            text=self.text.characters(part),
            n_bytes=self.text.n_bytes(part),
            vocabulary=self.model.vocabulary,
            n_unknown=self.text.n_unknown(part),
            before=(self.text.characters("prompt") or "") if part == "answer" else "",
            reference=self.sources.reference,
        )

    def hidden(self, part: Part) -> StatesEvidence | None:
        """States of a part's tokens."""
        if self.states is None or self.sources.states is None:
            return None
        own = [row for row, token in enumerate(self.state_tokens) if token in self.text.tokens(part)]
        return StatesEvidence(self.states[own], self.sources.states, self.origin or self.document)

    def corpus(self, part: Part) -> CorpusEvidence | None:
        """A part as the corpus sees it; None where its text is not known."""
        return None if self.indexed is None else CorpusEvidence(*self.indexed[:2], answer=part == "answer")

    def world(self) -> WorldEvidence | None:
        """The prompt as the laboratory knows it."""
        if self.sources.exposures is None:
            return None
        return WorldEvidence(self.text.characters("prompt"), self.sources.exposures)

    def remembered(self, part: Part) -> MemoryEvidence | None:
        """Prediction of a part by a memory."""
        own = self.text.tokens(part)
        return None if self.saved is None else MemoryEvidence(self.saved[own.start : own.stop])

    def evidence(self, needs: Needs, part: Part) -> object:
        """Evidence of one kind about one part, None where there is none."""
        kinds = {"logits": self.logits, "states": self.hidden, "corpus": self.corpus, "memory": self.remembered}
        return self.world() if needs == "world" else kinds[needs](part)

    def per_token(
        self, needs: Needs, part: Part, values: Float64[np.ndarray, " symbols"]
    ) -> Float64[np.ndarray, " tokens"]:
        """Values of a part's symbols, as values of its tokens."""
        if needs != "corpus" or self.indexed is None:
            return values
        own = self.text.tokens(part)
        before = int(self.indexed.texts.prompts[self.indexed.item]) if part == "answer" else 0
        at = self.indexed.last[own.start : own.stop] - before
        there = (at >= 0) & (at < len(values))
        found = np.full(len(own), np.nan)
        found[there] = values[at[there]]
        return found
