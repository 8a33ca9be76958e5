"""R1 to R4: what the auditor sees in `rentals`, and what of it is wrong."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from schemas.commands import Fees, Side, Tif
from schemas.events import ClassSet, Event, Filled, OrderAccepted, ShardStarted
from schemas.ids import contract_of
from schemas.rentals_log import (
    OrderRefused,
    OrderSent,
    RentalChanged,
    RentalMade,
    RentalOver,
    RentalRecord,
    RentalStopped,
    RouterBegan,
    Terms,
)
from services.audit.rentals import CLOCKS_MS, Rentals
from services.audit.report import Findings

ANA, BERT = 21, 22
NAMES = ["R1", "R2", "R3", "R4"]
HOUR = 498_000
"""The first of a day."""
ONE, TWO = 1, 2
BUY, SELL = Side.BUY, Side.SELL
T0_MS = HOUR * 3_600_000
TERMS = Terms(("ONE.X",), 2, 3_000, 20_000, HOUR, 5, 3, "sell", "default", "")

Written = RentalRecord | tuple[int, RentalRecord]
"""A record, at the broker's time where that matters: seconds from T0."""
Said = tuple[int, list[Event]]


def made(rental: int = 1, account: int = ANA, **terms: Any) -> RentalMade:
    return RentalMade(1, T0_MS, rental, account, f"k{rental}", msgspec.structs.replace(TERMS, **terms))


def changed(**terms: Any) -> RentalChanged:
    return RentalChanged(1, T0_MS, 1, msgspec.structs.replace(TERMS, **terms))


def stopped(on_stop: str = "sell") -> RentalStopped:
    return RentalStopped(1, T0_MS, 1, on_stop)


def sent(number: int = 0, hour: int = 0, side: int = BUY, qty: int = 2, price: int = 3_000, **more: Any) -> OrderSent:
    rental, class_no = more.get("rental", 1), more.get("class_no", ONE)
    return OrderSent(
        more.get("epoch", 1), T0_MS, rental, number, contract_of(class_no, HOUR + hour), side, qty, price
    )  # fmt: skip


def refused(number: int = 0, code: str = "cannot_fill") -> OrderRefused:
    return OrderRefused(1, T0_MS, 1, number, code)


def accepted(order: int, record: OrderSent, *, account: int = ANA, **other: Any) -> OrderAccepted:
    """What was recorded, or something else."""
    of = {"contract": record.contract, "side": record.side, "qty": record.qty, "price": record.price} | other
    name = f"r{record.rental}-{record.number}"
    return OrderAccepted(
        0, order, account, of["contract"], of["side"], of["qty"], of["price"], Tif.FOK, 0, name, 0, 0
    )  # fmt: skip


