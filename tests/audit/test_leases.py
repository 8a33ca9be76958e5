"""H1 to H3: what the auditor sees in `leases`, and what of it is wrong."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from schemas.delivery import Delivered, Refund
from schemas.events import TitleEnded
from schemas.leases import LeaseEnded, LeaseServes, MachineMaintained, RoomBegan, Served, TitleCounted
from services.audit.leases import Leases
from services.audit.report import Findings

CARL, DANA, ANA, BERT = 11, 12, 21, 22


def serves(lease: int = 1, title: int = 1, seats: tuple[int, ...] = (0,), **more: Any) -> LeaseServes:
    said = {
        "epoch": 1, "time_ms": 0, "lease": lease, "holder": ANA, "provider": CARL, "machine": "a", "seats": seats,
        "contract": 5, "titles": (Served(title, len(seats)),), "from_ms": 100, "until_ms": 200,
    }  # fmt: skip
    return LeaseServes(**said | more)


def ended(title: int = 1, **more: Any) -> TitleEnded:
    said = {
        "contract": 5, "title": title, "obligor": CARL, "holder": ANA, "ground": 1, "qty": 1, "minutes": 60,
        "proceeds": 1, "cost": 1, "escrow": 1,
    }  # fmt: skip
    return TitleEnded(**said | more)


def counted(title: int = 1, delivered: int = 50, allowance: int = 4, undelivered: int = 6) -> TitleCounted:
    return TitleCounted(1, 200, 5, title, delivered, allowance, undelivered)


def told(title: int = 1, undelivered: int = 6) -> tuple[int, bytes]:
    record = Delivered(5, title, undelivered, "login checks", f"delivery-5-{title}")
    return 0, msgspec.msgpack.encode(record)


def audited(records: list[Any], events: list[TitleEnded], delivered: list[tuple[int, bytes]] | None = None) -> Findings:
    found = Findings()
    leases = Leases(found)
    for offset, record in enumerate(records):
        leases.take(offset, msgspec.msgpack.encode(record))
    leases.hear(events)
    leases.finish(delivered or [])
    return found


def test_an_hour_that_was_served_counted_and_told_is_clean() -> None:
    found = audited([serves(), counted()], [ended()], [told()])

    assert found.broken() == set()
    assert found.clean(["H1", "H2", "H3"])
    assert (found["H1"].looked_at, found["H2"].looked_at, found["H3"].looked_at) == (5, 3, 1)


def test_where_there_are_no_machines_there_is_nothing_to_look_at() -> None:
    assert audited([], [ended()]).clean(["H1", "H2", "H3"])


def exchanged(**more: Any) -> list[Any]:
    """Ana, whose title is Carl's, sits on Dana's machine; Bert the other way round. Carl's fails."""
    return [
        serves(1, machine="d", provider=DANA, titles=(Served(1, 1, 2),)),
        serves(2, holder=BERT, titles=(Served(2, 1, 1),)),
        TitleCounted(1, 200, 5, 1, 20, 0, 40, **{"refunds": (Refund(BERT, 40),)} | more),
        counted(2, 60, 0, 0),
    ]


def both(**more: Any) -> list[TitleEnded]:
    return [ended(), ended(2, **{"obligor": DANA, "holder": BERT} | more)]


def test_machines_of_two_titles_that_cost_the_same_may_be_exchanged() -> None:
    paid_back = Delivered(5, 1, 40, "login checks", "delivery-5-1", refunds=(Refund(BERT, 40),))

    assert audited(exchanged(), both(), [(0, msgspec.msgpack.encode(paid_back))]).broken() == set()


def moving(*, gpus: int = 1, before: int = 4) -> list[Any]:
    """In hour 5 Ana has another seat than in the hour `before`."""
    return [
        serves(1, contract=before, from_ms=0, until_ms=100),
        serves(2, machine="d", titles=(Served(1, 1, 0, gpus),)),
    ]


def test_who_had_to_leave_his_seat_has_moved() -> None:
    assert audited(moving(), [ended()]).broken() == set()


