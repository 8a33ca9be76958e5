"""Where the text of the rules is subtle: both engines against numbers worked out by hand, with the working.

The class is TINY: lot 1, tick 1, list price 10, buyers pay 30 bp as makers and 900 bp as takers, sellers 50 and 1,000.
"""

from collections.abc import Iterable, Iterator
from itertools import count

import pytest
from msgspec.structs import replace

from schemas import commands as cmd
from schemas import events as ev
from schemas.commands import Ground, Role, Side, State, Tif
from schemas.events import Code, Event, Reason
from schemas.ids import contract_of, order_id
from schemas.units import MS_PER_HOUR
from tests.reference.duel import Duel
from tests.reference.script import Record
from tests.reference.world import CLASSES, T0_MS

HOUR = T0_MS // MS_PER_HOUR + 1
ONE, TWO = contract_of(1, HOUR), contract_of(1, HOUR + 1)
ANA, BOB, MIA, ZOE = 1, 2, 3, 4
GATE_MS, COVER_MS = HOUR * MS_PER_HOUR - 300_000, HOUR * MS_PER_HOUR - 1_800_000


class Market:
    """TINY, and four members with money: ana and zoe declare machines, mia promises, bob buys."""

    def __init__(self, version: int = 2) -> None:
        self.duel = Duel()
        self._offsets: Iterator[int] = count()
        self._outbox: Iterator[int] = count(1)
        self.time_ms = T0_MS
        self.say(cmd.StartShard(0, version, T0_MS))
        self.tell(replace(CLASSES[1], outbox=0))
        for account, role in ((ANA, Role.PROVIDER), (BOB, Role.MEMBER), (MIA, Role.MARKET_MAKER), (ZOE, Role.PROVIDER)):
            self.tell(cmd.SetAccount(0, account, account, role, 0), cmd.Credit(0, account, 10_000))
        self.back(ANA, Ground.DECLARED, 50)
        self.back(ZOE, Ground.DECLARED, 50)

    def say(self, *commands: cmd.Command) -> list[Event]:
        """One record."""
        return self.duel.play(Record(next(self._offsets), self.time_ms, commands))

    def tell(self, *messages: cmd.OutboxCommand) -> list[Event]:
        """Settlement's."""
        return self.say(*[replace(message, outbox=next(self._outbox)) for message in messages])

    def back(self, account: int, ground: int, qty: int, price: int = 0, version: int = 1) -> list[Event]:
        return self.tell(cmd.SetBacking(0, account, 1, (HOUR, HOUR + 1), ground, qty, price, version))

    def quarantine(self) -> list[Event]:
        return self.duel.play(Record(next(self._offsets), self.time_ms, [], quarantined=True))

    def order(
        self, account: int, side: int, qty: int, price: int, contract: int = ONE, tif: int = Tif.GTC
    ) -> list[Event]:
        return self.say(cmd.PlaceOrder(account, contract, side, qty, price, tif, 0, "", self.time_ms))

    def block(
        self, account: int, side: int, qty: int, price: int, qty_min: int = 1, tif: int = Tif.GTC, hours: int = 2
    ) -> list[Event]:
        body = cmd.PlaceBlock(account, 1, HOUR, hours, side, qty, qty_min, price, tif, 0, "", self.time_ms)
        return self.say(body)

    def pass_to(self, time_ms: int) -> list[Event]:
        self.time_ms = time_ms
        return self.say(cmd.Tick(time_ms))


def trades(events: Iterable[Event]) -> list[tuple[int, int, int]]:
    """(hours after the first, qty, price)."""
    return [(event.contract - ONE, event.qty, event.price) for event in events if isinstance(event, ev.Filled)]


def filled(events: Iterable[Event]) -> list[tuple[int, int, int]]:
    """(qty, leaves, sum of price × qty)."""
    return [(its.qty, its.leaves, its.average_price_num) for its in events if isinstance(its, ev.BlockFilled)]


