"""The familiarity that a sweep asks for, ready for one model: what is owed, and one batch read in the sweep's own pass.

Every value has a cell, as metrics have: measure, version, and what it was compared with, by the content of that and not
by its name. So adding a measure, a corpus or the values of tokens computes only what is missing, and a corpus that was
built again under an old name is a new one. Logits come from the pass that shows the states; states of the tokens asked
are picked up by a hook beside those of the metrics.
"""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
import pyarrow as pa
from jaxtyping import Float64
from torch import Tensor

from probes.capture.collection import ReadsLogits
from probes.corpus.corpora import open_index
from probes.corpus.engines import Engine
from probes.corpus.index import Corpus
from probes.errors import InputError
from probes.familiarity.compressors import CODECS, Compressor
from probes.familiarity.definitions import FamiliaritySpec, Needs, parse_familiarity
from probes.familiarity.entry import FamiliarityEntry, KnownTexts
from probes.familiarity.known_states import KnownStates, remember, rows_of
from probes.familiarity.measure import state_tokens
from probes.familiarity.measures.exposures import exposures_of
from probes.familiarity.measures.memories import Beside
from probes.familiarity.predictor import Coder
from probes.familiarity.result import Asked, Rows
from probes.familiarity.sources import REFERENCE, ReadText, Sources, index_texts, name_of
from probes.familiarity.surprisals import surprisal_reader, surprisals_of
from probes.familiarity.texts import CausalLM, TokenText, align
from probes.lab import read_record
from probes.models.hooks import Look
from probes.models.loading import LoadedModel, load_model
from probes.models.templates import Template, template_identity
from probes.models.tokens import BosPolicy
from probes.records.schema import SCHEMAS, Table
from probes.suites.example import Example, Item
from probes.suites.files import read, texts
from probes.vocabulary.prompt import Prompt
from probes.vocabulary.sites import Site, resolve_sites

TOKENS: Final = "|tokens"
DIGITS: Final = 16
DOCUMENTS: Final = "document_log_count"  # the one measure that engines cannot serve


class Question(NamedTuple):
    """One measure, and the corpus or the memory that it is asked of, if it is one of either."""

    spec: FamiliaritySpec
    corpus: Corpus | None = None
    memory: Beside | None = None


class Known(NamedTuple):
    """Known texts by the document they come from, and texts at large."""

    texts: Mapping[str, str]
    background: tuple[str, ...]


def known_texts(entry: KnownTexts, inside: Iterable[Item]) -> Known:
    """The texts that an entry names.

    Args:
        entry: what the spec says.
        inside: items of the suite that it names; not looked at if it names a file.

    Raises:
        InputError: if a file cannot be read or there are too few texts.
    """
    found: dict[str, str] = {}
    if entry.texts is None:
        examples = (example for _, example in inside if example.split == "in")
    else:
        field = entry.texts.prompt
        examples = (Example(text=text) for text in texts(read(entry.texts), field))
    for example in examples:
        found.setdefault(origin_of(example), example.text)
        if len(found) == entry.limit:
            break
    if len(found) < 2:
        raise InputError(f"familiarity: known has {len(found)} texts, and distances need at least two")
    at_large = entry.background
    background = iter(()) if at_large is None else texts(read(at_large), at_large.prompt)
    return Known(found, tuple(itertools.islice(background, entry.limit)))


def origin_of(example: Example) -> str:
    """The document of an item: its text, which is known wherever it stands."""
    return hashlib.sha256(example.text.encode(errors="surrogatepass")).hexdigest()[:DIGITS]


