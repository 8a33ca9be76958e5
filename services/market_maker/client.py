"""`Exchange` over the public HTTP API: requests signed with a member's key, at a bounded rate.

What became of a request, and what is said of it:
- no connection was made, or the answer says `rejected`: it had no effect (`Refused`);
- sent and no answer, a broken one, or one that says `unknown`: it may have had an effect (`Unknown`);
- requests that settlement decides carry an Idempotency-Key, and are repeated under it while their outcome is unknown or pending.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from pathlib import Path
from typing import Final, Self, TypeVar

import httpx
import msgspec
from msgspec import Struct

from schemas import feeds, http
from schemas.codec import UNREADABLE
from schemas.edge import iso_hour
from schemas.ids import parse_symbol
from schemas.signing import signed_headers
from schemas.units import MS_PER_MINUTE, Gpus, Hour, Micros, Millis, Price, format_usd, parse_usd
from services.market_maker.exchange import (
    FILLS_MAX,
    Accepted,
    Backing,
    BookHour,
    Fill,
    GatewayAway,
    Ground,
    ListedClass,
    OpenOrder,
    Outcome,
    Position,
    Refused,
    Unknown,
)
from services.market_maker.pace import Pace
from services.market_maker.quoting import HourQuote, Terms
from services.runtime.log import Clock

ANSWER_S_MAX: Final = 8.0
"""Longer than the gateway takes to give up by itself."""
CONNECT_S_MAX: Final = 2.0
REPEATS_MAX: Final = 3
OPEN_ORDERS_MAX: Final = 500
"""As many as the gateway tells at once."""
NO_ORDERS: Final = ("cancel_only", "halted")
_NOT_SENT: Final = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout)

T = TypeVar("T")


class BadKey(ValueError):
    """The file does not hold a key."""


class Key(Struct, frozen=True):
    """A member's key."""

    key_id: str
    secret: bytes

    def __repr__(self) -> str:
        return f"Key({self.key_id})"


def read_key(path: Path) -> Key:
    """The file holds the answer of POST /v1/keys. Raises BadKey."""
    try:
        answer = msgspec.json.decode(path.read_bytes(), type=http.NewKeyAnswer)
        return Key(answer.key.key_id, base64.b64decode(answer.secret, validate=True))
    except (OSError, ValueError, *UNREADABLE) as error:  # ValueError: a secret that is not base64
        # Of a file with a secret in it nothing is repeated but its name.
        raise BadKey(f"{path} does not hold a key as POST /v1/keys answers it ({type(error).__name__})") from None


class _Answer(Struct, frozen=True):
    status: int
    body: bytes
    retry_after_ms: Millis


