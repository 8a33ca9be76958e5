"""What is bought for a rental now, at which limit, of which class, and what is said of an hour that cannot be had."""

import pytest

from schemas.commands import Side
from schemas.rentals_log import OrderSent, RentalNoticed, RentalStopped, RouterBegan
from schemas.units import MICROS_PER_USD
from services.router.deciding import PAUSE_MS, PAUSE_MS_MAX, asking_price, pause_ms
from tests.router.place import GATE_MS, HIGH, LOW, ONE, TICK, TWO
from tests.router.room import ANA, BERT, HOUR, Room, contract, moment, terms

USD = MICROS_PER_USD


def shop(hours: int = 8, price: float = 2.0, qty: int = 10, class_id: str = ONE) -> Room:
    """Every hour at one price."""
    room = Room()
    for hour in range(hours):
        room.ask(hour, price, qty, class_id)
    return room


# --- The window -----------------------------------------------------------------------------------------------


def test_the_running_hour_and_those_that_follow_are_bought_up_to_the_look_ahead() -> None:
    room = shop()
    ana = room.rent(terms(2, 3, look_ahead=3))

    room.settle(ana)

    assert room.has(ana) == {0: (ONE, 2), 1: (ONE, 2), 2: (ONE, 2)}
    assert room.held(ana)[0].minutes == 40, "it is 20 past: the rest of the running hour"
    assert room.held(ana)[1].minutes == 60


def test_the_window_moves_with_the_hour() -> None:
    room = shop()
    ana = room.rent(terms(look_ahead=2))
    room.settle(ana)

    room.pass_to(1, 1)
    room.settle(ana)

    assert room.has(ana) == {1: (ONE, 2), 2: (ONE, 2)}
    assert len(room.sent) == 3, "what is held is not bought again"
    assert [past.bought for past in ana.past] == [2]


def test_before_its_first_hour_it_is_bought_ahead() -> None:
    room = shop()
    ana = room.rent(terms(first=3, look_ahead=2))

    room.settle(ana)

    assert sorted(room.has(ana)) == [3, 4]


def test_so_many_hours_and_no_more() -> None:
    room = shop()
    ana = room.rent(terms(hours=2, look_ahead=6))
    room.settle(ana)
    assert sorted(room.has(ana)) == [0, 1]

    room.pass_to(2, 1)

    assert room.settle(ana).is_over
    assert ana.over_ms
    assert len(room.sent) == 2


def test_from_the_gate_on_an_hour_is_bought_as_a_running_one() -> None:
    room = shop()
    room.pass_to(0, 57)
    ana = room.rent(terms(look_ahead=2))

    decision = room.settle(ana)

    assert sorted(room.has(ana)) == [1], "it is three minutes to: hour 1 is sold as running already"
    assert decision.missing[HOUR].code == "closed"


# --- Limits ---------------------------------------------------------------------------------------------------


def test_the_limit_is_the_highest_price_on_the_tick_and_within_the_collar() -> None:
    room = shop()
    ana = room.rent(terms(2, 3.0009, look_ahead=2))
    bert = room.rent(terms(2, 9, look_ahead=2), BERT)

    room.settle(ana)
    room.settle(bert)

    assert {sent.price for sent in room.sent if sent.rental == ana.rental} == {3 * USD}
    assert {sent.price for sent in room.sent if sent.rental == bert.rental} == {HIGH}


def test_above_the_limit_nothing_is_sent_and_the_price_is_said() -> None:
    room = shop(price=2.5)
    ana = room.rent(terms(2, 2.4))

    decision = room.settle(ana)

    assert not room.sent
    why = decision.missing[HOUR + 1]
    assert (why.code, why.is_told) == ("too_dear", True)
    assert "2 GPUs are offered up to 2.50 USD, max_price is 2.40" in why.detail


def test_all_gpus_or_none() -> None:
    room = Room()
    room.ask(1, 2.0, 3)
    ana = room.rent(terms(4, look_ahead=2))

    decision = room.settle(ana)

    assert not room.sent
    assert decision.missing[HOUR + 1].code == "too_few"
    assert "3 of 4 GPUs are offered" in decision.missing[HOUR + 1].detail