@dataclass(frozen=True, eq=False, kw_only=True)
class FamiliarityReader:
    """Make one with :meth:`open`.

    Attributes:
        model: what reads the texts.
        questions: by cell, without the part that says whether tokens are meant.
        known: texts whose states others are compared with.
        entry: what the spec says.
        reference: what code lengths are compared with.
        exposures: presentations of the laboratory's facts.
        bos: what to do about the beginning-of-sequence token.
        max_tokens: what prompts, and known texts, are cut to.
        template: what prompts, and known texts, are put into.
    """

    model: LoadedModel
    entry: FamiliarityEntry
    questions: Mapping[str, Question]
    known: Known | None
    reference: Coder | None
    exposures: Mapping[str, int] | None
    bos: BosPolicy
    max_tokens: int | None
    template: Template = "none"

    @classmethod
    def open(
        cls,
        entry: FamiliarityEntry,
        model: LoadedModel,
        known: Known | None,
        *,
        memories: Sequence[Beside] = (),
        bos: BosPolicy = "auto",
        max_tokens: int | None = None,
        template: Template = "none",
    ) -> FamiliarityReader:
        """Get everything ready that the measures need; states are remembered when the first batch asks for them.

        Raises:
            InputError: if an index cannot be opened or is of another tokenizer, the model predicts nothing, there is
                no such reference, or a measure needs a laboratory model and this is none.
        """
        specs = parse_familiarity(entry.measures)
        needs = {spec.record.needs for spec in specs}
        if "logits" in needs and not model.is_causal:
            asked = next(spec for spec in specs if spec.record.needs == "logits")
            raise InputError(f"familiarity: {asked} needs a model that predicts the next token, {model.name} does not")
        reference = None if entry.reference is None else _reference(entry.reference, model)
        indexes = [_index(path, model) for path in entry.corpora] if "corpus" in needs else []
        names = [*(index.name for index in indexes), *(memory.memory_name for memory in memories)]
        doubled = next((name for name in names if names.count(name) > 1), None)
        if doubled is not None:
            raise InputError(f"familiarity: two corpora or memories are called {doubled!r}; give one another name")
        if any(isinstance(index, Engine) for index in indexes) and any(spec.name == DOCUMENTS for spec in specs):
            raise InputError(f"familiarity: {DOCUMENTS} needs an index folder; engines do not count documents")
        identity: dict[Needs, str] = {"logits": "", "states": "", "world": ""}  # what has no content of its own
        if "states" in needs and entry.known is not None and known is not None:
            place = _one_site(model, entry.known.site)
            content = repr((sorted(known.texts.items()), known.background, str(place), max_tokens, bos))
            if template != "none":
                content += template_identity(model.tokenizer, template)
            digest = hashlib.sha256(content.encode(errors="surrogatepass")).hexdigest()
            identity["states"] = f"|{entry.known.name}#{digest[:DIGITS]}"
        questions: dict[str, Question] = {}
        for spec in specs:
            if spec.record.needs == "corpus":
                questions |= {f"{spec.versioned}|{own.name}#{own.fingerprint}": Question(spec, own) for own in indexes}
            elif spec.record.needs == "memory":
                questions |= {
                    f"{spec.versioned}|{own.memory_name}#{own.fingerprint}": Question(spec, memory=own)
                    for own in memories
                }
            else:
                against = _identity(reference) if spec.name == REFERENCE else identity[spec.record.needs]
                questions[f"{spec.versioned}{against}"] = Question(spec)
        return cls(
            model=model,
            entry=entry,
            questions=questions,
            known=known,
            reference=reference,
            exposures=exposures_of(read_record(Path(model.name)).world) if "world" in needs else None,
            bos=bos,
            max_tokens=max_tokens,
            template=template,
        )

    @property
    def cells(self) -> tuple[str, ...]:
        """Everything that an item owes."""
        return (*self.questions, *(f"{name}{TOKENS}" for name in self.questions if self.entry.tokens))

    def reading(self, items: Sequence[Item], prompts: Sequence[Prompt], cells: Sequence[str]) -> BatchFamiliarity:
        """Reader of one forward pass over some items, for the cells that they lack; it then makes rows."""
        asked: dict[str, Asked] = {}
        for cell in cells:
            name, tokens = cell.removesuffix(TOKENS), cell.endswith(TOKENS)
            before = asked.get(name, Asked(self.questions[name].spec, item=False))
            asked[name] = before._replace(item=before.item or not tokens, tokens=before.tokens or tokens)
        texts = [
            align(self.model, prompt, item.example.text, target=item.example.target)
            for item, prompt in zip(items, prompts, strict=True)
        ]
        batch = BatchFamiliarity(self, items, prompts, texts, asked)
        if batch.wants("states"):
            wanted = any(own.tokens for own in asked.values())
            batch.tokens = [state_tokens(text, per_token=wanted) for text in texts]
        return batch

    @cached_property
    def states(self) -> KnownStates:
        """States of the known texts; the first to ask runs the model over them."""
        if self.known is None or self.entry.known is None:
            raise InputError("familiarity: no known texts were named")
        return remember(
            self.model,
            self.known.texts,
            site=self.entry.known.site,
            name=self.entry.known.name,
            background=self.known.background,
            max_tokens=self.max_tokens or self.model.context_length,
            bos=self.bos,
            template=self.template,
        )