class GatewayClient:
    """One account's connection. Used as `async with`."""

    def __init__(
        self, url: str, key: Key, clock: Clock, requests_per_second: int, valid_ms: Millis, run: str,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:  # fmt: skip
        """`valid_ms`: what has not reached the shard by then never will.

        `run` makes Idempotency-Keys differ from those of earlier processes. `transport`: in place of sockets.
        """
        self._key = key
        self._clock = clock
        self._pace = Pace(requests_per_second)
        self._valid_ms = valid_ms
        self._run = run
        self._asked = 0
        timeout = httpx.Timeout(ANSWER_S_MAX, connect=CONNECT_S_MAX)
        self._http = httpx.AsyncClient(base_url=url, timeout=timeout, trust_env=False, transport=transport)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._http.aclose()

    # --- Reads --------------------------------------------------------------------------------------------------------

    async def classes(self) -> list[ListedClass]:
        """Every listed class."""
        answers = await self._read("/v1/classes", list[http.ClassAnswer])
        return [ListedClass(_terms(each), each.shard, takes_orders=each.state not in NO_ORDERS) for each in answers]

    async def grid(self, terms: Terms) -> list[BookHour]:
        """Its hours that have not ended, rising."""
        answer = await self._read(f"/v1/classes/{terms.class_id}/grid", feeds.Grid)
        return sorted((_hour(terms, row) for row in answer.rows), key=lambda row: row.hour)

    async def positions(self) -> list[Position]:
        """The account's, until they are settled."""
        answers = await self._read("/v1/positions", list[http.PositionAnswer])
        return [Position(a.contract, a.held, a.owed, parse_usd(a.proceeds)) for a in answers]

    async def backing(self) -> list[Backing]:
        """The account's promises, for later and for at once."""
        answers = await self._read("/v1/capacity", list[http.CapacityAnswer])
        return [
            Backing(a.contract, a.ground, a.qty, a.owed, parse_usd(a.collateral_price), a.version)
            for a in answers
            if a.ground != "declared"
        ]

    async def orders(self) -> list[OpenOrder]:
        """The account's open orders that are no quotes, oldest first."""
        answers = await self._read(f"/v1/orders?state=open&limit={OPEN_ORDERS_MAX}", list[http.OrderAnswer])
        if len(answers) == OPEN_ORDERS_MAX:
            # A list that is cut looks like asks that are missing, and would be placed again and again.
            raise GatewayAway(f"{OPEN_ORDERS_MAX} open orders or more: they are not the desk's alone")
        found = [OpenOrder(a.contract, a.order_id, parse_usd(a.price), a.leaves) for a in answers if a.side == "sell"]
        return sorted(found, key=lambda order: [int(part) for part in order.order.split("-")])

    async def fills(self) -> list[Fill]:
        """The account's trades, newest first, at most `FILLS_MAX`."""
        answers = await self._read(f"/v1/fills?limit={FILLS_MAX}", list[http.FillAnswer])
        return [Fill(a.trade, a.contract) for a in answers]

    async def money(self) -> Micros:
        """All that is the account's, wherever it waits; what titles owe it is not money yet."""
        answer = await self._read("/v1/balance", http.BalanceAnswer)
        amounts = (answer.wallet, answer.in_transit, answer.payouts, answer.waiting_collateral)
        return sum(parse_usd(amount) for amount in (*amounts, *(each.balance for each in answer.trading)))

    async def _read(self, path: str, kind: type[T]) -> T:
        return _decoded(await self._send("GET", path), kind)

    # --- What changes something ---------------------------------------------------------------------------------------

    async def quote(self, class_id: str, number: int, quotes: Sequence[tuple[Hour, HourQuote]]) -> Outcome:
        """Both sides of many hours, in place of the former ones."""
        lines = tuple(
            http.QuoteRequest(iso_hour(hour), _price(q.bid), q.bid_qty, _price(q.ask), q.ask_qty) for hour, q in quotes
        )
        request = http.QuotesRequest(lines, number, self._valid_ms)
        answer = await self._send("PUT", f"/v1/quotes/{class_id}", request)
        outcome = _outcome(answer)
        if not isinstance(outcome, Accepted):
            return outcome
        try:
            put = _decoded(answer, http.QuotesAnswer)
        except GatewayAway as error:
            return Unknown(str(error))
        refused = [(parse_symbol(each.contract)[1], each.refusal.code) for each in put.outcomes if each.refusal]
        return Accepted(tuple(refused), put.number)

    async def back(
        self,
        class_id: str,
        first_hour: Hour,
        hours: int,
        ground: Ground,
        qty: Gpus,
        collateral_price: Price,
        version: int,
    ) -> Outcome:
        """Promise so many GPUs in each of these hours: an absolute target."""
        request = http.CapacityRequest(
            class_id=class_id, from_hour=iso_hour(first_hour), hours=hours, ground=ground, qty=qty,
            version=version, collateral_price=format_usd(collateral_price),
        )  # fmt: skip
        return await self._settled("PUT", "/v1/capacity", request)

    async def fund(self, class_id: str, amount: Micros) -> Outcome:
        """Move money from the wallet to where the class trades."""
        request = http.TransferRequest(direction="to_trading", amount=format_usd(amount), class_id=class_id)
        return await self._settled("POST", "/v1/transfers", request)

    async def place(self, symbol: str, qty: Gpus, price: Price, client_id: str) -> Outcome:
        """A GTC ask."""
        request = http.OrderRequest(
            contract=symbol, side="sell", qty=qty, price=format_usd(price), client_order_id=client_id,
            valid_for_ms=self._valid_ms,
        )  # fmt: skip
        return _outcome(await self._send("POST", "/v1/orders", request))

    async def cancel(self, order: str) -> Outcome:
        """By its id."""
        assert order, "without an id the address is that of all orders"
        return _outcome(await self._send("DELETE", f"/v1/orders/{order}"))

    async def pull(self, class_id: str) -> Outcome:
        """Cancel everything of the account in the class; empty: in all."""
        return _outcome(await self._send("DELETE", f"/v1/orders?class={class_id}" if class_id else "/v1/orders"))

    async def live_for(self, class_id: str, after_ms: Millis) -> Outcome:
        """Set the dead man's switch anew, in the shard that trades the class."""
        request = http.CancelAllAfterRequest(-(-after_ms // 1_000))
        return _outcome(await self._send("PUT", f"/v1/cancel-all-after?class={class_id}", request))

    async def _settled(self, method: str, path: str, request: Struct) -> Outcome:
        """A request that settlement decides, repeated under one key while its outcome is open."""
        self._asked += 1
        idempotency_key = f"desk-{self._run}-{self._asked:x}"
        outcome: Outcome = Unknown("not sent")
        for _ in range(REPEATS_MAX):
            answer = await self._send(method, path, request, idempotency_key)
            pending = isinstance(answer, _Answer) and answer.status == httpx.codes.ACCEPTED
            outcome = Unknown("still pending") if pending else _outcome(answer)
            if not isinstance(outcome, Unknown):
                break
        return outcome

    # --- HTTP ---------------------------------------------------------------------------------------------------------

    async def _send(
        self, method: str, path: str, request: Struct | None = None, idempotency_key: str = ""
    ) -> _Answer | Outcome:
        """The answer, or why there is none: Refused when it was never sent, Unknown when it was."""
        body = msgspec.json.encode(request) if request is not None else b""
        await self._clock.sleep_ms(self._pace.reserve(self._clock.elapsed_ms()))
        key, now_ms = self._key, self._clock.now_ms()
        signed = signed_headers(key.key_id, key.secret, now_ms, method, path, body, idempotency_key)
        try:
            answer = await self._http.request(method, path, content=body, headers=signed)
        except _NOT_SENT as error:
            return Refused("gateway_away", retryable=True, why=repr(error))
        except httpx.TransportError as error:
            return Unknown(repr(error))
        retry_after_ms = _retry_after_ms(answer.headers)
        if retry_after_ms:
            self._pace.hold(self._clock.elapsed_ms() + retry_after_ms)
        return _Answer(answer.status_code, answer.content, retry_after_ms)


def _outcome(answer: _Answer | Outcome) -> Outcome:
    """Of a request that changes something."""
    if not isinstance(answer, _Answer):
        return answer
    if answer.status < httpx.codes.BAD_REQUEST:
        return Accepted()
    try:
        problem = msgspec.json.decode(answer.body, type=http.Problem)
    except msgspec.DecodeError:
        # Not from the exchange's own hand: what stands between us may have passed the request on.
        return Unknown(f"status {answer.status} without a problem document")
    if problem.outcome == "unknown":
        return Unknown(problem.code)
    return Refused(problem.code, problem.retryable, _number(problem.need), _number(problem.have), problem.detail)


def _decoded(answer: _Answer | Outcome, kind: type[T]) -> T:
    """Of a read. Raises GatewayAway for whatever is not the thing that was asked for."""
    if not isinstance(answer, _Answer):
        raise GatewayAway(str(answer))
    if answer.status >= httpx.codes.BAD_REQUEST:
        raise GatewayAway(f"status {answer.status}: {answer.body[:500].decode(errors='replace')}")
    try:
        return msgspec.json.decode(answer.body, type=kind)
    except msgspec.DecodeError as error:
        raise GatewayAway(f"an answer that does not decode: {error}") from error


def _terms(answer: http.ClassAnswer) -> Terms:
    return Terms(
        class_id=answer.class_id,
        lot=answer.lot,
        tick=parse_usd(answer.tick),
        reference=parse_usd(answer.reference),
        low=parse_usd(answer.collar_low),
        high=parse_usd(answer.collar_high),
        gate_ms=answer.gate_minutes * MS_PER_MINUTE,
        cover_ms=answer.cover_minutes * MS_PER_MINUTE,
        buyer_maker_bp=answer.buyer_maker_bp,
        buyer_taker_bp=answer.buyer_taker_bp,
        seller_bp=max(answer.seller_maker_bp, answer.seller_taker_bp),
    )


def _hour(terms: Terms, row: feeds.GridRow) -> BookHour:
    reference = _price_of(row.reference) or terms.reference
    return BookHour(
        hour=parse_symbol(row.contract)[1],
        symbol=row.contract,
        phase=row.phase,
        takes_orders=row.state not in NO_ORDERS,
        bid=_price_of(row.bid),
        bid_qty=row.bid_qty,
        bid_next=_price_of(row.bid_next),
        ask=_price_of(row.ask),
        ask_qty=row.ask_qty,
        ask_next=_price_of(row.ask_next),
        high=terms.high * reference // terms.reference,
    )


def _price_of(text: str) -> Price:
    return parse_usd(text) if text else 0


def _price(price: Price) -> str:
    return format_usd(price) if price else ""


def _number(value: str | int | None) -> int:
    """`need` and `have`: money as decimals, other things as integers. An hour or a moment is neither: 0."""
    if not isinstance(value, str):
        return value or 0
    try:
        return parse_usd(value.removeprefix("-"))
    except ValueError:
        return 0


def _retry_after_ms(headers: httpx.Headers) -> Millis:
    text = headers.get("Retry-After", "")
    return int(text) * 1_000 if text.isascii() and text.isdigit() and len(text) < 6 else 0
