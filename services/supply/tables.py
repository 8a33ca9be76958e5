"""The text of a table → its rows by column name, whatever the bytes are, within bounds of time and memory.

Pure. Columns are found by name: their order and set differ from file to file. What cannot be a table of this kind is
refused as a whole, with a sentence that says what it looks like; what is wrong with one line breaks that line only. A quote
that is not closed swallows lines that nobody would miss, so it refuses the whole file.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Collection, Iterator, Sequence
from typing import Final

from services.supply.rows import BadCatalogue, BrokenRow

ROWS_MAX: Final = 150_000
"""Three times the largest catalogue known to us; a fifth of a minute of reading, in which nothing else of it is told."""
LINES_MAX: Final = 4 * ROWS_MAX
"""Blank ones, too."""
LINE_MAX: Final = 65_536
FIELD_MAX: Final = 10_000
_SHOWN_MAX: Final = 12
_HEAD: Final = 4_096

Fields = tuple[int, dict[str, str]]
"""Line, and its texts by column."""


def read_table(data: bytes, needed: Collection[str]) -> Iterator[Fields | BrokenRow]:
    """Raises BadCatalogue, before the first row or after some."""
    lines = _Lines(data)
    reader = csv.reader(lines, strict=True)
    columns = _header(reader, lines, needed)
    rows = 0
    while True:
        before = lines.given
        try:
            fields = next(reader, None)
        except csv.Error as error:
            several = lines.given - before
            if several > 1 or "unexpected end" in str(error):
                line = lines.number - max(several - 1, 0)
                raise BadCatalogue(f"line {line}: a quote is opened and not closed; close it") from error
            fields = []
            rows += 1
            yield BrokenRow(lines.number, f"its quotes are wrong: {error}")
        for line in lines.too_long():
            rows += 1
            yield BrokenRow(line, f"a line of more than {LINE_MAX} characters")
        if fields is None:
            break
        if fields:
            rows += 1
            yield _row(lines.number, columns, fields)
        if rows > ROWS_MAX:
            raise BadCatalogue(f"more than {ROWS_MAX} rows; leave out what has no GPU, or split the file")
    if not rows:
        raise BadCatalogue("a header and not one row: half an export? nothing of it is used")


def _row(line: int, columns: Sequence[str], fields: Sequence[str]) -> Fields | BrokenRow:
    if len(fields) != len(columns):
        few = "fewer" if len(fields) < len(columns) else "more"
        return BrokenRow(line, f"{few} fields than columns: {len(fields)}, not {len(columns)}")
    if any(len(field) > FIELD_MAX for field in fields):
        return BrokenRow(line, f"a field of more than {FIELD_MAX} characters")
    return line, {column: field.strip() for column, field in zip(columns, fields, strict=True)}


def _header(reader: Iterator[list[str]], lines: _Lines, needed: Collection[str]) -> list[str]:
    try:
        columns = [column.strip() for column in next((fields for fields in reader if fields), [])]
    except csv.Error as error:
        raise BadCatalogue(f"the header cannot be read: {error}") from error
    if list(lines.too_long()):
        raise BadCatalogue(f"it begins with a line of more than {LINE_MAX} characters: not a table")
    doubled = sorted({column for column in columns if columns.count(column) > 1}) if len(columns) < FIELD_MAX else []
    if doubled:
        raise BadCatalogue(f"columns stand twice, and nobody knows which counts: {_shown(doubled)}")
    missing = sorted(set(needed) - set(columns))
    if missing:
        other = next((sign for sign in ";\t|" if len(columns) == 1 and sign in columns[0]), "")
        if other:
            raise BadCatalogue(f"its fields seem to be separated by {other!r}; separate them by commas")
        raise BadCatalogue(f"columns are missing: {_shown(missing)}; found are: {_shown(columns)}")
    return columns


def _shown(names: Sequence[str]) -> str:
    """Names for a sentence: escaped, few, short."""
    more = f" and {len(names) - _SHOWN_MAX} more" if len(names) > _SHOWN_MAX else ""
    shown = (text if text.isprintable() else ascii(text) for text in (name[:40] for name in names[:_SHOWN_MAX]))
    return ", ".join(shown) + more


class _Lines:
    """Physical lines, those that are too long left out and told. Bytes that are not UTF-8 become what cannot be printed."""

    def __init__(self, data: bytes) -> None:
        _check_kind(data)
        # newline="": a quoted field may hold a line end, and the csv module reads CRLF and LF alike.
        self._text = io.TextIOWrapper(io.BytesIO(data), "utf-8-sig", errors="surrogateescape", newline="")
        self._too_long: list[int] = []
        self.number = 0
        """Of the line that was given last."""
        self.given = 0

    def __iter__(self) -> _Lines:
        return self

    def __next__(self) -> str:
        while line := self._text.readline(LINE_MAX):
            self.number += 1
            if self.number > LINES_MAX:
                raise BadCatalogue(f"more than {LINES_MAX} lines; leave out what is blank, or split the file")
            if len(line) < LINE_MAX or line[-1] in "\r\n":
                self.given += 1
                return line
            self._too_long.append(self.number)
            while line and line[-1] not in "\r\n":
                line = self._text.readline(LINE_MAX)
        raise StopIteration

    def too_long(self) -> Iterator[int]:
        """Lines that were left out since the last call."""
        yield from self._too_long
        self._too_long.clear()


def _check_kind(data: bytes) -> None:
    """Raises BadCatalogue for what is known by its first bytes."""
    head = data[:_HEAD]
    text = head.removeprefix(b"\xef\xbb\xbf").lstrip()
    if not text and len(data) <= _HEAD:
        raise BadCatalogue("the file is empty")
    if head.startswith(b"\x1f\x8b"):
        raise BadCatalogue("a gzip file; unpack it first")
    if head.startswith(b"PK"):
        raise BadCatalogue("a zip archive; unpack it first")
    if head.startswith((b"\xff\xfe", b"\xfe\xff")) or head.count(0) > len(head) // 8:
        raise BadCatalogue("UTF-16, or not text at all; save it as UTF-8")
    if text.startswith(b"<"):
        raise BadCatalogue("a web page or XML, not a table; look at what that address answers")
    if text.startswith((b"{", b"[")):
        raise BadCatalogue("JSON, not CSV; is another connector meant?")
