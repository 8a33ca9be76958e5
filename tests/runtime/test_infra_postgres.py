"""The machine's Postgres and the wheel's: they answer, they demand a password, they survive a crash."""

from pathlib import Path

import asyncpg
import pytest

from services.runtime.infra import LocalPostgres, ServerFailed, WheelPostgres
from tests.conftest import Skip


@pytest.mark.postgres
@pytest.mark.parametrize("kind", [LocalPostgres, WheelPostgres])
async def test_what_postgres_committed_survives_a_crash(kind: type[LocalPostgres], scratch: Path) -> None:
    """Killed without a word, it comes back on the same port; then another process opens the same folder."""
    if kind.missing() is not None:
        pytest.skip(Skip.NO_POSTGRES)
    home = scratch / "postgres"

    with kind(home, fsync=False) as server:
        await execute(server.dsn, "CREATE TABLE entries (id int); INSERT INTO entries VALUES (1)")
        server.kill9()
        assert not server.is_running
        server.start()
        await execute(server.dsn, "INSERT INTO entries VALUES (2)")

    with kind(home) as reopened:  # with fsync, as a durable exchange has it
        assert await fetch(reopened.dsn, "SELECT id FROM entries ORDER BY id") == [1, 2]
        assert await fetch(reopened.dsn, "SHOW fsync") == ["on"]


async def test_a_crash_with_open_sessions_does_not_keep_postgres_from_starting(own_postgres: LocalPostgres) -> None:
    """Sessions of the crashed server hold its shared memory for a moment; the next start waits for them."""
    own_postgres.start()
    sessions = [await asyncpg.connect(own_postgres.dsn) for _ in range(5)]

    own_postgres.kill9()
    own_postgres.start()

    assert await fetch(own_postgres.dsn, "SELECT 1") == [1]
    for session in sessions:
        session.terminate()


async def test_postgres_demands_its_password_and_listens_here_only(postgres: LocalPostgres) -> None:
    with pytest.raises(asyncpg.InvalidPasswordError):
        await asyncpg.connect(postgres.dsn.replace(":", ":not-", 2).replace("postgresql:not-", "postgresql:"))

    assert await fetch(postgres.dsn, "SHOW listen_addresses") == ["127.0.0.1"]
    assert await fetch(postgres.dsn, "SHOW unix_socket_directories") == [""]


async def test_each_test_has_a_database_of_its_own(postgres: LocalPostgres, database: str) -> None:
    """What one test writes no other can see, and dropping it does not wait for whoever forgot to leave."""
    await execute(database, "CREATE TABLE mine (id int)")
    other = postgres.create_database("other")
    forgotten = await asyncpg.connect(other)

    assert await fetch(other, "SELECT count(*) FROM pg_tables WHERE tablename = 'mine'") == [0]
    postgres.drop_database("other")

    assert await fetch(postgres.dsn, "SELECT count(*) FROM pg_database WHERE datname = 'other'") == [0]
    forgotten.terminate()


def test_a_wrong_statement_is_an_error_with_the_servers_words(postgres: LocalPostgres) -> None:
    with pytest.raises(ServerFailed, match="already exists"):
        postgres.create_database("postgres")


def test_a_folder_closed_to_the_servers_user_is_named(own_postgres: LocalPostgres, scratch: Path) -> None:
    """Only root starts it as another user; everybody else may close the folder and still enter."""
    scratch.chmod(0o700)

    if own_postgres.os_user is None:
        own_postgres.start()
        assert own_postgres.is_running
    else:
        with pytest.raises(ServerFailed, match=f"may not enter {scratch}"):
            own_postgres.start()


async def execute(dsn: str, statement: str) -> None:
    session = await asyncpg.connect(dsn)
    try:
        await session.execute(statement)
    finally:
        await session.close()


async def fetch(dsn: str, query: str) -> list:
    session = await asyncpg.connect(dsn)
    try:
        return [row[0] for row in await session.fetch(query)]
    finally:
        await session.close()
