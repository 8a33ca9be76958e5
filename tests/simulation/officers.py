"""Operators beside the trade: corrections by two of them, references, a new engine version, machines procured, the last hours.

Nothing here is a member's: what an operator asks goes through the gateways' use cases, or is written by his tool into the log.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from schemas import http
from schemas.codec import WRITER_OPERATOR, encode_frame
from schemas.commands import ALL_HOURS, SetEngineVersion
from schemas.delivery import Delivered
from schemas.market import Reference, reference_key
from schemas.units import MS_PER_HOUR, format_usd
from services.gateway.auth import Caller
from services.gateway.errors import ApiError
from services.runtime.log import LogError, Outgoing
from tests.simulation.members import ACCOUNTS, OPERATOR, OWNERS, Member, is_open
from tests.simulation.world import Wait

if TYPE_CHECKING:
    from tests.simulation.exchange import Exchange

OFFICERS: Final = [
    Caller(f"operator-{account}", account, OWNERS[account], ("read", "operator")) for account in (5, 7, 8)
]


async def switch_version(exchange: Exchange) -> None:
    """On a day that began with the first engine version: both shards go on with the second, each at its own moment."""
    await Wait(exchange.world.now_ms + 120_000, exchange.opened)
    chance = exchange.world.chance("version")
    for shard in range(exchange.shards):
        await Wait(exchange.world.now_ms + chance.randint(500, 8_000))
        frame = encode_frame(WRITER_OPERATOR, 2, [SetEngineVersion(OPERATOR.owner, 2)])
        while True:
            try:
                await exchange.cluster.log("commands", shard).append([Outgoing(frame)])
            except LogError:
                # It may be there: the same version once more changes nothing.
                await Wait(exchange.world.now_ms + chance.randint(100, 2_000))
            else:
                break


async def deliver_the_rest(exchange: Exchange) -> None:
    """At the end of a day: a record for every hour that has ended and is not paid out."""
    for row in [row for row in exchange.database.rows("contracts") if row["phase"] == "ended"]:
        if row["paid_out"]:
            continue
        record = Delivered(row["contract"], 0, 0, "simulated", f"op{OPERATOR.owner}:the-rest-{row['contract']}")
        while True:
            try:
                await exchange.cluster.log("delivery").append([Outgoing(msgspec.msgpack.encode(record))])
            except LogError:
                await Wait(exchange.world.now_ms + 500)
            else:
                exchange.delivered_last.append(row["contract"])
                break


class Reporter(Member):
    """Writes references for collars, as market data does; some of them are wild."""

    async def run(self) -> None:
        """Until the market closes."""
        await Wait(self._world.now_ms + 120_000, self._exchange.opened)
        log = self._exchange.cluster.log("references")
        while self._exchange.open:
            await Wait(self._world.now_ms + self._chance.randint(500, 3_000))
            chance, exchange = self._chance, self._exchange
            class_no = chance.choice(list(exchange.classes))
            _, tick, list_price = exchange.classes[class_no]
            hour = chance.choice([ALL_HOURS, exchange.market_ms() // MS_PER_HOUR + chance.choice([1, 1, 2, 3, 90])])
            factor = chance.choice([*[97, 98, 100, 102, 103] * 6, 60, 110, 150, 190, 5])
            price = max(tick, list_price * factor // 100)
            wish = Reference(f"SIM.{class_no}", class_no, hour, price, "simulated index", exchange.market_ms())
            await log.append([Outgoing(msgspec.msgpack.encode(wish), key=reference_key(wish))])
            self._told("reference wished")


class Officer(Member):
    """One operator approves, another sends: a trade was a clear error. What ends in doubt is sent again."""

    async def run(self) -> None:
        """Until the market closes."""
        await Wait(self._world.now_ms + 120_000, self._exchange.opened)
        while self._exchange.open:
            await self._rest(2_500, 200)
            await self._correct()

    async def _correct(self) -> None:
        chance, exchange = self._chance, self._exchange
        self._drawn += 1
        first, second = chance.choice(OFFICERS), chance.choice(OFFICERS)
        payer, payee = chance.sample(list(ACCOUNTS), 2)
        trade = chance.choice([*exchange.trades[-30:], "0-999999"])
        body = http.CorrectionRequest(
            trade=trade,
            payer=payer,
            payee=payee,
            amount=format_usd(chance.randint(1, 10 ** chance.randint(2, 8))),
            reason=f"simulated error {self._name}-{self._drawn}",
        )

        async def approve(gateway: object) -> http.ApprovalAnswer:
            return gateway.corrections.approve(first, body)  # type: ignore[attr-defined]  # a Gateway

        approval = await self._line.ask(approve)
        if not isinstance(approval, http.ApprovalAnswer):
            return
        fields = {name: getattr(body, name) for name in body.__struct_fields__}
        approved = http.ApprovedCorrectionRequest(**fields, approval=approval.approval)
        done = await self._line.ask(lambda gateway: gateway.corrections.submit(second, approved))
        for _ in range(3):
            if not is_open(done):
                break
            self._told("correction sent again")
            await self._rest(500, 200)
            done = await self._line.ask(lambda gateway: gateway.corrections.submit(second, approved))
        if is_open(done):
            self._told("correction in doubt")
            return
        if isinstance(done, ApiError):
            self._told(f"correction {done.code}")
            return
        self._told("corrected")
        exchange.receipts.corrections.append(done)
