"""The desk against the real engine: it quotes both sides, follows the catalogue, and survives what a network does.

book: hour after now | leaves@price of bids | of asks. Prices in µUSD, the list price is 10,000, collar 5,000 to 20,000.
"""

from __future__ import annotations

import os
import random
import sys

import pytest
from msgspec.structs import replace

from schemas.commands import Side, Tif
from services.market_maker.exchange import FILLS_MAX, GatewayAway
from services.market_maker.limits import Limits, packaged_limits
from services.market_maker.quoting import HourQuote
from tests.market_maker.hall import DESK, HOUR_MS
from tests.market_maker.market import LIMITS, NODE, SINGLE, Market

AT_9000 = ["09 | 8@8550 | 8@9500", "10 | 8@8550 | 8@9500", "11 | 8@8550 | 8@9500"]
AT_8000 = ["09 | 8@7600 | 8@8450", "10 | 8@7600 | 8@8450", "11 | 8@7600 | 8@8450"]


@pytest.fixture
def market() -> Market:
    return Market()


async def test_it_promises_and_quotes_both_sides_in_the_hours_of_its_window(market: Market) -> None:
    market.lists(9_000)

    await market.turn()

    assert market.book() == AT_9000
    account = market.hall.engine.accounts[DESK]
    assert account.collateral == 20_000 * 8 * 3, "at the cap, for each promised GPU-hour"
    assert account.holds == (8_550 * 8 + 8) * 3
    assert account.available == 0, "no more money is moved than is needed"


async def test_when_the_catalogue_moves_both_sides_move(market: Market) -> None:
    market.lists(9_000)
    await market.turn()

    market.lists(8_000)
    await market.desk.quote()

    assert market.book() == AT_8000


async def test_a_catalogue_that_does_not_move_costs_no_requests(market: Market) -> None:
    market.lists(9_000)
    await market.turn()
    before = market.hall.requests

    for _ in range(10):
        market.polls()
        await market.desk.quote()

    assert market.hall.requests == before


async def test_quotes_stand_still_while_their_source_is_polled_as_it_should_be() -> None:
    """The packaged rules, a poll every five seconds: what moves with the age of a source would move all quotes all the time."""
    limits = replace(packaged_limits(), window_hours=3, capital_micros=10**9)
    market = Market(limits=limits)
    market.lists(9_000)
    await market.turn()
    before = [(order.order, order.price) for order in market.hall.own()]

    for second in range(1, 51):
        market.clock.ms += 1_000
        if second % 5 == 0:
            market.polls()
        await market.desk.quote()

    assert [(order.order, order.price) for order in market.hall.own()] == before


async def test_its_own_quotes_do_not_move_its_quotes() -> None:
    """Half of the book's distance counts. Neither what it has just replaced nor a minute's renewal is others' book."""
    market = Market(limits=replace(LIMITS, book_share_bp=5_000, book_band_bp=1_000))
    market.lists(9_000)
    await market.turn()
    market.lists(8_000)
    await market.desk.quote()
    assert market.book() == AT_8000
    before = [(order.order, order.price) for order in market.hall.own()]

    for _ in range(70):
        market.polls()
        await market.desk.quote()
        market.clock.ms += 1_000
        await market.turn()

    assert [(order.order, order.price) for order in market.hall.own()] == before


async def test_what_others_quote_behind_it_counts_as_when_they_are_in_front() -> None:
    """Both sides of another member, wider than its own: in the middle, 8,900, it would quote a tenth of the distance lower."""
    market = Market(limits=replace(LIMITS, book_share_bp=1_000, book_band_bp=1_000))
    market.lists(9_000)
    await market.turn()
    market.hall.trade(market.symbol(10), Side.BUY, 1, 8_000, Tif.GTC)
    market.hall.trade(market.symbol(10), Side.SELL, 1, 9_800, Tif.GTC)

    for _ in range(3):
        await market.turn()
        assert market.book() == ["09 | 8@8550 | 8@9500", "10 | 8@8540 | 8@9490", "11 | 8@8550 | 8@9500"]


async def test_when_the_offer_is_gone_everything_is_pulled_and_it_says_why(market: Market) -> None:
    market.lists(9_000)
    await market.turn()

    market.drops()
    await market.desk.quote()

    assert market.book() == []
    assert market.says() == "none: no firm offer"


async def test_when_the_source_goes_stale_everything_is_pulled_and_comes_back_with_it(market: Market) -> None:
    market.lists(9_000)
    await market.turn()

    market.clock.ms += 45_000
    await market.desk.quote()
    assert market.book() == []
    assert market.says() == "none: stale: last polled s at 08:00:00 UTC"

    market.polls()
    await market.turn()
    assert market.book() == AT_9000


