"""Money for bids: who lacks trading balance has exactly what is missing moved from the wallet, and back when it was in vain.

A command that the engine refuses as a whole for want of money is tried first (docs/decisions/004-try-first.md): the engine alone
judges; when it says what is missing and the wallet has it, the money is moved and the command sent again. A refusal does not
use up a client order id. A range is judged hour by hour and has no second try: what it needs is moved before it is sent.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Final
from weakref import WeakValueDictionary

from schemas.commands import Command
from schemas.events import Code, Rejected
from schemas.requests import FromTrading, ToTrading
from schemas.units import Micros, format_usd
from services.gateway.auth import Caller
from services.gateway.door import Answer, Door, Outcome
from services.gateway.errors import ApiError
from services.gateway.requests import WAIT_S, Requests, refuse

FUNDINGS_MAX: Final = 4
"""Transfers for one bid: more than one is needed only when another gateway's bids take the money on its way."""


class Funding:
    """Transfers between wallet and trading balance that the door makes for members."""

    def __init__(self, requests: Requests) -> None:
        self._requests = requests
        self._purses: WeakValueDictionary[tuple[int, int], asyncio.Lock] = WeakValueDictionary()
        """(account, shard) → whoever moves money there for a bid; gone with the last who waits."""

    async def submit(self, caller: Caller, door: Door, command: Callable[[], Command]) -> Answer:
        """Submit; while money is missing, and the wallet has it, move it and submit again."""
        answer = await door.submit(command())
        if not _is_short(answer):
            return answer
        async with self.purse(caller, door.shard) as others:
            return await self._fund_and_submit(
                caller, door, command, await door.submit(command()) if others else answer
            )

    async def submit_many(self, caller: Caller, door: Door, commands: Sequence[Callable[[], Command]]) -> list[Outcome]:
        """Submit all; what their bids lack together is moved at once, or all that the wallet has, and these are sent again."""
        outcomes = await door.submit_many([command() for command in commands])
        short = {place: _rejected(outcome) for place, outcome in enumerate(outcomes) if _is_short(outcome)}
        if not short:
            return outcomes
        need, have = sum(refusal.need for refusal in short.values()), list(short.values())[-1].have
        try:
            async with self.purse(caller, door.shard):
                moved = await self._fetch_what_there_is(caller, door.shard, need, have)
                if not moved:
                    return outcomes
                outcomes_again = await door.submit_many([commands[place]() for place in short])
                again = dict(zip(short, outcomes_again, strict=True))
                used = sum(refusal.need for place, refusal in short.items() if not _is_rejected(again[place]))
                if used < have + moved:
                    await self.give_back(caller, door.shard, min(moved, have + moved - used))
        except ApiError as error:
            again = dict.fromkeys(short, error)
        return [again.get(place, outcome) for place, outcome in enumerate(outcomes)]

    async def _fetch_what_there_is(self, caller: Caller, shard: int, need: Micros, have: Micros) -> Micros:
        """How much of what is missing was moved. Raises ApiError not_ready."""
        try:
            return await self.fetch(caller, shard, need, have)
        except ApiError as error:
            if error.code != "insufficient_funds":
                raise
            # Of the sentence's two numbers the second is what balance and wallet have together.
            return await self.fetch(caller, shard, error.have, have) if error.have > have else 0

    @contextlib.asynccontextmanager
    async def purse(self, caller: Caller, shard: int) -> AsyncIterator[bool]:
        """One bid of an account at a time: two would both count on the same free balance, and one would find it gone.

        True: others went before. Raises ApiError not_ready.
        """
        purse = self._purses.setdefault((caller.account, shard), asyncio.Lock())
        others = purse.locked()
        try:
            async with asyncio.timeout(WAIT_S):
                await purse.acquire()
        except TimeoutError:
            raise ApiError("not_ready", "other bids of yours wait for their money: send it again in a moment") from None
        try:
            yield others
        finally:
            purse.release()

    async def _fund_and_submit(
        self, caller: Caller, door: Door, command: Callable[[], Command], answer: Answer
    ) -> Answer:
        moved, refused = 0, False
        try:
            for _ in range(FUNDINGS_MAX):
                if not _is_short(answer):
                    break
                refusal = _rejected(answer)
                moved += await self.fetch(caller, door.shard, refusal.need, refusal.have)
                answer = await door.submit(command())
            refused = isinstance(answer.outcome, Rejected)
        except ApiError as error:
            refused = error.outcome == "rejected"
            raise
        finally:
            if moved and refused:
                await self.give_back(caller, door.shard, moved)
        return answer

    async def fetch(self, caller: Caller, shard: int, need: Micros, have: Micros) -> Micros:
        """Move what `have` lacks of `need` from the wallet; how much. Raises ApiError insufficient_funds: with all there is."""
        missing = need - have
        outcome = await self._requests.ask(ToTrading(_own_request(caller), caller.account, shard, missing))
        if outcome.state == "pending":
            raise ApiError(
                "not_ready", "the transfer from your wallet is still under way: send the order again in a moment"
            )
        if outcome.code == "insufficient_funds":
            raise ApiError(
                "insufficient_funds",
                f"needs {format_usd(need)} USD; {format_usd(have)} is free for trading and "
                f"{format_usd(outcome.have)} in the wallet: deposit, or ask for less",
                need=need,
                have=have + outcome.have,
            )
        refuse(outcome)
        return missing

    async def give_back(self, caller: Caller, shard: int, amount: Micros) -> None:
        """What it was moved for is refused, and a refusal leaves everything as it was."""
        # What does not get through now is swept back when it has been idle for a while.
        with contextlib.suppress(ApiError):
            await self._requests.ask(FromTrading(_own_request(caller), caller.account, shard, amount))


def _is_short(outcome: Outcome) -> bool:
    """Whether it was refused for want of money."""
    return (
        not isinstance(outcome, ApiError)
        and isinstance(outcome.outcome, Rejected)
        and outcome.outcome.code == Code.INSUFFICIENT_FUNDS
    )


def _is_rejected(outcome: Outcome) -> bool:
    """Whether it certainly had no effect."""
    if isinstance(outcome, ApiError):
        return outcome.outcome == "rejected"
    return isinstance(outcome.outcome, Rejected)


def _rejected(outcome: Outcome) -> Rejected:
    assert not isinstance(outcome, ApiError), "only a refusal of the engine is short"
    assert isinstance(outcome.outcome, Rejected), "only a refusal of the engine is short"
    return outcome.outcome


def _own_request(caller: Caller) -> str:
    """Id of a request that the door makes for a caller: it has none of his keys' form."""
    return f"{caller.account}:auto-{secrets.token_hex(12)}"