def test_several_levels_serve_as_long_as_the_dearest_is_within_the_limit() -> None:
    room = Room()
    room.ask(1, 2.0, 3)
    room.ask(1, 2.9, 3)
    ana = room.rent(terms(4, 3, first=1, look_ahead=1))

    room.settle(ana)

    assert room.held(ana)[1].cost == 3 * 2 * USD + 2_900_000 + 6_000 + 2_900, "fees of 10 bp"


def test_a_day_s_spending_counts_what_is_under_way_at_its_worst() -> None:
    """Three hours would be 12.012 USD; at the limit of 3 each could be 6.006."""
    room = shop()
    ana = room.rent(terms(2, 3, max_spend=9, look_ahead=3, first=1))

    first = room.decide(ana)
    assert [(wish.contract & 0xFFFFFF) - HOUR for wish in first.place] == [1]
    decision = room.settle(ana)

    assert sorted(room.has(ana)) == [1, 2]
    assert decision.missing[HOUR + 3].code == "over_spend"
    assert "max_spend leaves 0.992 USD of" in decision.missing[HOUR + 3].detail


def test_the_limit_price_is_what_the_day_leaves() -> None:
    room = shop()
    ana = room.rent(terms(2, 3, max_spend=5, look_ahead=1, first=1))

    room.settle(ana)

    (sent,) = room.sent
    assert 2 * USD <= sent.price < 3 * USD
    assert sent.price % TICK == 0
    assert room.market.classes[ONE].most(sent.price, 2, 60) <= 5 * USD
    assert room.market.classes[ONE].most(sent.price + TICK, 2, 60) > 5 * USD


def test_a_shard_whose_clock_is_behind_charges_no_more_than_the_day_leaves() -> None:
    """The rest of the running hour is 39 minutes here, and 40 by a clock that is a moment behind."""
    room = shop()
    room.now = moment(0, 20) + 1
    ana = room.rent(terms(2, 3, max_spend=2.61, look_ahead=1))
    decision = room.decide(ana)
    assert decision.missing[HOUR].code == "over_spend"

    room.change(ana, terms(2, 3, max_spend=2.68, look_ahead=1))
    (wish,) = room.decide(ana).place
    assert room.market.listed(wish.contract).most(wish.price, wish.qty, 40) <= 2.68 * USD


def test_hours_that_are_over_count_for_their_day() -> None:
    """Found by a random market: 177 USD were spent where 110 were allowed."""
    room = shop()
    ana = room.rent(terms(2, 3, max_spend=9, look_ahead=1, first=1))
    for hour in range(1, 5):
        room.pass_to(hour, 1)
        room.settle(ana)

    assert sum(fill.cash for fill in room.place.fills) <= 9_000_000
    assert room.settle(ana).missing[HOUR + 4].code == "over_spend"


def test_another_day_has_its_own_limit() -> None:
    room = Room()
    for hour in (23, 24):
        room.ask(hour, 2.0, 10)
    room.pass_to(22, 30)
    ana = room.rent(terms(2, 3, max_spend=6.5, first=23, look_ahead=2))

    room.settle(ana)

    assert sorted(room.has(ana)) == [23, 24]


# --- The class ------------------------------------------------------------------------------------------------


def test_the_first_hour_is_of_the_class_that_has_the_whole_window_at_the_lowest_total() -> None:
    """ONE is cheaper at first and lacks an hour; TWO has all of them."""
    room = Room()
    for hour, price in ((0, 1.5), (1, 1.5)):
        room.ask(hour, price, 10, ONE)
    for hour in range(3):
        room.ask(hour, 2.0, 10, TWO)
    ana = room.rent(terms(classes=(ONE, TWO), look_ahead=3))

    room.settle(ana)

    assert room.has(ana) == {0: (TWO, 2), 1: (TWO, 2), 2: (TWO, 2)}


