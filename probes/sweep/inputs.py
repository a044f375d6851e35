"""Models and prompts as a spec asks for them: the same in the survey, in every worker and in the controls."""

from __future__ import annotations

from dataclasses import replace

from probes.capture.choices import with_choices
from probes.capture.prompts import encode
from probes.models.loading import LoadedModel, load_model
from probes.models.templates import PromptError
from probes.suites.example import Item
from probes.suites.question import LETTERS
from probes.sweep.spec import ModelEntry, SweepSpec
from probes.vocabulary.outcomes import CHOICE_OUTCOMES
from probes.vocabulary.prompt import Prompt


def open_model(entry: ModelEntry, device: str) -> LoadedModel:
    """Load a model as the spec names it; its own device map goes before the device of the sweep."""
    return load_model(entry.name, device=entry.device_map or device, dtype=entry.dtype, revision=entry.revision)


def read_prompt(spec: SweepSpec, model: LoadedModel, item: Item) -> Prompt:
    """Encode one item under the spec's policy.

    Raises:
        PromptError: if it is no item to ask, or this model cannot read it.
    """
    example = item.example
    if example.fault or example.repeats:
        raise PromptError(example.fault or example.repeats)
    prompt = encode(model, example.text, target=example.target, before=example.before, **spec.reading())
    prompt = replace(prompt, skip_first=spec.skip_first)
    if example.right is None or not set(spec.outcomes) & set(CHOICE_OUTCOMES):
        return prompt
    return with_choices(
        model,
        prompt,
        example.text,
        example.choices,
        example.right,
        whole=example.whole,
        lettered=not example.whole and example.target == LETTERS[example.right],
        before=example.before,
        **spec.reading(),
    )
