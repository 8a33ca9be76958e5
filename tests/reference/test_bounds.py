"""Bounds that random days do not reach, and starts that both engines refuse."""

from collections.abc import Sequence

import pytest
from msgspec.structs import replace

from schemas import commands as cmd
from schemas import events as ev
from schemas.commands import Fees, Ground, Role, SetBacking, SetClass, Side, StartShard, Tif
from schemas.events import Code, Event, Reason
from schemas.ids import contract_of, order_id
from schemas.units import MS_PER_HOUR
from services.matching.engine import Engine
from tests.reference import naive_orders
from tests.reference.duel import Duel
from tests.reference.faults import BOUNDS, OTHER_VALUES, UNSOUND_CLASSES
from tests.reference.naive_engine import NaiveEngine
from tests.reference.script import Record
from tests.reference.world import CLASSES, NEW_CLASS, T0_MS

HOUR = T0_MS // MS_PER_HOUR + 1
CONTRACT = contract_of(1, HOUR)
FRAME_MAX = 512


def opening(horizon_hours: int, role: Role) -> list[cmd.Command]:
    """One class, one rich member."""
    return [
        SetClass(1, 1, "ONE", 1, 1, 10**9, Fees(0, 1_000), horizon_hours, collar_low_bp=1, collar_high_bp=100_000),
        cmd.SetAccount(2, 1, 1, role, 0),
        cmd.Credit(3, 1, 10**16),
    ]


def bids(count: int) -> list[cmd.Command]:
    return [cmd.PlaceOrder(1, CONTRACT, Side.BUY, 1, 10**9, Tif.GTC, 0, "", T0_MS + 1_000) for _ in range(count)]