def test_an_hour_that_is_not_tried_again_yet_does_not_change_the_choice_for_the_others() -> None:
    """ONE is cheaper in the first hour, TWO in both together; the third was refused a moment ago."""
    room = Room()
    room.ask(2, 2.0, 10, ONE)
    ana = room.rent(terms(classes=(ONE, TWO), look_ahead=3))
    room.place.poor.add(ANA)
    room.step(ana)
    room.place.poor.clear()
    for hour, price in ((0, 1.5), (1, 2.9)):
        room.ask(hour, price, 10, ONE)
        room.ask(hour, 2.0, 10, TWO)

    room.settle(ana)

    assert room.has(ana) == {0: (TWO, 2), 1: (TWO, 2)}


def test_the_class_of_the_hour_before_is_kept_though_another_is_cheaper() -> None:
    room = shop(price=2.0, class_id=TWO)
    ana = room.rent(terms(classes=(ONE, TWO), look_ahead=2))
    room.settle(ana)
    room.ask(2, 1.2, 10, ONE)

    room.pass_to(1, 1)
    room.settle(ana)

    assert room.has(ana)[2] == (TWO, 2)


def test_where_it_cannot_be_had_within_the_limits_the_cheapest_other_serves() -> None:
    room = Room()
    room.ask(0, 2.0, 10, TWO)
    room.ask(1, 3.5, 10, TWO)
    room.ask(1, 2.5, 10, ONE)
    ana = room.rent(terms(2, 3, classes=(ONE, TWO), look_ahead=2))

    room.settle(ana)

    assert room.has(ana) == {0: (TWO, 2), 1: (ONE, 2)}


def test_of_several_classes_the_one_that_comes_nearest_has_the_word() -> None:
    room = Room()
    room.ask(1, 3.5, 10, TWO)
    ana = room.rent(terms(2, 3, classes=(ONE, TWO), first=1, look_ahead=1))

    why = room.settle(ana).missing[HOUR + 1]

    assert why.code == "too_dear"
    assert why.detail.startswith(TWO)


# --- Tries that fail ------------------------------------------------------------------------------------------


def test_after_a_refusal_there_is_a_pause_that_grows() -> None:
    room = shop()
    room.place.poor.add(ANA)
    ana = room.rent(terms(first=1, look_ahead=1))

    room.step(ana)
    tries = [len(room.sent)]
    decision = room.step(ana)
    assert decision.missing[HOUR + 1].code == "insufficient_funds"
    assert decision.missing[HOUR + 1].is_told
    for minute in range(20, 55):
        room.pass_to(0, minute)
        room.settle(ana)
        tries.append(len(room.sent))

    assert tries[0] == 1
    assert 5 <= tries[-1] <= 15, "no flood of orders that cannot be filled"
    assert [pause_ms(n) for n in (0, 1, 2, 3, 30)] == [0, PAUSE_MS, 2 * PAUSE_MS, 4 * PAUSE_MS, PAUSE_MS_MAX]


def test_a_purchase_keeps_its_client_order_id_until_it_succeeds() -> None:
    """So the exchange itself refuses to buy the hour twice, whatever copy of an order comes late."""
    room = shop()
    room.place.poor.add(ANA)
    ana = room.rent(terms(first=1, look_ahead=1))
    room.step(ana)
    room.place.poor.clear()
    room.pass_to(0, 40)

    room.settle(ana)

    assert [sent.number for sent in room.sent] == [0, 0]
    assert sorted(room.has(ana)) == [1]


def test_while_an_order_is_under_way_the_hour_counts_as_wanted() -> None:
    room = shop()
    ana = room.rent(terms(first=1, look_ahead=1))
    room.place.place = lambda _: None  # type: ignore[method-assign,assignment,return-value]  # no answer, no event
    room.step(ana)

    decision = room.decide(ana)

    assert not decision.place
    assert not decision.missing


def test_books_that_cannot_be_read_are_no_notice() -> None:
    room = shop()
    room.is_away = True
    ana = room.rent(terms(first=1, look_ahead=1))

    why = room.step(ana).missing[HOUR + 1]

    assert (why.code, why.is_told) == ("away", False)


def test_what_was_told_of_hours_that_are_over_is_forgotten() -> None:
    room = Room()
    ana = room.rent(terms())
    for hour in range(100):
        for code in ("too_dear", "too_few"):
            room.state.take(RentalNoticed(1, moment(hour), ana.rental, HOUR + hour + 1, code, "why"))

    assert ana.noticed == {(HOUR + hour, code) for hour in (99, 100) for code in ("too_dear", "too_few")}


