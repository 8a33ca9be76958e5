"""Settlement's messages are numbered without a hole: each is done once, whatever is sent twice or out of turn."""

from __future__ import annotations

import pytest

from schemas import commands as cmd
from schemas import events as ev
from schemas.commands import Fees, OutboxCommand, Role
from schemas.events import Code
from tests.matching.market import CLASS, HOUR_NOW, Market, lines


def opened() -> Market:
    """Ana and Bert are there."""
    return Market.given(money={"ana": "10.00", "bert": "10.00"})


def every_kind(market: Market, outbox: int) -> list[OutboxCommand]:
    """One message of each kind, all with this number."""
    ana, bert = market.account("ana"), market.account("bert")
    return [
        cmd.SetAccount(outbox, bert, bert, Role.PROVIDER, 0),
        cmd.Credit(outbox, ana, 5),
        cmd.Sweep(outbox, ana, 5),
        cmd.SetBacking(outbox, bert, CLASS, (market.hour,), 1, 7, 0, 99),
        cmd.SetClass(outbox, 9, "NEW", 1, 1, 5, Fees(), first_hour=HOUR_NOW + 1),
    ]


@pytest.mark.parametrize("kind", range(5))
def test_a_message_that_was_done_is_passed_over_when_it_comes_again(kind: int) -> None:
    market = opened()
    message = every_kind(market, market.outbox())[kind]
    (done, *_) = market.tell(message)
    assert not isinstance(done, (ev.OutboxSkipped, ev.OutboxRejected))
    before = market.engine.balances()

    assert market.tell(message) == [ev.OutboxSkipped(0, message.outbox, message.outbox + 1)]

    assert market.engine.balances() == before


@pytest.mark.parametrize("kind", range(5))
@pytest.mark.parametrize("ahead", [1, 5, 2**62])
def test_a_message_that_comes_too_early_is_passed_over_and_done_in_its_turn(kind: int, ahead: int) -> None:
    market = opened()
    expected = market.outbox()
    early = every_kind(market, expected + ahead)[kind]

    assert market.tell(early) == [ev.OutboxSkipped(0, expected + ahead, expected)]

    (done, *_) = market.tell(every_kind(market, expected)[kind])
    assert not isinstance(done, (ev.OutboxSkipped, ev.OutboxRejected))


@pytest.mark.parametrize("outbox", [0, -1, -(2**63)])
def test_numbers_begin_with_one(outbox: int) -> None:
    market = Market.given()
    expected = market.outbox()

    assert market.tell(cmd.Credit(outbox, 1, 5)) == [ev.OutboxSkipped(0, outbox, expected)]


def test_all_kinds_count_in_one_row() -> None:
    market = opened()
    first = market.outbox()
    for message in every_kind(market, 0):
        market.tell(type(message)(market.outbox(), *(getattr(message, f) for f in message.__struct_fields__[1:])))

    assert market.outbox() == first + 5


def test_a_message_that_cannot_be_done_uses_its_number_up() -> None:
    """Settlement hears why, and goes on with the next; the money of a refused credit goes back to the wallet."""
    market = Market.given()
    number = market.outbox()

    refused = market.tell(cmd.Credit(number, 77, 5))
    again = market.tell(cmd.Credit(number, 77, 5))

    assert refused == [ev.OutboxRejected(0, number, 77, Code.UNKNOWN_ACCOUNT)]
    assert again == [ev.OutboxSkipped(0, number, number + 1)]


def test_a_gap_in_a_frame_stops_nothing_but_what_comes_too_early() -> None:
    """Three messages of which the second was lost: the third waits for its number, members' orders do not."""
    market = opened()
    ana, number = market.account("ana"), market.outbox()
    order = market.order("ana", cmd.Side.BUY, 1, "2.00")

    market.send().tell(cmd.Credit(number, ana, 1_000_000), cmd.Credit(number + 2, ana, 3_000_000), order)
    market.tell(cmd.Credit(number + 1, ana, 2_000_000), cmd.Credit(number + 2, ana, 3_000_000))

    assert market.said() == lines(f"""
        ana is given 1.00
        message {number + 2} is passed over: {number + 1} is the next
        ana bids 1 at 2.00
        ana is given 2.00
        ana is given 3.00
    """)
