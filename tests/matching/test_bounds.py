"""Every bound of engine and codec, reached with the bound set to 2: the answer is an ordinary one, and the market goes on."""

from __future__ import annotations

import itertools

import pytest
from msgspec.structs import replace

from schemas import codec, ids, listing
from schemas import commands as cmd
from schemas import events as ev
from schemas.codec import CHAIN_START, BrokenFrame, Frame, decode_frame, decode_record, encode_frame, seal
from schemas.commands import Side, Tif
from schemas.events import Code
from services.matching.engine import Engine
from services.matching.replica import Replica
from tests.matching import golden
from tests.matching.faults import code_of
from tests.matching.market import T0_MS, Market, lines
from tests.matching.sources import engine_with, modules_with

ENGINE = {
    "AFTER_MS_MAX", "AMOUNT_MAX", "APPROVAL_MS_MAX", "BLOCK_HOURS_MAX", "CLASS_NO_MAX", "CLIENT_ID_MS", "HOURS_MAX",
    "HOUR_MASK", "LEGS_MAX", "MOVE_MS", "NEED_MAX", "OPENING_MS", "PRICE_MAX", "QTY_MAX", "REOPENING_MS", "SHARDS_MAX",
    "STEP_MS_MAX", "VALIDITY_MS_MAX",
}  # fmt: skip
OF_THE_STATE = {"blocks_max", "blocks_over_hour_max", "client_ids_max", "open_orders_max", "retries_max"}
CODEC = {"CHAINS_KEPT", "FRAME_COMMANDS_MAX", "RECORD_BYTES_MAX"}


def test_these_are_all_the_bounds_there_are() -> None:
    """A new one needs a test here. Units of time (MS_PER_HOUR) and where gateways' numbers begin are no bounds."""
    for modules, known in ((modules_with(()).values(), ENGINE), ([codec], CODEC)):
        names = {name for module in modules for name in vars(module) if name.isupper() and name[0] != "_"}
        assert {name for name in names if name.endswith(("_MAX", "_MASK", "_KEPT", "_MS"))} == known
    assert {name for name in vars(Engine()) if name.endswith("_max")} == OF_THE_STATE


# --- The engine --------------------------------------------------------------------------------------------------


def test_client_ids_of_an_account() -> None:
    """Two are in use: a third is refused, an order without one is not; a quarter of an hour makes room."""
    engine = engine_with(client_ids_max=2)
    market = Market.given(engine=engine)
    ana = market.account("ana")

    def bid(client_id: str) -> ev.Event:
        order = cmd.PlaceOrder(
            ana, market.contract(), Side.BUY, 1, 2_000_000, Tif.IOC, 0, client_id, market.engine.time_ms + 1
        )
        return market.tell(order)[0]

    assert [type(bid(name)).__name__ for name in ("a", "b", "", "a")] == [
        "OrderAccepted", "OrderAccepted", "OrderAccepted", "OrderRepeated",
    ]  # fmt: skip
    assert bid("c") == ev.Rejected(0, ana, Code.TOO_MANY_ORDERS, "c", 2, 0)
    market.wait(minutes=15)
    assert isinstance(bid("c"), ev.OrderAccepted)


def test_open_orders_of_an_account() -> None:
    """Two rest: a third is refused, immediate ones too, cancels are not; whatever ends makes room."""
    market = Market.given(engine=engine_with(open_orders_max=2))

    market.when("""
        ana buys 1 at 2.00
        ana sells 1 at 2.10
        ana buys 1 at 1.90
        ana buys 1 at 1.90 ioc
        bert buys 1 at 1.90
        bert sells 1 at 2.00
        ana buys 1 at 1.90
        ana cancels bid 1.90
        ana buys 1 at 1.91
    """)

    assert market.said() == lines("""
        ana bids 1 at 2.00
        ana offers 1 at 2.10
        ana is refused: too_many_orders (needs 2)
        ana is refused: too_many_orders (needs 2)
        bert bids 1 at 1.90
        bert offers 1 at 2.00
        ana buys 1 from bert at 2.00
        ana bids 1 at 1.90
        ana cancels
        ana loses 1 of an order: asked
        ana bids 1 at 1.91
    """)


