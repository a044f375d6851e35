"""Recorded facts of one run: the model, how texts were read, and the state of its controls.

Written as JSON into the column ``spec_json`` of the table ``runs``. A sweep of an earlier version may lack some facts:
they have the value that they had then, or that says nothing.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from probes.vocabulary.axes import Axis


@dataclass(frozen=True, slots=True, kw_only=True)
class RunFacts:
    """Facts of one run.

    Attributes:
        model: as the spec names it.
        fingerprint: sha256 of weights, configuration and tokenizer.
        model_files: sha256 of each file of the model.
        weights: how they came from the files.
        n_layers: number of blocks.
        d_model: width of the residual stream.
        widths: coordinates of a vector at each kind of site that is measured.
        context_length: longest prompt that the model reads; None: unbounded or unknown.
        attention: name of the attention kernel.
        bos: policy for the beginning-of-sequence token.
        template: ``none`` or ``chat``.
        template_arguments: of a chat template that is given some.
        answer_prefix: what stands between prompt and answer.
        special_tokens: whether those that a text spells out are ``control`` tokens or ``text``.
        skip_first: tokens at the beginning of a sequence that no mean over tokens counts.
        reading: version of what words such as ``mean`` mean.
        max_tokens: where texts are cut.
        min_tokens: shorter items are left out.
        batch_size: items per batch, as planned when the run began.
        axis: what the suite's levels measure.
        suite_source: where its items come from.
        n_items: how many they are.
        items_sha256: of all items.
        metrics: with versions.
        measure_seconds: of encoding and forward passes in all calls; the budget of controls is a multiple of them.
        controls: what the last stage did (``probes.sweep.controlling``); empty before it began.
    """

    model: str = ""
    fingerprint: str = ""
    model_files: Mapping[str, str] = field(default_factory=dict[str, str])
    weights: str = ""
    n_layers: int = 0
    d_model: int = 0
    widths: Mapping[str, int] = field(default_factory=dict[str, int])
    context_length: int | None = None
    attention: str = ""
    bos: str = "auto"
    template: str = "none"
    template_arguments: Mapping[str, Any] | None = None
    answer_prefix: str = "auto"
    special_tokens: str = "control"
    skip_first: int = 0
    reading: int = 1
    max_tokens: int | None = None
    min_tokens: int | None = None
    batch_size: int | None = None
    axis: Axis | None = None
    suite_source: str = ""
    n_items: int = 0
    items_sha256: str = ""
    metrics: tuple[str, ...] = ()
    measure_seconds: float = 0.0
    controls: Mapping[str, Any] = field(default_factory=dict[str, Any])

    @classmethod
    def from_json(cls, text: str) -> RunFacts:
        """Read what :meth:`to_json` wrote, now or in an earlier version.

        >>> facts = RunFacts(model="gpt2", axis=Axis(name="steps", unit="", kind="difficulty", harder="higher"))
        >>> RunFacts.from_json(facts.to_json()) == facts, RunFacts.from_json('{"bos": "none"}').reading
        (True, 1)
        """
        known = {one.name for one in fields(cls)}
        stored: dict[str, Any] = {name: value for name, value in json.loads(text).items() if name in known}
        stored["metrics"] = tuple(stored.get("metrics", ()))
        if stored.get("axis"):
            stored["axis"] = Axis(**stored["axis"])
        return cls(**stored)

    def to_json(self) -> str:
        """The facts as a run's row holds them."""
        return json.dumps(asdict(self), ensure_ascii=False)
