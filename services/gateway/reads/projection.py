"""What every reader needs."""

from __future__ import annotations

from typing import Final

from services.gateway.classes import Classes
from services.gateway.database import Database
from services.gateway.reads.client_ids import ClientIds

ROWS_MAX: Final = 500
"""Of a list."""


class Projection:
    """Settlement's tables, and what classes are called."""

    def __init__(self, database: Database, classes: Classes) -> None:
        self._database = database
        self._classes = classes
        self._client_ids = ClientIds(database)
        self._desks: dict[int, bool] = {}
        """account -> whether it is the aggregator's own, which never changes."""
