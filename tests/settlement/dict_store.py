"""Tables in dicts: stores batches as the database would, so that what is loaded back can be compared with the memory."""

from __future__ import annotations

from collections import defaultdict

from services.settlement import rows
from services.settlement.rows import Delivery, RequestRow
from services.settlement.state import Batch, Loaded
from services.settlement.store import Conflict, Recall, Recalled

TABLES = {kind.TABLE.name: kind for kind in rows.ROWS}


class DictStore:
    """`store.Store`, kept in memory; survives the settlement that wrote it."""

    def __init__(self) -> None:
        self.rows: dict[str, dict[tuple, tuple]] = {name: {} for name in TABLES}
        self.balances: defaultdict[tuple, int] = defaultdict(int)
        self.entries: dict[tuple, tuple] = {}
        self.postings: list[tuple] = []
        self.commits = 0

    async def load(self) -> Loaded:
        return self.loaded()

    async def recall(self, ask: Recall) -> Recalled:
        return Recalled(self.digests(ask.requests), self.deposits(ask.deposits), self.deliveries(ask.deliveries))

    async def commit(self, batch: Batch) -> int:
        self.commit_now(batch)
        return self.commits

    async def flush(self) -> int:
        return self.commits

    def loaded(self) -> Loaded:
        found = {name: list(table.values()) for name, table in self.rows.items()}
        return Loaded(found, list(self.balances.items()), self.commits)

    def commit_now(self, batch: Batch) -> None:
        """Checks first: nothing of a batch that does not fit is stored."""
        before = batch.before
        kept = self.rows["cursors"].get((before.topic, before.partition))
        if self.commits != batch.commit or (kept != before.row() if kept else before.next_offset != 0):
            raise Conflict(f"{kept} {batch.before}")
        for name, changes in batch.changes.items():
            self._check(name, changes)
        assert not any(entry[:4] in self.entries for entry in batch.posted.entries), "an entry is posted twice"
        # --- from here on it is stored
        self.commits += 1
        self.rows["cursors"][before.topic, before.partition] = batch.cursor.row()
        self.entries.update({entry[:4]: entry for entry in batch.posted.entries})
        self.postings += batch.posted.postings
        for change in batch.posted.balances:
            assert not change.known or self.balances[change.key] != 0
            self.balances[change.key] += change.delta
        for name, changes in batch.changes.items():
            key = TABLES[name].TABLE.key
            for removed in changes.removed:
                del self.rows[name][removed]
            for row in (*changes.created, *changes.changed):
                self.rows[name][row[:key]] = row

    def _check(self, name: str, changes) -> None:
        table, here = TABLES[name].TABLE, self.rows[name]
        columns = TABLES[name].__struct_fields__
        fixed = [place for place, column in enumerate(columns) if place >= table.key and column not in table.changing]
        for removed in changes.removed:
            assert removed in here, f"{name} {removed} is removed and was not there"
        for row in changes.created:
            assert row[: table.key] not in here or row[: table.key] in changes.removed, (
                f"{name} {row} is created and was there"
            )
        for row in changes.changed:
            kept = here[row[: table.key]]
            assert all(kept[place] == row[place] for place in fixed), f"{name}: {kept} becomes {row}"

    # --- by key --------------------------------------------------------------------------------------------

    def request(self, request_id: str) -> RequestRow:
        return RequestRow(*self.rows["requests"][(request_id,)])

    def digests(self, ids) -> dict[str, bytes]:
        return {one: self.request(one).digest for one in ids if (one,) in self.rows["requests"]}

    def deposits(self, refs) -> set[tuple[str, str]]:
        return {ref for ref in refs if ref in self.rows["deposits"]}

    def deliveries(self, keys) -> dict[tuple[int, int], Delivery]:
        return {key: Delivery(*self.rows["deliveries"][key]) for key in keys if key in self.rows["deliveries"]}
