"""Files as they come: JSON lines, JSON arrays, CSV, Parquet and plain text, compressed or not, with or without a mark.

A file is read as it goes, one item at a time, so that a large one takes no more memory than a small one (an array that
stands in one line is the exception). What a name ends in says what a file is (``.jsonl``, ``.csv.gz``); what it begins
with says how it is compressed (gzip, bzip2, zstd) and encoded: UTF-8, with or without a byte-order mark, or UTF-16 with
one. A line or row that cannot be read becomes a faulty record, and the next one is read; what leaves no next one to
read (a torn archive, a quote that is never closed) is an error. Every fault names file and line.
"""

from __future__ import annotations

import codecs
import csv
import io
import json
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO, Final, Literal, cast

import pyarrow as pa
import pyarrow.parquet as pq

from probes.errors import InputError
from probes.suites.sources.labelled import Label, Record

MARK: Final = "\ufeff"
Compression = Literal["gzip", "bz2", "zstd"]
COMPRESSIONS: Final[dict[Compression, tuple[bytes, str]]] = {
    "gzip": (b"\x1f\x8b", ".gz"),
    "bz2": (b"BZh", ".bz2"),
    "zstd": (b"\x28\xb5\x2f\xfd", ".zst"),
}
ARCHIVE: Final = b"PK\x03\x04"
BUFFER: Final = 1 << 16
CLOSING: Final = ("}", "]", ",")  # only a line that ends so can be the last of an item
BETWEEN: Final = re.compile(r"[\s,]*")
LONGEST_CELL: Final = 2**31 - 1  # the csv module stops at 131,072 characters unless told otherwise


def format_of(path: Path) -> str:
    """Format of a file by its name, compression aside: ``json``, ``csv``, ``tsv``, ``parquet`` or ``text``.

    >>> format_of(Path("c4-train.00000-of-01024.json.gz")), format_of(Path("book.txt")), format_of(Path("A.CSV"))
    ('json', 'text', 'csv')
    """
    ending = path.suffix.lower()
    if ending in {name for _, name in COMPRESSIONS.values()}:
        ending = Path(path.stem).suffix.lower()
    known = {".jsonl": "json", ".ndjson": "json", ".json": "json", ".csv": "csv", ".tsv": "tsv", ".parquet": "parquet"}
    return known.get(ending, "text")


def records(path: Path, *, columns: Sequence[str] = (), text: str = "text") -> Iterator[Record]:
    """All items of one file in order; of a text file every paragraph (line) that is not blank.

    Args:
        path: the file.
        columns: names of the columns of a CSV or TSV file without a header.
        text: what the field of a text file is called.

    Raises:
        InputError: if the file is not there, is empty, or cannot be read as what its name says it is.
    """
    kind = format_of(path)
    if kind == "parquet":
        return _rows(path)
    if kind == "json":
        return _objects(path)
    if kind in ("csv", "tsv"):
        return _cells(path, "\t" if kind == "tsv" else ",", tuple(columns))
    return _paragraphs(path, text)


def lines(path: Path) -> Iterator[str]:
    """The lines of a text file, one at a time and without their ends.

    Raises:
        InputError: if it cannot be read, is not UTF-8 (or UTF-16 with a byte-order mark), or holds nothing.
    """
    is_empty = True
    try:
        with _opened(path) as file:
            for line in _decoded(path, file):
                is_empty = is_empty and not line.strip()
                yield line
    except (OSError, EOFError, pa.ArrowException) as error:
        raise InputError(f"cannot read {path}: {getattr(error, 'strerror', None) or error}") from None
    if is_empty:
        raise InputError(f"{path} is empty")


def _opened(path: Path) -> BinaryIO:
    with path.open("rb") as file:
        beginning = file.read(4)
    for name, (magic, ending) in COMPRESSIONS.items():
        if beginning.startswith(magic):
            return cast("BinaryIO", io.BufferedReader(cast("Any", pa.input_stream(path, compression=name)), BUFFER))
        if path.suffix.lower() == ending:
            raise InputError(f"{path} is not compressed with {name}, though its name says so")
    if beginning == ARCHIVE:
        raise InputError(f"{path} is a zip archive (.xlsx is one, too); unpack it, or save it as CSV or plain text")
    return path.open("rb", BUFFER)