def test_a_block_takes_as_much_as_its_average_allows_and_not_one_more() -> None:
    """Asks: 3 at 9 and 9 at 14 in the first hour; 2 at 8 and 9 at 11 in the second. A block of two hours at 11.

    q GPUs cost 3 × 9 + 14 (q - 3) and 2 × 8 + 11 (q - 2): 4 cost 41 + 38 = 79 ≤ 11 × 2 × 4 = 88; 5 cost 55 + 49 = 104 ≤ 110;
    6 cost 69 + 60 = 129 ≤ 132; 7 cost 83 + 71 = 154 ≤ 154; 8 cost 97 + 82 = 179 > 176.
    """
    market = Market()
    market.order(ANA, Side.SELL, 3, 9)
    market.order(ANA, Side.SELL, 9, 14)
    market.order(ANA, Side.SELL, 2, 8, TWO)
    market.order(ANA, Side.SELL, 9, 11, TWO)

    said = market.block(BOB, Side.BUY, 10, 11)

    assert trades(said) == [(0, 3, 9), (0, 4, 14), (1, 2, 8), (1, 5, 11)]
    assert filled(said) == [(7, 3, 154)]


def test_the_shallowest_hour_bounds_a_block_and_its_minimum_may_leave_it_with_nothing() -> None:
    """The second hour gives 4. A block of at least 5 waits for more; of at least 4 it takes them."""
    market = Market()
    market.order(ANA, Side.SELL, 9, 9)
    market.order(ANA, Side.SELL, 4, 9, TWO)

    too_many = market.block(BOB, Side.BUY, 8, 10, qty_min=5, tif=Tif.IOC)
    all_or_nothing = market.block(BOB, Side.BUY, 5, 10, qty_min=5, tif=Tif.FOK)
    enough = market.block(BOB, Side.BUY, 8, 10, qty_min=4, tif=Tif.IOC)

    number = order_id(0, next(market._offsets) - 3, 0)
    assert too_many[1:] == [ev.OrderCancelled(number, BOB, ONE, 8, Reason.IOC)]
    assert all_or_nothing == [ev.Rejected(0, BOB, Code.CANNOT_FILL, "", 5, 4)]
    assert trades(enough) == [(0, 4, 9), (1, 4, 9)]
    assert filled(enough) == [(4, 4, 72)]
    assert enough[-1].qty == 4


def test_hour_orders_go_first_at_the_price_of_a_block_and_what_the_limit_still_allows_goes_last() -> None:
    """Zoe's block rests at 11; hour asks: 2 at 10 and 9 at 13 in both hours. Bob's block wants 9 at 12.

    At 11 the hours give q with 20 q for q ≤ 2, then 40 + 26 (q - 2) ≤ 22 q: 4 q ≤ 12: q = 3 (66 ≤ 66). So 3 from the hours,
    then min(9 - 3, 5) = 5 of zoe's, and at 12: 40 + 26 (q - 2) ≤ 24 q: q ≤ 6; of which 9 - 5 = 4. Together 4 from the hours
    (40 + 52 = 92) and 5 of zoe's at 11 (110).
    """
    market = Market()
    market.block(ZOE, Side.SELL, 5, 11)
    for contract in (ONE, TWO):
        market.order(ANA, Side.SELL, 2, 10, contract)
        market.order(ANA, Side.SELL, 9, 13, contract)

    said = market.block(BOB, Side.BUY, 9, 12)

    assert trades(said) == [(0, 2, 10), (0, 2, 13), (1, 2, 10), (1, 2, 13), (0, 5, 11), (1, 5, 11)]
    assert filled(said) == [(4, 5, 92), (5, 0, 110), (5, 0, 110)]
    assert market.duel.naive.open_orders()[0][4:] == (7, 13)


def test_a_resting_block_whose_minimum_does_not_fit_is_passed_over() -> None:
    """Ana's block at 9 wants to sell 6 at least, zoe's at 10 any. Bob buys 5: zoe's 5, though ana is cheaper."""
    market = Market()
    market.block(ANA, Side.SELL, 8, 9, qty_min=6)
    market.block(ZOE, Side.SELL, 5, 10)

    said = market.block(BOB, Side.BUY, 5, 10)

    assert trades(said) == [(0, 5, 10), (1, 5, 10)]
    assert filled(said) == [(5, 0, 100), (5, 0, 100)]


