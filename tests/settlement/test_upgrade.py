"""The tables of the second engine version on a real Postgres: an older exchange goes on in them, and every new row fits."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import asyncpg

from schemas import events as ev
from schemas import requests as rq
from schemas.commands import Ground, Role, Side, Tif
from schemas.events import QuoteOutcome
from services.runtime.postgres import migrate, migrate_runtime, open_pool
from services.settlement import rows
from services.settlement.__main__ import MIGRATIONS
from services.settlement.postgres_store import PostgresStore
from services.settlement.state import Batch, State
from tests.settlement import test_cover, test_running
from tests.settlement.people import CONTRACT, HOUR, Market, memory
from tests.settlement.told import BUY, SELL, Told


async def open_tables(dsn: str, folder: Path = MIGRATIONS) -> None:
    pool = await open_pool(dsn)
    await migrate_runtime(pool)
    await migrate(pool, "settlement", folder)
    await pool.close()


async def as_it_was(dsn: str, market: Market) -> None:
    """What the market's store holds, in the columns that the first migration made."""
    connection = await asyncpg.connect(dsn)
    await connection.set_type_codec("jsonb", schema="pg_catalog", encoder=json.dumps, decoder=json.loads)
    for kind in rows.ROWS:
        name, columns = kind.TABLE.name, kind.__struct_fields__
        there = await connection.fetch(
            "SELECT attname FROM pg_attribute WHERE attrelid = to_regclass($1) AND attnum > 0 ORDER BY attnum",
            f"settlement.{name}",
        )
        known = [columns.index(row["attname"]) for row in there]
        for row in market.store.rows[name].values():
            values = [row[place] for place in known]
            places = ", ".join(f"${place}" for place in range(1, len(values) + 1))
            await connection.execute(f"INSERT INTO settlement.{name} VALUES ({places})", *values)
    for key, amount in market.store.balances.items():
        await connection.execute("INSERT INTO settlement.balances VALUES ($1, $2, $3, $4, $5)", *key, amount)
    await connection.execute("UPDATE settlement.commits SET last = $1", market.store.commits)
    await connection.close()


async def test_an_exchange_of_the_first_version_goes_on(database: str, tmp_path: Path) -> None:
    """Nobody's order, hour or money is lost, classes get the collar that they always had, and the next trade is settled."""
    shutil.copy(MIGRATIONS / "001_tables.sql", tmp_path)
    market = Market("ana bob cid")
    market.trade("ana sells 3 to bob at 2.00")
    market.order("bob", Side.SELL, 2, 2_500_000)
    market.order("cid", Side.BUY, 1, 1_500_000)
    await open_tables(database, tmp_path)
    await as_it_was(database, market)

    await open_tables(database)
    store = PostgresStore(database)
    state = State(1, await store.load())

    assert memory(state) == memory(market.state)
    assert {(row.reference, row.collar_low, row.collar_high) for row in state.classes.values()} == {
        (2_000_000, 200, 20_000_000)
    }
    market.state = state
    market.order("ana", Side.SELL, 1, 1_500_000)
    assert market.titles()[-1][1:5] == ["ana", "cid", "1", "1.50"]
    store.close()


async def stored(database: str, batches: list[Batch]) -> State:
    """The batches in Postgres, and what it gives back."""
    await open_tables(database)
    store = PostgresStore(database)
    await store.load()
    for batch in batches:
        await store.commit(batch)
    await store.flush()
    loaded = State(1, await store.load())
    store.close()
    return loaded


async def rows_of(database: str, kind: type[rows.Row]) -> list[tuple[object, ...]]:
    connection = await asyncpg.connect(database)
    found = await connection.fetch(f"SELECT * FROM settlement.{kind.TABLE.name}")
    await connection.close()
    return sorted(map(tuple, found))


async def test_every_new_row_fits_its_table(database: str, batches: list[Batch]) -> None:
    """Blocks under way, quotes, a failed buy-in, a correction, procured machines, a running hour paid out."""
    told = Told("ana bob cid olga otto pia")
    told.open("mia", Role.MARKET_MAKER)
    told.back("ana", Ground.DECLARED, 10, hours=(HOUR, HOUR + 1))
    told.back("mia", Ground.PROMISED, 5, 4_100_000)
    ask, bid = told.order("mia", SELL, 3, 2_000_000), told.order("bob", BUY, 3, 2_000_000)
    told.say(told.fill(ask, bid, 3, 2_000_000, "bob", "mia", ground=Ground.PROMISED))
    told.ask(rq.Procure("p", told.numbers["mia"], 1, (HOUR + 1,), 2, 3_000_000, "simulated-cloud"))
    mia = told.numbers["mia"]
    first = told.id()
    told.say(ev.QuotesPut(0, mia, 1, 2**64 - 1, (QuoteOutcome(HOUR, first, 0, 0, 1_900_000, 5),)))
    told.say(ev.StateReached(1, HOUR, 2), ev.ReferenceMoved(0, 1, HOUR, 2_000_001, "index", 1_000_001, 4_000_002))
    told.order("bob", BUY, 1, 1_100_000, tif=Tif.GTD, expires_ms=2**64 - 1)
    told.say(ev.CashCorrected(0, told.numbers["olga"], told.numbers["otto"], mia, 1, 5, 1, "\x00 and more"))
    block = told.block("bob", BUY, 4, 2_000_000)
    ask = told.order("ana", SELL, 3, 2_000_000)
    told.say(told.fill(ask, block, 3, 2_000_000, "bob", "ana"), last=False)
    told.until(test_cover.DEADLINE, ev.BackingCut(CONTRACT, mia, 2, 2), ev.BuyInFailed(CONTRACT, mia, 3))

    loaded = await stored(database, batches)

    assert memory(loaded) == memory(told.state)
    for kind in (rows.Block, rows.Quotes, rows.BuyInFailure, rows.Correction, rows.Order, rows.Contract, rows.ClassRow):
        kept = sorted(told.store.rows[kind.TABLE.name].values())
        assert kept, kind
        assert await rows_of(database, kind) == kept, kind


async def test_a_running_hour_is_stored_and_paid_out(database: str, batches: list[Batch]) -> None:
    told = test_running.told.__wrapped__()
    test_running.running_day(told)
    told.deliver(19)
    loaded = await stored(database, batches)
    assert memory(loaded) == memory(told.state)
    assert await rows_of(database, rows.Title) == sorted(told.store.rows["titles"].values())


async def test_an_order_may_grow_and_shrink_for_ever(database: str, batches: list[Batch]) -> None:
    """Each time a million GPUs more have been asked for and cancelled: after 2,200 times no 32 bits hold that."""
    told = Told("ana")
    told.back("ana", Ground.DECLARED, 1_000_000)
    ask = told.order("ana", SELL, 1, 2_000_000)
    larger = ev.OrderAmended(0, 1, ask, 1_000_000, 2_000_000, False)
    smaller = ev.OrderAmended(0, 1, ask, 1, 2_000_000, True)
    told.say(*[larger, smaller] * 2_200)
    loaded = await stored(database, batches)
    (order,) = loaded.orders.values()
    assert (order.qty, order.leaves, order.cancelled) == (2_200 * 999_999 + 1, 1, 2_200 * 999_999)
    assert order.cancelled > 2**31
