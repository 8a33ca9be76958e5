"""What the private feed knows of accounts equals the engine's own, after every output."""

from __future__ import annotations

from collections import Counter

from services.market_data.hub import Hub
from tests.market_data.flow import Flow

DAYS_FIXED, DAYS_OF_CHANCE, STEPS = 8, 4, 250
WANTED = {
    "BlockFilled", "BuyIn", "BuyInFailed", "BackingCut", "CashCorrected", "CollateralMoved", "OrderAmended", "QuotesPut",
    "TitleCovered", "TitleEnded", "RunningClosed",
}  # fmt: skip


def test_money_hours_and_orders_are_the_engines_after_every_output(seed: int) -> None:
    said: Counter[str] = Counter()
    for day in range(DAYS_FIXED):
        said.update(_lived_through(Flow(f"fixed/holdings/{day}")))
    for day in range(DAYS_OF_CHANCE):
        assert _lived_through(Flow(f"{seed}/holdings/{day}"))
    print(dict(said))
    assert not WANTED - set(said)
    assert said["Filled"] > 300


def _lived_through(flow: Flow) -> dict[str, int]:
    hub = Hub(1, first_seq=1_000, feed_key=bytes(32))
    holdings = hub.holdings[0]
    for record in flow.day(STEPS):
        hub.take(record)
        if not record.last:
            continue
        engine = flow.engine
        accounts = holdings.accounts
        assert {n: a.balance for n, a in accounts.items()} == engine.balances(), record
        assert {n: a.holds for n, a in accounts.items()} == engine.holds(), record
        assert {n: a.collateral for n, a in accounts.items()} == engine.collaterals(), record
        ours = {
            (number, contract): (held + running_held, owed + running_owed)
            for number, account in accounts.items()
            for contract, position in account.positions.items()
            for held, owed, running_held, running_owed in [position.counts()]
            if any(position.counts())
        }
        assert ours == {key: pair for key, pair in engine.positions().items() if any(pair)}, record
        open_orders = {
            (o.order, o.account, o.contract, o.side, o.leaves, o.price)
            for a in accounts.values()
            for o in a.orders.values()
        }
        assert open_orders == set(engine.open_orders()), record
    assert not any(order for account in holdings.accounts.values() for order in account.orders.values())
    return flow.said
