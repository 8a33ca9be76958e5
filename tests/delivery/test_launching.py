"""What a purchase begins with: said before its order is sent, found again by the order, and kept by the lease."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import asyncssh
import pytest

from schemas.commands import Ground, Side
from schemas.events import BlockAccepted, Event, Filled, HourEnded, LegOutcome, OrderAccepted, RangeAccepted, TitleMove
from schemas.ids import contract_of
from schemas.leases import HourTold, LaunchNamed, LaunchPut, LeaseRecord, LeaseServes
from schemas.rental import LaunchNaming
from services.delivery.launching import NAMED_MAX, launch_named
from services.delivery.market import Market
from services.delivery.refusals import Refused
from services.delivery.shell import public_key
from services.delivery.state import State
from tests.delivery.room import ANA, BERT, CARL, CLASS, HOUR, Room, moment


def launches(records: list[LeaseRecord]) -> list[tuple[int, str, list[int]]]:
    """(lease, what it begins with, its titles)."""
    return [
        (each.lease, each.launch, [served.title for served in each.titles])
        for each in records
        if isinstance(each, LeaseServes)
    ]


def put(room: Room, *names: str, account: int = ANA) -> None:
    room.take(*(LaunchPut(1, moment(-2), account, name, (), image=f"{name}.img") for name in names))


def asking(client_id: str = "a", launch: str = "train", hour: int = 0) -> LaunchNaming:
    return LaunchNaming(client_order_id=client_id, launch=launch, hour=HOUR + hour)


# --- Leases ---------------------------------------------------------------------------------------------------


def test_two_purchases_of_one_hour_with_two_specifications_are_two_leases_each_with_its_own() -> None:
    room = Room()
    room.machine(CARL, "a", 4)
    put(room, "train", "serve")
    one = room.sell(CARL, ANA, 0, 1, launch="train")
    two = room.sell(CARL, ANA, 0, 2, launch="serve")
    three = room.sell(CARL, ANA, 0, 1, launch="train")

    placed = launches(room.gate(0))

    assert {(launch, frozenset(titles)) for _, launch, titles in placed} == {
        ("train", frozenset({one, three})),
        ("serve", frozenset({two})),
    }
    images = {lease: room.state.leases[lease].launch for lease, _, _ in placed}
    assert {lease: found.image for lease, found in images.items() if found} == {
        lease: f"{launch}.img" for lease, launch, _ in placed
    }


def test_what_is_bought_in_the_running_hour_begins_with_what_its_order_named() -> None:
    room = Room()
    room.machine(CARL, "a", 2)
    put(room, "train")
    without = room.sell(CARL, ANA, 0, 1, minutes=40)
    named = room.sell(CARL, ANA, 0, 1, minutes=40, launch="train")

    placed = launches(room.place(0, moment(0, 20), [without, named]))

    assert {(launch, tuple(titles)) for _, launch, titles in placed} == {("default", (without,)), ("train", (named,))}


def test_a_lease_that_goes_on_keeps_what_it_began_with() -> None:
    room = Room()
    room.machine(CARL, "a", 1)
    put(room, "train", "serve")
    room.sell(CARL, ANA, 0, 1, launch="train")
    ((lease, *_),) = launches(room.gate(0))
    title = room.sell(CARL, ANA, 1, 1, launch="serve")

    assert launches(room.gate(1)) == [(lease, "train", [title])]
    assert room.state.leases[lease].launch_name == "train"


# --- From order to title ----------------------------------------------------------------------------------------


class Told:
    """A market that hears events, and a state in which Ana has named `train` under three ids for hour 2, and Bert nothing."""

    def __init__(self) -> None:
        self.state, self.market = State(), Market()
        for client_id in ("order", "range", "block"):
            self.state.take(LaunchNamed(1, moment(-1), ANA, client_id, "train", HOUR + 2))

    def hear(self, *events: Event) -> None:
        record: Any = SimpleNamespace(events=events)
        self.market.take(record, self.state)

    def order(self, number: int, client_id: str, *, account: int = ANA, side: Side = Side.BUY) -> OrderAccepted:
        return OrderAccepted(0, number, account, contract_of(CLASS, HOUR + 2), side, 1, 100, 1, 0, client_id, 0, 0)

    def fill(
        self,
        move: TitleMove,
        hour: int = 2,
        *,
        buyer: int = ANA,
        seller: int = CARL,
        maker: int,
        taker: int,
        side: Side,
    ) -> str:
        """What the title that lives on begins with."""
        contract = contract_of(CLASS, HOUR + hour)
        self.hear(Filled(1, contract, 100, 1, 60, side, maker, taker, 0, 0, buyer, seller, 100, 0, 0, (move,)))
        return self.market.titles.of[contract][move.closed or move.title].launch


def new(title: int) -> TitleMove:
    return TitleMove(0, title, Ground.DECLARED, 1, 100, 100, 0)


def test_orders_ranges_and_blocks_are_known_by_their_client_id_as_maker_and_as_taker() -> None:
    told = Told()
    terms = (ANA, CLASS)
    legs = (LegOutcome(0, 21), LegOutcome(1, 0, 13), LegOutcome(2, 23))
    hours = (HOUR, HOUR + 1, HOUR + 2)
    told.hear(
        told.order(11, "order"),
        told.order(12, "another"),
        told.order(13, "order", account=BERT),
        told.order(14, "order", side=Side.SELL),
        RangeAccepted(0, *terms, hours, Side.BUY, 1, 100, 1, 0, "range", 0, 0, legs),
        BlockAccepted(0, 31, *terms, HOUR, 3, Side.BUY, 1, 1, 100, 1, 0, "block", 0, 0),
    )

    assert told.fill(new(1), maker=9, taker=11, side=Side.BUY) == "train"
    assert told.fill(new(2), maker=11, taker=9, side=Side.SELL) == "train"
    assert told.fill(new(3), 0, maker=9, taker=21, side=Side.BUY) == "train"
    assert told.fill(new(4), maker=23, taker=9, side=Side.SELL) == "train"
    assert told.fill(new(5), 1, maker=9, taker=31, side=Side.BUY) == "train"
    assert told.fill(new(6), maker=9, taker=12, side=Side.BUY) == ""
    assert told.fill(new(7), buyer=BERT, maker=9, taker=13, side=Side.BUY) == ""
    assert told.fill(new(8), buyer=BERT, seller=ANA, maker=9, taker=14, side=Side.SELL) == ""


def test_a_title_that_passes_on_does_not_carry_it_and_a_piece_that_stays_does() -> None:
    told = Told()
    told.hear(told.order(11, "order"))
    whole = TitleMove(0, 1, Ground.DECLARED, 2, 200, 200, 0)
    assert told.fill(whole, maker=9, taker=11, side=Side.BUY) == "train"

    passed = TitleMove(1, 2, 0, 1, 100, 100, 100)

    assert told.fill(passed, buyer=BERT, seller=ANA, maker=9, taker=50, side=Side.BUY) == ""
    assert told.market.titles.of[contract_of(CLASS, HOUR + 2)][1].launch == "train"


def test_who_takes_an_obligor_s_place_leaves_the_holder_what_he_named() -> None:
    """Carl owes Ana, buys another's hour, and is out of it: Ana's machine begins as her order said."""
    told = Told()
    told.hear(told.order(11, "order"))
    told.fill(new(1), maker=9, taker=11, side=Side.BUY)

    closing = TitleMove(0, 2, Ground.DECLARED, 1, 100, 100, 0, closes=1, closed=1)

    assert told.fill(closing, buyer=CARL, seller=BERT, maker=9, taker=50, side=Side.BUY) == "train"


def test_names_are_forgotten_with_their_hour() -> None:
    told = Told()
    told.hear(told.order(11, "order"), HourEnded(contract_of(CLASS, HOUR + 1), 0, 0, 0))
    told.state.take(HourTold(1, moment(2), contract_of(CLASS, HOUR + 1)))
    assert set(told.market.launches) == {11}
    assert set(told.state.named[ANA]) == {"order", "range", "block"}

    told.hear(HourEnded(contract_of(CLASS, HOUR + 2), 0, 0, 0))
    told.state.take(HourTold(1, moment(3), contract_of(CLASS, HOUR + 2)))

    assert (told.market.launches, told.state.named) == ({}, {})


# --- Naming -----------------------------------------------------------------------------------------------------


def test_a_name_is_recorded_once_and_again_where_the_order_reaches_further() -> None:
    room = Room()
    put(room, "train")
    first = launch_named(room.state, ANA, asking(hour=1), moment(0))
    assert first == LaunchNamed(0, moment(0), ANA, "a", "train", HOUR + 1)
    room.take(first)

    assert launch_named(room.state, ANA, asking(hour=1), moment(0)) is None
    assert launch_named(room.state, ANA, asking(hour=2), moment(0)) is not None


@pytest.mark.parametrize(
    ("account", "asked", "code"),
    [
        (ANA, asking("b", "nothing"), "unknown_launch"),
        (BERT, asking("b"), "unknown_launch"),
        (ANA, asking("a", "serve"), "duplicate_client_id"),
        (ANA, asking("b", hour=-1), "unknown_contract"),
        (ANA, asking("b", hour=1_001), "unknown_contract"),
    ],
)
def test_what_cannot_be_named_is_refused(account: int, asked: LaunchNaming, code: str) -> None:
    room = Room()
    put(room, "train", "serve")
    room.take(LaunchNamed(1, moment(0), ANA, "a", "train", HOUR))

    with pytest.raises(Refused) as refused:
        launch_named(room.state, account, asked, moment(0))

    assert refused.value.code == code


def test_an_account_names_so_many_and_no_more_until_some_are_over() -> None:
    room = Room()
    put(room, "train")
    room.take(*(LaunchNamed(1, moment(0), ANA, f"{n}", "train", HOUR) for n in range(NAMED_MAX)))

    with pytest.raises(Refused) as refused:
        launch_named(room.state, ANA, asking("more", hour=1), moment(0))
    assert refused.value.code == "too_many_launches"
    assert launch_named(room.state, ANA, asking("7", hour=1), moment(0)) is not None, "that one is known"

    later = launch_named(room.state, ANA, asking("more", hour=1), moment(1))
    assert later is not None
    room.take(later)
    assert list(room.state.named[ANA]) == ["more"], "nobody needs the others any more"


@pytest.mark.parametrize("between", ["\n", "\r", "\0", "\nno-pty "])
def test_a_key_is_one_line(between: str) -> None:
    """Of two in one only the first would be let in, and what stands between them would be nobody's word."""
    one = asyncssh.generate_private_key("ssh-ed25519").export_public_key().decode()
    assert public_key(one) == one.strip()
    with pytest.raises(Refused, match="one line") as refused:
        public_key(one.strip() + between + one)
    assert refused.value.code == "wrong_ssh_key"
