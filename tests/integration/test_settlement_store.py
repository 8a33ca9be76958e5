"""Settlement's store on a real Postgres: a batch is stored whole or not at all, once, and comes back as it was."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import AsyncIterator
from pathlib import Path

import asyncpg
import msgspec
import pytest

from schemas import requests as rq
from schemas.commands import Role
from services.gateway.classes import Classes
from services.gateway.database import Database
from services.gateway.reads import Reads
from services.runtime.postgres import migrate, migrate_runtime, open_pool
from services.settlement import rows
from services.settlement.__main__ import MIGRATIONS
from services.settlement.ledger import TRANSIT, WALLET
from services.settlement.postgres_store import PostgresStore
from services.settlement.rows import Cursor
from services.settlement.state import Batch, State
from services.settlement.store import Conflict, Recall, StoreAway
from tests.settlement.people import CONTRACT, T0, Market, memory
from tests.settlement.test_random_days import FEES, long_day
from tests.settlement.test_requests import anything

ROLES = Path(MIGRATIONS).parent / "roles.sql"


@pytest.fixture
async def pool(database: str) -> AsyncIterator[asyncpg.Pool]:
    pool = await open_pool(database)
    await migrate_runtime(pool)
    await migrate(pool, "settlement", MIGRATIONS)
    yield pool
    await pool.close()


@pytest.fixture
async def store(pool: asyncpg.Pool, database: str) -> AsyncIterator[PostgresStore]:  # noqa: ARG001 # it migrates
    """Loaded."""
    store = PostgresStore(database)
    await store.load()
    yield store
    store.close()


@pytest.fixture
def batches(monkeypatch: pytest.MonkeyPatch) -> list[Batch]:
    """Every batch that a `Market` makes from here on."""
    made: list[Batch] = []
    take = State.take

    def noting(self: State, cursor: Cursor) -> Batch:
        batch = take(self, cursor)
        made.append(batch)
        return batch

    monkeypatch.setattr(State, "take", noting)
    return made


async def store_all(store: PostgresStore, batches: list[Batch]) -> None:
    for batch in batches:
        await store.commit(batch)
    await store.flush()
    batches.clear()


async def tables(pool: asyncpg.Pool) -> dict[str, set[tuple]]:
    """Everything that the tables hold."""
    found = {}
    for name in (*(kind.TABLE.name for kind in rows.ROWS), "entries", "postings"):
        found[name] = _hashable(await pool.fetch(f"SELECT * FROM settlement.{name}"))
    found["balances"] = _hashable(await pool.fetch("SELECT * FROM settlement.balances WHERE amount <> 0"))
    return found


def _hashable(records) -> set[tuple]:
    """jsonb comes as text from a plain connection, and as a dict from the memory."""
    return {
        tuple(
            tuple(sorted((json.loads(value) if name else value).items())) if name or isinstance(value, dict) else value
            for value, name in ((value, isinstance(value, str) and value.startswith("{")) for value in record)
        )
        for record in records
    }


async def test_a_long_day_is_stored_as_it_happened(
    pool: asyncpg.Pool, store: PostgresStore, batches: list[Batch]
) -> None:
    """Every table equals what the batches say, row by row; what is loaded equals the memory that made them."""
    done = long_day(random.Random("stored"), FEES[1])
    assert done.done["fills"] > 20
    day = done.market
    await store_all(store, batches)
    found = await tables(pool)
    for name, kept in day.store.rows.items():
        assert found[name] == _hashable(kept.values()), name
    assert found["entries"] == set(day.store.entries.values())
    assert found["postings"] == set(day.store.postings)
    assert found["balances"] == {(*key, amount) for key, amount in day.store.balances.items() if amount}
    assert memory(State(1, await store.load())) == memory(day.state)


async def test_of_two_settlements_only_one_goes_on(
    pool: asyncpg.Pool, store: PostgresStore, database: str, batches: list[Batch]
) -> None:
    """Both have loaded the same; the second commit finds that it is too late, also on another log, and stores nothing."""
    Market("ana")
    await store_all(store, batches)
    other = PostgresStore(database)
    first, second = State(1, await store.load()), State(1, await other.load())
    await store.commit(first.take(Cursor("delivery", 0, 1, b"h", 0, b"", T0)))
    await store.flush()
    before = await tables(pool)
    second.ledger.post((2, 0, 99, T0), 0, "twice", ((1, 0, 1, 0, -5), (WALLET, 0, 1, 0, 5)))  # type: ignore[arg-type]
    cursor = second.cursor("requests", 0)
    late = second.take(msgspec.structs.replace(cursor, next_offset=cursor.next_offset + 1))
    await other.commit(late)
    with pytest.raises(Conflict, match="another settlement"):
        await other.flush()
    assert await tables(pool) == before
    other.close()


async def test_at_the_same_moment_one_waits_and_then_finds_out(
    store: PostgresStore, database: str, batches: list[Batch]
) -> None:
    Market("ana")
    await store_all(store, batches)
    other = PostgresStore(database)
    states = [State(1, await one.load()) for one in (store, other)]
    for one, state in zip((store, other), states, strict=True):
        await one.commit(state.take(Cursor("delivery", 0, 1, b"h", 0, b"", T0)))
    ends = await asyncio.gather(store.flush(), other.flush(), return_exceptions=True)
    assert sorted(type(end).__name__ for end in ends) == ["Conflict", "int"]
    other.close()


@pytest.mark.parametrize("column", ["next_offset", "last_hash", "seq", "chain"])
async def test_a_cursor_that_somebody_moved_stops_settlement(
    pool: asyncpg.Pool, store: PostgresStore, batches: list[Batch], column: str
) -> None:
    market = Market("ana")
    await store_all(store, batches)
    value = "'\\x00'" if column in {"last_hash", "chain"} else f"{column} + 1"
    await pool.execute(f"UPDATE settlement.cursors SET {column} = {value} WHERE topic = 'events'")
    market.tick(market.stamps[0] + 5)
    (batch,) = batches
    await store.commit(batch)
    with pytest.raises(Conflict, match="cursor of events/0"):
        await store.flush()
    assert await pool.fetchval("SELECT last FROM settlement.commits") == batch.commit


async def test_a_row_that_somebody_deleted_stops_settlement(
    pool: asyncpg.Pool, store: PostgresStore, batches: list[Batch]
) -> None:
    market = Market("ana bob")
    market.trade("ana sells 2 to bob at 2.00")
    await store_all(store, batches)
    await pool.execute("DELETE FROM settlement.titles")
    market.end_hour()
    with pytest.raises(Conflict, match=r"settlement.titles: UPDATE 0, 1 rows"):
        await store_all(store, batches)


async def test_a_batch_twice_is_stored_once(pool: asyncpg.Pool, store: PostgresStore, batches: list[Batch]) -> None:
    Market("ana")
    last = batches[-1]
    await store_all(store, batches)
    before = await tables(pool)
    await store.commit(last)
    with pytest.raises(Conflict):
        await store.flush()
    assert await tables(pool) == before


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE settlement.postings SET amount = amount + 1",
        "DELETE FROM settlement.postings",
        "TRUNCATE settlement.postings",
        "UPDATE settlement.entries SET what = ''",
        "DELETE FROM settlement.entries",
    ],
)
async def test_what_was_posted_never_changes(
    pool: asyncpg.Pool, store: PostgresStore, batches: list[Batch], statement: str
) -> None:
    """M5, also for an administrator."""
    Market("ana")
    await store_all(store, batches)
    with pytest.raises(asyncpg.RaiseError, match="never change"):
        await pool.execute(statement)


@pytest.mark.parametrize("kind", [2, 3, 4, 5, 6, 7, 8, 9, 10])
@pytest.mark.usefixtures("store")
async def test_the_database_knows_nothing_negative(pool: asyncpg.Pool, kind: int) -> None:
    """M3."""
    with pytest.raises(asyncpg.CheckViolationError, match="nothing_available_is_negative"):
        await pool.execute("INSERT INTO settlement.balances VALUES ($1, 0, 1, 0, -1)", kind)


async def test_a_lost_connection_ends_a_life_and_the_next_one_goes_on(
    pool: asyncpg.Pool, store: PostgresStore, batches: list[Batch]
) -> None:
    """Killed between and within commits: what is there is whole, and the rest can be done again."""
    market = Market("ana bob")
    market.trade("ana sells 2 to bob at 2.00")
    todo = list(batches)
    for wait_ms in range(0, 40, 4):
        state = State(1, await store.load())
        pid = await store._connection.fetchval("SELECT pg_backend_pid()")
        task = asyncio.create_task(store_all(store, todo[state.commits :]))
        await asyncio.sleep(wait_ms / 1000)
        await pool.fetchval("SELECT pg_terminate_backend($1)", pid)
        try:
            await task
        except StoreAway:
            continue
        with pytest.raises(StoreAway):
            await store.recall(Recall(requests=["x"]))
    state = State(1, await store.load())
    await store_all(store, todo[state.commits :])
    assert memory(State(1, await store.load())) == memory(market.state)
    assert await pool.fetchval("SELECT count(*) FROM settlement.postings") == len(market.store.postings)


async def test_a_rollback_on_a_dying_connection_is_its_loss_and_a_mistake_is_a_mistake(store: PostgresStore) -> None:
    """What the library says of both is an InterfaceError on a connection that is not closed yet."""
    mistake, rollback = asyncpg.InterfaceError("another operation is in progress"), asyncpg.InterfaceError("the same")
    rollback.__context__ = asyncpg.InternalClientError("cannot switch to state 21")
    with pytest.raises(StoreAway), store._away():
        raise rollback
    with pytest.raises(asyncpg.InterfaceError), store._away():
        raise mistake


async def test_what_is_over_is_recalled_by_its_key(store: PostgresStore, batches: list[Batch]) -> None:
    market = Market("ana bob")
    market.trade("ana sells 1 to bob at 2.00")
    market.end_hour()
    market.deliver("all", 7)
    await store_all(store, batches)
    found = await store.recall(
        Recall(
            ["open-ana", "nobody", "open-ana"],
            [("simulated-faucet", "ana"), ("simulated-faucet", "nobody")],
            [(CONTRACT, 1), (CONTRACT, 0), (CONTRACT, 2)],
        )
    )
    assert found.requests == market.store.digests(["open-ana"])
    assert found.deposits == {("simulated-faucet", "ana")}
    assert {key: row.undelivered for key, row in found.deliveries.items()} == {(CONTRACT, 1): 7, (CONTRACT, 0): 7}


async def test_a_position_lasts_until_its_delivery_is_settled(
    pool: asyncpg.Pool, store: PostgresStore, batches: list[Batch]
) -> None:
    """As members read it: hours held and owed, in the hour and after it, and none once all of it is paid."""
    market = Market("ana bob")
    reads = Reads(database := Database(pool), Classes(database))
    market.trade("ana sells 2 to bob at 2.00")
    seen = []
    for step in (lambda: None, market.end_hour, lambda: market.deliver("all", 7)):
        step()
        await store_all(store, batches)
        found = [await reads.positions(market.numbers[name]) for name in ("ana", "bob")]
        seen.append([[(each.phase, each.held, each.owed) for each in positions] for positions in found])
    assert seen == [
        [[("forward", 0, 2)], [("forward", 2, 0)]],
        [[("ended", 0, 2)], [("ended", 2, 0)]],
        [[], []],
    ]


async def test_no_request_stops_the_store(pool: asyncpg.Pool, store: PostgresStore, batches: list[Batch]) -> None:
    """Odd numbers and texts in every kind of request: refused or stored, and never an error of the database."""
    market = Market("ana", money="1.00")
    for number in range(300):
        request = _example(anything, seed=number)
        market.tell(msgspec.msgpack.encode(request))
    market.carry()
    await store_all(store, batches)
    assert await pool.fetchval("SELECT count(*) FROM settlement.requests WHERE state = 'refused'") > 30
    assert await pool.fetchval("SELECT count(*) FROM settlement.refusals") > 30


def _example(strategy, *, seed: int):
    """One drawn value; hypothesis's own `example` is not for tests."""
    from hypothesis import given, settings
    from hypothesis import seed as seeded

    found = []

    @seeded(seed)
    @settings(max_examples=3, database=None, deadline=None)
    @given(strategy)
    def draw(value) -> None:
        found.append(value)

    draw()
    return found[-1]


