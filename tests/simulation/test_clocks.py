"""What a machine's clock says may be wrong, and be put right at a stroke: nobody's lease, patience or turn hangs on it."""

from __future__ import annotations

import pytest

from tests.simulation.bounds import bounds
from tests.simulation.exchange import Exchange
from tests.simulation.surroundings import surroundings

SEED = 31
SOME_MS = 20_000


def stands(exchange: Exchange) -> dict[str, tuple[object, object]]:
    """Process → (role, epoch)."""
    return {name: (said.values.get("role"), said.values.get("epoch")) for name, said in exchange.statuses.items()}


def go_on(exchange: Exchange, until_ms: int) -> None:
    while exchange.world.now_ms < until_ms or not exchange.has_opened():
        assert exchange.world.step()


@pytest.mark.parametrize("by_ms", [-600_000, 600_000])
def test_whoever_writes_goes_on_writing_when_all_clocks_are_set(by_ms: int) -> None:
    with surroundings(), bounds(SEED):
        exchange = Exchange(SEED)
        try:
            go_on(exchange, exchange.world.now_ms + SOME_MS)
            before = stands(exchange)
            for name, clock in exchange.clocks.items():
                clock.skew_ms += by_ms if name.startswith(("matching", "settlement")) else 0
            go_on(exchange, exchange.world.now_ms + SOME_MS)
            assert stands(exchange) == before
            assert sorted(role for role, _ in before.values() if role == "active") == ["active"] * 3
        finally:
            exchange.close()
