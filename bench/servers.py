"""Apache Kafka and Postgres for one bench: started once, used by every side's process, gone afterwards."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from services.runtime.infra import ApacheKafka, LocalPostgres, any_postgres, open_folder

_KAFKA, _PREFIX, _DSN, _HOME = "BENCH_KAFKA", "BENCH_PREFIX", "BENCH_POSTGRES", "BENCH_HOME"


class Given(NamedTuple):
    """What one side's process finds in its environment."""

    bootstrap: str
    prefix: str
    """Of its topics: no other run sees them."""
    dsn: str
    """An empty database."""
    home: Path
    """A folder for logs and snapshots."""

    @classmethod
    def from_environment(cls) -> Given:
        return cls(os.environ[_KAFKA], os.environ[_PREFIX], os.environ[_DSN], Path(os.environ[_HOME]))


class Servers:
    """Running; broker without forced flush (as in a cluster, where replicas survive a power cut), Postgres with fsync."""

    def __init__(self, kafka: ApacheKafka, postgres: LocalPostgres, home: Path) -> None:
        self._kafka = kafka
        self._postgres = postgres
        self._home = home

    def pids(self) -> dict[str, int]:
        """Their processes."""
        return {"Kafka": self._kafka.pid, "Postgres": self._postgres.pid}

    def environment(self) -> Mapping[str, str]:
        """Of one side's process: everything of its own."""
        name = f"b{secrets.token_hex(4)}"
        home = self._home / name
        home.mkdir()
        return {
            **os.environ,
            _KAFKA: self._kafka.bootstrap,
            _PREFIX: f"{name}-",
            _DSN: self._postgres.create_database(name),
            _HOME: str(home),
        }

    def enter(self) -> tuple[dict[str, str], Given]:
        """This process goes on as one side's; (its environment, what it finds there)."""
        environment = dict(self.environment())
        os.environ.update(environment)
        return environment, Given.from_environment()


@contextmanager
def servers() -> Iterator[Servers]:
    """Raises SystemExit where this machine has no Apache Kafka: another broker would give another figure."""
    missing = ApacheKafka.missing()
    if missing:
        raise SystemExit(f"no figure without Apache Kafka: {missing}")
    with open_folder() as home, ApacheKafka(home / "kafka") as kafka, any_postgres()(home / "postgres") as postgres:
        yield Servers(kafka, postgres, home)