def test_a_record_of_a_room_that_was_late_is_passed_over() -> None:
    """It stops nothing, and buys nothing."""
    room = shop()
    ana = room.rent(terms(first=1, look_ahead=1))
    assert room.state.take(RouterBegan(2, room.now))

    assert not room.state.take(RentalStopped(1, room.now, ana.rental, "sell"))
    assert not room.state.take(OrderSent(1, room.now, ana.rental, 0, contract(1), Side.BUY, 2, HIGH))

    assert not ana.stopped_ms
    assert not ana.orders


# --- Stopped --------------------------------------------------------------------------------------------------


def test_later_hours_are_offered_at_the_best_bid_and_the_running_one_is_kept() -> None:
    room = shop()
    room.bid(1, 1.8, 1)
    ana = room.rent(terms(look_ahead=3))
    room.settle(ana)

    room.stop(ana)
    room.settle(ana)

    assert room.has(ana) == {0: (ONE, 2), 1: (ONE, 1), 2: (ONE, 2)}
    asks = {hour: [ask.price for ask in each.asks] for hour, each in room.held(ana).items()}
    assert asks == {0: [], 1: [1_800_000], 2: [2_000_000]}, "without a bid at what was paid"


def test_offers_go_down_step_by_step_to_the_lowest_price_at_the_gate() -> None:
    room = shop()
    ana = room.rent(terms(first=1, look_ahead=1))
    room.settle(ana)
    room.stop(ana)
    prices = []

    for minute in range(20, 56):
        room.pass_to(0, minute)
        room.settle(ana)
        prices += [ask.price for ask in room.held(ana)[1].asks]

    assert prices == sorted(prices, reverse=True)
    assert (prices[0], prices[-1]) == (2 * USD, LOW)
    assert len(set(prices)) == 10
    assert room.has(ana) == {1: (ONE, 2)}, "nobody has bought it"
    room.pass_to(2)
    assert room.settle(ana).is_over


def test_what_is_sold_comes_back() -> None:
    room = shop()
    for hour in (1, 2):
        room.bid(hour, 1.9, 10)
    ana = room.rent(terms(first=1, look_ahead=2))
    room.settle(ana)

    room.stop(ana)

    assert room.settle(ana).is_over
    assert room.has(ana) == {}
    assert [each.returned for each in room.held(ana).values()] == [3_800_000 - 19_000] * 2, "less 50 bp"


def test_kept_hours_run_out() -> None:
    room = shop()
    room.bid(1, 1.9, 10)
    ana = room.rent(terms(look_ahead=2))
    room.settle(ana)

    room.stop(ana, "keep")
    room.settle(ana)

    assert sorted(room.has(ana)) == [0, 1]
    assert not [sent for sent in room.sent if sent.side == 2]
    room.pass_to(2)
    assert room.settle(ana).is_over


def test_a_purchase_that_was_under_way_at_the_stop_is_sold_as_well() -> None:
    room = shop()
    ana = room.rent(terms(first=1, look_ahead=1))
    take, late = room.place.place, []
    room.place.place = late.append  # type: ignore[method-assign,assignment]
    room.step(ana)
    room.stop(ana)
    room.place.place = take  # type: ignore[method-assign]

    assert not room.step(ana).is_over
    take(late[0])
    room.settle(ana)

    assert [ask.price for ask in room.held(ana)[1].asks] == [2 * USD]


@pytest.mark.parametrize("minutes", [0, 1, 7, 60, 400])
def test_the_curve_falls_from_the_first_price_to_the_lowest(minutes: int) -> None:
    gate = moment(1) - GATE_MS
    begin = gate - minutes * 60_000
    curve = [asking_price(2_345_000, LOW, begin, gate, begin + (gate - begin) * n // 50, TICK) for n in range(51)]

    assert curve == sorted(curve, reverse=True)
    assert curve[-1] == LOW
    assert not minutes or curve[0] == 2_345_000
    assert not minutes or curve[46] == LOW, "the last tenth of the time"
    assert all(price % TICK == 0 and price >= LOW for price in curve)
