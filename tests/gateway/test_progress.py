"""How far settlement is behind what was seen in the log, on Postgres with a table of cursors and nothing else."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Iterator

import asyncpg
import pytest

from services.gateway.database import Database
from services.gateway.errors import ApiError
from services.gateway.progress import Progress
from services.runtime.infra import LocalPostgres, free_port
from services.runtime.postgres import open_pool
from tests.runtime.wire import Wire

ANA, BERT = 1, 2


class Books:
    """Settlement's cursors, moved by hand, and a gateway's view of them."""

    def __init__(self, pool: asyncpg.Pool) -> None:
        self.pool = pool
        self.progress = Progress(Database(pool), 2)

    async def settle(self, shard: int, seq: int) -> None:
        await self.pool.execute(
            "INSERT INTO settlement.cursors VALUES ('events', $1, $2)"
            " ON CONFLICT (topic, partition) DO UPDATE SET seq = excluded.seq",
            shard,
            seq,
        )

    async def waits(self, account: int) -> bool:
        """Whether a read of the account is refused because it would show the past."""
        try:
            await self.progress.wait_for(account)
        except ApiError as error:
            return error.code == "not_settled_yet"
        return False


@pytest.fixture(scope="module")
def cursors(postgres: LocalPostgres) -> Iterator[str]:
    """A database with the one table."""
    name = f"t{secrets.token_hex(4)}"
    dsn = postgres.create_database(name)
    asyncio.run(_create(dsn))
    yield dsn
    postgres.drop_database(name)


async def _create(dsn: str) -> None:
    connection = await asyncpg.connect(dsn)
    await connection.execute("CREATE SCHEMA settlement")
    await connection.execute(
        "CREATE TABLE settlement.cursors (topic text, partition int, seq bigint, time_ms bigint DEFAULT 0,"
        " PRIMARY KEY (topic, partition))"
    )
    await connection.close()


@pytest.fixture
async def books(cursors: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Books]:
    monkeypatch.setattr("services.gateway.progress.READ_WAIT_S", 0.1)
    pool = await open_pool(cursors, size_max=2)
    await pool.execute("TRUNCATE settlement.cursors")
    yield Books(pool)
    await pool.close()


@pytest.fixture
def patient(books: Books, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: ARG001 # they would be impatient again
    """Of tests in which nobody is to give up, on the slowest machine."""
    monkeypatch.setattr("services.gateway.progress.READ_WAIT_S", 10)


async def test_whom_a_record_concerns_waits_for_it_and_nobody_else(books: Books) -> None:
    books.progress.saw(0, 5, [ANA])
    assert [await books.waits(who) for who in (ANA, BERT)] == [True, False]
    await books.settle(0, 4)
    assert await books.waits(ANA) is True
    await books.settle(0, 5)
    assert await books.waits(ANA) is False


async def test_each_shard_is_waited_for(books: Books) -> None:
    for shard in (0, 1):
        books.progress.saw(shard, 5, [ANA])
    await books.settle(0, 100)
    assert await books.waits(ANA) is True
    await books.settle(1, 5)
    assert await books.waits(ANA) is False


@pytest.mark.usefixtures("patient")
async def test_a_read_that_waits_goes_on_as_soon_as_it_may(books: Books) -> None:
    """And all that wait go on by one look."""
    books.progress.saw(0, 5, [ANA, BERT])
    reads = [asyncio.ensure_future(books.waits(who)) for who in (ANA, BERT, ANA)]
    await asyncio.sleep(0.02)
    assert not any(read.done() for read in reads)
    await books.settle(0, 5)
    assert await asyncio.gather(*reads) == [False] * 3


@pytest.mark.usefixtures("patient")
async def test_a_read_does_not_wait_for_what_comes_after_it(books: Books) -> None:
    """Else an account that always writes could never read."""
    books.progress.saw(0, 5, [ANA])
    read = asyncio.ensure_future(books.waits(ANA))
    await asyncio.sleep(0.01)
    books.progress.saw(0, 6, [ANA])
    await books.settle(0, 5)
    assert await read is False
    assert books.progress._touched == {ANA: {0: 6}}


async def test_what_was_there_before_concerns_everybody(books: Books) -> None:
    """A gateway that has just begun does not know whom."""
    books.progress.begin(0, 5)
    assert [await books.waits(who) for who in (ANA, BERT)] == [True, True]
    await books.settle(0, 5)
    assert [await books.waits(who) for who in (ANA, BERT)] == [False, False]


async def test_lag_is_the_age_of_the_oldest_record_that_is_not_settled(books: Books) -> None:
    progress = books.progress
    assert progress.lag_ms(0) == 0
    progress.saw(0, 1, [])
    await asyncio.sleep(0.08)
    progress.saw(0, 2, [])
    assert 80 <= progress.lag_ms(0) < 1_000
    assert progress.lag_ms(1) == 0
    await books.settle(0, 1)
    await progress.refresh()
    assert progress.lag_ms(0) < 80
    await books.settle(0, 2)
    await progress.refresh()
    assert progress.lag_ms(0) == 0


async def test_a_record_that_was_settled_before_it_was_seen_is_no_lag(books: Books) -> None:
    await books.settle(0, 9)
    await books.progress.refresh()
    books.progress.saw(0, 9, [ANA])
    assert books.progress.lag_ms(0) == 0
    assert await books.waits(ANA) is False


async def test_memory_stays_small_while_settlement_stands_still(books: Books) -> None:
    """Ten thousand records of two accounts are one moment and two accounts; once settled they are nothing."""
    for seq in range(1, 10_001):
        books.progress.saw(0, seq, [ANA, BERT])
    assert sum(map(len, books.progress._seen)) < 100
    assert len(books.progress._touched) == 2
    await books.settle(0, 10_000)
    await books.progress.refresh()
    assert sum(map(len, books.progress._seen)) == len(books.progress._touched) == 0


async def test_a_database_from_an_earlier_moment_owes_what_it_has_forgotten(books: Books) -> None:
    """Restored under a gateway that runs: nobody is told the past, and it counts as lag, until settlement has caught up."""
    await books.settle(0, 9)
    await books.settle(1, 4)
    await books.progress.refresh()
    books.progress.saw(0, 10, [ANA])
    await asyncio.sleep(0.08)
    await books.settle(0, 3)
    await books.progress.refresh()
    assert books.progress.settled == [3, 4]
    assert books.progress.lag_ms(0) >= 80
    assert [await books.waits(who) for who in (ANA, BERT)] == [True, True], "whom they concern nobody knows any more"
    await books.settle(0, 9)
    assert [await books.waits(who) for who in (ANA, BERT)] == [True, False]
    await books.settle(0, 10)
    await books.progress.refresh()
    assert books.progress.lag_ms(0) == 0
    assert await books.waits(ANA) is False


async def test_an_emptied_database_has_settled_nothing(books: Books) -> None:
    await books.settle(0, 9)
    await books.progress.refresh()
    await books.pool.execute("TRUNCATE settlement.cursors")
    await books.progress.refresh()
    assert books.progress.settled == [0, 0]
    assert await books.waits(ANA) is True


@pytest.mark.usefixtures("patient")
async def test_of_two_answers_under_way_at_once_the_newer_counts(books: Books) -> None:
    """Whichever comes first: settlement has not gone back because an answer was slow."""
    await books.settle(0, 3)
    slow, first = asyncio.Event(), True
    fetch = books.progress._database.fetch

    async def delayed(query: str) -> list[asyncpg.Record]:
        nonlocal first
        mine, first = first, False
        found = await fetch(query)
        if mine:
            await slow.wait()
        return found

    books.progress._database.fetch = delayed  # type: ignore[method-assign]
    late = asyncio.ensure_future(books.progress.refresh())
    await asyncio.sleep(0.05)
    await books.settle(0, 9)
    await books.progress.refresh()
    slow.set()
    await late
    assert books.progress.settled == [9, 0]


async def test_after_a_database_was_away_the_first_read_looks_how_far_it_is(cursors: str) -> None:
    """It may have come back as one from an earlier moment."""
    wire = Wire(cursors)
    async with wire as dsn:
        pool = await open_pool(dsn, size_max=2)
        await pool.execute("TRUNCATE settlement.cursors")
        books = Books(pool)
        await books.settle(0, 9)
        await books.progress.refresh()
        assert await books.waits(ANA) is False
        wire.die()
        await asyncio.sleep(0.05)
        with pytest.raises(ApiError) as away:
            await books.progress.refresh()
        assert away.value.code == "not_ready"
        wire.cut()
        await asyncio.sleep(0.05)
        await books.settle(0, 3)
        assert await books.waits(ANA) is True
        await pool.close()


# --- The database itself -------------------------------------------------------------------------------------


async def test_a_database_that_went_away_is_not_ready(books: Books) -> None:
    """Its sessions are ended under the pool."""
    database = Database(books.pool)
    await database.fetch("SELECT 1")
    await books.pool.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND datname = current_database()"
    )
    with pytest.raises(ApiError) as away:
        await database.fetchval("SELECT pg_terminate_backend(pg_backend_pid())")
    assert away.value.code == "not_ready"
    assert await database.fetchval("SELECT 7") == 7, "and the next connection works"


async def in_a_snapshot(database: Database, query: str) -> object:
    async with database.snapshot() as moment:
        return await moment.fetchval(query)


@pytest.mark.parametrize("how", ["a query", "a snapshot"])
async def test_a_database_that_dies_between_two_queries_is_not_ready(cursors: str, how: str) -> None:
    """Its last words are read before the end of the connection is: the library then speaks of an unexpected state."""
    wire = Wire(cursors)
    async with wire as dsn:
        pool = await open_pool(dsn, size_max=1)
        database = Database(pool)
        assert await database.fetchval("SELECT 7") == 7
        wire.die()
        await asyncio.sleep(0.05)
        with pytest.raises(ApiError) as away:
            await (database.fetchval("SELECT 7") if how == "a query" else in_a_snapshot(database, "SELECT 7"))
        assert away.value.code == "not_ready"
        wire.cut()
        await asyncio.sleep(0.05)
        assert await database.fetchval("SELECT 7") == 7
        await pool.close()


async def test_a_database_that_is_not_there_is_not_ready() -> None:
    pool = await asyncpg.create_pool(f"postgresql://nobody@127.0.0.1:{free_port()}/none", min_size=0)
    with pytest.raises(ApiError) as away:
        await Database(pool).fetchrow("SELECT 1")
    assert away.value.code == "not_ready"
    await pool.close()


async def test_a_query_that_takes_too_long_is_not_ready(books: Books, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("services.gateway.database.QUERY_S_MAX", 0.05)
    database = Database(books.pool)
    with pytest.raises(ApiError) as slow:
        await database.fetch("SELECT pg_sleep(5)")
    assert slow.value.code == "not_ready"
    async with database.snapshot() as moment:
        assert await moment.fetchval("SELECT 7") == 7


async def test_a_fault_of_the_query_is_a_fault(books: Books) -> None:
    """Calling it `not_ready` would have it tried for ever."""
    database = Database(books.pool)
    with pytest.raises(asyncpg.DataError):
        await database.fetch("SELECT $1::bigint", 10**30)
    with pytest.raises(asyncpg.UndefinedTableError):
        await database.fetch("SELECT * FROM settlement.nothing")


async def test_a_snapshot_sees_one_moment_and_changes_nothing(books: Books) -> None:
    database = Database(books.pool)
    await books.settle(0, 1)
    async with database.snapshot() as moment:
        first = await moment.fetchval("SELECT seq FROM settlement.cursors")
        await books.settle(0, 2)
        assert await moment.fetchval("SELECT seq FROM settlement.cursors") == first == 1
    with pytest.raises(asyncpg.ReadOnlySQLTransactionError):
        async with database.snapshot() as moment:
            await moment.execute("DELETE FROM settlement.cursors")