def test_blocks_count_among_the_open_orders() -> None:
    market = Market.given(engine=engine_with(open_orders_max=2)).when("""
        ana bids a block of 1 for 2 hours from +0 at 1.50
        ana buys 1 at 1.50
        ana bids a block of 1 for 2 hours from +0 at 1.50
        ana buys 1 at 1.50
        ana buys 1 at 1.50 in hours +0
        ana cancels all bids in hour +1
        ana buys 1 at 1.50 in hour +1
    """)

    assert market.said() == lines("""
        ana bids a block of 1 for 2 hours from +0 at 1.50
        ana bids 1 at 1.50
        ana is refused: too_many_orders (needs 2)
        ana is refused: too_many_orders (needs 2)
        ana bids 1 at 1.50 in +0 too_many_orders (needs 2)
        ana cancels all 1
        ana loses 1 of an order: mass
        ana bids 1 at 1.50
    """)


def test_resting_blocks_of_an_account() -> None:
    """Two of hers rest, on whichever side and over whichever hours: a third is refused unless it does not come to rest."""
    market = Market.given(engine=engine_with(blocks_max=2), hours=3).when("""
        ana bids a block of 1 for 2 hours from +0 at 1.50
        ana offers a block of 1 for 2 hours from +1 at 3.00
        ana bids a block of 1 for 1 hours from +2 at 1.50
        ana bids a block of 1 for 1 hours from +2 at 1.50 until 22:00
        ana bids a block of 1 for 1 hours from +2 at 1.50 ioc
        bert bids a block of 1 for 1 hours from +2 at 1.50
        dana bids a block of 1 for 2 hours from +1 at 3.00
        ana bids a block of 1 for 1 hours from +2 at 1.50
    """)

    assert [said for said in market.said() if "ana" in said[:3]] == lines("""
        ana bids a block of 1 for 2 hours from +0 at 1.50
        ana offers a block of 1 for 2 hours from +1 at 3.00
        ana is refused: too_many_orders (needs 2)
        ana is refused: too_many_orders (needs 2)
        ana bids a block of 1 for 1 hours from +2 at 1.50
        ana loses 1 of an order: ioc
        ana has 1 in each hour for 6.00 in all
        ana bids a block of 1 for 1 hours from +2 at 1.50
    """)


def test_resting_blocks_of_a_side_over_an_hour() -> None:
    """Whose ever they are and whatever other hours they have; the other side has a bound of its own; who leaves makes room."""
    market = Market.given(engine=engine_with(blocks_over_hour_max=2), hours=3).when("""
        ana bids a block of 1 for 2 hours from +0 at 1.50
        bert bids a block of 1 for 2 hours from +1 at 1.50
        carl bids a block of 1 for 1 hours from +1 at 1.50
        carl bids a block of 1 for 3 hours from +0 at 1.50 ioc
        carl bids a block of 1 for 1 hours from +0 at 1.50
        carl bids a block of 1 for 1 hours from +2 at 1.50
        carl offers a block of 1 for 1 hours from +1 at 3.00
        ana cancels all
        carl bids a block of 1 for 1 hours from +1 at 1.50
    """)

    refused = [place for place, said in enumerate(market.said()) if "refused" in said]
    assert [market.said()[place] for place in refused] == ["carl is refused: too_many_orders (needs 2)"]
    assert refused == [2]
    assert market.said()[-1] == "carl bids a block of 1 for 1 hours from +1 at 1.50"


def test_hours_of_a_block() -> None:
    market = Market.given(engine=engine_with(BLOCK_HOURS_MAX=2)).when("""
        ana bids a block of 1 for 3 hours from +0 at 1.50
        ana bids a block of 1 for 2 hours from +0 at 1.50
    """)

    assert market.said() == ["ana is refused: wrong_hours", "ana bids a block of 1 for 2 hours from +0 at 1.50"]


def test_hours_of_a_range_and_of_quotes() -> None:
    market = Market.given(engine=engine_with(LEGS_MAX=2, HOURS_MAX=2), promises={"mike": 0}).when("""
        ana buys 1 at 1.50 in hours +0 +1 +2
        ana buys 1 at 1.50 in hours +0 +1
        mike quotes #1: +0 bids 1 at 1.50; +1 bids 1 at 1.50; +2 bids 1 at 1.50
        mike quotes #1: +0 bids 1 at 1.50; +1 bids 1 at 1.50
    """)

    assert market.said() == lines("""
        ana is refused: wrong_hours
        ana bids 1 at 1.50 in +0, +1
        mike is refused: wrong_hours
        mike quotes #1: +0 bids 1 at 1.50; +1 bids 1 at 1.50
    """)


