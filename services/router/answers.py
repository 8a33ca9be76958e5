"""What members are told of their rentals. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from schemas import rental as bodies
from schemas.edge import iso, iso_hour, iso_or_none
from schemas.ids import contract_of, format_symbol, hour_of
from schemas.units import MS_PER_HOUR, Hour, Millis, Price, format_usd
from services.router.deciding import Why, window, worst_day
from services.router.holding import Holding, holdings
from services.router.market import Market
from services.router.state import PastHour, Rental

UNDER_WAY = "an order is under way"
NOT_LOOKED_AT = "it is looked at in a moment"


def rental(
    rental: Rental, market: Market, whys: Mapping[Hour, Why], now_ms: Millis, webhook_key: str
) -> bodies.RentalAnswer:
    """As it stands. `whys`: of hours that could not be had when they were last looked at."""
    held = holdings(rental, market)
    now = now_ms // MS_PER_HOUR
    is_kept = not rental.stopped_ms and not rental.over_ms
    due = window(rental.terms, now_ms) if is_kept else range(0)
    hours = sorted({*due, *(hour for hour, each in held.items() if each.bought or each.buying)})
    missing = {hour: why for hour, why in whys.items() if hour in due}
    lines = [_line(held.get(hour), hour, rental, market, missing.get(hour), now) for hour in hours]
    past = [_past(each, market) for each in reversed(rental.past)]
    cost = rental.past_cost + sum(each.cost - each.returned for each in held.values())
    return bodies.RentalAnswer(
        rental=str(rental.rental),
        state=_state(rental, lines, missing),
        made_at=iso(rental.made_ms),
        stopped_at=iso_or_none(rental.stopped_ms),
        request=bodies.request_of(rental.terms),
        hours=(
            *(line for line in lines if line.state != "over"),
            *(line for line in lines if line.state == "over"),
            *past,
        ),
        bought_until=_bought_until(rental, held, now),
        cost=format_usd(cost),
        cost_per_day_most=format_usd(worst_day(rental.terms, [market.classes[each] for each in rental.terms.classes])),
        notice=_notice(missing),
        webhook_key=webhook_key,
    )


def _state(rental: Rental, lines: list[bodies.RentalHourAnswer], missing: Mapping[Hour, Why]) -> bodies.RentalWord:
    if rental.over_ms:
        return "over"
    if rental.stopped_ms:
        return "stopping"
    if missing:
        return "short"
    states = {line.state for line in lines}
    return "waiting" if "missing" in states and "bought" not in states else "running"  # an order is under way


def _notice(missing: Mapping[Hour, Why]) -> str:
    told = [why for _, why in sorted(missing.items()) if why.is_told]
    if not told:
        return ""
    more = len(told) - 1
    return told[0].detail + (f" (and {more} more hour{'s' * (more > 1)})" if more else "")


def _bought_until(rental: Rental, held: Mapping[Hour, Holding], now: Hour) -> str:
    first = until = max(now, rental.terms.from_hour)
    while until in held and held[until].held:
        until += 1
    return iso_hour(until) if until > first else ""


def _line(
    holding: Holding | None, hour: Hour, rental: Rental, market: Market, why: Why | None, now: Hour
) -> bodies.RentalHourAnswer:
    holding = holding or Holding(hour)
    contract = holding.contract or (why.contract if why is not None else _first_contract(rental, market, hour))
    state: bodies.RentalHourWord
    if hour < now:
        state = "over"
    elif not holding.bought:
        state = "missing"
    elif holding.held:
        state = "selling" if holding.asks else "bought"
    else:
        state = "sold"
    return bodies.RentalHourAnswer(
        contract=_symbol(market, contract),
        starts_at=iso_hour(hour),
        state=state,
        gpus=holding.held,
        minutes=holding.minutes,
        price=_price(holding.average),
        cost=format_usd(holding.cost),
        returned=format_usd(holding.returned),
        why=_why(holding, why) if state == "missing" else "",
    )


def _why(holding: Holding, why: Why | None) -> str:
    if holding.buying:
        return UNDER_WAY
    return why.detail if why is not None else NOT_LOOKED_AT


def _past(past: PastHour, market: Market) -> bodies.RentalHourAnswer:
    return bodies.RentalHourAnswer(
        contract=_symbol(market, past.contract),
        starts_at=iso_hour(hour_of(past.contract)),
        state="over",
        gpus=past.gpus,
        minutes=past.minutes,
        price=_price(past.price),
        cost=format_usd(past.cost),
        returned=format_usd(past.returned),
    )


def _price(price: Price) -> str:
    return format_usd(price) if price else ""


def _first_contract(rental: Rental, market: Market, hour: Hour) -> int:
    return contract_of(market.classes[rental.terms.classes[0]].class_no, hour)


def _symbol(market: Market, contract: int) -> str:
    return format_symbol(market.listed(contract).class_id, hour_of(contract))