@pytest.mark.parametrize(("make", "bound"), [(NaiveEngine, 2), (Engine, 100_000)], ids=["naive", "production"])
def test_an_account_has_so_many_open_orders_and_not_one_more(
    make: type[NaiveEngine | Engine], bound: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same story of both engines, each at a bound that it can reach; one cancelled order makes room for one."""
    monkeypatch.setattr(naive_orders, "OPEN_ORDERS_MAX", 2)
    engine = make()
    engine.apply(0, T0_MS, [StartShard(0, 1, T0_MS)])
    engine.apply(1, T0_MS, opening(1, Role.MEMBER))
    for offset in range(2, 2 + -(-bound // FRAME_MAX)):
        said = engine.apply(offset, T0_MS, bids(min(FRAME_MAX, bound - engine.resting_count())))
        assert {type(event) for event in said} == {ev.OrderAccepted}
    assert engine.resting_count() == bound

    said = engine.apply(9_999, T0_MS, [*bids(1), cmd.CancelOrder(1, order_id(0, 2, 0), "", T0_MS), *bids(2)])

    assert said == [
        ev.Rejected(0, 1, Code.TOO_MANY_ORDERS, "", need=bound),
        ev.CancelAccepted(1, 1, order_id(0, 2, 0)),
        ev.OrderCancelled(order_id(0, 2, 0), 1, CONTRACT, 1, Reason.ASKED),
        ev.OrderAccepted(2, order_id(0, 9_999, 2), 1, CONTRACT, Side.BUY, 1, 10**9, Tif.GTC, 0, "", 0, 1_000),
        ev.Rejected(3, 1, Code.TOO_MANY_ORDERS, "", need=bound),
    ]
    engine.check()


def test_a_promise_beyond_all_money_says_the_largest_number_there_is() -> None:
    """A thousand hours of a million GPUs at the highest price need more µUSD than 63 bits hold."""
    duel = Duel()
    duel.play(Record(0, T0_MS, [StartShard(0, 1, T0_MS)]))
    duel.play(Record(1, T0_MS, opening(1_000, Role.MARKET_MAKER)))
    hours = tuple(range(HOUR, HOUR + 1_000))
    promises = [
        SetBacking(4, 1, 1, hours, Ground.PROMISED, 1_000_000, 10**10, 1),
        SetBacking(5, 1, 1, hours[:1], Ground.PROMISED, 1_000_000, 10**10, 1),
        SetBacking(6, 1, 1, hours, Ground.PROMISED, 900, 10**10, 1),
        SetBacking(7, 1, 1, hours, Ground.PROMISED, 910, 10**10, 2),
    ]

    said = duel.play(Record(2, T0_MS, promises))

    assert said == [
        ev.OutboxRejected(0, 4, 1, Code.INSUFFICIENT_FUNDS, 2**63 - 1, 10**16),
        ev.OutboxRejected(1, 5, 1, Code.INSUFFICIENT_FUNDS, 11 * 10**15, 10**16),
        ev.BackingSet(2, 6, 1, 1, hours, Ground.PROMISED, 900, 10**10, 1, changed=True),
        ev.OutboxRejected(3, 7, 1, Code.INSUFFICIENT_FUNDS, 11 * 10**13, 10**14),
    ]


def test_a_class_is_refused_for_every_single_value_that_is_out_of_range_or_contradicts_it() -> None:
    """And taken with every value at its bound, once, and again."""
    unsound = [replace(replace(NEW_CLASS, class_no=6, class_id="SIX"), **values) for values in UNSOUND_CLASSES]
    contradicting = [replace(CLASSES[3], **values) for values in OTHER_VALUES]
    at_the_bounds = replace(NEW_CLASS, **BOUNDS)
    classes = [CLASSES[3], *unsound, *contradicting, at_the_bounds, at_the_bounds, CLASSES[3]]
    duel = Duel()
    duel.play(Record(0, T0_MS, [StartShard(0, 1, T0_MS)]))

    said = duel.play(Record(1, T0_MS, [replace(rules, outbox=i) for i, rules in enumerate(classes, start=1)]))

    refused = len(unsound + contradicting)
    assert [type(event) for event in said if not isinstance(event, ev.ContractListed)] == [
        ev.ClassSet,
        *[ev.OutboxRejected] * refused,
        *[ev.ClassSet] * 3,
    ]
    assert [event.code for event in said if isinstance(event, ev.OutboxRejected)] == [Code.WRONG_CLASS] * refused


def test_a_class_set_at_the_moment_of_a_gate_begins_with_the_next_hour() -> None:
    """A gate that closes now is closed; a millisecond earlier it is still open, and then it closes."""
    gate_ms = HOUR * MS_PER_HOUR - 300_000
    two = SetClass(2, 2, "TWO", 1, 1, 10, Fees(), 1)
    duel = Duel()
    duel.play(Record(0, gate_ms - 1, [StartShard(0, 1, gate_ms - 1)]))

    before = duel.play(Record(1, gate_ms - 1, [SetClass(1, 1, "ONE", 1, 1, 10, Fees(), 1)]))
    after = duel.play(Record(2, gate_ms, [two]))

    assert before[1:] == [ev.ContractListed(CONTRACT)]
    assert [type(event) for event in after] == [ev.GateClosed, ev.ClassSet]
    assert duel.play(Record(3, 0, [cmd.Tick(HOUR * MS_PER_HOUR)])) == [
        ev.ContractListed(contract_of(1, HOUR + 1)),
        ev.ContractListed(contract_of(2, HOUR + 1)),
        ev.Ticked(0, HOUR * MS_PER_HOUR),
    ]


def test_after_the_last_hour_that_a_contract_can_have_nothing_is_listed() -> None:
    """Hours have 24 bits (docs/decisions/001-bytes.md): the last one is in the year 3883."""
    last = 2**24 - 1
    contract, end_ms = contract_of(1, last), (last + 9) * MS_PER_HOUR
    duel = Duel()
    duel.play(Record(0, T0_MS, [StartShard(0, 1, T0_MS)]))
    duel.play(Record(1, T0_MS, [SetClass(1, 1, "ONE", 1, 1, 10, Fees(), 2, first_hour=last)]))

    assert duel.play(Record(2, T0_MS, [cmd.Tick(end_ms)])) == [
        ev.ContractListed(contract),
        ev.GateClosed(contract),
        ev.RunningClosed(contract),
        ev.HourEnded(contract, 0, 0, 0),
        ev.Ticked(0, end_ms),
    ]
    duel.check()


STARTS: dict[str, tuple[int, Sequence[cmd.Command], bool]] = {
    "as it should be": (0, [StartShard(255, 1, 0)], True),
    "fast, in a sandbox": (0, [StartShard(0, 1, T0_MS, 60, sandbox=True)], True),
    "stamped before its own beginning": (0, [StartShard(0, 1, 2 * T0_MS, 3, sandbox=True)], True),
    "at another offset": (1, [StartShard(0, 1, T0_MS)], False),
    "with a neighbour": (0, [StartShard(0, 1, T0_MS), cmd.Tick(T0_MS)], False),
    "without a start": (0, [cmd.Tick(T0_MS)], False),
    "an unknown version": (0, [StartShard(0, 3, T0_MS)], False),
    "version 0": (0, [StartShard(0, 0, T0_MS)], False),
    "shard -1": (0, [StartShard(-1, 1, T0_MS)], False),
    "shard 256": (0, [StartShard(256, 1, T0_MS)], False),
    "before 1970": (0, [StartShard(0, 1, -1)], False),
    "time stands still": (0, [StartShard(0, 1, T0_MS, 0, sandbox=True)], False),
    "fast, and no sandbox": (0, [StartShard(0, 1, T0_MS, 2)], False),
}


@pytest.mark.parametrize(("offset", "commands", "starts"), STARTS.values(), ids=STARTS)
def test_both_engines_start_with_the_same_records(offset: int, commands: Sequence[cmd.Command], starts: bool) -> None:
    said = [first_words(engine, offset, commands) for engine in (Engine(), NaiveEngine())]

    assert said[0] == said[1]
    assert (said[0] is not None) == starts


def first_words(engine: Engine | NaiveEngine, offset: int, commands: Sequence[cmd.Command]) -> list[Event] | None:
    """What it says to its first record and to a tick; None: it does not start."""
    try:
        started = engine.apply(offset, T0_MS, commands)
    except Exception:  # noqa: BLE001 - the rules say "an exception", and not which; that it came is the answer
        return None
    return [*started, *engine.apply(offset + 1, T0_MS, [cmd.Tick(0)])]