def test_a_block_that_waits_is_tried_again_when_an_order_comes_to_rest_in_the_last_of_its_hours() -> None:
    """Bob's block waits for both hours; one hour's ask is not enough, the other one's is, and both trade at once."""
    market = Market()
    market.block(BOB, Side.BUY, 3, 10)

    first = market.order(ANA, Side.SELL, 5, 9)
    second = market.order(ANA, Side.SELL, 2, 10, TWO)

    assert [type(event) for event in first] == [ev.OrderAccepted]
    assert [type(event) for event in second] == [ev.OrderAccepted, ev.Filled, ev.Filled, ev.BlockFilled]
    assert trades(second) == [(0, 2, 9), (1, 2, 10)]
    assert filled(second) == [(2, 1, 38)]


def test_a_blocks_hold_is_rounded_once_over_all_hours() -> None:
    """7 GPUs for 2 hours at 11: n = 154, 900 bp of it = 13.86 → 13, a µUSD per lot and hour = 14. (By hours: 12, not 13.)"""
    market = Market()
    market.say(cmd.PlaceBlock(BOB, 1, HOUR, 2, Side.BUY, 7, 1, 11, Tif.GTC, 0, "", market.time_ms))

    assert market.duel.engine.holds()[BOB] == market.duel.naive.holds()[BOB] == 154 + 13 + 14


def test_a_promise_is_bought_in_with_its_own_collateral() -> None:
    """Mia sells 6 promises to bob at 10, with collateral for 8 at 20: 20 + 900 bp (1.8 → 2) = 22 each, 176.

    At the deadline her 2 unsold ones end, and she buys back as far as asks reach her 20: 4 at 13 (52, fee 4.68 → 5) and
    1 at 20 (20, fee 1.8 → 2). Nobody sells the sixth. What she had sold waits in escrow: 60 less her fee of 50 bp (0.3 → 1) = 59.
    Buying back frees the smaller of her proceeds and her cost: of 4 pieces ⌊59 × 4 / 6⌋ = 39 < 57, of 1 of the 2 left
    ⌊20 × 1 / 2⌋ = 10 < 22.
    """
    market = Market()
    market.back(MIA, Ground.PROMISED, 8, 20)
    market.order(MIA, Side.SELL, 6, 10)
    market.order(BOB, Side.BUY, 6, 10)
    market.order(ANA, Side.SELL, 4, 13)
    market.order(ZOE, Side.SELL, 1, 20)

    said = market.pass_to(COVER_MS)

    fills = [event for event in said if isinstance(event, ev.Filled)]
    assert said[0] == ev.BackingCut(ONE, MIA, Ground.PROMISED, 2)
    assert said[1] == ev.BuyIn(ONE, MIA, 6, 20)
    assert [(its.qty, its.price, its.taker_order, its.taker_leaves, its.buyer_fee) for its in fills] == [
        (4, 13, 0, 2, 5),
        (1, 20, 0, 1, 2),
    ]
    assert said[4] == ev.BuyInFailed(ONE, MIA, 1)
    assert said[5:] == [ev.Ticked(0, COVER_MS)]
    assert [its.moves[0].released_buyer for its in fills] == [39, 10]
    assert market.duel.naive.collaterals()[MIA] == 8 * 22 + 1 * 22  # the next hour's 8, and the one that is still owed
    assert market.duel.naive.balances()[MIA] == 10_000 - (52 + 5) + 39 - (20 + 2) + 10