WRONG = {
    "two leases on one seat at one time": ([serves(), serves(2, 2, holder=BERT, from_ms=199)], [ended()], [], "H1"),
    "a seat of a lease that was to end later": (
        [serves(), LeaseEnded(1, 150, 1), serves(2, 2, holder=BERT, from_ms=149, until_ms=300)], [], [], "H1",
    ),
    "another provider's machine": ([serves(provider=12)], [ended()], [], "H1"),
    "another holder": ([serves(holder=BERT)], [ended()], [], "H1"),
    "more GPUs than the title has": ([serves(seats=(0, 1))], [ended()], [], "H1"),
    "minutes that do not add up": ([serves(), counted(delivered=51)], [ended()], [], "H2"),
    "minutes of a running title that had fewer": ([serves(), counted()], [ended(minutes=41)], [], "H2"),
    "minutes of a title that never was": ([counted(9)], [ended()], [], "H2"),
    "counted twice": ([serves(), counted(), counted()], [ended()], [], "H2"),
    "settlement was told something else": ([serves(), counted()], [ended()], [told(undelivered=5)], "H2"),
    "settlement was told of no refund": (exchanged(), both(), [told(undelivered=40)], "H2"),
    "an exchange of titles that cost differently": (exchanged(), both(cost=2), [], "H1"),
    "an exchange with a title of fewer GPUs": (
        [*exchanged()[:1], serves(2, seats=(0, 1), holder=BERT, titles=(Served(2, 2, 1),))], both(qty=2, cost=2), [], "H1",
    ),
    "a seat that counts for another provider's title": (exchanged(), both(obligor=14), [], "H1"),
    "a refund to somebody else": (exchanged(refunds=(Refund(99, 40),)), both(), [], "H3"),
    "a refund of more minutes": (exchanged(refunds=(Refund(BERT, 41),)), both(), [], "H3"),
    "a refund of far fewer minutes": (exchanged(refunds=(Refund(BERT, 38),)), both(), [], "H3"),
    "moved to more GPUs than there are": (moving(gpus=2), [ended()], [], "H3"),
    "moved, and had nothing before": (moving(before=3), [ended()], [], "H3"),
    "moved, and kept the seat": (
        [serves(1, contract=4, from_ms=0, until_ms=100), serves(titles=(Served(1, 1, 0, 1),))], [ended()], [], "H3",
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", WRONG)
def test_what_is_wrong_is_named(what: str) -> None:
    records, events, delivered, name = WRONG[what]

    assert audited(records, events, delivered).broken() == {name}


def test_a_seat_whose_lease_gives_way_to_maintenance_is_given_to_others_and_the_title_elsewhere() -> None:
    """Said before the hour: from its beginning on the lease has neither. Said when it had begun: it keeps both."""
    hour_ms = 3_600_000
    begins = {"from_ms": 5 * hour_ms, "until_ms": 6 * hour_ms}
    away = MachineMaintained(1, 5 * hour_ms - 1, CARL, "a", ((5, 6),))
    elsewhere = serves(2, machine="b", **begins)
    late = MachineMaintained(1, 5 * hour_ms, CARL, "a", ((5, 6),))
    others = MachineMaintained(1, 5 * hour_ms - 1, CARL, "c", ((5, 6),))

    assert audited([serves(**begins), away, elsewhere], [ended()]).broken() == set()
    assert audited([serves(**begins), away, serves(3, 2, holder=BERT, **begins)], []).broken() == set()
    for without in ([], [late], [others]):
        assert audited([serves(**begins), *without, elsewhere], [ended()]).broken() == {"H1"}


def test_what_was_exchanged_in_an_hour_of_a_window_is_given_back() -> None:
    hour_ms = 3_600_000
    begins = {"from_ms": 5 * hour_ms, "until_ms": 6 * hour_ms}
    there = [
        serves(1, machine="d", provider=DANA, titles=(Served(1, 1, 2),), **begins),
        serves(2, holder=BERT, titles=(Served(2, 1, 1),), **begins),
    ]
    own = serves(3, 2, machine="d", provider=DANA, holder=BERT, **begins)
    away = MachineMaintained(1, 5 * hour_ms - 1, CARL, "a", ((5, 6),))

    assert audited([*there, away, own], both()).broken() == set()
    assert audited([*there, own], both()).broken() == {"H1"}


def test_what_cannot_be_read_is_named() -> None:
    found = Findings()
    Leases(found).take(3, b"\xc1")

    assert found["H1"].breaches[0].startswith("leases offset 3 cannot be read")


def test_what_a_late_room_says_counts_for_nobody() -> None:
    found = audited([RoomBegan(2, 0), serves(holder=BERT)], [ended()])

    assert found.broken() == set()


def test_a_seat_is_free_again_when_its_lease_has_ended() -> None:
    found = audited([serves(), LeaseEnded(1, 150, 1), serves(2, 2, from_ms=150)], [ended(), ended(2)])

    assert found.broken() == set()
