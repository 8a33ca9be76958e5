"""What others may do to the desk, or clouds by mistake: it loses no more than its limits, and says what happened.

Each scenario plays against the real engine. What is lost is counted from the engine's own events, at the price that was true.
"""

from __future__ import annotations

from collections.abc import Iterable

import pytest
from msgspec.structs import replace

from schemas import events as ev
from schemas.commands import MoveReference, Side, Tif
from tests.market_maker.hall import DESK, HOUR_MS, OTHER
from tests.market_maker.market import LIMITS, SINGLE, Market

TRUE = 9_000
"""What an hour costs to replace, whatever the catalogues say."""
CAREFUL = replace(LIMITS, jump_bp=2_000, gpu_hours_max=20, loss_per_day_micros=50_000)


def taken(market: Market, side: Side, price: int, qty: int = 8) -> list[ev.Filled]:
    """Everything that the desk offers at this price or better, in every hour, by one account that is faster than it."""
    rows = [row for row in market.desk.classes[SINGLE].hours if row.phase == "forward"]
    return [fill for row in rows for fill in market.hall.trade(row.symbol, side, qty, price)]


def lost(fills: Iterable[ev.Filled], true: int = TRUE) -> int:
    """µUSD that the desk gave away in these trades."""
    total = 0
    for fill in fills:
        if fill.seller == DESK:
            total += true * fill.qty - (fill.notional - fill.seller_fee)
        elif fill.buyer == DESK:
            total += fill.notional + fill.buyer_fee - true * fill.qty
    return total


async def test_an_offer_at_a_hundredth_is_not_believed_before_it_has_stood() -> None:
    """A decimal point too many: below the collar supply refuses it; just inside, the desk waits and pulls meanwhile."""
    market = Market(limits=CAREFUL)
    market.lists(TRUE)
    await market.turn()

    market.lists(5_100, "nonsense")
    await market.desk.quote()

    assert market.book() == []
    assert market.says() == "none: the cheapest offer jumped from 9000 to 5100 µUSD: believed when it has stood"
    assert taken(market, Side.BUY, 20_000) == []

    market.drops("nonsense")
    await market.turn()
    assert market.book()[0] == "09 | 8@8550 | 8@9500"


async def test_a_jump_that_stands_is_believed_after_its_time() -> None:
    market = Market(limits=CAREFUL)
    market.lists(TRUE)
    await market.turn()
    market.lists(6_000, "sale")
    await market.desk.quote()

    market.clock.ms += 60_000
    market.polls()
    await market.turn()

    assert market.book()[0] == "09 | 8@5700 | 8@6340"


@pytest.mark.parametrize("price", [1, 90, 900_000, 10**12])
async def test_an_offer_in_another_unit_is_quoted_nowhere(price: int) -> None:
    """Zero never gets here: a row without a price is refused. Cents, a month's price, a fleet's: outside every collar."""
    market = Market(limits=replace(CAREFUL, jump_bp=10_000_000))
    market.lists(price)

    await market.turn()

    assert all(5_000 <= order.price <= 20_000 for order in market.hall.own())
    bought = taken(market, Side.SELL, 5_000)
    assert lost(bought) <= 0 or price > 20_000
    sold = taken(market, Side.BUY, 20_000)
    assert all(fill.price >= 5_000 for fill in sold)


async def test_a_source_that_repeats_old_prices_under_new_stamps_costs_no_more_than_open_promises_may() -> None:
    """Nobody can see from the catalogue that it is old. The market goes to 12,000, the source goes on saying 9,000."""
    market = Market(limits=CAREFUL)
    market.lists(TRUE)
    now = 12_000
    sold: list[ev.Filled] = []
    for _ in range(20):
        market.clock.ms += 5_000
        market.polls()
        await market.turn()
        sold += taken(market, Side.BUY, 11_000)

    gpu_hours = sum(fill.qty for fill in sold)
    assert gpu_hours <= CAREFUL.gpu_hours_max + 8 * 3, "what stood when the limit was reached may still be taken"
    assert 0 < lost(sold, now) <= gpu_hours * (now - 9_450)
    assert "open promises: 24 GPU-hours, allowed are 20" in str(market.status.values["limits_reached"])
    assert market.limit("gpu_hours_max")[:3] == (20, 24, True)
    assert all(order.side == Side.BUY for order in market.hall.own()), "it goes on bidding, which covers what it owes"


async def test_an_account_that_picks_off_stale_quotes_ends_the_day_at_the_loss_limit() -> None:
    """The price moves in steps below what is taken for a jump, and somebody always trades before the desk has moved."""
    market = Market(limits=replace(CAREFUL, gpu_hours_max=10_000, gpus_max=4))
    price, sold = TRUE, []
    market.lists(price)
    await market.turn()
    for _ in range(40):
        price += price // 80 * 10
        if price > 18_000:
            break
        sold += taken(market, Side.BUY, price - 10)
        market.clock.ms += 1_000
        market.lists(price)
        await market.turn()

    assert market.book() == []
    assert market.says().startswith("none: loss of the day: 0.")
    assert "quotes come back with the next day" in market.says()
    assert lost(sold, price) <= CAREFUL.loss_per_day_micros + 4 * 3 * price, "one more round at most"

    market.start()
    await market.turn()
    assert market.book() == [], "a restart does not begin a new day"

    market.clock.ms += 24 * HOUR_MS
    market.hall.settle_time()
    market.polls()
    await market.turn()
    assert market.book() != []