def test_nothing_is_bought_in_while_the_hour_is_not_open() -> None:
    market = Market()
    market.back(MIA, Ground.PROMISED, 8, 20)
    market.order(MIA, Side.SELL, 6, 10)
    market.order(BOB, Side.BUY, 6, 10)
    market.order(ANA, Side.SELL, 9, 13)
    market.say(cmd.SetState(900, 1, 0, State.POST_ONLY, "simulated"))

    assert market.pass_to(COVER_MS)[:2] == [
        ev.BackingCut(ONE, MIA, Ground.PROMISED, 2),
        ev.BuyInFailed(ONE, MIA, 6),
    ]


@pytest.mark.parametrize(
    ("minutes_left", "cash", "need"),
    [
        # 3 GPUs at 11: 33 for the hour. m of 60 minutes: rounded up; a µUSD per lot; 900 bp rounded down; a µUSD per lot.
        (60, 33, 33 + 3 + 3 + 3),  # 36 × 9 % = 3.24
        (37, 21, 21 + 3 + 2 + 3),  # 20.35 → 21; 24 × 9 % = 2.16
        (11, 7, 7 + 3 + 0 + 3),  # 6.05 → 7; 10 × 9 % = 0.9
    ],
)
def test_what_is_left_of_an_hour_is_paid_by_the_minute(minutes_left: int, cash: int, need: int) -> None:
    market = Market()
    market.back(ANA, Ground.READY, 9)
    end_ms = (HOUR + 1) * MS_PER_HOUR
    market.pass_to(min(GATE_MS + 60_000, end_ms) if minutes_left == 60 else end_ms - minutes_left * 60_000 - 59_999)
    market.order(ANA, Side.SELL, 3, 11)
    market.tell(cmd.Sweep(0, BOB, 10_000 - need + 1))

    poor = market.order(BOB, Side.BUY, 3, 11, tif=Tif.IOC)
    market.tell(cmd.Credit(0, BOB, 1))
    rich = market.order(BOB, Side.BUY, 3, 11, tif=Tif.IOC)

    assert poor == [ev.Rejected(0, BOB, Code.INSUFFICIENT_FUNDS, "", need, need - 1)]
    fill = rich[1]
    assert isinstance(fill, ev.Filled)
    assert (fill.minutes, fill.notional) == (minutes_left, cash)
    assert [(move.source, move.ground, move.closes) for move in fill.moves] == [(0, Ground.READY, 0)]


def test_a_quote_that_shrinks_keeps_its_place_and_one_that_moves_goes_to_the_end() -> None:
    """Mia and zoe both ask at 11, mia first. Mia's smaller size stays first; at another price and back she is second."""
    market = Market()
    market.back(MIA, Ground.DECLARED, 9)
    quote = cmd.QuoteHour(HOUR, 9, 2, 11, 4)

    def put(number: int, quote: cmd.QuoteHour) -> ev.QuoteOutcome:
        said = market.say(cmd.PutQuotes(MIA, 1, number, (quote,), market.time_ms))
        assert isinstance(said[0], ev.QuotesPut)
        return said[0].outcomes[0]

    first = put(1, quote)
    market.order(ZOE, Side.SELL, 5, 11)
    smaller = put(2, replace(quote, ask_qty=3))
    sold_first = market.order(BOB, Side.BUY, 1, 11, tif=Tif.IOC)[1]
    put(3, replace(quote, ask=12, ask_qty=2))
    put(4, replace(quote, ask_qty=2))
    sold_then = market.order(BOB, Side.BUY, 1, 11, tif=Tif.IOC)[1]

    assert (smaller.bid_order, smaller.ask_order, smaller.ask_qty) == (first.bid_order, first.ask_order, 3)
    assert (sold_first.maker_order, sold_first.seller) == (first.ask_order, MIA)
    assert sold_then.seller == ZOE