def test_how_long_a_dead_man_s_switch_waits() -> None:
    market = Market.given(engine=engine_with(AFTER_MS_MIN=1, AFTER_MS_MAX=2))

    market.when("ana's switch is set to 3 ms\nana's switch is set to 2 ms").wait(ms=2)

    assert market.said() == ["ana's switch goes off", "a tick"]
    assert (
        code_of(market.tell(cmd.CancelAllAfter(market.account("ana"), 3, market.engine.time_ms))) == Code.WRONG_EXPIRY
    )


def test_how_often_a_reference_moves() -> None:
    market = Market.given(engine=engine_with(MOVE_MS=2)).when("the reference of the class is 2.10").wait(ms=1)
    assert code_of(market.when("the reference of the class is 2.20").events) == Code.TOO_SOON

    assert code_of(market.wait(ms=1).when("the reference of the class is 2.20").events) is None


def test_how_long_an_opening_and_a_reopening_last() -> None:
    """Each step two milliseconds."""
    market = Market.given(engine=engine_with(OPENING_MS=2, REOPENING_MS=2)).wait(to="22:00")
    assert market.wait(ms=1).said() == ["a tick"]
    assert market.wait(ms=1).said() == ["hour +3: open", "a tick"]

    market.when("the hour is halted\nthe hour is open")
    assert [market.wait(ms=1).said() for _ in range(4)] == [
        ["a tick"],
        ["hour +0: post_only", "a tick"],
        ["a tick"],
        ["hour +0: open", "a tick"],
    ]


def test_the_largest_quantity_of_an_order_and_of_backing() -> None:
    market = Market.given(backs={"ana": 0, "bert": 0}, engine=engine_with(QTY_MAX=2))

    market.when("ana buys 3 at 2.00\nana buys 2 at 2.00\nbert declares 3\nbert declares 2\nbert sells 2 at 2.00")

    assert market.said() == lines("""
        ana is refused: wrong_qty (needs 1)
        ana bids 2 at 2.00
        bert is refused: wrong_qty (needs 1)
        bert declares 2
        bert offers 2 at 2.00
        ana buys 2 from bert at 2.00
    """)


def test_the_largest_collateral_price() -> None:
    market = Market.given(
        promises={"mike": 0}, engine=engine_with(PRICE_MAX=2), tick="0.000001", list_price="0.000001", collar_low_bp=10_000
    )  # fmt: skip

    market.when("mike promises 1 at 0.000003\nmike promises 1 at 0.000002")

    assert market.said() == ["mike is refused: wrong_collateral", "mike promises 1"]


def test_the_largest_amount_of_a_transfer() -> None:
    market = Market.given(money={"ana": "0"}, engine=engine_with(AMOUNT_MAX=2))

    market.when("ana is given 0.000003\nana is given 0.000002\nana gives back 0.000003\nana gives back 0.000002")

    assert market.said() == lines("""
        ana is refused: wrong_amount
        ana is given 0.000002
        ana is refused: wrong_amount
        ana gives back 0.000002
    """)


def test_the_largest_number_that_is_told() -> None:
    """The need is cut, what is there is told as it is."""
    market = Market.given(promises={"mike": 0}, money={"mike": "1"}, engine=engine_with(NEED_MAX=2))

    market.when("mike promises 1")

    assert market.said() == ["mike is refused: insufficient_funds (needs 0.000002, has 1.00)"]


def test_hours_of_one_message() -> None:
    market = Market.given(backs={"bert": 0}, engine=engine_with(LEGS_MAX=2))

    market.send(market.declare("bert", 1, hours=(0, 1, 2)))
    assert market.said() == ["bert is refused: wrong_hours"]

    market.send(market.declare("bert", 1, hours=(0, 1)))
    assert market.said() == ["bert declares 1"]


def test_the_real_bound_of_hours_is_1024() -> None:
    market = Market.given(backs={"bert": 0}, horizon_hours=1_000)

    market.send(market.declare("bert", 1, hours=range(1025)))
    assert market.said() == ["bert is refused: wrong_hours"]

    market.send(market.declare("bert", 1, hours=range(1024)))
    assert market.said() == [f"bert is refused: unknown_contract (needs {market.hour + 999})"]


