"""What a member asks for, as the router keeps it, and back. Pure. Raises `Refused` with a sentence that says what to do."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final
from urllib.parse import urlsplit

import msgspec

from schemas.edge import iso_hour
from schemas.rental import RentalChange, RentalRequest
from schemas.rentals_log import Terms
from schemas.units import AMOUNT_MAX, MS_PER_HOUR, PRICE_MAX, Hour, Micros, Millis, Price, format_usd, parse_usd
from services.router.addresses import Unfit, fit_address
from services.router.market import Listed, Market
from services.router.refusals import Refused

AHEAD_MAX: Final = 168
"""Hours from now in which a rental may begin: as many as are listed."""


def terms_of(request: RentalRequest, market: Market, now_ms: Millis, *, sandbox: bool) -> Terms:
    """A new rental's. Raises Refused."""
    classes = [_class(market, class_id) for class_id in request.classes]
    if len(set(request.classes)) < len(classes):
        raise Refused("malformed", "a class is named twice in classes")
    for listed in classes:
        if request.gpus % listed.lot:
            raise Refused(
                "wrong_qty", f"gpus is {request.gpus}, {listed.class_id} is sold in multiples of {listed.lot}"
            )
    terms = Terms(
        classes=request.classes,
        gpus=request.gpus,
        max_price=_price(request.max_price, classes),
        max_spend=_spend(request.max_spend),
        from_hour=_first(request.from_hour, classes, now_ms),
        hours=request.hours,
        look_ahead=request.look_ahead,
        on_stop=request.on_stop,
        launch=request.launch,
        webhook=_webhook(request.webhook, sandbox=sandbox),
    )
    if terms.hours and now_ms >= (terms.from_hour + terms.hours) * MS_PER_HOUR:
        raise Refused("wrong_hours", f"all of its {terms.hours} hours from {iso_hour(terms.from_hour)} on are over")
    return terms


def changed(terms: Terms, change: RentalChange, market: Market, until: Hour, *, sandbox: bool) -> Terms:
    """The same with what the change names. `until`: the first hour that it may give up. Raises Refused."""
    classes = [market.classes[class_id] for class_id in terms.classes]
    return msgspec.structs.replace(
        terms,
        max_price=_price(change.max_price, classes) if change.max_price else terms.max_price,
        max_spend=terms.max_spend if change.max_spend is None else _spend(change.max_spend),
        look_ahead=change.look_ahead or terms.look_ahead,
        hours=terms.hours if change.hours is None else _hours(change.hours, terms.from_hour, until),
        on_stop=change.on_stop or terms.on_stop,
        webhook=terms.webhook if change.webhook is None else _webhook(change.webhook, sandbox=sandbox),
    )


def _hours(hours: int, first: Hour, until: Hour) -> int:
    if hours and first + hours < until:
        raise Refused(
            "wrong_hours",
            f"hours: {until - first} have begun or are bought, and no fewer can be; stop the rental to give up the later ones",
        )
    return hours


def is_same(request: RentalRequest, made: Terms, market: Market, *, sandbox: bool) -> bool:
    """Whether a request under a known key asks for what was made under it, whatever time has passed since."""
    try:
        return terms_of(request, market, made.from_hour * MS_PER_HOUR, sandbox=sandbox) == made
    except Refused:
        return False


def _class(market: Market, class_id: str) -> Listed:
    listed = market.classes.get(class_id)
    if listed is None:
        raise Refused("unknown_class", f"{class_id[:60]!r} is not listed; GET /v1/classes lists the classes")
    return listed


def _usd(text: str, name: str) -> Micros:
    try:
        return parse_usd(text)
    except ValueError as error:
        raise Refused("wrong_decimal", f"{name}: {error}") from None


def _price(text: str, classes: list[Listed]) -> Price:
    price = _usd(text, "max_price")
    tick = max(listed.tick for listed in classes)
    if not tick <= price <= PRICE_MAX:
        raise Refused(
            "wrong_price", f"max_price is {text}, use {format_usd(tick)} (the tick) to {format_usd(PRICE_MAX)} USD"
        )
    return price


def _spend(text: str) -> Micros:
    amount = _usd(text, "max_spend") if text else 0
    if text and not 0 < amount <= AMOUNT_MAX:
        raise Refused("wrong_amount", "max_spend: use a positive amount, or leave it out for no such limit")
    return amount


def _first(text: str, classes: list[Listed], now_ms: Millis) -> Hour:
    """Its first hour: without one the hour that runs, where any of the classes still sells it."""
    running = now_ms // MS_PER_HOUR
    if not text:
        return running if any(listed.phase(running, now_ms) != "closed" for listed in classes) else running + 1
    try:
        moment = datetime.strptime(text, "%Y-%m-%dT%H:00Z").replace(tzinfo=UTC)
    except ValueError:
        raise Refused("wrong_time", f"from: {text[:40]!r} is not an hour; write it like 2026-11-22T14:00Z") from None
    first = int(moment.timestamp()) // 3600
    if not running <= first <= running + AHEAD_MAX:
        raise Refused(
            "wrong_hours", f"from: a rental begins from {iso_hour(running)} to {iso_hour(running + AHEAD_MAX)}"
        )
    return first


def _webhook(text: str, *, sandbox: bool) -> str:
    if not text:
        return ""
    schemes = ("https", "http") if sandbox else ("https",)
    if not _is_address(text, schemes):
        raise Refused("wrong_webhook", f"webhook: use an address with {' or '.join(schemes)}, without a password in it")
    try:
        # Of a name only its addresses tell, when a notice is due.
        fit_address([urlsplit(text).hostname or ""], sandbox=sandbox)
    except ValueError:
        return text
    except Unfit as error:
        raise Refused("wrong_webhook", f"webhook: {error}, and notices go to no other") from None
    return text


def _is_address(text: str, schemes: tuple[str, ...]) -> bool:
    if not text.isascii() or not text.isprintable() or " " in text:
        return False
    try:
        parts = urlsplit(text)
        return parts.scheme in schemes and bool(parts.hostname) and parts.port != 0 and "@" not in parts.netloc
    except ValueError:
        return False
