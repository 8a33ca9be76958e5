"""The log says one thing, our books another: settlement stops before anything is settled on it."""

from __future__ import annotations

import msgspec
import pytest

from schemas import commands as cmd
from schemas import events as ev
from schemas.commands import Side, Tif
from schemas.events import Event, Filled
from schemas.ids import contract_of
from schemas.units import MS_PER_HOUR
from services.settlement.ledger import Contradiction
from tests.settlement.people import CONTRACT, HOUR, Market, table

replace = msgspec.structs.replace


def bids(market: Market, name: str, qty: int, price: int) -> list[Event]:
    """What the engine says to a bid, not settled."""
    market.stamps[0] += 1
    engine = market.engines[0]
    order = cmd.PlaceOrder(
        market.numbers[name], CONTRACT, Side.BUY, qty, price, Tif.GTC, 0, "", engine.time_ms + 60_000
    )
    return engine.apply(market._offset("commands-0"), market.stamps[0], (order,))


@pytest.fixture
def market() -> Market:
    """ana owes bob 3 at 2.00 (title 1); bob offers 2 of them at 2.50, and cid owes nothing yet."""
    market = Market("ana bob cid")
    market.trade("ana sells 3 to bob at 2.00")
    market.order("bob", Side.SELL, 2, 2_500_000)
    return market


@pytest.mark.parametrize(
    "other",
    [
        {"notional": 1},
        {"buyer_fee": 1},
        {"seller_fee": 0},
        {"buyer": 1},
        {"seller": 1},
        {"maker_leaves": 1},
        {"taker_leaves": 1},
        {"taker_side": 2},
        {"taker_order": 99},
        {"maker_order": 99},
        {"contract": 5},
        {"qty": 1},
        {"minutes": 59},
        {"moves": ()},
    ],
)
def test_a_fill_that_does_not_follow_from_its_orders(market: Market, other: dict[str, int]) -> None:
    said = [replace(one, **other) if isinstance(one, Filled) else one for one in bids(market, "cid", 2, 2_500_000)]
    with pytest.raises(Contradiction):
        market.settle(said)


@pytest.mark.parametrize(
    "other",
    [
        {"source": 9},
        {"source": 0},
        {"title": 1},
        {"qty": 1},
        {"qty": 3},
        {"net": 1},
        {"cost": 5_000_001},
        {"released_seller": 0},
        {"closes": 1, "closed": 3},
        {"closes": 2, "closed": 2},
        {"closes": 7, "closed": 7},
    ],
)
def test_a_move_with_another_number_than_ours(market: Market, other: dict[str, int]) -> None:
    said = bids(market, "cid", 2, 2_500_000)
    (move,) = said[1].moves  # type: ignore[union-attr]
    assert (move.source, move.title, move.qty, move.released_seller) == (1, 2, 2, 4_000_000)
    with pytest.raises(Contradiction):
        market.settle([said[0], replace(said[1], moves=(replace(move, **other),))])


def test_a_release_to_the_buyer_that_is_not_ours(market: Market) -> None:
    said = bids(market, "ana", 2, 2_500_000)
    (move,) = said[1].moves  # type: ignore[union-attr]
    assert move.closes == move.title == 2, "she buys her own promise back"
    with pytest.raises(Contradiction):
        market.settle([said[0], replace(said[1], moves=(replace(move, released_buyer=0),))])


@pytest.mark.parametrize(
    "said",
    [
        ev.OrderCancelled(99, 1, CONTRACT, 2, 1),
        ev.Credited(0, 99, 1, 5, 5),
        ev.OutboxRejected(0, 1, 1, 2),
        ev.TitleEnded(CONTRACT, 1, 1, 2, 1, 3, 60, 0, 0, 0),
        ev.TitleEnded(CONTRACT, 9, 1, 2, 1, 3, 60, 0, 0, 0),
        ev.TitleCovered(CONTRACT, 1, 2, 3, 1),
        ev.TitleCovered(CONTRACT, 1, 1, 2, 1),
        ev.TitleCovered(CONTRACT, 1, 1, 3, 2),
        ev.HourEnded(CONTRACT, 1, 6_000_000, 0),
        ev.GateClosed(5),
        ev.RunningClosed(5),
        ev.ContractListed(contract_of(9, HOUR)),
        ev.StateSet(0, 1, 9, 0, 2, ""),
        ev.StateSet(0, 1, 1, 5, 2, ""),
        ev.BlockFilled(1, 1, 1, HOUR, 1, 1, 0, 5),
        ev.CashCorrected(0, 1, 1, 1, 2, 5, 1, ""),
        ev.CashCorrected(0, 1, 2, 1, 1, 5, 1, ""),
        ev.CashCorrected(0, 1, 2, 1, 9, 5, 1, ""),
    ],
)
def test_an_event_about_what_is_not_here(market: Market, said: Event) -> None:
    with pytest.raises(Contradiction):
        market.settle([said])


@pytest.mark.parametrize("other", [{"amount": 1}, {"account": 2}, {"balance": 1}])
def test_a_confirmation_of_something_else(market: Market, other: dict[str, int]) -> None:
    from schemas import requests as rq

    market.ask(rq.Deposit("d", 1, 5, "bank", "ref"))
    market.tell(msgspec.msgpack.encode(rq.ToTrading("t", 1, 0, 5)))
    number = market.state.shards[0].outbox
    with pytest.raises(Contradiction):
        market.settle([replace(ev.Credited(0, number, 1, 5, 1_000_000_005), **other)])


@pytest.mark.parametrize(
    ("kind", "other"),
    [
        (ev.TitleEnded, {"escrow": 1}),
        (ev.TitleEnded, {"holder": 1}),
        (ev.HourEnded, {"escrow": 1}),
        (ev.HourEnded, {"titles": 2}),
        (ev.HourEnded, {"collateral": 1}),
    ],
)
def test_an_end_that_is_not_ours(market: Market, kind: type, other: dict[str, int]) -> None:
    market.stamps[0] = (HOUR + 1) * MS_PER_HOUR
    said = market.engines[0].apply(market._offset("commands-0"), market.stamps[0], (cmd.Tick(market.stamps[0]),))
    assert any(isinstance(one, kind) for one in said)
    with pytest.raises(Contradiction):
        market.settle(
            [replace(one, **other) if isinstance(one, kind) and one.contract == CONTRACT else one for one in said]
        )


def test_what_the_log_really_said_is_settled(market: Market) -> None:
    """The tests above change one number each of this: of ana's title, 2 go on to cid, and bob's gain waits for delivery."""
    market.settle(bids(market, "cid", 2, 2_500_000))
    assert market.titles() == table("""
        title | obligor | holder | qty | escrow | proceeds | gains     | fees  | cost | losses
        1     | ana     | bob    | 1   | 2.00   | 1.99     |           | 0.01  | 2.00 |
        2     | ana     | cid    | 2   | 5.00   | 3.98     | bob 0.975 | 0.045 | 5.00 |
    """)
