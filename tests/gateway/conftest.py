"""exchange   Exchange   one for the session, as starting it takes seconds: each test brings its own people and its own hour"""

from __future__ import annotations

import secrets
from collections.abc import Iterator

import pytest

from services.runtime.infra import ApacheKafka, any_postgres, open_folder
from tests.gateway.exchange import Exchange, Member


@pytest.fixture(scope="session")
def exchange(kafka: ApacheKafka) -> Iterator[Exchange]:
    # A database server of its own: one of the tests crashes it.
    with open_folder() as home, any_postgres()(home / "postgres", fsync=False) as postgres:
        running = Exchange(kafka, postgres, home, f"door{secrets.token_hex(4)}-")
        try:
            running.open()
            yield running
        except BaseException:
            for log in sorted((home / "logs").glob("*.log")):
                print(f"--- {log.name}\n{log.read_text()[-2_000:]}")
            raise
        finally:
            running.close()


@pytest.fixture
def ana(exchange: Exchange) -> Member:
    """A member with 1,000 USD in her wallet."""
    return exchange.member()
