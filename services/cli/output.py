"""What a command shows: tables for people, one JSON document with --json."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import click
import msgspec
from rich.console import Console
from rich.table import Table

console = Console(highlight=False, soft_wrap=True)
"""Lines may run past the window: an order id that is cut off cannot be typed again."""


def document(value: object) -> None:
    """--json."""
    click.echo(msgspec.json.format(msgspec.json.encode(value), indent=2))


def table(title: str, columns: Sequence[str], rows: Iterable[Sequence[str]], *, empty: str) -> None:
    """A table; `empty` says what to do where there is nothing. Columns that begin with `>` are right-aligned."""
    lines = list(rows)
    if not lines:
        console.print(f"{title}: {empty}")
        return
    shown = Table(title=title, title_justify="left", header_style="bold", box=None, pad_edge=False)
    for column in columns:
        shown.add_column(column.removeprefix(">"), justify="right" if column.startswith(">") else "left", no_wrap=True)
    for line in lines:
        shown.add_row(*line)
    console.print(shown)