async def test_the_next_cheapest_cloud_takes_over(market: Market) -> None:
    market.lists(9_000, "cheap")
    market.lists(9_500, "dear")
    await market.turn()
    assert market.book()[0] == "09 | 8@8550 | 8@9500"

    market.drops("cheap")
    await market.desk.quote()

    assert market.book()[0] == "09 | 8@9020 | 8@10030"


async def test_what_it_sold_is_owed_and_not_offered_again_and_what_it_bought_is_sold_on(market: Market) -> None:
    market.lists(9_000)
    await market.turn()
    market.hall.trade(market.symbol(9), Side.BUY, 3, 9_500)
    market.hall.trade(market.symbol(10), Side.SELL, 2, 8_550)

    await market.turn()

    assert market.book() == ["09 | 8@8550 | 5@9500", "10 | 6@8550 | 2@9500", "11 | 8@8550 | 8@9500"]
    assert (market.position(9), market.position(10)) == (-3, 2)


async def test_buying_back_what_it_owes_frees_the_promise(market: Market) -> None:
    market.lists(9_000)
    await market.turn()
    market.hall.trade(market.symbol(9), Side.BUY, 3, 9_500)
    await market.turn()
    market.hall.trade(market.symbol(9), Side.SELL, 3, 8_550)

    await market.turn()

    assert market.position(9) == 0
    assert market.book() == AT_9000


async def test_both_sides_of_a_quote_that_traded_between_two_readings_stand_in_full_again(market: Market) -> None:
    """The position is what it was, and so is the quote that is wanted; what stands is not."""
    market.lists(9_000)
    await market.turn()
    market.hall.trade(market.symbol(9), Side.BUY, 3, 9_500)
    market.hall.trade(market.symbol(9), Side.SELL, 3, 8_550)
    assert market.book()[0] == "09 | 5@8550 | 5@9500"

    await market.turn()

    assert market.book() == AT_9000


