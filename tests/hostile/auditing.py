"""What must be so of a running exchange after whatever was done to it: its books are clean, and no process has begun anew."""

from __future__ import annotations

import asyncio

import services.audit.__main__ as audit
from services.runtime.config import Settings
from tests.gateway.exchange import Exchange


def audited(exchange: Exchange) -> list[str]:
    """Every breach of an invariant. Asserts that there was something to look at."""
    exchange.settled()
    settings = Settings.from_environment(exchange.stack.environment(), needs=("kafka", "postgres", "shards"))
    found = asyncio.run(audit.run(settings))
    assert sum(finding.looked_at for finding in found) > 1_000
    return [*found.stopped, *(f"{finding.name}: {breach}" for finding in found for breach in finding.breaches)]


def processes(exchange: Exchange) -> dict[str, int]:
    """Name → process id. The same again: none has ended in between, and was started anew."""
    exchange.supervisor.poll()
    return {program.name: exchange.supervisor.pid(program.name) for program in exchange.stack.programs()}
