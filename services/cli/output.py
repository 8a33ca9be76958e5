"""What a command shows: tables for people, one JSON document with --json."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

import click
import msgspec
from rich.console import Console
from rich.table import Table

_WIDTH_MAX: Final = 1_000

console = Console(highlight=False, markup=False, emoji=False, soft_wrap=True, width=_WIDTH_MAX)
"""Never cuts and never pads to the window: an order id that is cut off cannot be typed again. What members have written is
shown as it stands: no markup, no emoji."""


def document(value: object) -> None:
    """--json."""
    click.echo(msgspec.json.format(msgspec.json.encode(value), indent=2))


def table(title: str, columns: Sequence[str], rows: Iterable[Sequence[str]], *, empty: str) -> None:
    """A table; `empty` says what to do where there is nothing.

    Columns that begin with `>` are right-aligned; one that begins with `?` is left out where it is empty in every row.
    """
    lines = list(rows)
    if not lines:
        console.print(f"{title}: {empty}" if title else empty)
        return
    shown = Table(title=title or None, title_justify="left", header_style="bold", box=None, pad_edge=False)
    kept = [
        number
        for number, column in enumerate(columns)
        if not column.startswith("?") or any(line[number] for line in lines)
    ]
    for number in kept:
        name = columns[number].lstrip("?>")
        shown.add_column(name, justify="right" if ">" in columns[number] else "left", no_wrap=True)
    for line in lines:
        shown.add_row(*(line[number] for number in kept))
    console.print(shown)


def plural(count: int, what: str, several: str = "") -> str:
    """`1 GPU`, `2 GPUs`. `several`: where that is not `what` with an s."""
    return f"{count} {what}" if count == 1 else f"{count} {several or what + 's'}"


def percent(bp: int) -> str:
    """Of basis points: `12.5 %`."""
    return f"{bp / 100:g} %"


def program() -> str:
    """How this program was called, so that a suggested command can be typed as it stands."""
    called = Path(sys.argv[0])
    if called.name != "hourbook" or shutil.which("hourbook") == str(called):
        return "hourbook"
    shown = os.path.relpath(called)
    return shown if len(shown) < len(str(called)) else str(called)
