"""What is said of an hour that is over."""

from __future__ import annotations

from schemas.agents import Lease
from schemas.ids import contract_of
from schemas.leases import HourTold, LaunchPut, LeaseEnded, TitleCounted
from schemas.market_clock import MarketClock
from services.delivery.orders import leases_of
from tests.delivery.room import ANA, BERT, CARL, CLASS, HOUR, Room, moment

CONTRACT = contract_of(CLASS, HOUR)


def counted(room: Room, setup_minutes: int = 0) -> list[tuple[int, int, int, int]]:
    return [
        (each.title, each.delivered, each.allowance, each.undelivered)
        for each in room.count(0, setup_minutes)
        if isinstance(each, TitleCounted)
    ]


def test_minutes_are_counted_by_the_login_checks_of_the_lease_that_served_the_title() -> None:
    room = Room()
    room.machine(CARL, "a", 2)
    room.sell(CARL, ANA, 0, 1)
    room.sell(CARL, BERT, 0, 1)
    room.gate(0)
    room.check(1, moment(0, 3.2))
    room.check(2, moment(0, 0))
    room.check(2, moment(0, 30), works=False)

    assert counted(room, setup_minutes=2) == [(1, 57, 2, 1), (2, 30, 0, 30)]


def test_a_title_without_a_machine_is_counted_too() -> None:
    room = Room()
    room.machine(CARL, "a", 1)
    room.sell(CARL, ANA, 0, 2)
    room.gate(0)
    room.check(1, moment(0))

    assert counted(room) == [(1, 30, 0, 30)]


def test_who_stays_from_the_hour_before_has_every_minute() -> None:
    room = Room()
    room.machine(CARL, "a", 1)
    room.sell(CARL, ANA, -1, 1)
    room.place(-1, moment(-1, -5))
    room.check(1, moment(-1, 1))
    room.sell(CARL, ANA, 0, 1)
    room.gate(0)

    assert counted(room, setup_minutes=10) == [(2, 60, 0, 0)]


def test_who_stays_from_the_hour_before_needs_no_allowance() -> None:
    """What is lost at the beginning of the second hour is lost."""
    room = Room()
    room.machine(CARL, "a", 1)
    room.sell(CARL, ANA, -1, 1)
    room.place(-1, moment(-1, -5))
    room.check(1, moment(-1, 1))
    room.check(1, moment(-1, 50), works=False)
    room.check(1, moment(0, 4))
    room.sell(CARL, ANA, 0, 1)
    room.gate(0)

    assert counted(room, setup_minutes=10) == [(2, 56, 0, 4)]


def test_a_lease_that_was_taken_away_delivers_no_more() -> None:
    room = Room()
    room.machine(CARL, "a", 1)
    room.sell(CARL, ANA, 0, 1)
    room.gate(0)
    room.check(1, moment(0))
    room.take(LeaseEnded(1, moment(0, 20), 1, "taken away"))

    assert counted(room) == [(1, 20, 0, 40)]


def test_an_hour_is_counted_once_and_forgotten_when_it_is_told() -> None:
    room = Room()
    room.machine(CARL, "a", 1)
    room.sell(CARL, ANA, 0, 1)
    room.gate(0)
    room.check(1, moment(0))
    room.pass_to(moment(1))
    room.count(0)

    assert room.count(0) == []
    room.take(HourTold(1, moment(1), CONTRACT))

    assert (room.state.leases, room.state.counted, room.state.of_title) == ({}, {}, {})


# --- What the agent is told in the meantime ------------------------------------------------------------------


def told(room: Room, clock: MarketClock) -> tuple[Lease, ...]:
    return leases_of(room.state, room.titles, (CARL, "a"), clock, "ssh-ed25519 probe")


def test_an_agent_is_told_of_a_lease_from_the_gate_to_its_end_in_our_own_time() -> None:
    """Of a market that runs thirty times as fast."""
    room = Room()
    room.machine(CARL, "a", 2)
    room.sell(CARL, ANA, 0, 1)
    room.gate(0)
    clock = MarketClock(moment(0), 30, sandbox=True)

    (lease,) = told(room, clock)

    assert (lease.lease, lease.seats, lease.probe_key) == ("1", (f"{CARL}-a-0",), "ssh-ed25519 probe")
    assert (lease.from_ms, lease.until_ms) == (moment(0), moment(0, 2))
    assert lease.warn_ms == (moment(0, 1), moment(0, 1) + 50_000), "half an hour and five minutes of the market before"
    room.pass_to(moment(1))
    assert told(room, clock) == ()


def test_a_tenant_who_has_bought_on_is_not_warned_before_it_is_known_whether_he_stays() -> None:
    room = Room()
    room.machine(CARL, "a", 2)
    room.sell(CARL, ANA, 0, 1, rental=7)
    room.gate(0)
    room.sell(CARL, ANA, 1, 1, rental=9)
    clock = MarketClock(moment(0), 1, sandbox=True)

    assert told(room, clock)[0].warn_ms == (moment(0, 30), moment(0, 55)), "another rental's hour"
    room.sell(CARL, ANA, 1, 1, rental=7)
    assert told(room, clock)[0].warn_ms == (moment(0, 56),)


def test_keys_apply_at_once_and_the_rest_from_the_next_lease_on() -> None:
    room = Room()
    room.machine(CARL, "a", 2)
    clock = MarketClock(moment(0), 1, sandbox=True)
    room.take(LaunchPut(1, moment(-1), ANA, "default", ("key-1",), "one:1", "echo 1"))
    room.sell(CARL, ANA, 0, 1)
    room.gate(0)
    room.take(LaunchPut(1, moment(0, 1), ANA, "default", ("key-2",), "two:2", "echo 2"))

    (lease,) = told(room, clock)

    assert (lease.ssh_keys, lease.image, lease.start_script) == (("key-2",), "one:1", "echo 1")


def test_without_a_specification_the_machine_waits() -> None:
    room = Room()
    room.machine(CARL, "a", 2)
    room.sell(CARL, ANA, 0, 1)
    room.gate(0)

    (lease,) = told(room, MarketClock(moment(0), 1, sandbox=False))

    assert (lease.ssh_keys, lease.image, lease.start_script) == ((), "", "")
