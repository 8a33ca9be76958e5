"""Migrations run once, whole and in order; a lease has one holder and epochs that only rise."""

import asyncio
import secrets
from collections.abc import AsyncIterator
from pathlib import Path

import asyncpg
import pytest

from services.runtime.errors import Halt
from services.runtime.lease import LeaseAway, PostgresLease
from services.runtime.postgres import migrate, migrate_runtime, open_pool


@pytest.fixture
async def pool(database: str) -> AsyncIterator[asyncpg.Pool]:
    opened = await open_pool(database)
    yield opened
    await opened.close()


def write(folder: Path, **files: str) -> Path:
    for name, text in files.items():
        (folder / f"{name.removeprefix('m')}.sql").write_text(text)
    return folder


async def test_migrations_run_once_and_in_order(pool: asyncpg.Pool, tmp_path: Path) -> None:
    """Also when several processes start at the same moment."""
    write(tmp_path, m001_first="CREATE TABLE room.a (n int)", m002_second="INSERT INTO room.a VALUES (1)")
    assert sorted(await asyncio.gather(*(migrate(pool, "room", tmp_path) for _ in range(3)))) == [0, 0, 2]
    write(tmp_path, m003_third="INSERT INTO room.a VALUES (2)")
    assert await migrate(pool, "room", tmp_path) == 1
    assert await migrate(pool, "room", tmp_path) == 0
    assert await pool.fetchval("SELECT array_agg(n ORDER BY n) FROM room.a") == [1, 2]


async def test_a_migration_that_fails_leaves_nothing(pool: asyncpg.Pool, tmp_path: Path) -> None:
    """Neither its first statement nor its number."""
    write(tmp_path, m001_first="CREATE TABLE room.a (n int); SELECT 1 / 0")
    with pytest.raises(asyncpg.DivisionByZeroError):
        await migrate(pool, "room", tmp_path)
    write(tmp_path, m001_first="CREATE TABLE room.a (n int)")
    assert await migrate(pool, "room", tmp_path) == 1


async def test_where_all_is_applied_a_role_that_may_create_nothing_is_enough(
    pool: asyncpg.Pool, tmp_path: Path
) -> None:
    """A service starts with its own role, which reads what was applied; what is new takes an administrator."""
    role = f"r{secrets.token_hex(4)}"
    write(tmp_path, m001_first="CREATE TABLE room.a (n int)")
    await migrate(pool, "room", tmp_path)
    await pool.execute(
        f"CREATE ROLE {role} LOGIN PASSWORD 'sesame'; GRANT USAGE ON SCHEMA runtime TO {role};"
        f" GRANT SELECT ON runtime.migrations TO {role}"
    )
    own = await asyncpg.create_pool(**await _as(pool, role, "sesame"), min_size=1, max_size=1)
    try:
        assert await migrate(own, "room", tmp_path) == 0
        write(tmp_path, m002_second="SELECT 1")
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await migrate(own, "room", tmp_path)
    finally:
        await own.close()
        await pool.execute(f"DROP OWNED BY {role}; DROP ROLE {role}")


async def _as(pool: asyncpg.Pool, user: str, password: str) -> dict[str, object]:
    """Where the pool's database is, for another user."""
    row = await pool.fetchrow(
        "SELECT inet_server_addr() AS host, inet_server_port() AS port, current_database() AS name"
    )
    return {"host": str(row["host"]), "port": row["port"], "database": row["name"], "user": user, "password": password}


async def test_a_query_is_one_round_trip(pool: asyncpg.Pool) -> None:
    """Nothing is asked of the database when its connection goes back to the pool."""
    asked: list[str] = []
    connection = await pool.acquire()
    connection.add_query_logger(lambda record: asked.append(record.query))
    await connection.fetchval("SELECT 1")
    await pool.release(connection)
    assert asked == ["SELECT 1"]


