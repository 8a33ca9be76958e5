"""Orders of one hour: place, amend, cancel; and what is about all that an account has in the books.

A client order id that settlement knows is answered from its projection: the same body with the order as it stands, another body
with a refusal, however long ago it was (the engine itself remembers for 15 minutes). Only an id that is not known goes on.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from collections.abc import Callable, Sequence
from typing import Final

import msgspec

from schemas import http
from schemas.commands import (
    AmendOrder,
    CancelAllAfter,
    CancelOrder,
    Command,
    MassCancel,
    PlaceOrder,
    SetEngineVersion,
    SetState,
)
from schemas.edge import iso_or_none
from schemas.events import (
    CancelAccepted,
    CancelAllAfterSet,
    EngineVersionSet,
    Event,
    MassCancelAccepted,
    OrderAccepted,
    OrderAmended,
    OrderCancelled,
    Rejected,
    StateSet,
)
from schemas.ids import format_order, hour_of, is_client_id, shard_of_order
from schemas.units import Hour, format_usd
from services.gateway.auth import Caller
from services.gateway.database import Row
from services.gateway.door import Answer
from services.gateway.errors import ApiError
from services.gateway.placing import Placing
from services.gateway.reads import Known
from services.gateway.telling import NOTHING, after_the_fact, fates, refusal_of
from services.gateway.values import QTY_MAX, check_launch, check_terms, decimal, flags_of, side_of, tif_of

SWITCH_S_MAX: Final = 86_400
SWITCH_MS_MAX: Final = SWITCH_S_MAX * 1000
_TERMS: Final = ("contract", "side", "qty", "price", "tif", "flags", "expires_ms")
"""In which a repeat is like the first."""
_LOOK: Final = (
    "no answer in time: look at GET /v1/orders/{id} before you amend again, it may have been filled meanwhile"
)


class Orders(Placing):
    """Use cases of members' orders and operators' halts."""

    # --- Place -----------------------------------------------------------------------------------------

    async def place(self, caller: Caller, body: http.OrderRequest) -> http.OrderAnswer:
        """Raises ApiError."""
        of_class, command = await self.read(caller, body)
        known = await self._reads.known(caller.account, body.client_order_id)
        if known is not None:
            return await self._repeat(caller, known, command)
        await self._name_launch(caller, body, command)
        stamped = self._stamped(command, body.valid_for_ms)
        answer = await self._funding.submit(caller, self._shards.open_door(of_class["shard"]), stamped)
        return await self._placed(caller, answer)

    async def place_many(self, caller: Caller, bodies: Sequence[http.OrderRequest]) -> http.BatchAnswer:
        """Each as if it came alone; of one shard in their order, bids for which money is moved last. Raises ApiError: none is."""
        ids = {body.client_order_id for body in bodies} - {""}
        known = await self._reads.known_of(caller.account, ids)
        told: list[http.OrderAnswer | ApiError | None] = [None] * len(bodies)
        new: dict[int, list[tuple[int, Callable[[], PlaceOrder]]]] = {}
        for place, body in enumerate(bodies):
            try:
                of_class, command = await self.read(caller, body)
                if body.client_order_id in known:
                    told[place] = await self._repeat(caller, known[body.client_order_id], command)
                else:
                    await self._name_launch(caller, body, command)
                    door = self._shards.open_door(of_class["shard"])
                    new.setdefault(door.shard, []).append((place, self._stamped(command, body.valid_for_ms)))
            except ApiError as error:
                told[place] = error
        for places in await asyncio.gather(*(self._submit_many(caller, shard, each) for shard, each in new.items())):
            for place, outcome in places:
                told[place] = outcome
        return http.BatchAnswer(tuple(map(_outcome, told)))

    async def _submit_many(
        self, caller: Caller, shard: int, commands: Sequence[tuple[int, Callable[[], PlaceOrder]]]
    ) -> list[tuple[int, http.OrderAnswer | ApiError]]:
        door = self._shards.door(shard)
        outcomes = await self._funding.submit_many(caller, door, [stamped for _, stamped in commands])
        told: list[tuple[int, http.OrderAnswer | ApiError]] = []
        for (place, _), outcome in zip(commands, outcomes, strict=True):
            try:
                told.append((place, outcome if isinstance(outcome, ApiError) else await self._placed(caller, outcome)))
            except ApiError as error:
                told.append((place, error))
        return told

    def _stamped(self, command: PlaceOrder, valid_for_ms: int) -> Callable[[], PlaceOrder]:
        """The command, valid from the moment when it is sent."""
        return lambda: msgspec.structs.replace(command, valid_until_ms=self._shards.valid_until(valid_for_ms))

    async def _name_launch(self, caller: Caller, body: http.OrderRequest, command: PlaceOrder) -> None:
        hour = hour_of(command.contract)
        await self._delivery.name_launch(caller.account, body.client_order_id, body.launch, hour)

    async def _repeat(self, caller: Caller, known: Known, command: PlaceOrder) -> http.OrderAnswer:
        same = await self._repeat_settled(caller, known, command, _TERMS)
        return await self._reads.order_answer(same, repeated=True)

    async def read(self, caller: Caller, body: http.OrderRequest) -> tuple[Row, PlaceOrder]:
        """The class, and the command but for how long it is valid. Raises ApiError."""
        of_class, contract = await self._classes.contract(body.contract)
        price = decimal(body.price)
        tif, expires_ms = tif_of(body.tif, body.expires)
        check_terms(body.client_order_id, body.valid_for_ms, body.qty, of_class["lot"])
        check_launch(body.launch, body.client_order_id, body.side)
        flags = flags_of(post_only=body.post_only, running=body.running, self_trade=body.self_trade)
        command = PlaceOrder(
            caller.account,
            contract,
            side_of(body.side),
            body.qty,
            price,
            tif,
            flags,
            body.client_order_id,
            0,
            expires_ms,
        )
        return of_class, command

    async def _placed(self, caller: Caller, answer: Answer) -> http.OrderAnswer:
        outcome = answer.outcome
        if isinstance(outcome, Rejected):
            raise refusal_of(outcome)
        with after_the_fact():
            if isinstance(outcome, OrderAccepted):
                done = fates(answer.effects).get(outcome.order, NOTHING)
                return await self._telling.order(outcome, done, answer.time_ms)
            return await self._reads.order_answer(
                await self._repeat_accepted(caller, outcome, is_block=False), repeated=True
            )

    # --- Amend -----------------------------------------------------------------------------------------

    async def amend(self, caller: Caller, order: int, body: http.AmendRequest) -> http.AmendAnswer:
        """By order id. Raises ApiError."""
        return await self._amended(caller, shard_of_order(order), order, "", body)

    async def amend_client_id(self, caller: Caller, client_id: str, body: http.AmendRequest) -> http.AmendAnswer:
        """By the account's own id, of an order that is settled or in the shard of one. Raises ApiError."""
        if not is_client_id(client_id):
            raise ApiError("wrong_client_id")
        await self._progress.wait_for(caller.account)
        known = await self._reads.known(caller.account, client_id)
        if known is None:
            raise ApiError("unknown_order", "no order of this account has this client order id")
        return await self._amended(caller, known.row["shard"], 0, client_id, body)

    async def _amended(
        self, caller: Caller, shard: int, order: int, client_id: str, body: http.AmendRequest
    ) -> http.AmendAnswer:
        price = decimal(body.price)
        door = self._shards.door(shard)
        check_terms("", body.valid_for_ms, 1, 1)
        if not 0 < body.qty < QTY_MAX:
            raise ApiError("wrong_qty", "use a positive multiple of the lot, at most 1000000; to end it, cancel")

        def command() -> AmendOrder:
            return AmendOrder(
                caller.account, order, client_id, body.qty, price, self._shards.valid_until(body.valid_for_ms)
            )

        try:
            answer = await self._funding.submit(caller, door, command)
        except ApiError as error:
            if error.code == "outcome_unknown":
                raise ApiError("outcome_unknown", _LOOK) from error
            raise
        if not isinstance(answer.outcome, OrderAmended):
            raise refusal_of(answer.outcome)
        with after_the_fact():
            return await self._amend_answer(answer.outcome, answer)

    async def _amend_answer(self, amended: OrderAmended, answer: Answer) -> http.AmendAnswer:
        done = fates(answer.effects).get(amended.order, NOTHING)
        leaves = amended.qty - done.filled - done.cancelled
        return http.AmendAnswer(
            order_id=format_order(amended.order),
            qty=amended.qty,
            price=format_usd(amended.price),
            kept_place=amended.kept_place,
            state="open" if leaves else "cancelled" if done.reason else "filled",
            leaves=leaves,
            fills=await self._telling.fills(amended.account, amended.order, done.fills, answer.time_ms),
        )

    # --- Cancel ----------------------------------------------------------------------------------------

    async def cancel(self, caller: Caller, order: int) -> http.CancelAnswer:
        """An order or a block, by its id. Raises ApiError."""
        command = CancelOrder(caller.account, order, "", self._shards.valid_until())
        return await self._cancelled(shard_of_order(order), command)

    async def cancel_client_id(self, caller: Caller, client_id: str) -> http.CancelAnswer:
        """By the account's own id: in the order's shard, or where that is not known yet in every one."""
        if not is_client_id(client_id):
            raise ApiError("wrong_client_id")
        known = None
        with contextlib.suppress(ApiError):  # a cancel passes without the database, too
            known = await self._reads.known(caller.account, client_id)
        shards = range(len(self._shards.doors)) if known is None else [known.row["shard"]]
        refusal = ApiError("unknown_order")
        for shard in shards:
            command = CancelOrder(caller.account, 0, client_id, self._shards.valid_until())
            try:
                return await self._cancelled(shard, command)
            except ApiError as error:
                if error.code not in ("unknown_order", "unknown_account"):
                    refusal = error
        if known is not None and refusal.code == "unknown_order":
            return await self._cancel_legs(caller, client_id)
        raise refusal

    async def _cancel_legs(self, caller: Caller, client_id: str) -> http.CancelAnswer:
        """Of a range that the engine knows by its legs only: its id is older than a quarter of an hour."""
        gone = list[http.CancelAnswer]()
        for row in await self._reads.legs(caller.account, client_id):
            if row["state"] == "open":
                # One that is refused has ended by itself meanwhile, or is cancelled when this is sent again.
                with contextlib.suppress(ApiError):
                    gone.append(await self.cancel(caller, row["order_id"]))
        if not gone:
            raise ApiError("unknown_order")
        return msgspec.structs.replace(
            gone[0], cancelled=sum(each.cancelled for each in gone), orders=sum(each.orders for each in gone)
        )

    async def _cancelled(self, shard: int, command: CancelOrder) -> http.CancelAnswer:
        answer = await self._shards.door(shard).submit(command)
        if not isinstance(answer.outcome, CancelAccepted):
            raise refusal_of(answer.outcome)
        ends = [event for event in answer.effects if isinstance(event, OrderCancelled)]
        with after_the_fact():
            return http.CancelAnswer(
                order_id=format_order(answer.outcome.order),
                contract=await self._classes.symbol(ends[0].contract),
                cancelled=sum(end.qty for end in ends),
                orders=len(ends),
            )

    async def cancel_all(self, shards: list[int], command: MassCancel) -> http.MassCancelAnswer:
        """Everything that matches, in each of the shards. Raises ApiError when one of them does not answer."""
        count = 0
        for outcome in await self._in_each(shards, command):
            assert isinstance(outcome, MassCancelAccepted), f"{outcome!r} answers something else"
            count += outcome.count
        return http.MassCancelAnswer(cancelled=count)

    def mass_cancel(self, caller: Caller, class_no: int, hour: Hour, side: int) -> MassCancel:
        """0 matches everything."""
        return MassCancel(caller.account, class_no, hour, side, self._shards.valid_until())

    async def cancel_all_after(self, caller: Caller, shards: list[int], seconds: int) -> http.CancelAllAfterAnswer:
        """Set, renew or (0) turn off the account's dead man's switch in these shards. Raises ApiError."""
        if seconds and not 1 <= seconds <= SWITCH_S_MAX:
            raise ApiError("wrong_expiry", f"after_seconds is 1 to {SWITCH_S_MAX}, or 0 to turn it off")
        after_ms = min(self._shards.market_span_ms(seconds * 1000), SWITCH_MS_MAX)
        command = CancelAllAfter(caller.account, after_ms, self._shards.valid_until())
        set_at = []
        for outcome in await self._in_each(shards, command):
            assert isinstance(outcome, CancelAllAfterSet), f"{outcome!r} answers something else"
            set_at.append(outcome.at_ms)
        return http.CancelAllAfterAnswer(at=iso_or_none(min(set_at)))

    async def _in_each(self, shards: list[int], command: Command) -> list[Event]:
        """The same in several shards; each is asked, whatever the others say. Raises ApiError of the first that did not do it."""

        async def one(shard: int) -> Event | ApiError:
            try:
                outcome = (await self._shards.door(shard).submit(command)).outcome
            except ApiError as error:
                return error
            return refusal_of(outcome) if isinstance(outcome, Rejected) else outcome

        answers = await asyncio.gather(*(one(shard) for shard in shards))
        outcomes = [answer for answer in answers if not isinstance(answer, ApiError)]
        refused = [answer for answer in answers if isinstance(answer, ApiError)]
        if refused and outcomes:
            raise ApiError(
                "outcome_unknown", "it is done in some shards and not in all: send the same again"
            ) from refused[0]
        if refused:
            raise refused[0]
        return outcomes

    # --- Operators -------------------------------------------------------------------------------------

    async def set_state(self, caller: Caller, class_no: int, hour: int, state: int, reason: str) -> StateSet:
        """Halt, restrict or open. Raises ApiError."""
        row = await self._classes.number(class_no)
        answer = await self._shards.door(row["shard"]).submit(SetState(caller.owner, class_no, hour, state, reason))
        if not isinstance(answer.outcome, StateSet):
            raise refusal_of(answer.outcome)
        return answer.outcome

    async def set_engine_version(self, caller: Caller, shard: int, version: int) -> EngineVersionSet:
        """Raises ApiError."""
        answer = await self._shards.door(shard).submit(SetEngineVersion(caller.owner, version))
        if not isinstance(answer.outcome, EngineVersionSet):
            raise refusal_of(answer.outcome)
        return answer.outcome


def _outcome(told: http.OrderAnswer | ApiError | None) -> http.BatchOutcome:
    assert told is not None, "an order of a batch without an outcome"
    if isinstance(told, ApiError):
        return http.BatchOutcome(problem=told.problem(secrets.token_hex(8)))
    return http.BatchOutcome(order=told)