def test_version_2_begins_with_the_next_record_that_is_applied_and_looks_for_deadlines_that_are_over() -> None:
    """Mia promised 8 and sold 6 when there were no deadlines; a second step in the same frame may not go back."""
    market = Market(version=1)
    market.pass_to(COVER_MS + 1)
    market.back(MIA, Ground.PROMISED, 8, 20)
    market.order(MIA, Side.SELL, 6, 10)
    market.order(BOB, Side.BUY, 6, 10)
    switch = cmd.CancelAllAfter(BOB, 1_000, market.time_ms)

    turned = market.say(cmd.SetEngineVersion(900, 2), cmd.SetEngineVersion(900, 1), switch)
    nothing = market.quarantine()
    then = market.say(switch)

    assert turned == [
        ev.EngineVersionSet(0, 900, 2),
        ev.Rejected(1, 900, Code.WRONG_VERSION),
        ev.Rejected(2, BOB, Code.NOT_OFFERED_YET),
    ]
    assert nothing == []
    assert then == [
        ev.BackingCut(ONE, MIA, Ground.PROMISED, 2),
        ev.BuyIn(ONE, MIA, 6, 20),
        ev.BuyInFailed(ONE, MIA, 6),
        ev.CancelAllAfterSet(0, BOB, market.time_ms + 1_000),
    ]


def test_the_hour_that_runs_is_listed_with_its_class_and_is_behind_its_gate_at_once() -> None:
    """So that a new sandbox sells what there is now. In the very record it takes neither machines for later nor a bid to wait."""
    market, running = Market(), contract_of(2, HOUR - 1)
    hours = (HOUR - 1,)
    two = replace(CLASSES[1], class_no=2, class_id="TWO")

    listed = market.tell(
        two,
        cmd.SetBacking(0, MIA, 2, hours, Ground.PROMISED, 5, 20, 1),
        cmd.SetBacking(0, ANA, 2, hours, Ground.DECLARED, 5, 0, 1),
        cmd.SetBacking(0, ANA, 2, hours, Ground.READY, 3, 0, 1),
    )
    asked = market.order(ANA, Side.SELL, 3, 10, running)

    assert listed[1:4] == [
        ev.ContractListed(running),
        ev.GateClosed(running),
        ev.ContractListed(running + 1),
    ]
    assert [(event.account, event.code, event.need) for event in listed if isinstance(event, ev.OutboxRejected)] == [
        (MIA, Code.WRONG_PHASE, HOUR - 1),
        (ANA, Code.WRONG_PHASE, HOUR - 1),
    ]
    assert [type(event) for event in (listed[-1], *asked)] == [ev.BackingSet, ev.OrderAccepted]
    # T0 is 20 min 34.567 s into the hour: 39 whole minutes are left. 2 × 10 × 39 / 60 = 13.
    fill = market.order(BOB, Side.BUY, 2, 10, running, tif=Tif.IOC)[1]
    assert isinstance(fill, ev.Filled)
    assert (fill.minutes, fill.notional) == (39, 13)


def test_what_a_market_maker_owes_keeps_its_collateral_when_it_becomes_a_provider() -> None:
    """20 for each of 3 ready, and 900 bp of it for the buyer's fee: 3 × 22 = 66; while one is owed, 22 stay."""
    market = Market()
    market.back(MIA, Ground.READY, 3, 20)
    market.pass_to(HOUR * MS_PER_HOUR)
    market.order(MIA, Side.SELL, 1, 10)
    market.order(BOB, Side.BUY, 1, 10, tif=Tif.IOC)
    market.tell(cmd.SetAccount(0, MIA, MIA, Role.PROVIDER, 0))

    said = [
        market.tell(cmd.SetBacking(0, MIA, 1, hours, Ground.READY, 0, price, 2))[0]
        for hours, price in [((HOUR,), 0), ((HOUR, HOUR + 1), 0), ((HOUR + 1,), 0), ((HOUR,), 20)]
    ]
    all_back = market.tell(cmd.Sweep(0, MIA, 10_000))

    assert [(type(event), getattr(event, "code", 0), getattr(event, "need", 0)) for event in said] == [
        (ev.OutboxRejected, Code.WRONG_COLLATERAL, 20),
        (ev.OutboxRejected, Code.WRONG_COLLATERAL, 20),
        (ev.BackingSet, 0, 0),
        (ev.BackingSet, 0, 0),
    ]
    assert isinstance(all_back[0], ev.Swept)
    assert all_back[0].balance == 22
