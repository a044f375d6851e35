"""Pages of the site that nobody writes by hand: a hook of mkdocs and an extension of griffe.

The API pages come from walking the three packages, tables from the records that ``sparsity list`` prints, the spec from
its schema, the commands from their help, the tutorial from its notebook, and the first page is the README. No name of a
module, measure or option is written here, so none can be out of date.
"""

from __future__ import annotations

import base64
import importlib
import inspect
import io
import json
import re
from collections.abc import Iterable, Iterator
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any, Final

import griffe
import typer
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from rich.table import Table

import analyses.cli  # adds the commands and lists of analyses
from probes.cli import LISTS, app, axioms_table
from probes.cli import schema as print_schema
from probes.records.schema import ONE_ROW_PER, SCHEMAS
from sparsity import METRICS

ROOT: Final = Path(__file__).resolve().parents[1]
PACKAGES: Final = ("sparsity", "probes", "analyses")
TUTORIAL: Final = ROOT / "analyses" / "tutorial.ipynb"
MARKDOWN: Final = {
    re.compile(r":(?:func|mod|class|meth|data|attr):`~?([^`]+)`"): r"`\1`",
    re.compile(r"::$", re.MULTILINE): ":",
    re.compile(r"^\.\. math:: *(.+(?:\n[ ]+.+)*)", re.MULTILINE): r"```latex\n\1\n```",
    re.compile(r"^(=+(?: +=+)+\n(?:.*\n)+?=+(?: +=+)+)$", re.MULTILINE): r"```text\n\1\n```",
    re.compile(r"(?<=\n\n)(>>> .*(?:\n.+)*)"): r"```python\n\1\n```",
}
assert analyses.cli.app is app  # noqa: S101


class PlainDocstrings(griffe.Extension):
    """Docstrings are written for Python's own help; here they become Markdown, and a measure takes an array."""

    def on_function(self, *, func: griffe.Function, **_: object) -> None:
        """Show a measure as users call it: its first parameter is an array, whatever its formula works on."""
        if any(str(decorator.value).startswith("metric(") for decorator in func.decorators):
            first = func.parameters[0]
            first.name, first.annotation, func.returns = "x", "Array", "Array"

    def on_object(self, *, obj: griffe.Object, **_: object) -> None:
        """Rewrite the docstring of a class, function or attribute."""
        plain(obj)

    def on_module(self, *, mod: griffe.Module, **_: object) -> None:
        """Rewrite the docstring of a module."""
        plain(mod)

    def on_package(self, *, pkg: griffe.Module, **_: object) -> None:
        """Rewrite the docstring of a package."""
        plain(pkg)


def plain(documented: griffe.Object) -> None:
    """Turn the reStructuredText of a docstring into Markdown: roles, code, formulas, tables and examples."""
    if documented.docstring is not None:
        text = documented.docstring.value
        for form, written in MARKDOWN.items():
            text = form.sub(written, text)
        documented.docstring.value = text


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Put the generated pages behind the written ones."""
    reference = [{name.capitalize(): f"reference/{name}.md"} for name in ("commands", "spec", "tables", *LISTS)]
    api = [{package: [_path(package), *({room: _path(room)} for room in rooms(package))]} for package in PACKAGES]
    config.nav = [*(config.nav or []), {"Reference": reference}, {"API": api}]
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the generated pages."""
    for path, content in pages():
        files.append(File.generated(config, path, content=content))
    return files