def filled(order: int, record: OrderSent, qty: int = 2, price: int = 2_000, *, is_maker: bool = False) -> Filled:
    orders = (order, 999) if is_maker else (999, order)
    cash = qty * price
    return Filled(1, record.contract, price, qty, 60, BUY, *orders, 0, 0, 1, 2, cash, cash // 100, 0, ())


def bought(order: int, record: OrderSent, **other: Any) -> list[Event]:
    return [accepted(order, record, **other), filled(order, record, other.get("qty", 2))]


def market() -> list[Event]:
    rest = (1, 10, 2_000, Fees(0, 0, 0, 0), 168, 0, 0, 0, 0, 0, 0)
    return [
        ShardStarted(0, 0, 2, T0_MS, 60, sandbox=True),
        *(ClassSet(0, 1, class_no, name, *rest) for class_no, name in ((ONE, "ONE.X"), (TWO, "TWO.X"))),
    ]


def audited(records: list[Written], *said: list[Event] | Said) -> Findings:
    """`said`: events, a minute of the market after everything was recorded, or at another second of everybody's time."""
    found = Findings()
    rentals = Rentals(found)
    rentals.hear(T0_MS, market())
    for each in said:
        at_s, events = each if isinstance(each, tuple) else (1, each)
        rentals.hear(T0_MS + 60 * 1_000 * at_s, events)
    for offset, written in enumerate(records):
        at_s, record = written if isinstance(written, tuple) else (0, written)
        rentals.take(offset, T0_MS + 1_000 * at_s, msgspec.msgpack.encode(record))
    rentals.finish()
    return found


BID, NEXT = sent(), sent(1, 1)
ASK = sent(2, 1, SELL, price=1_500)


def test_a_rental_that_bought_and_was_sold_again_is_clean() -> None:
    found = audited(
        [made(), BID, NEXT, stopped(), ASK],
        bought(1, BID),
        bought(2, NEXT),
        [accepted(3, ASK), filled(3, ASK, is_maker=True)],
    )

    assert found.broken() == set()
    assert found.clean(NAMES)
    assert [found[name].looked_at for name in NAMES] == [4, 5, 8, 3]
    assert not any(found[name].unseen for name in NAMES)


def test_where_nothing_is_rented_there_is_nothing_to_look_at() -> None:
    found = audited([RouterBegan(1, T0_MS)])

    assert found.clean(NAMES)
    assert [found[name].looked_at for name in NAMES] == [0] * 4


def test_a_rental_that_has_bought_nothing_yet_is_no_failure() -> None:
    """Whatever it tried was refused."""
    assert audited([made(), BID, refused()]).clean(NAMES)


LATE = CLOCKS_MS // 1_000 + 2
"""Seconds after T0 at which a record is later than what was accepted in the first one, whatever clocks say."""
OTHER = sent(0, 2)
AGAIN = sent(0, price=2_500)

WRONG: dict[str, tuple[list[Written], list[list[Event] | Said], str]] = {
    "another contract than recorded": ([made(), BID], [[accepted(1, BID, contract=OTHER.contract)]], "R1"),
    "more than recorded": ([made(), BID], [[accepted(1, BID, qty=3)]], "R1"),
    "dearer than recorded": ([made(), BID], [[accepted(1, BID, price=3_010)]], "R1"),
    "sold cheaper than recorded": ([made(), stopped(), ASK], [[accepted(1, ASK, price=1_490)]], "R1"),
    "bought where a sale was recorded": ([made(), stopped(), ASK], [[accepted(1, ASK, side=BUY)]], "R1"),
    "not as the second try was recorded": ([made(), BID, refused(), AGAIN], [[accepted(1, BID, price=3_010)]], "R1"),
    "sent before it was recorded": ([made(), (LATE, BID)], [[accepted(1, BID)]], "R1"),
    "of a rental that was never made": ([BID], [], "R1"),
    "a rental made twice": ([made(), made()], [], "R1"),
    "an hour bought twice": ([made(), BID, sent(1)], [bought(1, BID), bought(2, sent(1))], "R2"),
    "an hour bought in two classes": (
        [made(classes=("ONE.X", "TWO.X")), BID, sent(1, class_no=TWO)],
        [bought(1, BID), bought(2, sent(1, class_no=TWO))], "R2",
    ),
    "one id accepted twice, a quarter of an hour apart": ([made(), BID], [bought(1, BID), (901, bought(2, BID))], "R2"),
    "an order for more GPUs than are wanted": ([made(), sent(qty=3)], [], "R2"),
    "bought again before it was sold": (
        [made(), BID, sent(1), stopped(), sent(2, 0, SELL)],
        [bought(1, BID), bought(2, sent(1)), (5, [accepted(3, sent(2, 0, SELL)), filled(3, BID, is_maker=True)])], "R2",
    ),
    "above max_price": ([made(), sent(price=3_010)], [], "R3"),
    "above a max_price that was lowered": ([made(), changed(max_price=2_000), BID], [], "R3"),
    "before its hours": ([made(from_hour=HOUR + 1), BID], [], "R3"),
    "after its hours": ([made(), sent(hour=5)], [], "R3"),
    "another class": ([made(), sent(class_no=TWO)], [], "R3"),
    "more than max_spend of a day": (
        [made(max_spend=8_079), BID, NEXT], [bought(1, BID), bought(2, NEXT)], "R3",
    ),
    "more than a max_spend that was lowered": (
        [made(), BID, changed(max_spend=8_079), NEXT], [bought(2, NEXT), bought(1, BID)], "R3",
    ),
    "bought after the stop": ([made(), stopped(), BID], [], "R4"),
    "bought after its end": ([made(), RentalOver(1, T0_MS, 1), BID], [], "R4"),
    "sold before the stop": ([made(), BID, sent(1, 0, SELL)], [bought(1, BID)], "R4"),
    "sold though its hours are to be kept": ([made(), stopped("keep"), ASK], [], "R4"),
}  # fmt: skip


@pytest.mark.parametrize("what", WRONG)
def test_what_is_wrong_is_named(what: str) -> None:
    records, said, name = WRONG[what]

    assert audited(records, *said).broken() == {name}


RIGHT: dict[str, tuple[list[Written], list[list[Event] | Said]]] = {
    "recorded and sent in one second, by clocks that differ": ([made(), (LATE - 2, BID)], [bought(1, BID)]),
    "cheaper and less than recorded": ([made(), BID], [[accepted(1, BID, qty=1, price=10)]]),
    "an old copy of an order that was tried again": ([made(), BID, refused(), (LATE, AGAIN)], [bought(1, BID)]),
    "a max_price that was raised": ([made(max_price=10), changed(), BID], []),
    "a max_price that was lowered later": ([made(), BID, changed(max_price=10)], [bought(1, BID)]),
    "no end, and no limit of a day": ([made(hours=0, max_spend=0), sent(hour=900)], [bought(1, sent(hour=900))]),
    "exactly max_spend": ([made(max_spend=8_080), BID, NEXT], [bought(1, BID), bought(2, NEXT)]),
    "another day": (
        [made(hours=0, max_spend=4_040), BID, sent(1, 24)], [bought(1, BID), bought(2, sent(1, 24))],
    ),
    "a limit of the day that was lowered later": ([made(), BID, changed(max_spend=1)], [bought(1, BID)]),
    "a purchase that was recorded before the stop": ([made(), BID, stopped()], [(900, bought(1, BID))]),
}  # fmt: skip


@pytest.mark.parametrize("what", RIGHT)
def test_what_is_right_is_clean(what: str) -> None:
    records, said = RIGHT[what]

    assert audited(records, *said).broken() == set()


HUGE = {"qty": 50, "price": 9_000}
OWN: dict[str, tuple[list[Written], list[list[Event] | Said]]] = {
    "a name that no rental has": ([made()], [[accepted(1, sent(rental=7), **HUGE)]]),
    "a number that was not recorded": ([made(), BID], [bought(1, BID), [accepted(2, sent(1), **HUGE)]]),
    "a stranger's": ([made(), BID], [bought(1, BID), bought(2, BID, account=BERT, **HUGE)]),
    "a name taken before it was recorded": (
        [made(), (LATE, BID), (LATE, refused(code="duplicate_client_id"))], [bought(1, BID, **HUGE)],
    ),
    "nearly what is recorded later": ([made(), (LATE, BID)], [bought(1, BID, price=2_990), bought(2, BID, qty=1)]),
    "a name that is free between two tries": (
        [made(), BID, refused(), (LATE, AGAIN), (LATE, refused(code="duplicate_client_id"))], [bought(1, BID, **HUGE)],
    ),
    "a name in another shard": (
        [made(), BID], [bought(1, BID), bought(2, BID, contract=contract_of(TWO, HOUR), **HUGE)],
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", OWN)
def test_a_member_s_own_order_of_such_a_name_is_no_fault(what: str) -> None:
    """Nor is it counted as the rental's."""
    records, said = OWN[what]

    assert audited(records, *said).broken() == set()


def test_a_shard_that_was_not_read_to_its_end_accuses_nobody() -> None:
    """What was recorded may have been accepted where nothing was looked at; an order that is unlike it, too."""
    found = Findings()
    found.stopped.append("shard 1 after seq 7: nothing after it was looked at")
    rentals = Rentals(found)
    rentals.hear(T0_MS, [*market(), accepted(1, BID, qty=3)])
    for offset, record in enumerate((made(), BID)):
        rentals.take(offset, T0_MS, msgspec.msgpack.encode(record))
    rentals.finish()

    assert found.broken() == set()


def test_what_cannot_be_read_is_named() -> None:
    found = Findings()
    Rentals(found).take(3, 0, b"\xc1")

    assert found["R1"].breaches[0].startswith("rentals offset 3 cannot be read")


def test_what_a_late_room_says_counts_for_nobody() -> None:
    """Its purchase above the limit, and its stop."""
    late = sent(epoch=0, price=9_000)
    found = audited([made(), late, RentalStopped(0, T0_MS, 1, "sell"), BID], bought(1, BID))

    assert found.broken() == set()
    assert audited([made(), late], bought(1, late)).broken() == set(), "not recorded: a member's own"
