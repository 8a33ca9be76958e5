"""The formats that are read, by the name that sources.toml gives them. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Final, Literal

from msgspec import Struct

from services.supply import gpuhunt, skypilot, vast
from services.supply.rows import BrokenRow, Row

ConnectorName = Literal["skypilot", "gpuhunt", "vast"]


class Connector(Struct, frozen=True):
    """A format: bytes → rows, and which files of a folder are in it."""

    read_rows: Callable[[bytes], Iterator[Row | BrokenRow]]
    """Raises BadCatalogue, before the first row or after some."""
    suffixes: tuple[str, ...]


CONNECTORS: Final[Mapping[ConnectorName, Connector]] = {
    "skypilot": Connector(skypilot.read_rows, (".csv",)),
    "gpuhunt": Connector(gpuhunt.read_rows, (".csv", ".zip")),
    "vast": Connector(vast.read_rows, (".json",)),
}