def _decoded(path: Path, file: BinaryIO) -> Iterator[str]:
    beginning = cast("io.BufferedReader", file).peek(2)[:2]
    if beginning in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE):
        try:
            with io.TextIOWrapper(file, encoding="utf-16", newline=None) as wide:
                for line in wide:
                    yield line.removesuffix("\n")
        except UnicodeError as error:
            raise InputError(f"{path} begins like UTF-16 and is not valid UTF-16 ({error}); save it as UTF-8") from None
        return
    n_bytes = 0
    for number, raw in enumerate(file, start=1):
        try:
            text = raw.decode("utf-8")
        except UnicodeDecodeError as error:
            byte = f"byte {n_bytes + error.start} is {raw[error.start]:#04x}"
            raise InputError(
                f"{path}, line {number}: not UTF-8 ({byte}); save it as UTF-8, or convert it: "
                "iconv -f WINDOWS-1252 -t UTF-8"
            ) from None
        n_bytes += len(raw)
        if "\r" in text:
            text = text.replace("\r\n", "\n").replace("\r", "\n")
        # files with marks that were joined have one at each seam
        yield from text.removeprefix(MARK).removesuffix("\n").split("\n")


def _objects(path: Path) -> Iterator[Record]:
    """One object per line, or objects one after another over any lines, in an array or not."""
    found = enumerate(lines(path), start=1)
    for number, line in found:
        opening = line.strip()
        if opening.startswith("[") or opening == "{":
            yield from _values(path, number, line, found)
            return
        if opening:
            yield _object(path, f"{path}, line {number}", line)


def _object(path: Path, place: str, text: str) -> Record:
    try:
        value = json.loads(text)
    except json.JSONDecodeError as error:
        return Record(place, {}, part=path.stem, fault=f"{place}: not JSON ({error.msg} at column {error.colno})")
    except (ValueError, RecursionError) as error:  # a number of thousands of digits, brackets without end
        return Record(place, {}, part=path.stem, fault=f"{place}: not JSON that can be read ({error})")
    return _named(path, place, value)


def _named(path: Path, place: str, value: object) -> Record:
    if not isinstance(value, dict):
        fault = f"{place}: should be a JSON object and is {type(value).__name__}"
        return Record(place, {}, part=path.stem, fault=fault)
    return Record(place, cast("dict[str, Any]", value), part=path.stem)


def _values(path: Path, number: int, line: str, rest: Iterator[tuple[int, str]]) -> Iterator[Record]:
    """Values that may span lines; held in memory is the one that is not whole yet."""
    decoder = json.JSONDecoder()
    is_array = line.lstrip().startswith("[")
    held = line.replace("[", " ", 1) if is_array else line
    first, n_items = number, 0
    while True:
        at = _next(held, 0)
        while at < len(held) and held[at] != "]" and held.rstrip().endswith(CLOSING):
            try:
                value, end = decoder.raw_decode(held, at)
            except (ValueError, RecursionError):
                break  # its end is in a line to come
            n_items += 1
            yield _named(path, f"{path}, item {n_items}", value)
            at = _next(held, end)
        held = held[at:]
        following = next(rest, None)
        if following is None:
            break
        first = first if held else following[0]
        held += f"\n{following[1]}"
    if held.strip() != ("]" if is_array else ""):
        raise InputError(f"{path}, line {first}: not JSON (what begins here is not a whole item)")
    if not n_items:
        raise InputError(f"{path} holds no items")


def _next(text: str, at: int) -> int:
    """Position of the next value."""
    between = BETWEEN.match(text, at)
    return between.end() if between else at


def _cells(path: Path, delimiter: str, columns: tuple[str, ...]) -> Iterator[Record]:
    """Rows under a header, or under given names; an empty cell is an absent value, because CSV knows no other."""
    csv.field_size_limit(LONGEST_CELL)
    rows = csv.reader((f"{line}\n" for line in lines(path)), delimiter=delimiter, strict=True)
    header: list[str] = []
    n_items = 0
    while True:
        place = f"{path}, line {rows.line_num + 1}"
        try:
            row = next(rows, None)
        except csv.Error as error:
            if not header or "end of data" in str(error):
                raise InputError(f"{place}: not CSV ({_why(error)})") from None
            yield Record(place, {}, part=path.stem, fault=f"{place}: not CSV ({error})")
            continue
        if row is None:
            break
        if not any(row):
            continue
        if not header:
            header = _header(place, row, delimiter, columns)
            if not columns or set(columns) <= set(row):
                continue
        n_items += 1
        yield _under(header, row, place, path.stem)
    if not n_items:
        raise InputError(f"{path} has a header and no items")


