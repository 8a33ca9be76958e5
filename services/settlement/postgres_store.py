"""`store.Store` over Postgres: one transaction per batch, written with COPY and with updates from arrays.

Statements are made once, from the tables' own columns as the database tells them. What goes first in a transaction is
the number of commits and the cursor, compared and set: of two settlements the second waits there and then finds that
it is too late.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Iterator, Sequence
from typing import Final

import asyncpg

from services.runtime.postgres import AWAY
from services.settlement import rows
from services.settlement.changes import RowChanges
from services.settlement.ledger import BalanceChange
from services.settlement.rows import Cursor, Delivery, Row
from services.settlement.state import Batch, Loaded
from services.settlement.store import Conflict, Recall, Recalled, StoreAway

Connection = asyncpg.Connection
_AWAY: Final = (
    *AWAY,
    asyncpg.AdminShutdownError,
    asyncpg.CrashShutdownError,
    asyncpg.InsufficientResourcesError,
)
"""An error of a statement itself is a fault of ours and ends the process."""


class PostgresStore:
    """One connection of its own; after StoreAway, `load` opens the next."""

    def __init__(self, dsn: str) -> None:
        self._dsn = dsn
        self._connection: Connection | None = None
        self._tables: dict[str, TableWriter] = {}
        self._balances = BalanceWriter()
        self._writing: asyncio.Task[None] | None = None
        """The batch on its way, while the next one is being made."""
        self._durable = 0

    def close(self) -> None:
        """Drop the connection, whatever it is doing."""
        connection, self._connection = self._connection, None
        writing, self._writing = self._writing, None
        if writing is not None:
            writing.cancel()
        if connection is not None:
            connection.terminate()

    @contextlib.contextmanager
    def _away(self) -> Iterator[None]:
        try:
            yield
        except _AWAY as error:
            raise StoreAway(repr(error)) from error
        except asyncpg.InterfaceError as error:
            # Also said of our own mistakes: only a connection that is lost is waited for, or whose loss broke off what
            # went before, of which this is the rollback.
            lost = self._connection is None or self._connection.is_closed() or isinstance(error.__context__, _AWAY)
            if not lost:
                raise
            raise StoreAway(repr(error)) from error

    async def load(self) -> Loaded:
        """Every live row, balances that are not zero, and the number of commits; one snapshot."""
        self.close()
        with self._away():
            connection = self._connection = await _connect(self._dsn)
            async with connection.transaction(isolation="repeatable_read", readonly=True):
                await self._prepare(connection)
                found = {}
                for kind in rows.ROWS:
                    if kind.TABLE.live != "false":
                        found[kind.TABLE.name] = [
                            tuple(row) for row in await connection.fetch(self._tables[kind.TABLE.name].select)
                        ]
                balances = await connection.fetch(
                    "SELECT kind, shard, ref, asset, amount FROM settlement.balances WHERE amount <> 0"
                )
                commits = await connection.fetchval("SELECT last FROM settlement.commits")
        self._durable = commits
        return Loaded(found, [((row[0], row[1], row[2], row[3]), row[4]) for row in balances], commits)

    async def _prepare(self, connection: Connection) -> None:
        columns = await connection.fetch(
            "SELECT c.relname, a.attname, format_type(a.atttypid, NULL) AS type FROM pg_attribute a"
            " JOIN pg_class c ON c.oid = a.attrelid WHERE c.relnamespace = 'settlement'::regnamespace"
            " AND c.relkind = 'r' AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum"
        )
        types: dict[str, dict[str, str]] = {}
        for column in columns:
            types.setdefault(column["relname"], {})[column["attname"]] = column["type"]
        self._tables = {kind.TABLE.name: TableWriter(kind, types[kind.TABLE.name]) for kind in rows.ROWS}

    async def recall(self, ask: Recall) -> Recalled:
        """Rows by their keys."""
        await self.flush()
        connection = self._open()
        digests: dict[str, bytes] = {}
        deposits: set[tuple[str, str]] = set()
        deliveries: dict[tuple[int, int], Delivery] = {}
        with self._away():
            if ask.requests:
                query = "SELECT request_id, digest FROM settlement.requests WHERE request_id = ANY($1)"
                digests = {row[0]: row[1] for row in await connection.fetch(query, list(set(ask.requests)))}
            if ask.deposits:
                query = (
                    "SELECT provider, provider_ref FROM settlement.deposits"
                    " JOIN unnest($1::text[], $2::text[]) AS asked(provider, provider_ref) USING (provider, provider_ref)"
                )
                deposits = {(row[0], row[1]) for row in await connection.fetch(query, *_columns(ask.deposits))}
            if ask.deliveries:
                names = ", ".join(Delivery.__struct_fields__)
                query = (
                    f"SELECT {names} FROM settlement.deliveries"  # noqa: S608 # names of ours
                    " JOIN unnest($1::bigint[], $2::bigint[]) AS asked(contract, title) USING (contract, title)"
                )
                found = [Delivery(*row) for row in await connection.fetch(query, *_columns(ask.deliveries))]
                deliveries = {(row.contract, row.title): row for row in found}
        return Recalled(digests, deposits, deliveries)

    async def commit(self, batch: Batch) -> int:
        """See `store.Store`: one batch is on its way at most, and the next one waits for it."""
        durable = await self.flush()
        self._writing = asyncio.create_task(self._write(batch))
        return durable

    async def flush(self) -> int:
        """See `store.Store`."""
        writing, self._writing = self._writing, None
        if writing is not None:
            await writing
        return self._durable

    async def _write(self, batch: Batch) -> None:
        connection = self._open()
        with self._away():
            async with connection.transaction():
                await _move_on(connection, batch)
                await _copy(connection, "entries", batch.posted.entries)
                await _copy(connection, "postings", batch.posted.postings)
                await self._balances.write(connection, batch.posted.balances)
                for name, changes in batch.changes.items():
                    await self._tables[name].write(connection, changes)
        self._durable = batch.commit + 1

    def _open(self) -> Connection:
        assert self._connection is not None, "load comes first"
        return self._connection


async def _move_on(connection: Connection, batch: Batch) -> None:
    """Number of commits and cursor, compared and set. Raises Conflict."""
    before, after = batch.before, batch.cursor
    if (
        await connection.fetchval(
            "UPDATE settlement.commits SET last = last + 1 WHERE last = $1 RETURNING last", batch.commit
        )
        is None
    ):
        raise Conflict(f"another settlement has committed since commit {batch.commit}")
    if before.next_offset == 0:
        done = await connection.fetchval(
            "INSERT INTO settlement.cursors (topic, partition, next_offset, last_hash, seq, chain, time_ms)"
            " VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT DO NOTHING RETURNING next_offset",
            *after.row(),
        )
    else:
        done = await connection.fetchval(
            "UPDATE settlement.cursors SET next_offset = $3, last_hash = $4, seq = $5, chain = $6, time_ms = $7"
            " WHERE topic = $1 AND partition = $2 AND next_offset = $8 AND last_hash = $9 AND seq = $10 AND chain = $11"
            " RETURNING next_offset",
            *after.row(),
            before.next_offset,
            before.last_hash,
            before.seq,
            before.chain,
        )
    if done is None:
        raise Conflict(f"the cursor of {after.topic}/{after.partition} is not at {_shown(before)}")


def _shown(cursor: Cursor) -> str:
    return f"offset {cursor.next_offset}, hash {cursor.last_hash.hex()}, seq {cursor.seq}, chain {cursor.chain.hex()}"


async def _copy(connection: Connection, table: str, records: Sequence[tuple[object, ...]]) -> None:
    if records:
        await connection.copy_records_to_table(table, schema_name="settlement", records=records)


class TableWriter:
    """Statements of one table."""

    def __init__(self, kind: type[Row], types: dict[str, str]) -> None:
        table, columns = kind.TABLE, kind.__struct_fields__
        assert tuple(types) == columns, f"table {table.name} has columns {tuple(types)}, its rows {columns}"
        self._name = table.name
        keys = columns[: table.key]
        self._places = [columns.index(name) for name in (*keys, *table.changing)]
        self.select = f"SELECT {', '.join(columns)} FROM settlement.{table.name} WHERE {table.live}"  # noqa: S608 # names of ours
        arrays = ", ".join(f"${place}::{types[name]}[]" for place, name in enumerate((*keys, *table.changing), start=1))
        same = " AND ".join(f"kept.{name} = new.{name}" for name in keys)
        self._update = (
            f"UPDATE settlement.{table.name} AS kept SET {', '.join(f'{name} = new.{name}' for name in table.changing)}"  # noqa: S608
            f" FROM unnest({arrays}) AS new({', '.join((*keys, *table.changing))}) WHERE {same}"
        )
        key_arrays = ", ".join(f"${place}::{types[name]}[]" for place, name in enumerate(keys, start=1))
        self._delete = (
            f"DELETE FROM settlement.{table.name} AS kept"  # noqa: S608
            f" USING unnest({key_arrays}) AS new({', '.join(keys)}) WHERE {same}"
        )

    async def write(self, connection: Connection, changes: RowChanges) -> None:
        """Raises Conflict when a row is not there that should be."""
        if changes.removed:
            _expect(
                self._name, len(changes.removed), await connection.execute(self._delete, *_columns(changes.removed))
            )
        await _copy(connection, self._name, changes.created)
        if changes.changed:
            columns = _columns(changes.changed)
            said = await connection.execute(self._update, *[columns[place] for place in self._places])
            _expect(self._name, len(changes.changed), said)


class BalanceWriter:
    """Balances move by differences; one that was zero may have no row yet."""

    _update = (
        "UPDATE settlement.balances AS kept SET amount = kept.amount + new.delta"
        " FROM unnest($1::smallint[], $2::smallint[], $3::bigint[], $4::bigint[], $5::bigint[])"
        " AS new(kind, shard, ref, asset, delta)"
        " WHERE kept.kind = new.kind AND kept.shard = new.shard AND kept.ref = new.ref AND kept.asset = new.asset"
    )
    _insert = (
        "INSERT INTO settlement.balances AS kept (kind, shard, ref, asset, amount)"
        " SELECT * FROM unnest($1::smallint[], $2::smallint[], $3::bigint[], $4::bigint[], $5::bigint[])"
        " ON CONFLICT (kind, shard, ref, asset) DO UPDATE SET amount = kept.amount + excluded.amount"
    )

    async def write(self, connection: Connection, changes: Sequence[BalanceChange]) -> None:
        """Raises Conflict when a balance is not there that should be."""
        known = [(*change.key, change.delta) for change in changes if change.known]
        unknown = [(*change.key, change.delta) for change in changes if not change.known]
        if known:
            _expect("balances", len(known), await connection.execute(self._update, *_columns(known)))
        if unknown:
            _expect("balances", len(unknown), await connection.execute(self._insert, *_columns(unknown)))


def _columns(records: Sequence[tuple[object, ...]]) -> list[list[object]]:
    """Rows → columns."""
    return [list(column) for column in zip(*records, strict=True)]


def _expect(table: str, count: int, said: str) -> None:
    """`said`: the command tag, such as `UPDATE 12`."""
    if int(said.rsplit(" ", 1)[1]) != count:
        raise Conflict(f"settlement.{table}: {said}, {count} rows should be there: somebody else has changed it")


async def _connect(dsn: str) -> Connection:
    connection = await asyncpg.connect(
        dsn,
        timeout=10,
        command_timeout=60,
        server_settings={"application_name": "hourbook-settlement", "timezone": "UTC"},
    )
    # jsonb as Python values, in the binary form that COPY wants.
    await connection.set_type_codec(
        "jsonb",
        schema="pg_catalog",
        format="binary",
        encoder=lambda value: b"\x01" + json.dumps(value).encode(),
        decoder=lambda data: json.loads(data[1:]),
    )
    return connection
