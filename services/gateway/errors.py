"""What the gateway answers instead of a result, sorted by what the caller should do next.

ApiError
├── outcome rejected, retryable    it had no effect; the same again may do later (503, 429)
├── outcome rejected               it had no effect, and sending it again will not help (4xx)
└── outcome unknown                it may have had an effect: ask again with the same id (504)

Every code of the engine and of settlement has its row in CODES; a test walks them all.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final, Literal, NamedTuple

import msgspec

from schemas import feeds
from schemas.codec import UNREADABLE
from schemas.http import Problem
from schemas.units import format_usd


class Row(NamedTuple):
    """HTTP status, title, and what to do about it."""

    status: int
    title: str
    advice: str
    numbers: str = ""
    """Sentence of the engine's or settlement's numbers, with {need} and {have}; which of them it names the answer has as well."""
    unit: Literal["plain", "usd", "hour", "time"] = "plain"
    retryable: bool = False


CODES: Final[dict[str, Row]] = {
    # The engine: schemas.events.Code, lower case.
    "not_offered_yet": Row(422, "This is declared and not offered yet", "the README lists what is not"),
    "unknown_account": Row(404, "There is no such account", "check the account's number"),
    "unknown_class": Row(404, "There is no such class", "GET /v1/classes lists them"),
    "unknown_contract": Row(
        404,
        "This hour is not listed",
        "GET /v1/contracts?class=... lists those that are",
        numbers="the hour from {need}",
        unit="hour",
    ),
    "wrong_phase": Row(
        422,
        "This hour does not take it any more",
        "choose a later hour: from gate closure on only what is ready in the running hour is sold",
        numbers="the hour from {need}",
        unit="hour",
    ),
    "halted": Row(422, "Trading is halted or cancel-only", "wait until it opens; cancels are accepted", retryable=True),
    "wrong_side": Row(422, "The side is not buy or sell", "say buy or sell"),
    "wrong_tif": Row(
        422,
        "This time in force does not fit here",
        "use gtc or gtd while post-only, ioc or fok for a bid in the running hour, and expires with gtd only",
    ),
    "wrong_flags": Row(
        422, "These options do not fit together", "post_only goes with gtc and gtd, running with an ask of these two"
    ),
    "wrong_expiry": Row(
        422,
        "It would end before it begins",
        "name a moment that is still to come",
        numbers="the market's time is {need}",
        unit="time",
    ),
    "wrong_qty": Row(
        422,
        "The quantity is not tradable",
        "use a positive multiple of the lot, at most 1000000",
        numbers="the lot is {need}",
    ),
    "wrong_price": Row(
        422,
        "The price is not on the tick",
        "use a positive multiple of the tick",
        numbers="the tick is {need}",
        unit="usd",
    ),
    "outside_collar": Row(
        422, "The price is outside the collar", "stay within it", numbers="its bound is {need}", unit="usd"
    ),
    "insufficient_funds": Row(
        422,
        "The account cannot cover this",
        "deposit, or ask for less",
        numbers="needs {need}, {have} there",
        unit="usd",
    ),
    "insufficient_backing": Row(
        422, "More than may be sold", "declare capacity, or sell what you hold", numbers="needs {need}, {have} there"
    ),
    "duplicate_client_id": Row(409, "This client order id stands for another order", "use a new id"),
    "wrong_client_id": Row(
        422, "The client order id is not usable", "use 1 to 36 printable ASCII characters without space"
    ),
    "too_late": Row(
        422, "It arrived after valid_for_ms had passed", "send it again with the same client order id", retryable=True
    ),
    "wrong_validity": Row(422, "valid_for_ms is out of range", "use 1 to 600000"),
    "would_trade": Row(422, "Post-only, and it would trade at once", "lower the bid or raise the ask"),
    "cannot_fill": Row(
        422,
        "Fill-or-kill, and the book cannot fill it",
        "ask for less, or use ioc",
        numbers="{have} of {need} could be filled",
    ),
    "unknown_order": Row(404, "No open order has this id", "GET /v1/orders shows the open ones"),
    "too_many_orders": Row(
        422,
        "Too many open orders, or client order ids in use",
        "cancel some, or wait until ids of a quarter of an hour ago are free",
        numbers="{need} are allowed",
    ),
    "stale_version": Row(
        409,
        "A newer version of this backing is in force",
        "use a higher version",
        numbers="version {have} is in force",
    ),
    "wrong_role": Row(403, "The account's role does not permit this", "ask an operator for the role"),
    "wrong_ground": Row(422, "There is no such ground", "use declared, promised or ready"),
    "wrong_collateral": Row(
        422,
        "The collateral price does not fit",
        "use at least the collar's upper bound, and 0 where nothing is promised",
        numbers="the bound is {need}",
        unit="usd",
    ),
    "wrong_class": Row(422, "The class contradicts itself or the one listed", "list a new version as a new class"),
    "wrong_amount": Row(422, "The amount is not usable", "use a positive amount"),
    "wrong_owner": Row(
        422,
        "The owners do not fit",
        "an account's owner never changes; a correction needs operators of two owners, and two accounts",
    ),
    "wrong_state": Row(422, "It cannot go to this state", "look at the state it has"),
    "wrong_version": Row(
        422, "This engine version is not possible", "use a version that the build knows, never a lower one"
    ),
    "wrong_hours": Row(
        422,
        "The hours do not fit",
        "use rising hours: a range and backing 1 to 1024, a block 1 to 168, quotes 1 to 512",
    ),
    "wrong_reference": Row(
        422,
        "The reference moves too far",
        "stay within half and double of the one in force, and a tenth and ten times of the list price",
        numbers="its bound is {need}",
        unit="usd",
    ),
    "too_soon": Row(
        422,
        "The reference has just moved",
        "wait a minute between two moves",
        numbers="it may move again at {need}",
        unit="time",
        retryable=True,
    ),
    "stale_number": Row(
        409,
        "Quotes of this number or a later one are in force",
        "use a higher number, or leave it out",
        numbers="the last number was {have}",
    ),
    "unknown_trade": Row(404, "There is no such trade", "GET /v1/trades?contract=... lists trades"),
    "malformed": Row(400, "The request does not decode", "docs/api.md shows the bodies"),
    # Settlement.
    "request_reused": Row(409, "This Idempotency-Key stands for another request", "use a new key"),
    "wrong_request_id": Row(400, "The Idempotency-Key is not usable", "use 1 to 40 printable ASCII characters"),
    "deposit_known": Row(409, "This deposit was booked before", "nothing is to be done"),
    "unknown_owner": Row(404, "There is no such owner", "leave owner out for a new one"),
    "unknown_payout": Row(404, "There is no such payout", "GET /v1/withdrawals lists them"),
    "unknown_shard": Row(404, "There is no such shard", "GET /v1/status lists them"),
    "unknown_title": Row(
        404,
        "No such title was sold as ready",
        "GET /v1/admin/uncovered lists them: name its account, hour and all of its GPUs",
    ),
    "different_backing": Row(
        422, "The account has more machines in some of these hours", "procure hours with as many machines by themselves"
    ),
    "procured_before": Row(409, "A machine was procured for this title", "nothing is to be done"),
    "wrong_destination": Row(422, "The destination is not usable", "use 1 to 200 characters"),
    "wrong_name": Row(422, "The name is not usable", "use 1 to 100 characters"),
    "wrong_provider": Row(422, "The provider or its reference is not usable", "use 1 to 100 characters"),
    # Delivery.
    "unknown_machine": Row(
        404, "There is no such machine of yours", "GET /v1/machines lists them; an agent enrols again"
    ),
    "unknown_launch": Row(
        404,
        "There is no such launch specification of yours",
        "make it with PUT /v1/launches/{name}, then send the order again",
    ),
    "wrong_launch": Row(
        422, "This order cannot name a launch specification", "name one with a purchase that has a client_order_id"
    ),
    "too_many_launches": Row(
        422,
        "Too many orders name a launch specification",
        "leave it out, put hours into one range or block, or wait until some are over",
    ),
    "machine_known": Row(409, "These GPUs are enrolled as another machine", "retire the other, or ask an operator"),
    "agent_running": Row(
        409,
        "Another agent speaks for this machine",
        "stop it, or wait until it has been silent for 20 s",
        retryable=True,
    ),
    "agent_superseded": Row(409, "A newer agent speaks for this machine", "stop this one"),
    "stale_heartbeat": Row(409, "The heartbeat is an old one", "enrol again"),
    "wrong_ssh_key": Row(422, "This is not a public SSH key", "send a line of an .pub file, as in authorized_keys"),
    "wrong_source": Row(422, "A simulated machine has no place here", "only a sandbox takes them"),
    # Rentals.
    "unknown_rental": Row(404, "There is no such rental of yours", "GET /v1/rentals lists them"),
    "rental_over": Row(409, "The rental is over", "make a new one: POST /v1/rentals"),
    "too_many_rentals": Row(422, "Too many rentals at once", "stop one of them"),
    "wrong_webhook": Row(422, "The webhook is not an address", "use an address with https, without a password in it"),
    # The door itself.
    "wrong_approval": Row(
        422,
        "The approval is not one of this correction",
        "approve it again: an approval is for one correction, word for word, and good for ten minutes",
    ),
    "wrong_contract": Row(400, "This is not a contract", "they look like H100.SXM.80.US.20261122T14-USD"),
    "wrong_order_id": Row(400, "This is not an order id", "they look like 0-1842-3-0"),
    "wrong_decimal": Row(400, "This is not a decimal amount", "write it like 2.49"),
    "wrong_time": Row(400, "This is not an hour", "write it like 2026-11-22T14:00Z"),
    "unauthenticated": Row(401, "No valid key", "docs/api.md shows how to sign"),
    "wrong_signature": Row(401, "The signature does not fit", "sign timestamp + method + path with query + body"),
    "wrong_timestamp": Row(401, "The timestamp is not within 30 s of ours", "GET /v1/time tells ours"),
    "key_expired": Row(401, "The key has expired", "ask for a new one"),
    "wrong_network": Row(403, "The key may not be used from this address", "use an allowed address"),
    "missing_scope": Row(403, "The key lacks the scope", "use a key that has it"),
    "idempotency_key_required": Row(
        400, "An Idempotency-Key header is required", "send any text of your own, new for each request"
    ),
    "not_found": Row(404, "There is nothing at this address", "docs/api.md lists the addresses"),
    "unknown_request": Row(404, "There is no such request", "it may not have been settled yet", retryable=True),
    "method_not_allowed": Row(405, "This address does not take this method", "docs/api.md lists the methods"),
    "too_slow": Row(408, "The body did not come in time", "send it within 10 s", retryable=True),
    "too_large": Row(413, "The body is too large", "send at most 64 KiB"),
    "wrong_content_type": Row(415, "The body is not JSON", "send Content-Type: application/json"),
    "rate_limited": Row(429, "Too many requests", "wait as Retry-After says", retryable=True),
    "overloaded": Row(503, "Settlement lags behind", "wait a moment; cancels are accepted", retryable=True),
    "not_ready": Row(503, "Log, database or shard do not answer", "try again in a moment", retryable=True),
    "not_settled_yet": Row(503, "Your last write is not settled yet", "read again in a moment", retryable=True),
    "outcome_unknown": Row(
        504, "No answer in time", "send the same again with the same id to learn the outcome", retryable=True
    ),
    "internal": Row(500, "A fault of ours", "tell us the request_id"),
}


class ApiError(Exception):
    """A refusal with its code. `need` and `have`: the numbers of its sentence, in the row's unit."""

    def __init__(self, code: str, detail: str = "", *, need: int = 0, have: int = 0) -> None:
        self.code = code
        self.row = CODES[code]
        self.need = need
        self.have = have
        super().__init__(detail or self._sentence())

    @property
    def outcome(self) -> Literal["rejected", "unknown"]:
        """`rejected`: nothing has changed; `unknown`: something may have."""
        return "unknown" if self.code in ("outcome_unknown", "internal") else "rejected"

    def numbers(self) -> dict[str, str | int]:
        """`need` and `have`, where there are numbers and the sentence names them."""
        if not self.need and not self.have:
            return {}
        both = {"need": self.need, "have": self.have}
        return {name: self._shown(number) for name, number in both.items() if f"{{{name}}}" in self.row.numbers}

    def _sentence(self) -> str:
        usd = " USD" if self.row.unit == "usd" else ""
        shown = {name: f"{number}{usd}" for name, number in self.numbers().items()}
        return f"{self.row.numbers.format(**shown)}: {self.row.advice}" if shown else self.row.advice

    def _shown(self, number: int) -> str | int:
        match self.row.unit:
            case "usd":
                return format_usd(number)
            case "hour":
                return f"{datetime.fromtimestamp(number * 3600, UTC):%Y-%m-%dT%H:%MZ}"
            case "time":
                return f"{datetime.fromtimestamp(number / 1000, UTC):%Y-%m-%dT%H:%M:%SZ}"
            case "plain":
                return number

    def problem(self, request_id: str) -> Problem:
        """Body of the answer."""
        return Problem(
            type=f"/problems/{self.code}",
            title=self.row.title,
            status=self.row.status,
            detail=str(self),
            code=self.code,
            request_id=request_id,
            retryable=self.row.retryable,
            outcome=self.outcome,
            **self.numbers(),
        )


_unanswered = msgspec.json.Decoder(feeds.Unanswered)


def refusal(room: str, content: bytes) -> ApiError:
    """What another room says in its own words, as this door says it."""
    try:
        said = _unanswered.decode(content)
    except UNREADABLE:
        return ApiError("not_ready", f"{room} does not answer as it should")
    return ApiError(said.code, said.detail) if said.code in CODES else ApiError("internal")
