"""What a batch changes, row by row."""

from services.settlement import rows
from services.settlement.changes import TableChanges


def test_a_row_created_and_replaced_in_one_batch_is_stored_as_it_stands_last() -> None:
    """A counter is a new object at each step; the first one would take a restarted settlement back to number 1."""
    changes: TableChanges[rows.OutboxCounter] = TableChanges()
    changes.create(0, rows.OutboxCounter(0, 1))
    changes.change(0, rows.OutboxCounter(0, 2))
    assert changes.take().created == [(0, 2)]