class BatchFamiliarity:
    """One batch of a sweep: reads its pass, then tells."""

    def __init__(
        self,
        reader: FamiliarityReader,
        items: Sequence[Item],
        prompts: Sequence[Prompt],
        texts: Sequence[TokenText],
        asked: Mapping[str, Asked],
    ) -> None:
        self._reader, self._items, self._prompts, self._texts, self._asked = reader, items, prompts, texts, asked
        self._states: list[np.ndarray] | None = None
        self.tokens: list[tuple[int, ...]] = [()] * len(items)

    def wants(self, needs: Needs) -> bool:
        """True where something asked needs this kind of evidence."""
        return any(own.spec.record.needs == needs for own in self._asked.values())

    @property
    def readers(self) -> tuple[ReadsLogits, ...]:
        """Readers of the logits of the pass."""
        return (surprisal_reader,) if self.wants("logits") or self.wants("memory") else ()

    @property
    def watched(self) -> dict[Site, Look]:
        """Watchers of the states of the pass."""
        return {self._reader.states.site: self._see} if self.wants("states") else {}

    def _see(self, _site: Site, vectors: Tensor) -> None:
        """Keep the states of the tokens that were asked; called inside the pass."""
        self._states = rows_of(vectors, self.tokens, len(vectors) // len(self.tokens))

    def tables(self, reduced: Sequence[Float64[np.ndarray, "5 rows"]], run_id: str) -> dict[Table, pa.Table]:
        """Rows of all tables, and why a value is NaN.

        Args:
            reduced: what the reader of logits made of the pass.
            run_id: of the rows.
        """
        reader = self._reader
        sources = Sources(
            states=reader.states if self._states is not None else None,
            exposures=reader.exposures,
            reference=self._reference(),
        )
        surprisals = surprisals_of(self._prompts, reduced[0]) if reduced else [None] * len(self._items)
        read = [
            ReadText(
                model=reader.model,
                text=text,
                document=item.example_id,
                origin=origin_of(item.example),
                sources=sources,
                surprisals=surprisals[number],
                states=None if self._states is None else self._states[number],
                state_tokens=self.tokens[number],
            )
            for number, (item, text) in enumerate(zip(self._items, self._texts, strict=True))
        ]
        rows = Rows(run_id)
        of_source: dict[tuple[Corpus | None, Beside | None], list[Asked]] = {}
        for name, own in self._asked.items():
            of_source.setdefault(reader.questions[name][1:], []).append(own)
        for (index, memory), own in of_source.items():
            beside = index_texts(index, reader.model, self._texts)
            told = [one.surprisal for one in surprisals if one is not None]
            saved = [None] * len(read) if memory is None else memory.bits_saved(self._prompts, told)
            here = replace(sources, index=index, memory=memory)
            for one, indexed, bits in zip(read, beside, saved, strict=True):
                rows.tell(replace(one, sources=here, indexed=indexed, saved=bits), own)
        found = rows.tables()
        names: tuple[Table, ...] = ("familiarity", "familiarity_tokens", "failures")
        return {
            name: pa.Table.from_pandas(frame, schema=SCHEMAS[name], preserve_index=False)
            for name, frame in zip(names, found, strict=True)
        }

    def _reference(self) -> Coder | None:
        """The reference with the code lengths of this batch at hand, if they are asked."""
        own = self._reader.reference
        if not isinstance(own, CausalLM) or not any(a.spec.name == REFERENCE for a in self._asked.values()):
            return own
        prompts = [text.characters("prompt") or "" for text in self._texts]
        answers = [text.characters("answer") or "" for text in self._texts]
        wholes = [before + after for before, after in zip(prompts, answers, strict=True)]
        texts = list(dict.fromkeys([*prompts, *wholes]))
        bits = {text: found.bits for text, found in zip(texts, own.predict_all(texts), strict=True)}
        return _Remembered(own.name, bits)


@dataclass(frozen=True)
class _Remembered(Coder):
    """Code lengths that were computed together."""

    named: str
    lengths: Mapping[str, float]

    @property
    def name(self) -> str:
        return self.named

    def bits(self, text: str) -> float:
        return self.lengths[text]


def _index(path: str, model: LoadedModel) -> Corpus:
    try:
        return open_index(path, tokenizer=model.tokenizer)
    except InputError as error:
        raise InputError(f"familiarity: {error}") from None


def _reference(name: str, model: LoadedModel) -> Coder:
    if name in CODECS:
        return Compressor(next(codec for codec in CODECS if codec == name))
    loaded = load_model(name, device=model.device)
    if not loaded.is_causal:
        raise InputError(f"familiarity: reference {name} does not predict the next token")
    return CausalLM(loaded)


def _identity(reference: Coder | None) -> str:
    digest = f"#{reference.model.fingerprint[:DIGITS]}" if isinstance(reference, CausalLM) else ""
    return "" if reference is None else f"|{name_of(reference)}{digest}"


def _one_site(model: LoadedModel, site: str) -> Site:
    place, *more = resolve_sites(model, [site])
    if more:
        raise InputError(f"familiarity: known: {site!r} is {1 + len(more)} sites; name one layer, e.g. {place}")
    return place
