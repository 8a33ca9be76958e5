"""Bounds that random days do not reach, and starts that both engines refuse."""

from collections.abc import Sequence
from dataclasses import asdict

import pytest
from msgspec.structs import replace

from schemas import commands as cmd
from schemas import events as ev
from schemas.commands import Fees, Ground, Role, SetBacking, SetClass, Side, StartShard, Tif
from schemas.events import Code, Event
from schemas.ids import contract_of, order_id
from schemas.units import MS_PER_HOUR
from services.matching.engine import Engine
from tests.reference.duel import Duel
from tests.reference.faults import BOUNDS, OTHER_VALUES, UNSOUND_CLASSES
from tests.reference.naive_engine import NaiveEngine
from tests.reference.naive_shard import Bounds
from tests.reference.script import Record
from tests.reference.world import CLASSES, NEW_CLASS, T0_MS

HOUR = T0_MS // MS_PER_HOUR + 1
CONTRACT = contract_of(1, HOUR)


def opening(horizon_hours: int, role: Role) -> list[cmd.Command]:
    """One class, one rich member."""
    return [
        SetClass(1, 1, "ONE", 1, 1, 10**9, Fees(0, 1_000), horizon_hours, collar_low_bp=1, collar_high_bp=100_000),
        cmd.SetAccount(2, 1, 1, role, 0),
        cmd.Credit(3, 1, 10**16),
    ]


def bids(count: int) -> list[cmd.Command]:
    return [cmd.PlaceOrder(1, CONTRACT, Side.BUY, 1, 10**9, Tif.GTC, 0, "", T0_MS + 1_000) for _ in range(count)]


def test_the_bounds_of_the_engine_are_those_of_the_rules() -> None:
    engine = Engine()

    assert {name: getattr(engine, name) for name in asdict(Bounds())} == asdict(Bounds())


def test_an_account_has_so_many_open_orders_and_not_one_more() -> None:
    """Orders, legs, blocks and quotes count alike; one cancelled order makes room for one."""
    duel = begin(Bounds(open_orders_max=4), opening(2, Role.MARKET_MAKER))
    two, until_ms = (HOUR, HOUR + 1), T0_MS + 1_000
    quotes = [cmd.QuoteHour(hour, 10**9, 1, 2 * 10**9, 1) for hour in two]

    said = duel.play(Record(3, T0_MS, [
        cmd.SetBacking(4, 1, 1, two, Ground.DECLARED, 9, 0, 1),
        *bids(2),
        cmd.PlaceRange(1, 1, two, Side.BUY, 1, 10**9, Tif.IOC, 0, "", until_ms),
        block(1),
        cmd.PlaceRange(1, 1, two, Side.BUY, 1, 10**9, Tif.GTC, 0, "", until_ms),
        block(1),
        *bids(1),
        cmd.CancelOrder(1, order_id(0, 3, 1), "", T0_MS),
        cmd.PutQuotes(1, 1, 1, (quotes[0],), until_ms),
        cmd.CancelOrder(1, order_id(0, 3, 2), "", T0_MS),
        cmd.PutQuotes(1, 1, 2, tuple(quotes), until_ms),
        *bids(1),
    ]))  # fmt: skip

    full, cancelled = (Code.TOO_MANY_ORDERS, 4), [ev.CancelAccepted, ev.OrderCancelled]
    assert [type(event) for event in said] == [
        ev.BackingSet, ev.OrderAccepted, ev.OrderAccepted, ev.RangeAccepted, ev.OrderCancelled, ev.OrderCancelled,
        ev.BlockAccepted, ev.RangeAccepted, ev.Rejected, ev.Rejected, *cancelled, ev.QuotesPut, *cancelled, ev.QuotesPut,
        ev.Rejected,
    ]  # fmt: skip
    assert [(event.code, event.need) for event in said if isinstance(event, ev.Rejected)] == [full] * 3
    ranges = [event.legs for event in said if isinstance(event, ev.RangeAccepted)]
    assert [[(leg.code, leg.need) for leg in legs] for legs in ranges] == [[(0, 0), (0, 0)], [(0, 0), full]]
    put = [event.outcomes for event in said if isinstance(event, ev.QuotesPut)]
    assert [[hour.code for hour in hours] for hours in put] == [[Code.TOO_MANY_ORDERS], [0, Code.TOO_MANY_ORDERS]]


