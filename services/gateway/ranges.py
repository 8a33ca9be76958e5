"""Ranges: the same order in many hours, one outcome for each.

The engine judges hour by hour, so a range that lacks money is not refused as a whole: what its bids need is moved before it is
sent, reckoned from the settled balance. What was moved for hours that are refused goes back.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Iterable, Sequence

from schemas import http
from schemas.commands import PlaceRange, Side
from schemas.events import OrderAccepted, OrderRepeated, RangeAccepted, Rejected
from schemas.ids import LEGS_MAX, class_no_of, contract_of, format_symbol, hour_of
from schemas.units import Hour, Micros, bid_hold
from services.gateway.auth import Caller
from services.gateway.classes import bid_rate
from services.gateway.database import Row
from services.gateway.door import Answer
from services.gateway.errors import ApiError
from services.gateway.placing import Placing
from services.gateway.reads import Known
from services.gateway.telling import NOTHING, after_the_fact, duplicate, fates, refusal, refusal_of, told
from services.gateway.times import parse_hour
from services.gateway.values import check_launch, check_terms, decimal, flags_of, hours_from, side_of, tif_of


def hours_of(body: http.RangeRequest) -> tuple[Hour, ...]:
    """As a list, or so many from the first on. Raises ApiError."""
    if bool(body.hours) == bool(body.from_hour):
        raise ApiError("malformed", "name the hours, or the first of them in `from` and how many in `count`")
    if body.hours:
        return tuple(parse_hour(hour) for hour in body.hours)
    return hours_from(body.from_hour, body.count)


class Ranges(Placing):
    """Use cases of ranges."""

    async def place(self, caller: Caller, body: http.RangeRequest) -> http.RangeAnswer:
        """Raises ApiError."""
        of_class, command = await self.read(caller, body)
        known = await self._reads.known(caller.account, body.client_order_id)
        if known is not None:
            return await self._again(caller, known, command)
        await self._delivery.name_launch(caller.account, body.client_order_id, body.launch, max(command.hours))
        door = self._shards.open_door(of_class["shard"])
        async with self._funded(caller, of_class, command) as moved:
            answer = await door.submit(command)
            if isinstance(answer.outcome, RangeAccepted):
                refused = sum(leg.code != 0 for leg in answer.outcome.legs)
                back = min(moved, _holds(of_class, command)["forward"] * refused)
                if back:
                    await self._funding.give_back(caller, door.shard, back)
        return await self._placed(caller, command, answer)

    async def read(self, caller: Caller, body: http.RangeRequest) -> tuple[Row, PlaceRange]:
        """The class and the command. Raises ApiError."""
        of_class = await self._classes.get(body.class_id)
        hours = hours_of(body)
        tif, expires_ms = tif_of(body.tif, body.expires)
        check_terms(body.client_order_id, body.valid_for_ms, body.qty, of_class["lot"])
        check_launch(body.launch, body.client_order_id, body.side)
        command = PlaceRange(
            caller.account,
            of_class["class_no"],
            hours,
            side_of(body.side),
            body.qty,
            decimal(body.price),
            tif,
            flags_of(post_only=body.post_only, running=body.running, self_trade=body.self_trade),
            body.client_order_id,
            self._shards.valid_until(body.valid_for_ms),
            expires_ms,
        )
        return of_class, command

    @contextlib.asynccontextmanager
    async def _funded(self, caller: Caller, of_class: Row, command: PlaceRange) -> AsyncIterator[Micros]:
        """What was moved for the range's bids; back when it is refused. Raises ApiError."""
        if command.side != Side.BUY:
            yield 0
            return
        async with self._funding.purse(caller, of_class["shard"]):
            await self._progress.wait_for(caller.account)
            hours = await self._reads.hours(of_class["class_no"], command.hours)
            holds = _holds(of_class, command)
            need = sum(holds.get(row["phase"], 0) for row in hours.values())
            have = (await self._reads.trading(caller.account, of_class["shard"])).available
            moved = await self._funding.fetch(caller, of_class["shard"], need, have) if need > have else 0
            try:
                yield moved
            except ApiError as error:
                if moved and error.outcome == "rejected":
                    await self._funding.give_back(caller, of_class["shard"], moved)
                raise

    async def _again(self, caller: Caller, known: Known, command: PlaceRange) -> http.RangeAnswer:
        """As it is settled so far. Only accepted hours were kept: a repeat that differs in others is not told from the first."""
        with contextlib.suppress(ApiError):
            await self._progress.wait_for(caller.account)
        legs = [] if known.is_block else await self._reads.legs(caller.account, known.row["client_id"])
        if not legs or not all(_is_leg(row, command) for row in legs):
            raise duplicate(known.row["order_id"])
        return await self._told(legs, command.class_no, command.hours, repeated=True)

    async def get(self, account: int, client_id: str) -> http.RangeAnswer:
        """Its accepted hours. Raises ApiError unknown_order."""
        legs = await self._reads.legs(account, client_id)
        if not legs:
            raise ApiError("unknown_order", "no order of this account has this client order id")
        return await self._told(legs, class_no_of(legs[0]["contract"]), [hour_of(row["contract"]) for row in legs])

    async def _placed(self, caller: Caller, command: PlaceRange, answer: Answer) -> http.RangeAnswer:
        outcome = answer.outcome
        if isinstance(outcome, Rejected):
            raise refusal_of(outcome)
        with after_the_fact():
            if isinstance(outcome, RangeAccepted):
                return await self._accepted(outcome, answer)
            assert isinstance(outcome, OrderRepeated), f"{outcome!r} answers something else"
            await self._progress.wait_for(caller.account)
            legs = await self._reads.legs(caller.account, outcome.client_id)
            return await self._told(legs, command.class_no, command.hours, repeated=True)

    async def _accepted(self, accepted: RangeAccepted, answer: Answer) -> http.RangeAnswer:
        done = fates(answer.effects)
        class_id = (await self._classes.number(accepted.class_no))["class_id"]
        legs = list[http.LegAnswer]()
        for leg in accepted.legs:
            hour = accepted.hours[leg.leg]
            symbol = format_symbol(class_id, hour)
            if leg.code:
                legs.append(http.LegAnswer(contract=symbol, refusal=told(refusal(leg.code, leg.need, leg.have))))
                continue
            order = _as_order(accepted, leg.order, contract_of(accepted.class_no, hour))
            shown = await self._telling.order(order, done.get(leg.order, NOTHING), answer.time_ms)
            legs.append(http.LegAnswer(contract=symbol, order=shown))
        return http.RangeAnswer(client_order_id=accepted.client_id, class_id=class_id, legs=tuple(legs))

    async def _told(
        self, legs: Sequence[Row], class_no: int, hours: Iterable[Hour], *, repeated: bool = False
    ) -> http.RangeAnswer:
        """As settled. An hour without a leg was refused at first; why is not kept."""
        class_id = (await self._classes.number(class_no))["class_id"]
        orders = {hour_of(row["contract"]): await self._reads.order_answer(row, repeated=repeated) for row in legs}
        return http.RangeAnswer(
            client_order_id=legs[0]["client_id"] if legs else "",
            class_id=class_id,
            repeated=repeated,
            legs=tuple(
                http.LegAnswer(contract=format_symbol(class_id, hour), order=orders.get(hour)) for hour in hours
            ),
        )


def _holds(of_class: Row, command: PlaceRange) -> dict[str, Micros]:
    """What the bid of one hour must find, by the hour's phase."""
    forward = bid_hold(command.price, command.qty, of_class["lot"], bid_rate(of_class))
    # At most: each lot is rounded up once more there, and its fee with it.
    return {"forward": forward, "running": forward + 2 * (command.qty // of_class["lot"]) + 1}


def _is_leg(row: Row, command: PlaceRange) -> bool:
    leg = row["order_id"] & (LEGS_MAX - 1)
    if leg >= len(command.hours) or row["contract"] != contract_of(command.class_no, command.hours[leg]):
        return False
    names = ("side", "qty", "price", "tif", "flags", "expires_ms")
    return all(row[name] == getattr(command, name) for name in names)


def _as_order(accepted: RangeAccepted, order: int, contract: int) -> OrderAccepted:
    """One leg, as if it had been placed by itself."""
    return OrderAccepted(
        accepted.index,
        order,
        accepted.account,
        contract,
        accepted.side,
        accepted.qty,
        accepted.price,
        accepted.tif,
        accepted.flags,
        accepted.client_id,
        accepted.maker_bp,
        accepted.taker_bp,
        accepted.expires_ms,
    )