async def test_each_service_has_its_role(pool: asyncpg.Pool, store: PostgresStore, batches: list[Batch]) -> None:
    """Settlement's role can do all that settlement does, and not change postings; gateways read; the desk sees nothing."""
    market = Market("ana bob", shards=2)
    market.trade("ana sells 2 to bob at 2.00")
    market.end_hour()
    market.deliver("all", 7)
    await pool.execute(ROLES.read_text())
    await store._connection.execute("SET ROLE hourbook_settlement")
    await store_all(store, batches)
    await store.recall(Recall(["x"], [("x", "x")], [(1, 1)]))
    async with pool.acquire() as db:
        await db.execute("SET ROLE hourbook_settlement")
        for statement in ("UPDATE settlement.postings SET amount = 1", "DELETE FROM settlement.entries"):
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await db.execute(statement)
        await db.execute("SET ROLE hourbook_gateway")
        assert await db.fetchval("SELECT count(*) FROM settlement.postings") > 0
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await db.execute("UPDATE settlement.balances SET amount = 0")
        for role in ("hourbook_market_maker", "hourbook_supply", "hourbook_matching"):
            await db.execute(f"SET ROLE {role}")
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await db.fetch("SELECT * FROM settlement.titles")
        await db.execute("RESET ROLE")


async def test_money_in_transit_survives_a_restart(store: PostgresStore, batches: list[Batch]) -> None:
    """M7: the message and its money are stored together; a restart finds both."""
    market = Market("ana", money="0.00")
    market.ask(rq.Deposit("d", 1, 9, "bank", "r"))
    market.tell(msgspec.msgpack.encode(rq.ToTrading("t", 1, 0, 9)))
    await store_all(store, batches)
    state = State(1, await store.load())
    assert state.ledger.balance(TRANSIT, 0, 1) == 9
    assert list(state.shards[0].unconfirmed) == [state.shards[0].outbox]
    assert state.waiting_for == {"t": 1}
    assert state.accounts[1].role == Role.PROVIDER