def pages() -> Iterator[tuple[str, str | bytes]]:
    """Every generated file of the site: its path and what it holds."""
    readme = (ROOT / "README.md").read_text(encoding="utf-8").replace("](docs/", "](").replace('src="docs/', 'src="')
    for name in ("CHANGELOG", "CONTRIBUTING", "PROOFS"):
        readme = readme.replace(f"]({name}.md)", f"](project/{name.lower()}.md)")
        yield f"project/{name.lower()}.md", (ROOT / f"{name}.md").read_text(encoding="utf-8")
    yield "index.md", readme
    yield "CITATION.cff", (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    yield from tutorial()
    yield "reference/commands.md", commands()
    yield "reference/spec.md", spec()
    yield "reference/tables.md", tables()
    for name, build in LISTS.items():
        more = axioms() if name == "metrics" else ""
        said = (build.__doc__ or "").strip()
        yield (
            f"reference/{name}.md",
            f"# {name.capitalize()}\n\n{said}\n\nPrinted by `sparsity list {name}`.\n\n{markdown(build())}\n{more}",
        )
    for package in PACKAGES:
        yield _path(package), face(package)
        for room, modules in rooms(package).items():
            yield _path(room), f"# {room}\n\n" + "".join(f"::: {module}\n\n" for module in modules)


def rooms(package: str) -> dict[str, list[str]]:
    """The modules of a package by the folder they lie in; the package's own face is a page of its own."""
    found: dict[str, list[str]] = {}
    for path in sorted((ROOT / package).rglob("*.py")):
        name = ".".join(path.relative_to(ROOT).with_suffix("").parts)
        room = name.rpartition(".")[0]
        if name != f"{package}.__init__":
            found.setdefault(room if room != package else f"{package}.*", []).append(name.removesuffix(".__init__"))
    return found


def face(package: str) -> str:
    """What a package offers by its own name: links to where it is defined."""
    module = importlib.import_module(package)
    rows: list[tuple[str, str]] = []
    for name in module.__all__:
        value = getattr(module, name)
        home = getattr(value, "__module__", "")
        if inspect.ismodule(value):
            target, said = value.__name__, inspect.getdoc(value)
        elif home.split(".")[0] in PACKAGES and hasattr(value, "__qualname__"):
            target, said = f"{home}.{value.__qualname__}", inspect.getdoc(value)
        else:  # a constant
            target, said = "", ", ".join(f"`{entry}`" for entry in value)
        rows.append((f"[`{name}`][{target}]" if target else f"`{name}`", _cell((said or "").split("\n\n")[0])))
    return f"# {package}\n\n::: {package}\n\n" + _table(("name", "what it is"), rows)


def _path(room: str) -> str:
    return f"api/{room.replace('.*', '/modules').replace('.', '/')}/index.md"


def markdown(table: Table) -> str:
    """A table of the terminal as a table of a page; the first column is what people type."""
    columns = [[_cell(str(cell)) for cell in column.cells] for column in table.columns]
    rows = ([f"`{first}`", *others] for first, *others in zip(*columns, strict=True))
    return _table([str(column.header) for column in table.columns], rows)


def _table(header: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    names = list(header)
    lines = [names, ["---"] * len(names), *rows]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in lines)


def _cell(text: str) -> str:
    return " ".join(text.replace("``", "`").replace("|", "\\|").replace("<", "&lt;").split())


def axioms() -> str:
    """What each metric promises beyond its range: which axioms hold, and its source."""
    rows = (
        (
            f"`{name}`",
            metric.scale,
            "yes" if metric.comparable else "no",
            f"`{_cell(metric.equation)}`",
            _cell(metric.source),
        )
        for name, metric in METRICS.items()
    )
    return (
        "\n## Formulas and sources\n\nIn a formula a are the magnitudes, a_(k) the magnitudes in ascending order, d "
        "the width. *Scale*: multiplying a vector by c > 0 changes nothing (invariant), multiplies the value by c "
        "(equivariant), or does something else (none). *Across widths*: values at different widths may be compared.\n\n"
        + _table(("metric", "scale", "across widths", "formula", "source"), rows)
        + "\n## Axioms\n\nThe axioms of Hurley & Rickard (2009): D1 Robin Hood, D2 scaling, D3 rising tide, D4 "
        "cloning, P1 Bill Gates, P2 babies. `y` holds; `w` is never violated, but some moves leave the value alone; "
        "`n` fails; `-` is undefined. Printed by `sparsity list metrics --axioms`.\n\n" + markdown(axioms_table())
    )


def spec() -> str:
    """Every key of a sweep spec, and of the entries that stand under a key."""
    printed = io.StringIO()
    with redirect_stdout(printed):
        print_schema()
    schema = json.loads(printed.getvalue())
    parts = ["# Spec keys\n\n`sparsity init --full all.yaml` writes every key at its default with this explanation.\n"]
    for name, one in (("A sweep", schema), *sorted(schema["$defs"].items())):
        if "properties" in one:
            rows = (
                (f"`{key}`", _cell(wanted.get("description", "")), f"`{json.dumps(wanted['default'])}`")
                if "default" in wanted
                else (f"`{key}`", _cell(wanted.get("description", "")), "must be given")
                for key, wanted in one["properties"].items()
            )
            said = one.get("description", "")
            parts.append(f"## {name}\n\n{said}\n\n{_table(('key', 'meaning', 'default'), rows)}")
    return "\n".join(parts)


def tables() -> str:
    """Every table of a sweep directory with its columns."""
    parts = ["# Tables\n\n[A sweep directory](../concepts/sweep-directory.md) has one folder of Parquet per table.\n"]
    for name, schema in SCHEMAS.items():
        rows = ((f"`{column.name}`", f"`{_type(column.type)}`") for column in schema)
        parts.append(f"## {name}\n\nOne row per {ONE_ROW_PER[name]}.\n\n{_table(('column', 'type'), rows)}")
    return "\n".join(parts)


def _type(kind: Any) -> str:  # noqa: ANN401  a type of pyarrow, which has no types
    return "string" if str(kind).startswith("dictionary") else str(kind)


def commands() -> str:
    """The help of every command."""
    parts = ["# Commands\n\nWhat `sparsity COMMAND --help` prints.\n"]
    for words, command in _walk(typer.main.get_command(app), ()):
        parts.append(f"## sparsity {' '.join(words)}\n\n{command.help}\n")
        rows = [
            (f"`{_name(option)}`", _cell(getattr(option, "help", "") or ""), _default(option))
            for option in command.params
        ]
        if rows:
            parts.append(_table(("option", "meaning", "default"), rows))
    return "\n".join(parts)


def _walk(command: Any, words: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Any]]:  # noqa: ANN401  of typer
    for name, inner in getattr(command, "commands", {}).items():
        yield (*words, name), inner
        yield from _walk(inner, (*words, name))