def _why(error: csv.Error) -> str:
    return "a quote is opened here and never closed" if "end of data" in str(error) else str(error)


def _header(place: str, row: list[str], delimiter: str, columns: tuple[str, ...]) -> list[str]:
    """The names of the columns: those that stand in the file, else those given for a file without a header."""
    names = row[: _width(row)]
    if columns and not set(columns) <= set(names):
        return list(columns)
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise InputError(f"{place}: two columns are called {twice!r}")
    other = next((mark for mark in ";\t," if mark != delimiter and mark in names[0]), None)
    if len(names) == 1 and other is not None:
        raise InputError(
            f"{place}: one column only, {names[0]!r}, whose cells are separated by {other!r} instead of {delimiter!r}; "
            "save the file as CSV with commas, or with tabs as .tsv"
        )
    return names


def _under(header: Sequence[str], row: list[str], place: str, part: str) -> Record:
    """A row as a record; empty cells beyond the header, which spreadsheets leave behind, are none."""
    cells = row + [""] * (len(header) - len(row)) if len(row) > len(header) else row
    if _width(cells) > len(header) or len(row) < len(header):
        fault = f"{place}: {len(row)} cells, but the header has {len(header)}"
        return Record(place, {}, part=part, fault=fault, is_typed=False)
    fields = {name: cell or None for name, cell in zip(header, row, strict=False)}
    return Record(place, fields, part=part, is_typed=False)


def _width(row: Sequence[str]) -> int:
    """Count the cells up to the last one that is not empty."""
    return max((number for number, cell in enumerate(row, start=1) if cell), default=0)


def _rows(path: Path) -> Iterator[Record]:
    try:
        table = pq.ParquetFile(path)
        if not table.metadata.num_rows:
            raise InputError(f"{path} has no rows")
        classes = _classes(table.schema_arrow.metadata or {})
        number = 0
        for batch in table.iter_batches():
            for fields in batch.to_pylist():
                number += 1
                yield Record(f"{path}, row {number}", labelled(fields, classes), part=path.stem)
    except (pa.ArrowException, OSError) as error:
        raise InputError(f"cannot read {path} as Parquet: {str(error).splitlines()[0]}") from None


def _classes(metadata: dict[bytes, bytes]) -> dict[str, list[str]]:
    """Columns of class numbers and the names of their classes, as the ``datasets`` library writes them down."""
    with suppress(ValueError, KeyError, AttributeError, TypeError):
        features: dict[str, dict[str, Any]] = json.loads(metadata[b"huggingface"])["info"]["features"]
        return {name: feature["names"] for name, feature in features.items() if feature.get("_type") == "ClassLabel"}
    return {}


def labelled(fields: dict[str, Any], classes: dict[str, list[str]]) -> dict[str, Any]:
    """Class numbers as labels, which are name and number at once; a number without a name (-1) is absent."""
    if not classes:
        return fields
    told = dict(fields)
    for field, names in classes.items():
        number = fields.get(field)
        if isinstance(number, int):
            told[field] = Label(names[number], number) if 0 <= number < len(names) else None
    return told


def _paragraphs(path: Path, text: str) -> Iterator[Record]:
    for number, line in enumerate(lines(path), start=1):
        if line.strip():
            yield Record(f"{path}, line {number}", {text: line.strip()}, cluster=path.stem, part=path.stem)


def passages(found: Iterable[Record], field: str, least: int) -> Iterator[Record]:
    """Consecutive texts of one file joined until they have so many characters; what is left over at the end is not one.

    Faulty records pass through. Passages of one file share a cluster, because they share an author and a subject.
    """
    held: list[str] = []
    length = 0
    first: Record | None = None
    for record in found:
        try:
            text = record.text(field)
        except InputError as error:
            yield record._replace(fault=record.fault or str(error))
            continue
        first = first or record
        held.append(text)
        length += len(text)
        if length + len(held) - 1 >= least:
            yield Record(first.place, {field: "\n".join(held)}, cluster=first.cluster or first.part, part=first.part)
            held, length, first = [], 0, None