def test_how_long_an_approval_is_good() -> None:
    """And so for how long it is remembered."""
    market = Market.given(engine=engine_with(APPROVAL_MS_MAX=2)).when("bert sells 1 at 2.10\nana buys 1 at 2.10")
    ana, bert = map(market.account, ("ana", "bert"))
    until_ms = market.engine.time_ms + 2
    body = cmd.CorrectCash(ana, bert, bert, ana, 1, 1, "typed wrong", "a1", until_ms)

    market.send(replace(body, valid_until_ms=until_ms + 1), body, replace(body, valid_until_ms=until_ms + 1))

    assert market.said() == [
        "ana is refused: wrong_validity",
        "bert pays ana 0.000001 back",
        "ana is refused: wrong_validity",
    ]
    assert market.engine.approvals == {"a1": until_ms}


def test_how_long_an_order_is_valid() -> None:
    market = Market.given(engine=engine_with(VALIDITY_MS_MAX=2)).when("bert sells 1 at 2.10")
    market.account("ana")
    body = replace(market.order("ana", Side.BUY, 1, "2.00"), valid_until_ms=market.engine.time_ms + 2)

    market.send(replace(body, valid_until_ms=body.valid_until_ms + 1), body)
    market.tell(cmd.CancelOrder(market.account("ana"), 1, "", body.valid_until_ms + 1))
    market.tell(cmd.CancelOrder(market.account("ana"), 1, "", body.valid_until_ms))

    assert market.said() == lines("""
        ana is refused: wrong_validity
        ana bids 1 at 2.00
        ana is refused: wrong_validity
        ana is refused: unknown_order
    """)


def test_how_long_a_client_id_is_remembered() -> None:
    market = Market.given(engine=engine_with(CLIENT_ID_MS=2)).when("ana buys 1 at 2.00 ioc as mine")

    market.wait(ms=1).when("ana buys 1 at 2.00 ioc as mine")
    assert market.said() == ["ana repeats mine"]

    market.wait(ms=1).when("ana buys 1 at 2.00 ioc as mine")
    assert market.said()[0] == "ana bids 1 at 2.00"


def test_how_far_a_record_moves_time() -> None:
    """Two milliseconds at a time; what is due happens when its time has come, not when its stamp said so."""
    engine = engine_with(STEP_MS_MAX=2)
    engine.apply(0, T0_MS, [cmd.StartShard(0, 1, T0_MS)])

    for offset in (1, 2, 3):
        engine.apply(offset, T0_MS + 5, [cmd.Tick(T0_MS + 900), cmd.Tick(T0_MS + 900)])
        assert engine.time_ms == T0_MS + min(2 * offset, 5)


def test_how_many_shards_there_are() -> None:
    with pytest.raises(Exception, match="this build cannot start StartShard"):
        engine_with(SHARDS_MAX=2).apply(0, T0_MS, [cmd.StartShard(2, 1, T0_MS)])
    assert engine_with(SHARDS_MAX=2).apply(0, T0_MS, [cmd.StartShard(1, 1, T0_MS)])


def test_how_many_classes_there_are() -> None:
    """Two numbers."""
    market = Market.given(engine=engine_with(CLASS_NO_MAX=2))
    third = cmd.SetClass(market.outbox(), 3, "C", 1, 1, 1, cmd.Fees())

    assert market.tell(third) == [ev.OutboxRejected(0, third.outbox, 0, Code.WRONG_CLASS)]
    assert isinstance(market.tell(replace(third, outbox=market.outbox(), class_no=2))[0], ev.ClassSet)