async def test_what_was_begun_and_not_ended_is_rolled_back(pool: asyncpg.Pool) -> None:
    """The next user of the connection does not find himself in somebody else's transaction."""
    asyncio.get_running_loop().set_exception_handler(lambda _loop, _context: None)  # asyncpg complains there
    connection = await pool.acquire()
    await connection.execute("CREATE TABLE kept (n int)")
    await connection.execute("BEGIN; INSERT INTO kept VALUES (1)")
    await pool.release(connection)
    assert await pool.fetchval("SELECT count(*) FROM kept") == 0
    assert await pool.fetchval("SELECT pg_current_xact_id_if_assigned()") is None


async def test_what_was_applied_never_changes(pool: asyncpg.Pool, tmp_path: Path) -> None:
    """A changed file, a hole in the numbers and a database of a newer build are refused."""
    write(tmp_path, m001_first="CREATE TABLE room.a (n int)", m002_second="SELECT 1")
    await migrate(pool, "room", tmp_path)
    write(tmp_path, m001_first="CREATE TABLE room.a (n bigint)")
    with pytest.raises(Halt, match=r"001_first\.sql of room was changed"):
        await migrate(pool, "room", tmp_path)
    write(tmp_path, m001_first="CREATE TABLE room.a (n int)", m004_fourth="SELECT 1")
    with pytest.raises(Halt, match=r"004_fourth\.sql.* wanted is 003"):
        await migrate(pool, "room", tmp_path)
    for name in ("002_second.sql", "004_fourth.sql"):
        (tmp_path / name).unlink()
    with pytest.raises(Halt, match="2 migrations of room, this build knows 1"):
        await migrate(pool, "room", tmp_path)


async def test_one_holder_at_a_time_and_epochs_only_rise(pool: asyncpg.Pool) -> None:
    """Given up, run out, or asked for again by its holder: each time a new epoch."""
    await migrate_runtime(pool)
    lease = PostgresLease(pool)
    assert await lease.acquire("m", "ana", 60_000) == 1
    assert await lease.acquire("m", "bert", 60_000) is None
    assert await lease.acquire("n", "bert", 60_000) == 1
    assert await lease.acquire("m", "ana", 60_000) == 2
    assert not await lease.renew("m", "ana", 1, 60_000)
    assert not await lease.renew("m", "bert", 2, 60_000)
    assert await lease.renew("m", "ana", 2, 1)
    await asyncio.sleep(0.05)
    assert await lease.acquire("m", "bert", 60_000) == 3
    await lease.release("m", "ana", 2)
    assert await lease.acquire("m", "carl", 60_000) is None
    await lease.release("m", "bert", 3)
    assert await lease.acquire("m", "carl", 60_000) == 4


async def test_of_many_who_ask_at_once_one_gets_it(pool: asyncpg.Pool) -> None:
    """The row decides."""
    await migrate_runtime(pool)
    lease = PostgresLease(pool)
    epochs = await asyncio.gather(*(lease.acquire("m", f"p{n}", 60_000) for n in range(20)))
    assert [epoch for epoch in epochs if epoch is not None] == [1]


async def test_an_epoch_is_above_what_the_log_has_seen(pool: asyncpg.Pool) -> None:
    """A database restored from an older copy must not hand out an epoch a second time."""
    await migrate_runtime(pool)
    lease = PostgresLease(pool)
    assert await lease.acquire("m", "ana", 1) == 1
    await asyncio.sleep(0.05)
    assert await lease.acquire("m", "bert", 60_000, above=41) == 42


async def test_a_database_that_is_away_is_said_so_and_soon(own_postgres) -> None:
    """An active writer asks between two batches: it must not hang."""
    with own_postgres:
        pool = await open_pool(own_postgres.create_database("d"))
        await migrate_runtime(pool)
        lease = PostgresLease(pool)
        assert await lease.acquire("m", "ana", 60_000) == 1
        own_postgres.kill9()
        began = asyncio.get_running_loop().time()
        with pytest.raises(LeaseAway):
            await lease.renew("m", "ana", 1, 60_000)
        assert asyncio.get_running_loop().time() - began < 2
        own_postgres.start()
        assert await lease.renew("m", "ana", 1, 60_000)
        pool.terminate()
