"""The simulated tables as production's own statements read them: a copy in SQLite, brought up to date before each answer.

Statements are written for Postgres; the few words that SQLite says otherwise are replaced. One that it does not know then is a
fault of the simulation, and ends the day.
"""

from __future__ import annotations

import functools
import json
import re
import sqlite3
from collections.abc import Sequence
from typing import Final

from tests.simulation.simstore import COLUMNS, KEYS, SimDatabase, Tuple

Row = sqlite3.Row
ENTRY_COLUMNS: Final = ("source", "shard", "seq", "index", "what", "time_ms")
POSTING_COLUMNS: Final = (
    *("source", "shard", "seq", "index", "line", "kind", "account_shard", "ref", "asset", "amount"),
)
INDEXES: Final = {
    "orders": ("account, client_id", "contract", "state, account"),
    "blocks": ("account, client_id", "state, account"),
    "titles": ("contract",),
    "claims": ("shard, title",),
    "fills": ("contract", "buyer", "seller"),
    "contracts": ("class_no", "phase"),
    "backing": ("contract",),
    "postings": ("source, shard", "ref, kind"),
}
WORDS: Final[list[tuple[str, str]]] = [
    (r"= ANY\(ARRAY\(([^()]*)\)\)", r"IN (\1)"),
    (r"= ANY\(\$(\d+)(::\w+\[\])?\)", r"IN (SELECT value FROM json_each(?\1))"),
    (r"::\w+(\[\])?", ""),
    (r"\$(\d+)", r"?\1"),
    (r"\bgreatest\(", "max("),
    (r"\bSELECT FROM\b", "SELECT 1 FROM"),
    (r"\bindex\b", '"index"'),
]
"""What Postgres says, and what SQLite says for it."""


@functools.cache
def translated(statement: str) -> str:
    """A production statement for SQLite."""
    for said, instead in WORDS:
        statement = re.sub(said, instead, statement)
    return statement


class SimTables:
    """See the module. One for a database, however many read."""

    def __init__(self, database: SimDatabase) -> None:
        self._db = database
        self._sql = sqlite3.connect(":memory:", isolation_level=None, cached_statements=512)
        self._sql.row_factory = sqlite3.Row
        self._sql.execute("ATTACH ':memory:' AS settlement")
        for name, columns in COLUMNS.items():
            self._create(name, columns, KEYS[name])
        self._create("entries", ENTRY_COLUMNS, 4)
        self._create("postings", POSTING_COLUMNS, 0)
        self._create("balances", ("kind", "shard", "ref", "asset", "amount"), 4)
        for name, places in INDEXES.items():
            for number, columns in enumerate(places):
                self._sql.execute(f"CREATE INDEX settlement.{name}_{number} ON {name} ({columns})")
        self._posted = self._entered = 0

    def _create(self, name: str, columns: Sequence[str], key: int) -> None:
        shown = [f'"{column}"' for column in columns]
        primary = [f"PRIMARY KEY ({', '.join(shown[:key])})"] if key else []
        self._sql.execute(f"CREATE TABLE settlement.{name} ({', '.join([*shown, *primary])})")

    def close(self) -> None:
        """No more is read."""
        self._sql.close()

    def answer(self, statement: str, *values: object) -> list[Row]:
        """Rows of a production statement, as the tables are now."""
        self._refresh()
        given = [json.dumps(value) if isinstance(value, list | tuple) else value for value in values]
        return self._sql.execute(translated(statement), given).fetchall()

    def _refresh(self) -> None:
        db = self._db
        for name, keys in db.touched.items():
            if keys:
                self._bring(name, list(keys))
                keys.clear()
        if db.touched_balances:
            self._insert("INSERT OR REPLACE", "balances", [(*key, db.balances[key]) for key in db.touched_balances])
            db.touched_balances.clear()
        self._insert("INSERT", "entries", db.entered[self._entered :])
        self._insert("INSERT", "postings", db.postings[self._posted :])
        self._entered, self._posted = len(db.entered), len(db.postings)

    def _bring(self, name: str, keys: list[Tuple]) -> None:
        table = self._db.tables[name]
        gone = [key for key in keys if key not in table]
        if gone:
            where = " AND ".join(f'"{column}" = ?' for column in COLUMNS[name][: KEYS[name]])
            self._sql.executemany(f"DELETE FROM settlement.{name} WHERE {where}", gone)  # names of ours
        self._insert("INSERT OR REPLACE", name, [_shown(table[key]) for key in keys if key in table])

    def _insert(self, verb: str, name: str, rows: Sequence[Tuple]) -> None:
        if rows:
            marks = ", ".join("?" * len(rows[0]))
            self._sql.executemany(f"{verb} INTO settlement.{name} VALUES ({marks})", rows)


def _shown(row: Tuple) -> Tuple:
    """What a column of jsonb holds, as text."""
    return tuple(json.dumps(value) if isinstance(value, dict) else value for value in row)