def _name(option: Any) -> str:  # noqa: ANN401  of typer
    return option.name.upper() if option.param_type_name == "argument" else option.opts[0]


def _default(option: Any) -> str:  # noqa: ANN401  of typer
    if option.required:
        return "must be given"
    return "" if option.default in (None, False, ()) else f"`{option.default}`"


def tutorial() -> Iterator[tuple[str, str | bytes]]:
    """The tutorial notebook with its outputs as a page, and its pictures."""
    parts: list[str] = []
    for number, cell in enumerate(json.loads(TUTORIAL.read_text(encoding="utf-8"))["cells"]):
        source = "".join(cell["source"])
        parts.append(source if cell["cell_type"] == "markdown" else f"```python\n{source}\n```")
        for output in cell.get("outputs", ()):
            data = {kind: "".join(text) for kind, text in output.get("data", {}).items()}
            if "image/png" in data:
                yield f"tutorial-{number}.png", base64.b64decode(data["image/png"])
                parts.append(f"![What the cell above draws](tutorial-{number}.png)")
            elif "text/html" in data:
                parts.append(f'<div class="output">\n{data["text/html"]}\n</div>')
            elif "text/plain" in data:
                parts.append(f"```text\n{data['text/plain']}\n```")
    yield "tutorial.md", "\n\n".join(parts)