async def test_more_trades_than_one_page_tells_leave_nothing_taken_to_stand(market: Market) -> None:
    market.lists(9_000)
    await market.turn()
    for _ in range(FILLS_MAX // 2):
        market.hall.trade(market.symbol(9), Side.BUY, 1, 9_500)
        market.hall.trade(market.symbol(9), Side.SELL, 1, 8_550)
    assert len(market.hall._fills) < FILLS_MAX, "it was sold out before"
    market.hall._fills = [(n, market.symbol(11)) for n in range(2 * FILLS_MAX)]
    before = market.hall.requests

    await market.turn()

    assert market.book() == AT_9000
    assert market.hall.requests > before


async def test_the_window_goes_on_with_the_hours(market: Market) -> None:
    market.lists(9_000)
    await market.turn()
    market.clock.ms += 2 * HOUR_MS
    market.hall.settle_time()
    market.polls()

    await market.turn()

    assert [line[:2] for line in market.book()] == ["11", "12", "13"]


async def test_a_restart_says_its_quotes_anew_and_they_keep_their_places(market: Market) -> None:
    market.lists(9_000)
    await market.turn()
    before = [order.order for order in market.hall.own()]

    market.start()
    await market.turn()

    assert [order.order for order in market.hall.own()] == before


async def test_a_restart_with_another_catalogue_moves_what_it_finds(market: Market) -> None:
    market.lists(9_000)
    await market.turn()
    market.start()
    market.clock.ms += 1  # numbers are the clock's

    market.lists(8_000)
    await market.turn()

    assert market.book() == AT_8000


@pytest.mark.parametrize("fault", ["lost", "late"])
async def test_quotes_whose_outcome_is_unknown_are_said_again_and_stand_once(market: Market, fault: str) -> None:
    market.lists(9_000)
    await market.desk.read()
    # Promise refused for lack of money, money moved, promise, money for the bids; then the quotes are not answered.
    market.hall.faults.extend(["", "", "", "", fault])
    await market.desk.quote()
    assert market.status.values["requests_unknown"] == 1

    market.clock.ms += 1
    await market.desk.quote()

    assert market.book() == AT_9000


async def test_somebody_else_cancelled_its_quotes_and_a_minute_later_they_stand_again(market: Market) -> None:
    market.lists(9_000)
    await market.turn()
    await market.hall.pull(SINGLE)
    await market.turn()
    assert market.book() == [], "it does not know"

    market.clock.ms += 60_000
    market.polls()
    await market.turn()

    assert market.book() == AT_9000


async def test_the_dead_man_s_switch_takes_the_quotes_of_a_desk_that_is_not_heard_of(market: Market) -> None:
    market.lists(9_000)
    await market.turn()

    market.clock.ms += 30_000
    market.hall.settle_time()
    assert market.book() == []

    market.polls()
    await market.turn()
    assert market.book() == AT_9000


async def test_where_the_switch_cannot_be_set_nothing_is_quoted(market: Market) -> None:
    market.lists(9_000)
    market.hall.faults.append("lost")

    with pytest.raises(GatewayAway, match="no shard takes the dead man's switch"):
        await market.turn()

    assert market.book() == []


async def test_a_desk_that_begins_while_a_shard_does_not_answer_quotes_in_the_others() -> None:
    market = Market()
    market.hall.list(NODE, lot=8, shard=1)
    market.lists(9_000)
    market.lists(9_000, "nodes", NODE, 8)
    market.hall.halted = {1}

    await market.turn()

    assert market.book() == AT_9000
    assert market.book(NODE) == []
    assert market.says(NODE) == "none: shard 1 does not answer"
    assert market.reached() == ["dead_man_ms"]
    assert market.hall.in_vain == 0, "whoever waits for its answer is late everywhere else"

    market.hall.halted = set()
    await market.turn()
    assert market.book(NODE) == AT_9000
    assert market.reached() == []


@pytest.mark.parametrize("away_ms", [1_000, 30_000])
async def test_what_should_go_from_a_shard_that_did_not_answer_goes_when_it_does(away_ms: int) -> None:
    market = Market()
    market.hall.list(NODE, lot=8, shard=1)
    market.lists(9_000)
    market.lists(9_000, "nodes", NODE, 8)
    await market.turn()
    assert market.book(NODE) == AT_9000
    market.hall.halted = {1}
    market.drops("nodes")
    await market.turn()
    assert market.hall.in_vain == 0

    market.clock.ms += away_ms
    market.hall.halted = set()
    await market.turn()

    assert market.book(NODE) == []
    assert market.book() == AT_9000


async def test_while_the_gateway_is_away_nothing_is_taken_to_stand(market: Market) -> None:
    market.lists(9_000)
    await market.turn()
    market.hall.away = True
    market.lists(8_000)
    await market.desk.quote()
    market.hall.away = False
    market.clock.ms += 1

    await market.turn()

    assert market.book() == AT_8000


async def test_a_halted_class_is_pulled_and_said(market: Market) -> None:
    from schemas.commands import SetState, State

    market.lists(9_000)
    await market.turn()
    market.hall.apply(SetState(9, 1, 0, State.HALTED, "a test"))

    await market.turn()

    assert market.book() == []
    assert market.says() == "none: the class is halted"


async def test_without_money_it_quotes_nothing_and_says_so() -> None:
    market = Market(wallet=1_000)
    market.lists(9_000)

    await market.turn()

    assert market.book() == []
    assert str(market.status.values["last_refusal"]).startswith(f"quotes of {SINGLE}: insufficient_funds")


async def test_it_never_stands_for_more_than_its_capital() -> None:
    market = Market(limits=replace(LIMITS, capital_micros=20_000 * 2 * 3 * 5 + 19_999))
    market.lists(9_000)

    await market.turn()

    assert market.book() == ["09 | 8@8550 | 5@9500", "10 | 8@8550 | 5@9500", "11 | 8@8550 | 5@9500"]
    account = market.hall.engine.accounts[DESK]
    assert account.collateral + account.holds <= market.limits.capital_micros


async def test_a_node_is_quoted_in_lots_of_eight(market: Market) -> None:
    market.hall.list(NODE, lot=8)
    market.lists(9_000, class_id=NODE, gpus=8)

    await market.turn()

    assert market.book(NODE) == AT_9000


async def test_an_orderly_stop_pulls_everything(market: Market) -> None:
    market.lists(9_000)
    await market.turn()
    market.start()

    await market.desk._stop()

    assert market.book() == []


# --- The running hour ------------------------------------------------------------------------------------------------


def on_demand() -> Limits:
    return replace(LIMITS, running_gpus=4)


async def into_the_gate(market: Market) -> None:
    """The next hour's gate has closed."""
    market.clock.ms += HOUR_MS - 200_000
    market.hall.settle_time()
    market.polls()
    await market.turn()


async def test_the_running_hour_is_sold_on_demand_and_what_was_sold_is_not_offered_again() -> None:
    market = Market(limits=on_demand())
    market.lists(9_000)
    await market.turn()
    await into_the_gate(market)
    assert market.book()[0] == "09 |  | 4@9500"

    (fill,) = market.hall.trade(market.symbol(9), Side.BUY, 3, 9_500)
    await market.turn()

    assert (fill.minutes, fill.notional) == (60, 3 * 9_500)
    assert market.book()[0] == "09 |  | 1@9500"


async def test_the_running_ask_moves_with_the_catalogue() -> None:
    market = Market(limits=on_demand())
    market.lists(9_000)
    await market.turn()
    await into_the_gate(market)

    market.lists(8_000)
    await market.turn()
    await market.turn()

    assert market.book()[0] == "09 |  | 4@8450"


async def test_a_running_ask_that_has_just_been_placed_is_moved_once_a_reading_has_told_its_id() -> None:
    """Its id is not known before. A cancel without an id would be one of everything the desk has in the books."""
    market = Market(limits=on_demand())
    market.lists(9_000)
    await market.turn()
    await into_the_gate(market)

    market.lists(8_000)
    await market.turn()  # takes the old one away, and places another
    market.lists(7_900)
    await market.desk.quote()
    before_the_reading = market.book()[0]
    await market.turn()
    await market.turn()

    assert before_the_reading == "09 |  | 4@8450"
    assert market.book()[0] == "09 |  | 4@8340"


# --- A random day ------------------------------------------------------------------------------------------------------


async def test_a_random_day_ends_with_every_quote_where_it_belongs() -> None:
    """Lost and late answers, an absent gateway, restarts, traders, moving prices: afterwards the book is as planned."""
    seed = int(os.environ.get("SIM_SEED") or random.SystemRandom().getrandbits(32))
    print(f"SIM_SEED={seed} pytest tests/market_maker/test_desk.py", file=sys.stderr, flush=True)
    days, traded, unknown = 12, 0, 0
    for day in range(days):
        market = Market()
        traded += await a_day(market, random.Random(f"{seed}/{day}/moves"), random.Random(f"{seed}/{day}/faults"))
        unknown += int(market.status.values["requests_unknown"])
        await assert_as_planned(market)
    print(f"{days} days, {traded} GPU-hours traded, {unknown} unknown outcomes", file=sys.stderr)
    assert traded
    assert unknown


async def a_day(market: Market, moves: random.Random, faults: random.Random) -> int:
    traded = 0
    market.hall.chance = faults
    for _ in range(60):
        match moves.choice(("price", "price", "price", "buy", "sell", "drop", "restart", "away", "wait", "time")):
            case "price":
                market.lists(moves.randrange(5_000, 20_000), moves.choice("abc"))
            case "drop":
                market.drops(moves.choice("abc"))
            case "buy":
                traded += taken(market, Side.BUY, moves.randint(1, 4), 20_000)
            case "sell":
                traded += taken(market, Side.SELL, moves.randint(1, 4), 5_000)
            case "restart":
                market.start()
            case "away":
                market.hall.away = not market.hall.away
            case "wait":
                market.clock.ms += moves.randrange(60_000)
            case "time":
                market.clock.ms += moves.randrange(HOUR_MS // 2)
                market.hall.settle_time()
        market.clock.ms += 1
        try:
            await market.desk.read()
        except GatewayAway:
            pass  # it would wait and read again
        else:
            await market.desk.quote()
        market.hall.engine.check()
        assert_within_limits(market)
    market.hall.away, market.hall.chance = False, None
    return traded


def taken(market: Market, side: Side, qty: int, price: int) -> int:
    rows = [row for each in market.desk.classes.values() for row in each.hours if row.phase == "forward"]
    fills = [fill for row in rows for fill in market.hall.trade(row.symbol, side, qty, price, Tif.IOC)]
    return sum(fill.qty for fill in fills)


def assert_within_limits(market: Market) -> None:
    """In no hour more is bought or sold than the limit, whatever was lost on the way."""
    for contract in market.hall.engine.contracts.values():
        position = contract.register.positions.get(DESK)
        if position is not None and contract.forward:
            assert position.owed_qty() + max(0, position.open_asks - position.held.qty) <= market.limits.gpus_max
            bids = sum(order.leaves for order in contract.bids if order.account == DESK)
            assert position.held.qty + bids <= 2 * market.limits.gpus_max, "bought between a reading and its quote"


async def assert_as_planned(market: Market) -> None:
    market.polls()
    for _ in range(3):
        market.clock.ms += 60_001
        market.polls()
        await market.turn()
    before, requests = market.book(), market.hall.requests
    market.clock.ms += 1
    await market.desk.quote()
    assert market.book() == before
    assert market.hall.requests == requests, "there is nothing more to ask for"
    stands = sorted(market.desk.stands.get(SINGLE, {}).items())
    assert before == [drawn(hour, quote) for hour, quote in stands if quote.bid_qty or quote.ask_qty]
    assert not (stands and market.says().startswith("none"))


def drawn(hour: int, quote: HourQuote) -> str:
    bid = f"{quote.bid_qty}@{quote.bid}" if quote.bid_qty else ""
    ask = f"{quote.ask_qty}@{quote.ask}" if quote.ask_qty else ""
    return f"{hour % 24:02} | {bid} | {ask}"