async def test_clocks_apart_do_not_make_an_old_source_young() -> None:
    """A poll stamped in the future counts from when its time has come; the offer of one stamped in the past is stale."""
    market = Market(limits=CAREFUL)
    market.lists(TRUE)
    market.clock.ms -= 3_600_000
    await market.turn()
    assert market.book() != [], "supply's clock is an hour ahead of ours"

    market.clock.ms += 3_600_000 + 45_000
    await market.turn()
    assert market.book() == [], "and its last word is old in any case"


async def test_an_empty_book_and_a_one_sided_book_do_not_move_the_fair_value() -> None:
    limits = replace(CAREFUL, book_share_bp=5_000, book_band_bp=1_000)
    market = Market(limits=limits)
    market.lists(TRUE)
    await market.turn()
    assert market.book()[0] == "09 | 8@8550 | 8@9500"

    market.hall.trade(market.symbol(9), Side.SELL, 1, 20_000, Tif.GTC)
    await market.turn()

    assert market.book()[0] == "09 | 8@8550 | 8@9500"


async def test_whoever_paints_the_book_moves_the_quotes_by_no_more_than_share_times_band() -> None:
    """Both sides of the book at twice the price, by one account: half of ten per cent is the most."""
    limits = replace(CAREFUL, book_share_bp=5_000, book_band_bp=1_000)
    market = Market(limits=limits)
    market.lists(TRUE)
    await market.turn()
    taken(market, Side.BUY, 9_500)
    market.hall.trade(market.symbol(10), Side.BUY, 1, 18_000, Tif.GTC)
    market.hall.trade(market.symbol(10), Side.SELL, 1, 19_000, Tif.GTC)

    await market.turn()

    (line,) = [line for line in market.book() if line.startswith("10")]
    assert line == "10 | 8@8970 | ", "9,000 and half of a tenth, less the spread"


async def test_a_collar_that_rises_does_not_cut_promises_that_were_made_above_it() -> None:
    market = Market(limits=replace(CAREFUL, collateral_over_cap_bp=2_000))
    market.lists(TRUE)
    await market.turn()

    events = market.hall.apply(MoveReference(1, 0, 11_000, "a test"))
    await market.turn()

    assert not any(isinstance(event, ev.BackingCut) for event in events)
    assert market.book()[0] == "09 | 8@8550 | 8@9500"


async def test_promises_that_a_collar_cuts_are_made_again_and_quoted() -> None:
    market = Market(limits=CAREFUL)
    market.lists(TRUE)
    await market.turn()

    events = market.hall.apply(MoveReference(1, 0, 11_000, "a test"))
    assert sum(event.qty for event in events if isinstance(event, ev.BackingCut)) == 8 * 3
    market.clock.ms += 60_000
    market.polls()
    await market.turn()

    assert market.book()[0] == "09 | 8@8550 | 8@9500"


async def test_what_it_owes_and_nobody_covered_is_bid_for_before_the_deadline() -> None:
    """Until then the spread; half an hour before the cover deadline all that replacing it costs."""
    market = Market(limits=replace(CAREFUL, cover_lead_ms=1_800_000))
    market.lists(TRUE)
    await market.turn()
    market.hall.trade(market.symbol(10), Side.BUY, 3, 9_500)
    market.clock.ms += HOUR_MS
    market.hall.settle_time()
    market.polls()

    await market.turn()

    (line,) = [line for line in market.book() if line.startswith("10")]
    assert line == "10 | 3@9000 | "
    market.hall.trade(market.symbol(10), Side.SELL, 3, 9_000)
    assert market.position(10) == 0


async def test_what_is_held_goes_cheaper_before_its_gate() -> None:
    market = Market(limits=replace(CAREFUL, perish_bp=2_000, window_hours=6))
    market.lists(TRUE)
    await market.turn()
    for hour in (9, 14):
        market.hall.trade(market.symbol(hour), Side.SELL, 2, 8_550)

    await market.turn()

    asks = {line[:2]: line.split(" | ")[2] for line in market.book()}
    assert asks["09"] == "2@7890", "55 minutes to its gate: 9,000 less five sixths of a fifth, and the spread"
    assert asks["14"] == "2@9480", "six hours off: hardly anything"


async def test_the_desk_has_no_way_to_see_whose_orders_stand() -> None:
    """Its stand-in of the gateway gives it prices and quantities; the other account's number is nowhere in what it knows."""
    market = Market(limits=CAREFUL)
    market.lists(TRUE)
    await market.turn()
    taken(market, Side.BUY, 9_500)
    await market.turn()

    assert OTHER != DESK
    assert not hasattr(market.desk.classes[SINGLE].hours[0], "account")
