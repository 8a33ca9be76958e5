"""batches   list[Batch]   every batch that settlement makes while the test runs, to be stored in a real Postgres"""

from __future__ import annotations

import pytest

from services.settlement.rows import Cursor
from services.settlement.state import Batch, State


@pytest.fixture
def batches(monkeypatch: pytest.MonkeyPatch) -> list[Batch]:
    """Every batch that is made from here on."""
    made: list[Batch] = []
    take = State.take

    def noting(self: State, cursor: Cursor) -> Batch:
        made.append(take(self, cursor))
        return made[-1]

    monkeypatch.setattr(State, "take", noting)
    return made
