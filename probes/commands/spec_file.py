"""The spec file as people meet it: its JSON Schema for editors, and first files to start from.

Both are read off the classes in :mod:`probes.sweep.spec`: what a key means is said once, in the docstring of
its class. The schema also allows the short forms that the reader of a spec spells out: a name for a model or a suite, a
path for a source, one word for a list of one.
"""

from __future__ import annotations

import inspect
import json
import re
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import yaml

from probes.sweep.spec import SweepSpec

WORD: Final[Mapping[str, Any]] = {"type": "string"}
SHORT: Final[Mapping[str, Sequence[Mapping[str, Any]]]] = {
    "Source": [WORD],
    "ModelEntry": [WORD],
    "RegisteredSuite": [WORD],
    "FamiliarityEntry": [WORD, {"type": "array", "items": WORD}],
}
FIRST_SPEC: Final = """\
models: [lab-reference]    # a shipped model; or a path, or a hub name
suites: [lab_exposure]     # or a file of yours: {file: mine.jsonl, name: mine, prompt: question}
positions: last            # the last token; mean: every token of the text
limit: 40                  # items per level
seed: 0
"""
EXAMPLE: Final = {"models": ["lab-reference"], "suites": ["lab_exposure"]}
WIDTH: Final = 110


def spec_schema() -> dict[str, Any]:
    """JSON Schema (2020-12) of a sweep spec, with every key described.

    >>> sorted(spec_schema()["required"])
    ['models', 'suites']
    """
    # a hook sees every mapping of the schema once, innermost first
    schema = json.loads(json.dumps(SweepSpec.model_json_schema(by_alias=True)), object_hook=_with_short_form)
    for definition in (schema, *schema["$defs"].values()):
        meanings = _attributes(definition.get("description", ""))
        definition["description"] = definition.get("description", "").split("\n\n")[0]
        for key, wanted in definition.get("properties", {}).items():
            definition["properties"][key] = {"description": meanings[key], **wanted} if key in meanings else wanted
    for definition in schema["$defs"].values():
        source = definition.get("properties", {}).get("of")
        if source is not None:  # a shift names its source itself, and a benchmark needs no more than its name
            source["anyOf"] = [WORD, {"type": "object"}]
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "sparsity sweep spec", **schema}


def full_spec() -> str:
    """A spec with every key at its default, each explained; it runs as it is."""
    meanings = _attributes(inspect.cleandoc(SweepSpec.__doc__ or ""))
    default = SweepSpec.model_validate({"models": [{"name": "lab-reference"}], "suites": [{"name": "lab_exposure"}]})
    values = {**default.model_dump(mode="json", by_alias=True), **EXAMPLE}
    lines: list[str] = []
    for key, value in values.items():
        lines += textwrap.wrap(meanings[key], WIDTH, initial_indent="# ", subsequent_indent="# ")
        written = yaml.safe_dump(value, default_flow_style=True, allow_unicode=True, width=WIDTH)
        lines.append(f"{key}: " + written.removesuffix("...\n").rstrip())
    return "\n".join(lines) + "\n"


def _with_short_form(node: dict[str, Any]) -> dict[str, Any]:
    """A reference to a class that may be written as a word, with the word allowed; anything else as it is."""
    name = str(node.get("$ref", "")).rpartition("/")[2]
    return {"anyOf": [*SHORT[name], node]} if name in SHORT else node


def _attributes(docstring: str) -> dict[str, str]:
    r"""Descriptions of the attributes that a docstring lists, by name.

    >>> _attributes("A thing.\n\nAttributes:\n    first: one.\n    second: two\n        lines.")
    {'first': 'one.', 'second': 'two lines.'}
    """
    return dict(_entries(docstring.partition("Attributes:\n")[2]))


def _entries(section: str) -> Iterator[tuple[str, str]]:
    for found in re.finditer(r"^    (\w+): (.*(?:\n        .*)*)", section, re.MULTILINE):
        yield found[1], " ".join(found[2].split()).replace("``", "`")