def test_an_account_has_so_many_client_ids_in_use_and_not_one_more() -> None:
    """Orders, ranges and blocks count alike, whether anything rests of them or not; what has no id does not."""
    duel = begin(Bounds(client_ids_max=3), opening(2, Role.MEMBER))
    two, until_ms, (bid,) = (HOUR, HOUR + 1), T0_MS + 1_000, bids(1)

    def a_range(name: str) -> cmd.PlaceRange:
        return cmd.PlaceRange(1, 1, two, Side.BUY, 1, 10**9, Tif.IOC, 0, name, until_ms)

    fleeting = [replace(bid, tif=Tif.IOC, client_id=name) for name in ("a", "b")]
    blocks = [replace(block(1, tif=Tif.IOC), client_id=name) for name in ("c", "d")]
    said = duel.play(Record(3, T0_MS, [
        fleeting[0], a_range("r"), blocks[0], fleeting[1], a_range("s"), blocks[1], a_range(""), replace(bid, tif=Tif.IOC),
    ]))  # fmt: skip

    assert [type(event) for event in said if hasattr(event, "index")] == [
        ev.OrderAccepted, ev.RangeAccepted, ev.BlockAccepted, ev.Rejected, ev.Rejected, ev.Rejected, ev.RangeAccepted,
        ev.OrderAccepted,
    ]  # fmt: skip
    assert [(event.code, event.need, event.have) for event in said if isinstance(event, ev.Rejected)] == [
        (Code.TOO_MANY_ORDERS, 3, 0)
    ] * 3


def test_an_account_has_so_many_blocks_and_an_hour_so_many_of_a_side() -> None:
    """Blocks of the other side and of other hours do not count, and one that cannot rest needs no place."""
    duel = begin(
        Bounds(blocks_max=2, blocks_over_hour_max=3),
        [*opening(4, Role.PROVIDER), *accounts(4, 2, 3), cmd.SetBacking(8, 3, 1, HOURS, Ground.DECLARED, 9, 0, 1)],
    )

    said = duel.play(Record(3, T0_MS, [
        block(1), block(1), block(1), block(1, tif=Tif.IOC),
        block(2, first_hour=HOUR + 1), block(2), block(3, first_hour=HOUR + 1), block(3, first_hour=HOUR + 2),
        block(3, side=Side.SELL, price=2 * 10**9),
        cmd.CancelOrder(1, order_id(0, 3, 0), "", T0_MS),
        block(2),
    ]))  # fmt: skip

    assert [(event.index, event.need) for event in said if isinstance(event, ev.Rejected)] == [(2, 2), (5, 3), (6, 3)]
    accepted = [event.index for event in said if isinstance(event, (ev.BlockAccepted, ev.CancelAccepted))]
    assert accepted == [0, 1, 3, 4, 7, 8, 9, 10]


def begin(bounds: Bounds, first: list[cmd.Command]) -> Duel:
    """A shard of version 2 at offset 2: the gate of the hour that runs is closed."""
    duel = Duel(bounds)
    for offset, commands in enumerate([[StartShard(0, 2, T0_MS)], first, [cmd.Tick(0)]]):
        duel.play(Record(offset, T0_MS, commands))
    return duel


HOURS = (HOUR, HOUR + 1, HOUR + 2, HOUR + 3)


def accounts(outbox: int, *numbers: int) -> list[cmd.Command]:
    """As rich as the first one."""
    made: list[cmd.Command] = []
    for number in numbers:
        made.append(cmd.SetAccount(outbox + len(made), number, number, Role.PROVIDER, 0))
        made.append(cmd.Credit(outbox + len(made), number, 10**16))
    return made


def block(
    account: int, first_hour: int = HOUR, side: int = Side.BUY, price: int = 10**9, tif: int = Tif.GTC
) -> cmd.PlaceBlock:
    """Two hours of one GPU."""
    return cmd.PlaceBlock(account, 1, first_hour, 2, side, 1, 1, price, tif, 0, "", T0_MS + 1_000)


