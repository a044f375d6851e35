"""YAML as people mean it: version 1.2's plain values, keys as they are written, and no key twice.

PyYAML reads version 1.1, in which ``no`` is false, ``010`` is eight, ``2024-01-01`` a date and ``5e-2`` a text, and of
two equal keys the first one vanishes. Here ``no`` and dates are texts, ``010`` is ten, ``5e-2`` a number, a key is
always the text that stands there, and two equal keys are refused with their lines.
"""

from __future__ import annotations

import re
from collections.abc import Hashable, Mapping
from pathlib import Path
from typing import Any, Final

import yaml

from probes.errors import InputError
from probes.sweep.specification.validation import mapping

PLAIN: Final = (
    ("bool", r"true|True|TRUE|false|False|FALSE", "tTfF"),
    ("int", r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+", "-+0123456789"),
    (
        "float",
        r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)",
        "-+.0123456789",
    ),
    ("null", r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    ("merge", r"<<", "<"),
)
"""Tag, what a plain value of it looks like in full, and what it may begin with; earlier ones go first."""


class Loader(yaml.SafeLoader):
    """A safe loader of the core schema of YAML 1.2."""

    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}  # noqa: RUF012  PyYAML's own attribute

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        """A mapping whose keys are the texts that stand there."""
        marks: dict[str, yaml.Mark] = {}
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                raise yaml.constructor.ConstructorError(None, None, "a key should be a text", key.start_mark)
            earlier = marks.setdefault(str(key.value), key.start_mark)
            if earlier is not key.start_mark:
                where = f"in lines {earlier.line + 1} and {key.start_mark.line + 1}"
                message = f"the key {key.value!r} is written twice, {where}; remove or rename one"
                raise yaml.constructor.ConstructorError(None, None, message, key.start_mark)
        self.flatten_mapping(node)
        return {str(key.value): self.construct_object(value, deep=deep) for key, value in node.value}

    def construct_yaml_int(self, node: yaml.ScalarNode) -> int:
        """A whole number; a zero before it means nothing."""
        text = str(node.value)
        return int(text, 8 if text.startswith("0o") else 16 if text.startswith("0x") else 10)


class Dumper(yaml.SafeDumper):
    """Writes what :class:`Loader` reads back as it was."""

    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}  # noqa: RUF012  as above


for _tag, _form, _first in PLAIN:
    for _reads_or_writes in (Loader, Dumper):
        _reads_or_writes.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(f"^(?:{_form})$"), list(_first))
Loader.add_constructor("tag:yaml.org,2002:int", Loader.construct_yaml_int)


def load(text: str) -> Any:  # noqa: ANN401  whatever stands there
    """Read one document of plain data.

    >>> load("{no: on, since: 2024-01-01, rate: 5e-2, count: 010}")
    {'no': 'on', 'since': '2024-01-01', 'rate': 0.05, 'count': 10}

    Raises:
        yaml.YAMLError: if it is no YAML, asks for more than plain data, or holds a key twice.
    """
    return yaml.load(text, Loader)  # noqa: S506  the loader is a safe one


def read(path: Path) -> Mapping[str, Any]:
    """Mapping that a spec file holds.

    Raises:
        InputError: if the file cannot be read, is not YAML or holds no mapping.
    """
    try:
        raw = load(path.read_text(encoding="utf-8-sig"))
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"cannot read the spec {path}: {error}") from None
    except yaml.YAMLError as error:
        raise InputError(f"{path} is not YAML: {' '.join(str(error).split())}") from None
    return mapping(raw, str(path))


def dump(content: object) -> str:
    r"""Plain data as a document, keys in their order.

    >>> dump({"name": "1e5", "limit": 5})
    "name: '1e5'\nlimit: 5\n"
    """
    return yaml.dump(content, Dumper=Dumper, sort_keys=False, allow_unicode=True)
