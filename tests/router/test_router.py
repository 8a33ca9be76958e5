"""The room at work where nothing goes wrong by chance: fairness, bounds, what is away, and what members are answered."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec
import pytest

from schemas.commands import Side
from schemas.edge import iso_hour
from schemas.ids import contract_of, format_symbol, parse_symbol
from schemas.rental import RentalChange, RentalRequest, RentalStop
from schemas.rentals_log import NoticeClosed, OrderRefused, OrderSent, RentalNoticed, RouterBegan
from schemas.units import MS_PER_HOUR
from services.router.refusals import Refused
from services.router.sending import ACCOUNT_MAX, SHARD_MAX, Attempt, Sending
from services.router.shell import RENTALS_MAX, RENTALS_PER_TURN, SENDING_MAX
from services.router.trading import Outcome, Sent
from services.runtime.errors import Superseded
from services.runtime.log import Outgoing
from tests.router.exchange import FIRST, Exchange
from tests.router.place import CLASSES, ONE, TWO

NOW = FIRST - 1


@pytest.fixture
def exchange() -> Iterator[Exchange]:
    """At a slow clock: hours do not pass by themselves."""
    made = Exchange(1, rate=1)
    yield made
    made.close()


def stock(exchange: Exchange, hours: int = 6, price: int = 2_000_000, qty: int = 100_000) -> None:
    for hour in range(NOW, NOW + hours):
        exchange.place.offer(ONE, hour, price, qty)


def test_what_is_rented_is_bought_within_moments(exchange: Exchange) -> None:
    stock(exchange)
    router = exchange.begin()

    exchange.rent(21, "k", look_ahead=3)
    exchange.run_ms(2_000)

    answer = router.rental(21, 1)
    assert answer.state == "running"
    assert [(hour.state, hour.gpus, hour.price) for hour in answer.hours] == [("bought", 2, "2.00")] * 3
    assert answer.bought_until
    assert exchange.place.refused == []


def test_a_rental_that_looks_further_ahead_runs_on_while_the_order_for_that_is_under_way(exchange: Exchange) -> None:
    stock(exchange)
    exchange.begin()
    exchange.rent(21, "k", look_ahead=2)
    exchange.run_ms(2_000)

    changed = exchange.ask("change", 21, 1, RentalChange(look_ahead=3))
    while not changed:
        exchange.run_ms(10)

    (answer,) = changed
    assert [hour.state for hour in answer.hours] == ["bought", "bought", "missing"]
    assert answer.state == "running"


def test_what_is_sent_is_what_was_recorded_before(exchange: Exchange) -> None:
    """Contract, side, quantity and price, of purchases and of sales."""
    stock(exchange)
    exchange.begin()
    sent: list[Sent] = []
    place = exchange.place.place

    def placed(order: Sent) -> Outcome:
        sent.append(order)
        class_id, hour = parse_symbol(order.symbol)
        known = [each for each in exchange.recorded() if isinstance(each, OrderSent)]
        (own,) = [each for each in known if f"r{each.rental}-{each.number}" == order.client_id]
        told = (contract_of(CLASSES[class_id], hour), order.side, order.qty, order.price)
        assert told == (own.contract, own.side, own.qty, own.price)
        return place(order)

    exchange.place.place = placed  # type: ignore[method-assign]
    exchange.rent(21, "k", max_price="3.5", max_spend="11.99")
    exchange.run_ms(2_000)
    exchange.ask("stop", 21, 1, RentalStop())
    exchange.run_ms(2_000)

    assert {order.side for order in sent} == {Side.BUY, Side.SELL}
    assert any(order.side == Side.BUY and order.price < 3_500_000 for order in sent), "max_spend made one cheaper"


def test_what_cannot_be_had_is_said_in_the_first_answer_and_once_to_the_webhook(exchange: Exchange) -> None:
    stock(exchange, price=3_500_000)
    exchange.begin()

    said = exchange.rent(21, "k", look_ahead=2, webhook="https://ana.example/hook")
    exchange.run_ms(10_000)

    (answer,) = said
    assert (answer.state, len(answer.hours)) == ("short", 2)
    assert "max_price is 3.00" in answer.notice
    assert all("max_price is 3.00" in hour.why for hour in answer.hours)
    assert [notice.code for notice in exchange.told] == ["too_dear", "too_dear"], "one for each hour"
    assert answer.webhook_key == "key of 1"
    assert exchange.gateway.asked == 0


def test_the_same_request_again_is_the_same_rental_and_another_is_refused(exchange: Exchange) -> None:
    stock(exchange)
    exchange.begin()
    first = exchange.rent(21, "k")
    exchange.run_ms(500)

    again, other, stranger = exchange.rent(21, "k"), exchange.rent(21, "k", gpus=4), exchange.rent(22, "k")
    exchange.run_ms(500)

    assert again[0].rental == first[0].rental == "1"
    assert (other[0].code, stranger[0].rental) == ("request_reused", "2")


@pytest.mark.parametrize(
    ("terms", "code"),
    [
        ({"classes": ("NO.SUCH",)}, "unknown_class"),
        ({"classes": (ONE, ONE)}, "malformed"),
        ({"classes": (TWO,), "gpus": 3}, "wrong_qty"),
        ({"max_price": "three"}, "wrong_decimal"),
        ({"max_price": "0"}, "wrong_price"),
        ({"max_price": "99999"}, "wrong_price"),
        ({"max_spend": "0"}, "wrong_amount"),
        ({"from_hour": "2026-13-01T00:00Z"}, "wrong_time"),
        ({"from_hour": "2019-01-01T00:00Z"}, "wrong_hours"),
        ({"from_hour": "2049-01-01T00:00Z"}, "wrong_hours"),
        ({"webhook": "ftp://ana.example"}, "wrong_webhook"),
        ({"webhook": "https://ana:secret@ana.example"}, "wrong_webhook"),
        ({"webhook": "https://[::1"}, "wrong_webhook"),
        ({"webhook": "https://169.254.169.254/latest"}, "wrong_webhook"),
        ({"webhook": "https://[fd00::1]/"}, "wrong_webhook"),
        ({"webhook": "https://ana.example:99999/"}, "wrong_webhook"),
    ],
)
def test_a_request_that_cannot_be_kept_is_refused(exchange: Exchange, terms: dict[str, object], code: str) -> None:
    exchange.begin()

    said = exchange.rent(21, "k", **terms)
    exchange.run_ms(200)

    assert isinstance(said[0], Refused)
    assert said[0].code == code
    assert said[0].args[0], "and says what to do"


def test_an_account_has_so_many_rentals_and_no_more(exchange: Exchange) -> None:
    exchange.begin()
    said = [exchange.rent(21, f"k{n}") for n in range(RENTALS_MAX + 1)]
    exchange.run_ms(3_000)

    assert said[RENTALS_MAX][0].code == "too_many_rentals"
    assert said[RENTALS_MAX - 1][0].rental
    other = exchange.rent(22, "k")
    stopped = exchange.ask("stop", 21, 1, RentalStop())
    exchange.run_ms(1_000)
    assert (other[0].rental, stopped[0].state) == (str(RENTALS_MAX + 1), "over")
    more = exchange.rent(21, "more")
    exchange.run_ms(500)
    assert more[0].rental


def test_changes_and_stops_of_others_rentals_are_refused_and_a_second_stop_is_harmless(exchange: Exchange) -> None:
    stock(exchange)
    exchange.begin()
    exchange.rent(21, "k", look_ahead=2)
    exchange.run_ms(2_000)

    theirs = [exchange.ask("stop", 22, 1, RentalStop()), exchange.ask("change", 22, 1, RentalChange(max_price="9"))]
    mine = exchange.ask("change", 21, 1, RentalChange(max_price="2.5", look_ahead=3))
    exchange.run_ms(1_000)
    assert [said[0].code for said in theirs] == ["unknown_rental"] * 2
    assert (mine[0].request.max_price, mine[0].request.look_ahead) == ("2.50", 3)
    assert len(exchange.place.fills) == 3

    first = exchange.ask("stop", 21, 1, RentalStop(on_stop="keep"))
    exchange.run_ms(500)
    records = len(exchange.recorded())
    again = exchange.ask("stop", 21, 1, RentalStop(on_stop="sell"))
    late = exchange.ask("change", 21, 1, RentalChange(max_price="9"))
    exchange.run_ms(2_000)
    assert first[0].stopped_at == again[0].stopped_at != ""
    assert late[0].code == "rental_over"
    assert len(exchange.recorded()) == records


def test_a_rental_is_made_longer_or_shorter_down_to_what_is_bought(exchange: Exchange) -> None:
    stock(exchange)
    exchange.begin()
    exchange.rent(21, "k", look_ahead=3, hours=2)
    exchange.run_ms(2_000)
    assert len(exchange.place.fills) == 2

    longer = exchange.ask("change", 21, 1, RentalChange(hours=5))
    exchange.run_ms(2_000)
    assert longer[0].request.hours == 5
    assert len(exchange.place.fills) == 3
    shorter = exchange.ask("change", 21, 1, RentalChange(hours=2))
    exchange.run_ms(500)
    assert (shorter[0].code, "3 have begun or are bought" in str(shorter[0])) == ("wrong_hours", True)
    as_it_is = exchange.ask("change", 21, 1, RentalChange(hours=3))
    exchange.run_ms(500)
    endless = exchange.ask("change", 21, 1, RentalChange(hours=0))
    exchange.run_ms(500)
    assert [said[0].request.hours for said in (as_it_is, endless)] == [3, 0]


def test_a_preview_says_what_would_be_taken_first_and_changes_nothing(exchange: Exchange) -> None:
    stock(exchange, hours=3, price=2_500_000)
    for hour in range(NOW, NOW + 3):
        exchange.place.offer(TWO, hour, 2_000_000, 10)
        exchange.place.bid(TWO, hour, 1_900_000, 10)
    exchange.begin()

    asked = RentalRequest(classes=(ONE, TWO), gpus=2, max_price="3", look_ahead=3)
    said = exchange.ask("preview", asked)
    dear = exchange.ask("preview", RentalRequest(classes=(ONE,), gpus=2, max_price="2", look_ahead=3))
    exchange.run_ms(500)

    (preview,) = said
    assert [option.class_id for option in preview.options] == [TWO, ONE]
    assert [(option.hours_found, option.hours_wanted) for option in preview.options] == [(3, 3), (3, 3)]
    assert preview.refusal == ""
    assert float(preview.stopping_now) > 0
    assert preview.per_day_most == "144.144096", "24 hours of 2 GPUs at 3.00, fees and roundings"
    assert "max_price is 2.00" in dear[0].refusal
    assert exchange.gateway.asked == 0
    assert [record for record in exchange.recorded() if not isinstance(record, RouterBegan)] == []


def test_a_stranger_s_order_of_the_same_name_changes_nothing(exchange: Exchange) -> None:
    """Client order ids are each account's own: `r1-0` of somebody else is not the rental's."""
    stock(exchange)
    router = exchange.begin()
    exchange.gateway.is_down = True
    exchange.rent(21, "k", look_ahead=1)
    exchange.run_ms(1_000)
    symbol = format_symbol(ONE, NOW + 2)
    stranger = Sent(account=99, client_id="r1-0", symbol=symbol, side=1, qty=5, price=3_000_000, launch="default")

    exchange.place.place(stranger)
    exchange.run_ms(1_000)
    exchange.gateway.is_down = False
    exchange.run_ms(20_000)

    assert [(fill.account, fill.qty) for fill in exchange.place.fills] == [(99, 5), (21, 2)]
    assert router.rental(21, 1).state == "running"


@pytest.mark.parametrize("is_first", [True, False])
@pytest.mark.parametrize(("side", "hour", "qty"), [(1, 3, 2), (1, 1, 5), (2, 1, 2)])
def test_a_member_s_own_order_of_the_same_name_is_not_the_rental_s(
    exchange: Exchange, side: int, hour: int, qty: int, *, is_first: bool
) -> None:
    """Of another hour, another quantity or the other side. The rental buys under its next name, also after a restart."""
    stock(exchange)
    router = exchange.begin()
    exchange.place.held[21, contract_of(1, NOW + 1)] = 10
    own = Sent(
        account=21, client_id="r1-0", symbol=format_symbol(ONE, NOW + hour), side=side, qty=qty, price=2_000_000,
        launch="default",
    )  # fmt: skip
    if is_first:
        exchange.place.place(own)
    exchange.gateway.is_down = True
    exchange.rent(21, "k", from_hour=iso_hour(NOW + 1), look_ahead=1)
    exchange.run_ms(1_000)
    if not is_first:
        exchange.place.place(own)
    exchange.run_ms(1_000)
    exchange.gateway.is_down = False
    exchange.run_ms(40_000)

    for is_anew in (False, True):
        if is_anew:
            exchange.kill()
            router = exchange.begin()
        (line,) = router.rental(21, 1).hours
        assert (line.contract, line.state, line.gpus) == (format_symbol(ONE, NOW + 1), "bought", 2)
        assert [fill.client_id for fill in exchange.place.fills if fill.client_id != "r1-0"] == ["r1-1"]
        assert len(router.market.fates) == 1, "of what is nobody's rental nothing is kept"


def test_a_member_s_own_order_that_is_the_same_as_the_rental_s_and_older_is_not_the_rental_s(
    exchange: Exchange,
) -> None:
    """The exchange answers with it as if it were a repeat, and no event follows."""
    stock(exchange)
    router = exchange.begin()
    symbol = format_symbol(ONE, NOW)
    own = Sent(account=21, client_id="r1-0", symbol=symbol, side=1, qty=2, price=3_000_000, launch="default")
    exchange.place.place(own)
    exchange.run_ms(1_000)

    exchange.rent(21, "k", look_ahead=1)
    exchange.run_ms(40_000)

    assert [fill.client_id for fill in exchange.place.fills] == ["r1-0", "r1-1"]
    assert router.rental(21, 1).state == "running"


# --- Many, and unlike ones ------------------------------------------------------------------------------------


@pytest.mark.parametrize("rentals", [500, pytest.param(10_000, marks=pytest.mark.slow)])
def test_thousands_of_rentals_at_once_are_served_within_bounds(exchange: Exchange, rentals: int) -> None:
    """Two hours each. No order is sent in vain, and the gateway never sees more than a few requests at a time."""
    stock(exchange)
    router = exchange.begin()
    for number in range(rentals):
        exchange.rent(1_000 + number % (rentals // RENTALS_MAX), f"k{number}", look_ahead=2, gpus=1)
    exchange.run_ms(20)

    exchange.world.run(lambda: len(exchange.place.fills) == 2 * rentals)

    assert len(router.state.live) == rentals
    assert len({(fill.account, fill.client_id) for fill in exchange.place.fills}) == 2 * rentals
    assert exchange.gateway.open_most <= SENDING_MAX
    assert exchange.gateway.asked == 2 * rentals


def test_a_thousand_refused_orders_of_one_account_keep_nobody_waiting(exchange: Exchange) -> None:
    stock(exchange)
    router = exchange.begin()
    exchange.place.poor.add(21)
    for number in range(RENTALS_MAX):
        exchange.rent(21, f"k{number}", look_ahead=6)
    exchange.run_ms(5_000)
    before = exchange.world.now_ms

    exchange.rent(22, "k", look_ahead=6)
    exchange.world.run(lambda: sum(fill.account == 22 for fill in exchange.place.fills) == 6)

    assert exchange.world.now_ms - before < 3_000
    assert len(exchange.place.refused) > 50
    exchange.run_ms(60_000)
    answer = router.rental(21, 1)
    assert answer.state == "short"
    assert "the order was refused: insufficient_funds; it is tried again" in answer.notice


def test_an_ask_that_many_want_is_tried_for_by_those_whom_it_would_serve(exchange: Exchange) -> None:
    """Ten GPUs, a hundred rentals of two: five orders, and no flood of such as fail."""
    exchange.place.offer(ONE, NOW + 1, 2_000_000, 10)
    exchange.begin()
    for number in range(100):
        exchange.rent(21 + number, "k", from_hour=iso_hour(NOW + 1), look_ahead=1)
    exchange.run_ms(20_000)

    assert sum(fill.qty for fill in exchange.place.fills) == 10
    assert exchange.gateway.asked <= 3 * 5


def test_orders_under_way_are_bounded_and_accounts_take_turns() -> None:
    sending = Sending()
    for number in range(ACCOUNT_MAX):
        sending.add((1, number), Attempt(21, 0, 0))
    sending.add((2, 0), Attempt(22, 0, 0))
    sending.add((3, 0), Attempt(23, 0, 0))

    assert not sending.has_room(21, 0)
    assert sending.has_room(21, 1), "another shard is another matter"
    assert sending.has_room(22, 0)
    assert not sending.has_room(24, 0, more=SHARD_MAX)
    assert [name[0] for name in sending.take(0, 5)] == [1, 2, 3, 1, 1]
    assert len(list(sending.take(0, 99))) == ACCOUNT_MAX + 2 - 5, "the others are out"


def test_an_order_that_may_be_on_its_way_is_not_given_up(exchange: Exchange) -> None:
    """Given up it would count for no limit, and a copy of it might still buy."""
    stock(exchange)
    exchange.begin()
    exchange.gateway.late = 1_000
    place, came, given_up = exchange.place.place, list[str](), list[str]()

    def placed(order: Sent) -> Outcome:
        came.append(order.client_id)
        given_up.extend(f"r{r.rental}-{r.number}" for r in exchange.recorded() if isinstance(r, OrderRefused))
        return place(order)

    exchange.place.place = placed  # type: ignore[method-assign]
    exchange.rent(21, "k")
    exchange.run_ms(500)
    exchange.ask("stop", 21, 1, RentalStop())
    exchange.run_ms(15_000)

    assert set(came) >= {"r1-0", "r1-1", "r1-2"}
    assert not set(came) & set(given_up)


def test_a_turn_looks_at_no_more_than_it_has_room_for(exchange: Exchange) -> None:
    router = exchange.begin()
    for account in range(5):
        for number in range(100):
            exchange.rent(50 + account, f"k{number}")
    exchange.run_ms(10)
    exchange.world.run(lambda: len(router.state.live) == 500)

    assert len(router._due()) == RENTALS_PER_TURN


# --- What is away ---------------------------------------------------------------------------------------------


def test_while_books_are_away_nothing_is_bought_and_nobody_is_alarmed(exchange: Exchange) -> None:
    stock(exchange)
    router = exchange.begin()
    exchange.market_away = True
    said = exchange.rent(21, "k", look_ahead=2, webhook="https://ana.example/")
    exchange.run_ms(5_000)
    assert "cannot be read just now" in said[0].hours[0].why
    assert (exchange.gateway.asked, exchange.told, router.rental(21, 1).notice) == (0, [], "")

    exchange.market_away = False
    exchange.run_ms(3_000)

    assert router.rental(21, 1).state == "running"


def test_while_the_gateway_is_away_no_order_is_recorded_and_then_all_goes_on(exchange: Exchange) -> None:
    stock(exchange)
    router = exchange.begin()
    exchange.gateway.is_down = True
    for number in range(50):
        exchange.rent(21 + number, "k", look_ahead=6)
    exchange.run_ms(60_000)
    assert exchange.place.fills == []
    assert exchange.gateway.asked < 100, "somebody looks from time to time"

    exchange.gateway.is_down = False
    exchange.world.run(lambda: len(exchange.place.fills) == 300)

    exchange.run_ms(3_000)
    assert {router.rental(21 + number, number + 1).state for number in range(50)} == {"running"}


def test_a_room_whose_lease_another_has_taken_records_nothing_more(exchange: Exchange) -> None:
    stock(exchange)
    router = exchange.begin()
    exchange.rentals.land([Outgoing(msgspec.msgpack.encode(RouterBegan(99, exchange.market_ms)))])

    exchange.rent(21, "k")
    with pytest.raises(Superseded, match="epoch 99"):
        exchange.run_ms(2_000)

    assert exchange.place.fills == []
    assert router.state.live == {}


def test_a_stop_withdraws_what_was_never_sent_and_sells_what_is_held(exchange: Exchange) -> None:
    stock(exchange)
    for hour in range(NOW, NOW + 6):
        exchange.place.bid(ONE, hour, 1_800_000, 100)
    router = exchange.begin()
    exchange.rent(21, "k", look_ahead=3)
    exchange.run_ms(2_000)
    bought = len(exchange.place.fills)

    exchange.ask("stop", 21, 1, RentalStop())
    exchange.run_ms(5_000)

    sold = [fill for fill in exchange.place.fills[bought:] if fill.side == Side.SELL]
    assert len(sold) == len(exchange.place.fills) - bought == 2
    answer = router.rental(21, 1)
    assert [hour.state for hour in answer.hours] == ["bought", "sold", "sold"]
    assert answer.state == "stopping"


@pytest.mark.parametrize("is_killed", [False, True])
def test_what_may_have_been_sent_is_not_sent_again_after_a_stop(exchange: Exchange, *, is_killed: bool) -> None:
    """The first copy was lost on its way: a second one would buy what nobody wants any more."""
    stock(exchange)
    router = exchange.begin()
    exchange.gateway.lost = 1_000
    exchange.rent(21, "k", look_ahead=3)
    exchange.run_ms(1_000)
    exchange.ask("stop", 21, 1, RentalStop())
    exchange.world.run(lambda: bool(router.state.rentals[1].stopped_ms))
    if is_killed:
        exchange.kill()
        exchange.live()

    exchange.gateway.lost = 0
    exchange.run_ms(60_000)

    assert exchange.place.accepted == []
    assert exchange.router is not None
    assert exchange.router.rental(21, 1).state == "over"


@pytest.mark.parametrize("change", [RentalChange(max_price="1.50"), RentalChange(max_spend="1")])
def test_what_was_recorded_under_wider_limits_is_not_sent_under_closer_ones(
    exchange: Exchange, change: RentalChange
) -> None:
    stock(exchange)
    router = exchange.begin()
    exchange.gateway.is_down = True
    exchange.rent(21, "k", look_ahead=3)
    exchange.run_ms(1_000)
    said = exchange.ask("change", 21, 1, change)
    exchange.world.run(lambda: bool(said))

    exchange.gateway.is_down = False
    exchange.run_ms(60_000)

    assert exchange.place.accepted == []
    assert router.rental(21, 1).state == "short"


def test_what_is_too_old_is_not_sent_again(exchange: Exchange) -> None:
    """Else a gateway that never answers would keep it under way for ever, at the price of a book that is gone."""
    stock(exchange)
    exchange.begin()
    exchange.gateway.lost = 1_000
    exchange.rent(21, "k", look_ahead=1)

    exchange.run_ms(60_000)

    refused = [record.code for record in exchange.recorded() if isinstance(record, OrderRefused)]
    assert refused == ["no_effect"], "thirty seconds of tries, twenty of waiting"


def test_notices_are_records_once_per_hour_and_reason(exchange: Exchange) -> None:
    stock(exchange, price=3_900_000)
    exchange.begin()
    exchange.rent(21, "k", look_ahead=3)
    exchange.run_ms(20_000)

    noticed = [record for record in exchange.recorded() if isinstance(record, RentalNoticed)]
    assert len(noticed) == len({(record.hour, record.code) for record in noticed}) == 3
    assert not [record for record in exchange.recorded() if isinstance(record, OrderSent)]


# --- Notices and their webhooks -------------------------------------------------------------------------------

HOOK = "https://ana.example/hook"


def again(exchange: Exchange) -> list[tuple[int, str]]:
    """The room dies and another begins; what that one tells: hour and reason."""
    exchange.told.clear()
    exchange.kill()
    exchange.begin()
    exchange.run_ms(2_000)
    return [(notice.hour, notice.code) for notice in exchange.told]


def noticed(exchange: Exchange, look_ahead: int = 3, webhook: str = HOOK) -> list[tuple[int, str]]:
    """A rental that can have none of its hours, and what was told of it at first."""
    stock(exchange, price=3_900_000)
    exchange.begin()
    exchange.rent(21, "k", look_ahead=look_ahead, webhook=webhook)
    exchange.run_ms(2_000)
    return [(notice.hour, notice.code) for notice in exchange.told]


def test_what_no_webhook_took_before_a_crash_is_told_again_by_the_next_life_until_one_takes_it(
    exchange: Exchange,
) -> None:
    exchange.webhooks = "silent"
    first = noticed(exchange)
    told = list(exchange.told)
    assert len(first) == 3

    assert again(exchange) == first
    assert exchange.told == told, "the same, with the moment when it was noticed"
    exchange.webhooks = "take"
    assert again(exchange) == first
    assert again(exchange) == []

    closed = [record for record in exchange.recorded() if isinstance(record, NoticeClosed)]
    assert [(record.hour, record.code, record.is_taken) for record in closed] == [(*each, True) for each in first]


def test_what_was_given_up_is_not_told_again(exchange: Exchange) -> None:
    exchange.webhooks = "refuse"
    first = noticed(exchange)
    assert len(first) == 3

    assert again(exchange) == []

    assert [r.is_taken for r in exchange.recorded() if isinstance(r, NoticeClosed)] == [False] * 3


def test_of_an_hour_that_is_over_nothing_is_told_again() -> None:
    exchange = Exchange(1)
    exchange.webhooks = "silent"
    first = noticed(exchange)
    exchange.kill()
    exchange.run_ms(2 * 60_000)

    left = [each for each in first if each[0] >= exchange.market_ms // MS_PER_HOUR]
    assert 0 < len(left) < len(first)
    assert [each for each in again(exchange) if each in first] == left
    exchange.close()


@pytest.mark.parametrize("change", ["webhook", "stop"])
def test_who_wants_no_more_notices_is_sent_none_again(exchange: Exchange, change: str) -> None:
    """He took the address away, or stopped it; then it is over, as nothing was bought."""
    exchange.webhooks = "silent"
    assert len(noticed(exchange)) == 3
    asked = RentalChange(webhook="") if change == "webhook" else RentalStop()
    said = exchange.ask("stop" if change == "stop" else "change", 21, 1, asked)
    exchange.world.run(lambda: bool(said))
    exchange.run_ms(2_000)

    assert again(exchange) == []


def test_without_a_webhook_nothing_is_owed_and_nothing_recorded_of_it(exchange: Exchange) -> None:
    assert noticed(exchange, webhook="") == []
    exchange.ask("change", 21, 1, RentalChange(webhook=HOOK))
    exchange.run_ms(2_000)

    assert again(exchange) == []
    assert [record for record in exchange.recorded() if isinstance(record, NoticeClosed)] == []


def test_an_address_that_was_changed_is_told_at_the_new_one(exchange: Exchange) -> None:
    exchange.webhooks = "silent"
    noticed(exchange)
    exchange.ask("change", 21, 1, RentalChange(webhook="https://new.example/"))
    exchange.run_ms(2_000)

    again(exchange)

    assert {notice.webhook for notice in exchange.told} == {"https://new.example/"}