@pytest.mark.parametrize("retries_max", [1, 2, 64])
def test_blocks_that_a_record_does_not_retry_are_retried_in_the_next_ones(retries_max: int) -> None:
    """Seven blocks wait for one ask. With whatever bound, the same trades come in the same order."""
    duel = Duel(Bounds(retries_max=retries_max))
    duel.play(Record(0, T0_MS, [StartShard(0, 2, T0_MS)]))
    duel.play(
        Record(1, T0_MS, [*opening(4, Role.MEMBER), *accounts(4, 2, 3), cmd.SetBacking(8, 3, 1, HOURS, 1, 9, 0, 1)])
    )
    prices = [5, 7, 6, 7, 5, 9, 4]
    duel.play(Record(2, T0_MS, [block(1 + i % 2, price=price * 10**9) for i, price in enumerate(prices)]))
    asks = [
        cmd.PlaceOrder(3, contract_of(1, hour), Side.SELL, 5, 5 * 10**9, Tif.GTC, 0, "", T0_MS) for hour in HOURS[:2]
    ]
    duel.play(Record(3, T0_MS, asks[:1]))  # all are tried in vain

    said = [duel.play(Record(4 + i, T0_MS, asks[1:] if i == 7 else [cmd.Tick(0)])) for i in range(15)]

    filled = [[event.order for event in events if isinstance(event, ev.BlockFilled)] for events in said]
    # Highest limit first, then oldest; the sixth block finds nothing any more, the seventh would not pay.
    assert [order for orders in filled for order in orders] == [order_id(0, 2, i) for i in (5, 1, 3, 2, 0)]
    assert max(map(len, filled)) == min(5, retries_max)
    assert duel.naive.open_orders() == [
        (order_id(0, 2, 4), 1, CONTRACT, Side.BUY, 1, 5 * 10**9),
        (order_id(0, 2, 6), 1, CONTRACT, Side.BUY, 1, 4 * 10**9),
    ]


def test_a_range_has_1024_hours_a_block_168_and_quotes_512() -> None:
    """Each at its bound in both engines, and each refused with one hour more."""
    duel, until_ms = Duel(), T0_MS + 1_000
    duel.play(Record(0, T0_MS, [StartShard(0, 2, T0_MS)]))
    duel.play(Record(1, T0_MS, opening(170, Role.MARKET_MAKER)))
    many = tuple(range(HOUR, HOUR + 1_025))
    quotes = tuple(cmd.QuoteHour(hour, 10**9, 1, 0, 0) for hour in many[:513])

    said = duel.play(Record(2, T0_MS, [
        cmd.PlaceRange(1, 1, many, Side.BUY, 1, 10**9, Tif.IOC, 0, "", until_ms),
        cmd.PlaceRange(1, 1, many[:-1], Side.BUY, 1, 10**9, Tif.IOC, 0, "", until_ms),
        cmd.PlaceBlock(1, 1, HOUR, 169, Side.BUY, 1, 1, 10**9, Tif.GTC, 0, "", until_ms),
        cmd.PlaceBlock(1, 1, HOUR, 168, Side.BUY, 1, 1, 10**9, Tif.GTC, 0, "", until_ms),
        cmd.PutQuotes(1, 1, 1, quotes, until_ms),
        cmd.PutQuotes(1, 1, 1, quotes[:-1], until_ms),
    ]))  # fmt: skip

    outcomes = [event for event in said if hasattr(event, "index")]
    assert [(type(event), getattr(event, "code", 0)) for event in outcomes] == [
        (ev.Rejected, Code.WRONG_HOURS),
        (ev.RangeAccepted, 0),
        (ev.Rejected, Code.WRONG_HOURS),
        (ev.BlockAccepted, 0),
        (ev.Rejected, Code.WRONG_HOURS),
        (ev.QuotesPut, 0),
    ]
    # 170 hours are listed.
    assert [leg.code for leg in outcomes[1].legs] == [0] * 170 + [Code.UNKNOWN_CONTRACT] * (1_024 - 170)
    assert [hour.code for hour in outcomes[5].outcomes] == [0] * 170 + [Code.UNKNOWN_CONTRACT] * (512 - 170)
    assert duel.naive.resting_count() == 1 + 170


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
    "of the second version": (0, [StartShard(0, 2, T0_MS)], True),
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
