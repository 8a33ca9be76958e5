"""A failing flow is told so that anybody who knows markets can follow it."""

from schemas.codec import Malformed
from schemas.commands import (
    AmendOrder,
    CancelAllAfter,
    CancelOrder,
    Credit,
    Flag,
    Ground,
    MassCancel,
    MoveReference,
    PlaceBlock,
    PlaceOrder,
    PlaceRange,
    PutQuotes,
    QuoteHour,
    SetAccount,
    SetBacking,
    SetState,
    Side,
    Sweep,
    Tick,
    Tif,
)
from schemas.events import Code, OrderAccepted, Rejected
from schemas.ids import contract_of, order_id
from tests.reference.script import Record
from tests.reference.trace import compare, tell
from tests.reference.world import STRANGER, T0_MS

HOUR = T0_MS // 3_600_000 + 1
TINY, SOON = contract_of(1, HOUR), T0_MS + 30_000


def test_a_trace_is_one_command_a_line_with_names_and_hours() -> None:
    records = [
        Record(7, T0_MS, [
            PlaceOrder(1, TINY, Side.SELL, 3, 10, Tif.GTC, 0, "", SOON),
            PlaceOrder(6, TINY, Side.BUY, 2, 11, Tif.IOC, Flag.CANCEL_OLDEST, "c2", SOON),
            PlaceOrder(STRANGER, -1, 3, 0, -5, 9, -1, "c3", SOON, SOON),
            CancelOrder(1, order_id(0, 7, 0), "", SOON),
            CancelOrder(6, 0, "c2", SOON),
            Malformed(),
        ]),
        Record(8, T0_MS + 1_000, [
            SetAccount(24, 3, 3, 1, 0),
            Credit(25, 3, 500),
            Sweep(26, 7, 40),
            SetBacking(27, 3, 1, (HOUR, HOUR + 1), Ground.PROMISED, 4, 20, 2),
            SetState(900, 1, 0, 4, "simulated"),
            SetState(900, 1, HOUR, 7, "simulated"),
        ]),
        Record(9, T0_MS + 1_000, [], quarantined=True),
        Record(10, T0_MS + 1_000, [Tick(-3)]),
    ]  # fmt: skip

    assert (
        tell(records)
        == """\
record 7 at 2026-09-21 14:20:34.567
  ana offers 3 × TINY.20260921T15 at 10, valid until 2026-09-21 14:21:04.567
  bob bids 2 × TINY.20260921T15 at 11, IOC, CANCEL_OLDEST, as c2, valid until 2026-09-21 14:21:04.567
  account 99 (on side 3) 0 × (class -1, hour 16777215) at -5, 9, flags -1, as c3, expires 2026-09-21 14:21:04.567, \
valid until 2026-09-21 14:21:04.567
  ana cancels 0-7-0-0, valid until 2026-09-21 14:21:04.567
  bob cancels c2, valid until 2026-09-21 14:21:04.567
  a body that does not decode
record 8 at 2026-09-21 14:20:35.567
  settlement 24: mia of owner 3 is a PROVIDER, fee plan 0
  settlement 25: mia gets 500 µUSD
  settlement 26: 40 µUSD of pia's go home
  settlement 27: mia backs 4 × [TINY.20260921T15, TINY.20260921T16] as PROMISED at 20, version 2
  operator 900 sets class 1 to HALTED
  operator 900 sets TINY.20260921T15 to 7
record 9 at 2026-09-21 14:20:35.567 in quarantine
record 10 at 2026-09-21 14:20:35.567
  tick until -3 ms"""
    )


def test_orders_of_many_hours_and_what_becomes_of_them_are_a_line_each_too() -> None:
    hours = tuple(range(HOUR, HOUR + 6))
    record = Record(7, T0_MS, [
        PlaceRange(6, 1, hours, Side.BUY, 2, 11, Tif.IOC, 0, "c1", SOON),
        PlaceBlock(1, 1, HOUR, 3, Side.SELL, 8, 2, 9, Tif.GTD, 0, "", SOON, SOON),
        PlaceBlock(6, 1, HOUR, 3, Side.BUY, 8, 8, 9, Tif.FOK, 0, "c2", SOON),
        AmendOrder(1, order_id(0, 7, 1), "", 4, 10, SOON),
        AmendOrder(6, 0, "c2", 4, 10, SOON),
        CancelOrder(6, 0, "", SOON),
        CancelOrder(6, -1, "", SOON),
        PutQuotes(3, 1, 9, (QuoteHour(HOUR, 9, 2, 11, 3),), SOON),
        MassCancel(6, 1, 0, Side.BUY, SOON),
        CancelAllAfter(6, 20_000, SOON),
        CancelAllAfter(6, 0, SOON),
        MoveReference(1, 0, 12, "simulated"),
    ])  # fmt: skip

    assert [line.removesuffix(", valid until 2026-09-21 14:21:04.567") for line in tell([record]).splitlines()[1:]] == [
        "  bob bids 2 × each of [TINY.20260921T15, TINY.20260921T16, TINY.20260921T17, TINY.20260921T18, ...] at 11, IOC, as c1",
        "  ana offers 8 (at least 2) × a block of 3 hours from TINY.20260921T15 at 9, GTD, expires 2026-09-21 14:21:04.567",
        "  bob bids 8 × a block of 3 hours from TINY.20260921T15 at 9, FOK, as c2",
        "  ana amends 0-7-1-0 to 4 at 10",
        "  bob amends c2 to 4 at 10",
        "  bob cancels nothing",
        "  bob cancels -1",
        "  mia quotes, number 9: 2 at 9 | 3 at 11 × TINY.20260921T15",
        "  bob cancels everything of class 1, hour 0, side 1 (0: all)",
        "  bob wants all cancelled in 20000 ms",
        "  bob turns the switch off",
        "  the reference of class 1 moves to 12",
    ]


def test_events_are_told_once_where_both_say_the_same_and_twice_where_they_differ() -> None:
    accepted = OrderAccepted(0, 5, 1, TINY, Side.SELL, 3, 10, Tif.GTC, 0, "", 50, 1_000)
    late, early = Rejected(1, 6, Code.TOO_LATE), Rejected(1, 6, Code.WRONG_VALIDITY, need=1)

    told = compare([accepted, late], [accepted, early, early])

    assert [line[:20] for line in told.splitlines()] == [
        "  both    OrderAccep",
        "  engine  Rejected(i",
        "  rules   Rejected(i",
        "  rules   Rejected(i",
    ]
    assert "# TOO_LATE" in told.splitlines()[1]
