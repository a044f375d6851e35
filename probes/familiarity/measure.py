"""Familiarity of some inputs as tidy tables: per item, and per token beside the sparsity of the same token.

One forward pass per batch serves all measures of the logits, one more all measures of states; corpus measures need no
model beyond its tokenizer. An item that cannot be measured, or a value that is undefined, is a row with its reason.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any, Final

from probes.capture.batches import BatchSize
from probes.errors import InputError
from probes.familiarity.definitions import FamiliaritySpec, parse_familiarity
from probes.familiarity.known_states import read_states
from probes.familiarity.result import Asked, FamiliarityTables, Rows
from probes.familiarity.sources import ReadText, Sources, index_texts
from probes.familiarity.surprisals import read_surprisals
from probes.familiarity.texts import TokenText, read_text
from probes.models.loading import LoadedModel, load_model
from probes.models.templates import PromptError, Template
from probes.models.tokens import BosPolicy
from probes.suites.example import Example, Item

ITEMS_AT_A_TIME: Final = 512  # items whose symbols are looked up together


def measure_familiarity(
    model: object,
    items: Sequence[Item] | Sequence[str],
    measures: str | Sequence[str],
    *,
    sources: Sources | None = None,
    per_token: bool = False,
    max_tokens: int | None = None,
    bos: BosPolicy = "auto",
    template: Template = "none",
    batch_size: BatchSize = "auto",
    run_id: str | None = None,
) -> FamiliarityTables:
    """Measure how familiar some inputs are.

    Args:
        model: a loaded model, or anything that :func:`load_model` takes.
        items: items of a suite, or texts (whose ids are then their numbers). Long ones are read in windows.
        measures: names as in ``sparsity list familiarity``; ``answer.name`` is about the target, given the prompt, and
            has no row for an item without one.
        sources: corpus index, known states, laboratory and reference, for the measures that need them.
        per_token: whether to keep values of tokens too.
        max_tokens: cut prompts to this many tokens, BOS included.
        bos: what to do about the beginning-of-sequence token.
        template: ``chat`` puts each text into the tokenizer's chat template; what is measured is the text.
        batch_size: prompts per forward pass.
        run_id: of the rows; None: the beginning of the model's fingerprint.

    Returns:
        Rows in the order of the items, then of the measures.

    Raises:
        InputError: if a measure needs a source that is not there.
        sparsity.registry.UnknownNameError: for an unknown measure.
    """
    loaded = load_model(model)
    sources = sources or Sources()
    specs = parse_familiarity(measures)
    for spec in specs:
        lacking = sources.lacks(spec.record.needs)
        if lacking:
            raise InputError(f"{spec} needs {lacking}: hand it in with Sources({lacking}=...)")
    named = [item if isinstance(item, Item) else Item(str(n), Example(text=item)) for n, item in enumerate(items)]
    rows = Rows(run_id or loaded.fingerprint[:16])
    read = list(_read(loaded, named, sources, rows, max_tokens, bos, template))
    asked = [Asked(spec, tokens=per_token) for spec in specs]
    for one in _run(loaded, read, specs, per_token=per_token, batch_size=batch_size):
        rows.tell(one, asked)
    return rows.tables()


def state_tokens(text: TokenText, *, per_token: bool) -> tuple[int, ...]:
    """Tokens whose states are needed: all of the text and its answer, or the last one of each."""
    own, answer = text.tokens("prompt"), text.tokens("answer")
    return (*own, *answer) if per_token else (*own[-1:], *answer[-1:])


def _read(
    model: LoadedModel,
    items: Sequence[Item],
    sources: Sources,
    rows: Rows,
    max_tokens: int | None,
    bos: BosPolicy,
    template: Template,
) -> Iterator[ReadText]:
    """Encode the items; one that cannot be is a failure of its own."""
    for document, example in items:
        try:
            text = read_text(
                model, example.text, target=example.target, max_tokens=max_tokens, bos=bos, template=template
            )
        except PromptError as error:
            rows.fail(document, str(error))
            continue
        yield ReadText(model=model, text=text, document=document, sources=sources)


def _run(
    model: LoadedModel,
    read: Sequence[ReadText],
    specs: Sequence[FamiliaritySpec],
    *,
    per_token: bool,
    batch_size: BatchSize,
) -> Iterator[ReadText]:
    """Let the model, and the corpus, read what the measures need."""
    needs = {spec.record.needs for spec in specs}
    prompts = [one.text.prompt for one in read]
    asks = bool({"logits", "memory"} & needs)
    surprisals = read_surprisals(model, prompts, batch_size=batch_size) if asks else [None] * len(read)
    memory = read[0].sources.memory if read and "memory" in needs else None
    told = [own.surprisal for own in surprisals if own is not None]
    saved = [None] * len(read) if memory is None else memory.bits_saved(prompts, told)
    found: dict[int, tuple[Any, tuple[int, ...]]] = {}
    known = read[0].sources.states if read else None
    if "states" in needs and known is not None:
        fits = [n for n, p in enumerate(prompts) if model.context_length is None or len(p.ids) <= model.context_length]
        tokens = [state_tokens(read[n].text, per_token=per_token) for n in fits]
        states = read_states(model, [prompts[n] for n in fits], known.site, tokens, batch_size=batch_size)
        found = {n: (own, asked) for n, own, asked in zip(fits, states, tokens, strict=True)}
    for start in range(0, len(read), ITEMS_AT_A_TIME):
        block = range(start, min(start + ITEMS_AT_A_TIME, len(read)))
        index = read[start].sources.index if "corpus" in needs else None
        for n, indexed in zip(block, index_texts(index, model, [read[n].text for n in block]), strict=True):
            states, asked = found.get(n, (None, ()))
            part = {"surprisals": surprisals[n], "states": states, "state_tokens": asked, "saved": saved[n]}
            yield replace(read[n], indexed=indexed, **part)
