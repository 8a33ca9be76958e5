"""Quotes: a market maker's two-sided prices for many hours in one command, per hour all or nothing.

A quote is absolute, so it may be sent again; its number says which of two is the later one. Bids that lack trading balance have
it moved from the wallet, and the hours that were refused for it are quoted once more under the next number.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import msgspec

from schemas import http
from schemas.commands import PutQuotes, QuoteHour
from schemas.edge import iso_hour
from schemas.events import Code, QuoteOutcome, QuotesPut, Rejected
from schemas.ids import format_order, format_symbol
from schemas.units import Hour, Micros, bid_hold, format_usd
from services.gateway.auth import Caller
from services.gateway.classes import Classes, bid_rate
from services.gateway.database import Row
from services.gateway.door import Door
from services.gateway.errors import ApiError
from services.gateway.funding import Funding
from services.gateway.shards import Shards
from services.gateway.telling import after_the_fact, refusal, refusal_of, told
from services.gateway.times import parse_hour
from services.gateway.values import QTY_MAX, check_terms, decimal

HOURS_MAX: Final = 512
_RENUMBERINGS_MAX: Final = 3


class Quotes:
    """Use cases of quotes."""

    def __init__(self, shards: Shards, classes: Classes, funding: Funding) -> None:
        self._shards = shards
        self._classes = classes
        self._funding = funding

    async def put(self, caller: Caller, class_id: str, body: http.QuotesRequest) -> http.QuotesAnswer:
        """Raises ApiError."""
        of_class = await self._classes.get(class_id)
        check_terms("", body.valid_for_ms, 1, 1)
        if not 1 <= len(body.quotes) <= HOURS_MAX:
            raise ApiError("wrong_hours")
        hours = tuple(_hour(quote, of_class["lot"]) for quote in body.quotes)
        command = PutQuotes(
            caller.account,
            of_class["class_no"],
            self._shards.now_ms() if body.number is None else body.number,
            hours,
            self._shards.valid_until(body.valid_for_ms),
        )
        # What only takes away is as welcome as a cancel.
        takes = not any(quote.bid_qty or quote.ask_qty for quote in hours)
        door = self._shards.door(of_class["shard"]) if takes else self._shards.open_door(of_class["shard"])
        put = await self._submit(door, command, numbered=body.number is not None)
        outcomes = {outcome.hour: outcome for outcome in put.outcomes}
        refusals = dict[Hour, http.RefusalAnswer]()
        short = [quote for quote in hours if outcomes[quote.hour].code == Code.INSUFFICIENT_FUNDS]
        if short:
            put = await self._again(caller, door, of_class, put, short, refusals)
            outcomes |= {outcome.hour: outcome for outcome in put.outcomes}
        with after_the_fact():
            return http.QuotesAnswer(
                class_id=class_id,
                number=put.number,
                outcomes=tuple(_told(class_id, outcome, refusals) for outcome in outcomes.values()),
            )

    async def _submit(self, door: Door, command: PutQuotes, *, numbered: bool) -> QuotesPut:
        """A number that nobody chose goes past the one in force."""
        for left in reversed(range(_RENUMBERINGS_MAX)):
            outcome = (await door.submit(command)).outcome
            if isinstance(outcome, QuotesPut):
                return outcome
            assert isinstance(outcome, Rejected), f"{outcome!r} answers something else"
            if numbered or not left or outcome.code != Code.STALE_NUMBER:
                raise refusal_of(outcome)
            command = msgspec.structs.replace(command, number=outcome.have + 1)
        raise AssertionError("the loop returns or raises")

    async def _again(
        self,
        caller: Caller,
        door: Door,
        of_class: Row,
        put: QuotesPut,
        short: list[QuoteHour],
        refusals: dict[Hour, http.RefusalAnswer],
    ) -> QuotesPut:
        """With money for the bids of the hours that lacked it; `put` as it was, with the reason, where there is none."""
        async with self._funding.purse(caller, door.shard):
            try:
                short = await self._fund(caller, door.shard, of_class, short, refusals)
            except ApiError as error:
                refusals |= {quote.hour: told(error) for quote in short}
                return put
            command = PutQuotes(
                caller.account, of_class["class_no"], put.number + 1, tuple(short), self._shards.valid_until()
            )
            try:
                again = await self._submit(door, command, numbered=True)
            except ApiError as error:
                # The hours that passed stand: what is told is the first command, and of these hours why they are not quoted.
                refusals |= {quote.hour: told(error) for quote in short}
                if error.outcome == "rejected":
                    await self._funding.give_back(caller, door.shard, _holds(of_class, short))
                return put
            failed = {outcome.hour for outcome in again.outcomes if outcome.code}
            if failed:
                back = _holds(of_class, (quote for quote in short if quote.hour in failed))
                await self._funding.give_back(caller, door.shard, back)
            return again

    async def _fund(
        self,
        caller: Caller,
        shard: int,
        of_class: Row,
        short: list[QuoteHour],
        refusals: dict[Hour, http.RefusalAnswer],
    ) -> list[QuoteHour]:
        """Those for whose bids money is there now: all, or as many as the wallet has money for. Raises ApiError."""
        try:
            await self._funding.fetch(caller, shard, _holds(of_class, short), 0)
        except ApiError as error:
            if error.code != "insufficient_funds":
                raise
            left, paid = error.have, list[QuoteHour]()
            for quote in short:
                hold = _holds(of_class, (quote,))
                if hold <= left:
                    left -= hold
                    paid.append(quote)
                else:
                    refusals[quote.hour] = told(ApiError("insufficient_funds", need=hold, have=left))
            if not paid:
                raise
            await self._funding.fetch(caller, shard, _holds(of_class, paid), 0)
            return paid
        return short


def _hour(quote: http.QuoteRequest, lot: int) -> QuoteHour:
    """Raises ApiError."""
    if not (0 <= quote.bid_qty < QTY_MAX and 0 <= quote.ask_qty < QTY_MAX):
        raise ApiError("wrong_qty", need=lot)
    return QuoteHour(
        parse_hour(quote.hour), decimal(quote.bid or "0"), quote.bid_qty, decimal(quote.ask or "0"), quote.ask_qty
    )


def _holds(of_class: Row, quotes: Iterable[QuoteHour]) -> Micros:
    rate = bid_rate(of_class)
    return sum(bid_hold(quote.bid, quote.bid_qty, of_class["lot"], rate) for quote in quotes)


def _told(class_id: str, outcome: QuoteOutcome, refusals: dict[Hour, http.RefusalAnswer]) -> http.QuoteOutcomeAnswer:
    refused = refusals.get(outcome.hour) or (told(refusal(outcome.code)) if outcome.code else None)
    return http.QuoteOutcomeAnswer(
        contract=format_symbol(class_id, outcome.hour),
        hour=iso_hour(outcome.hour),
        bid_order=format_order(outcome.bid_order) if outcome.bid_order else "",
        bid=format_usd(outcome.bid) if outcome.bid_qty else "",
        bid_qty=outcome.bid_qty,
        ask_order=format_order(outcome.ask_order) if outcome.ask_order else "",
        ask=format_usd(outcome.ask) if outcome.ask_qty else "",
        ask_qty=outcome.ask_qty,
        refusal=refused,
    )
