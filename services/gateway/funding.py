"""Money for bids: who lacks trading balance has exactly what is missing moved from the wallet, and back when it was in vain.

A command that the engine refuses as a whole for want of money is tried first (docs/decisions/004-try-first.md): the engine alone
judges; when it says what is missing and the wallet has it, the money is moved and the command sent again. A refusal does not
use up a client order id. A range is judged hour by hour and has no second try: what it needs is moved before it is sent.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from collections.abc import AsyncIterator, Callable
from typing import Final
from weakref import WeakValueDictionary

from schemas.commands import Command
from schemas.events import Code, Rejected
from schemas.requests import FromTrading, ToTrading
from schemas.units import Micros, format_usd
from services.gateway.auth import Caller
from services.gateway.door import Answer, Door
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
                assert isinstance(answer.outcome, Rejected), "only a refusal is short"
                moved += await self.fetch(caller, door.shard, answer.outcome.need, answer.outcome.have)
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


def _is_short(answer: Answer) -> bool:
    """Whether it was refused for want of money."""
    return isinstance(answer.outcome, Rejected) and answer.outcome.code == Code.INSUFFICIENT_FUNDS


def _own_request(caller: Caller) -> str:
    """Id of a request that the door makes for a caller: it has none of his keys' form."""
    return f"{caller.account}:auto-{secrets.token_hex(12)}"