def test_the_last_hour_there_is(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hours above the mask are nobody's, whatever is said of them."""
    monkeypatch.setattr(listing, "HOUR_MASK", 2)
    market = Market.given(engine=engine_with(HOUR_MASK=2), first_hour=0)

    assert market.tell(cmd.SetState(9, 1, market.hour, 1, "")) == [ev.Rejected(0, 9, Code.UNKNOWN_CONTRACT)]
    late = cmd.SetClass(market.outbox(), 2, "B", 1, 1, 1, cmd.Fees(), first_hour=3)
    assert market.tell(late) == [ev.OutboxRejected(0, late.outbox, 0, Code.WRONG_CLASS)]
    assert isinstance(market.tell(replace(late, outbox=market.outbox(), first_hour=2))[0], ev.ClassSet)


def test_the_engine_of_these_tests_is_the_engine() -> None:
    """Loaded from its source without another bound, it says to a golden log what it must."""
    log = golden.load(1, "sandbox")
    replica = Replica(golden.SHARD, modules_with(())["engine"].Engine())
    assert type(replica.engine) is not Engine

    for record in log.commands:
        replica.apply(record, log.quarantine)

    assert replica.chain.hex() == log.expected["chain"]


# --- The codec ---------------------------------------------------------------------------------------------------


def test_commands_of_a_frame(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(codec, "FRAME_COMMANDS_MAX", 2)
    tick = cmd.Tick(5)

    assert len(decode_frame(encode_frame(2, 1, [tick, tick])).commands) == 2
    with pytest.raises(AssertionError, match="3 commands in one frame"):
        encode_frame(2, 1, [tick] * 3)
    with pytest.raises(BrokenFrame, match="3 commands in one frame, allowed are 1 to 2"):
        decode_frame(codec._encoder.encode((1, 2, 1, [tick] * 3)))


def test_the_index_of_a_command_and_the_leg_of_a_range_fit_their_order_ids() -> None:
    """Where a frame and a range may not be longer, two orders never get one id."""
    assert ids.FRAME_COMMANDS_MAX - 1 == (1 << ids.INDEX_BITS) - 1
    assert ids.LEGS_MAX - 1 == (1 << ids.LEG_BITS) - 1
    assert ids.order_id(0, 1, 511, 1023) + 1 == ids.order_id(0, 2, 0, 0)


def test_a_full_frame_of_orders_is_done_whole() -> None:
    """Five hundred and twelve, each with its own id, in one record of `events`."""
    market = Market.given(backs={"bert": 512})
    sells = [market.order("bert", Side.SELL, 1, "2.00") for _ in range(ids.FRAME_COMMANDS_MAX)]

    events = market.tell(*sells)

    accepted = [event for event in events if isinstance(event, ev.OrderAccepted)]
    assert [event.index for event in accepted] == list(range(512))
    assert len({event.order for event in accepted}) == 512
    assert market.when("ana buys 499 at 2.00").trades()[1:] == [("bert", "ana", "1", "2.00")] * 499


def test_bytes_of_a_record_of_events(monkeypatch: pytest.MonkeyPatch) -> None:
    """With a bound of two bytes every event is a part of its own; a reader of the parts has the same events in the same order."""
    whole = Replica(golden.SHARD, Engine())
    log = golden.load(1, "sandbox")
    said = [decode_record(s.body).events for record in log.commands for s in whole.apply(record, log.quarantine)]
    monkeypatch.setattr(codec, "RECORD_BYTES_MAX", 2)

    parts = Replica(golden.SHARD, Engine())
    for record, events in zip(log.commands, said, strict=True):
        records = [decode_record(sealed.body) for sealed in parts.apply(record, log.quarantine)]
        assert list(itertools.chain.from_iterable(r.events for r in records)) == events
        assert [len(r.events) for r in records] == ([1] * len(events) or [0])
        assert [(r.part, r.last) for r in records] == [(n, n == len(records) - 1) for n in range(len(records))]
    assert parts.seq == sum(max(1, len(events)) for events in said)


def test_chains_that_a_reader_keeps(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of two: an older repeat is dropped unseen, as it is beyond 4,096; what is read is the same."""
    monkeypatch.setattr(codec, "CHAINS_KEPT", 2)
    reader, seq, chain = codec.ChainReader(), 0, CHAIN_START
    said = []
    for number in range(6):
        (sealed,) = seal(0, seq, chain, number, 5, Frame(2, number, ()), [])
        seq, chain = sealed.seq, sealed.chain
        said.append((codec.read_headers([*sealed.headers, codec.epoch_header(1)]), sealed.body))
        assert reader.accept(*said[-1])

    assert [reader.accept(*one) for one in said] == [False] * 6
    assert len(reader._recent) == 2
    assert (reader.seq, reader.chain) == (6, chain)
