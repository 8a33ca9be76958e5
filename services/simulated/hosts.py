"""Providers of a sandbox: they sell what the agents on this machine let. The machines are real; that somebody sells is made up.

Each declares all of his seats in every hour to come, asks for what of it is not sold, and offers in the running hour what
nobody has bought before.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Final, Literal

from schemas import feeds, http
from schemas.edge import iso_hour
from schemas.ids import parse_symbol
from schemas.units import Gpus, Price, format_usd, parse_usd
from services.runtime import backoff
from services.runtime.log import Clock
from services.runtime.status import Status
from services.simulated.client import Away, Client, Refused
from services.simulated.requests import Request

LOOK_MS: Final = 1_000
ASK_HOURS: Final = 48
"""So far ahead they ask."""
AT_ONCE: Final = 20
"""Requests after one look."""
ORDERS_MAX: Final = 500


class Host:
    """One provider, in one class."""

    def __init__(self, name: str, class_id: str, seats: Gpus, number: int, client: Client) -> None:
        """`number`: the second asks a little more than the first."""
        self.name = name
        self.class_id = class_id
        self.seats = seats
        self.client = client
        self._number = number

    async def wishes(self) -> list[Request]:
        """What he wants done now. Raises Away."""
        client = self.client
        terms = await client.read(f"/v1/classes/{self.class_id}", http.ClassAnswer)
        grid = await client.read(f"/v1/classes/{self.class_id}/grid", feeds.Grid)
        backing: dict[tuple[str, str], http.CapacityAnswer] = {
            (each.contract, each.ground): each
            for each in await client.read("/v1/capacity", list[http.CapacityAnswer])
            if parse_symbol(each.contract)[0] == self.class_id
        }
        orders = await client.read(f"/v1/orders?state=open&limit={ORDERS_MAX}", list[http.OrderAnswer])
        asked = Counter[str]()
        for order in orders:
            asked[order.contract] += order.leaves
        price = parse_usd(terms.list_price) + 20 * self._number * parse_usd(terms.tick)
        return [
            *self._declarations(grid.rows, backing),
            *self._asks(grid.rows, backing, asked, price, terms.lot),
        ]

    def _declarations(
        self, rows: Sequence[feeds.GridRow], backing: Mapping[tuple[str, str], http.CapacityAnswer]
    ) -> Iterator[Request]:
        """All seats in hours to come; in the one that runs, those that are not owed already."""
        unknown = [row for row in rows if row.phase == "forward" and (row.contract, "declared") not in backing]
        if unknown:
            first = parse_symbol(unknown[0].contract)[1]
            last = parse_symbol(unknown[-1].contract)[1]
            yield self._declare("declared", first, last - first + 1, self.seats)
        for row in rows:
            if row.phase == "running" and (row.contract, "ready") not in backing:
                owed = backing[row.contract, "declared"].owed if (row.contract, "declared") in backing else 0
                yield self._declare("ready", parse_symbol(row.contract)[1], 1, self.seats - owed)

    def _declare(self, ground: Literal["declared", "ready"], hour: int, hours: int, qty: Gpus) -> Request:
        # The first word on an hour counts: later ones of the same version change nothing.
        body = http.CapacityRequest(
            class_id=self.class_id, from_hour=iso_hour(hour), hours=hours, ground=ground, qty=qty, version=1
        )
        return Request(
            "PUT", "/v1/capacity", body, http.RequestAnswer, f"{self.name}-{ground}-{hour}-{hours}-{qty}"[:40]
        )

    def _asks(
        self,
        rows: Sequence[feeds.GridRow],
        backing: Mapping[tuple[str, str], http.CapacityAnswer],
        asked: Counter[str],
        price: Price,
        lot: Gpus,
    ) -> Iterator[Request]:
        for row in rows[:ASK_HOURS]:
            running = row.phase == "running"
            backed = backing.get((row.contract, "ready" if running else "declared"))
            if backed is None or row.state != "open" or row.phase not in {"forward", "running"}:
                continue
            free = (backed.qty - backed.owed - asked[row.contract]) // lot * lot
            if free > 0:
                order = http.OrderRequest(
                    contract=row.contract, side="sell", qty=free, price=format_usd(price), running=running
                )
                yield Request("POST", "/v1/orders", order, http.OrderAnswer)


class Hosts:
    """All of them, one after the other."""

    def __init__(self, hosts: Sequence[Host], clock: Clock, status: Status) -> None:
        self._hosts = hosts
        self._clock = clock
        self._status = status
        self._counts = Counter[str](asked=0, refused=0)
        self._log = logging.getLogger(f"hourbook.{status.name}")

    async def run(self) -> None:
        """For ever; waits while the gateway is away."""
        self._status.set(role="simulated", hosts=len(self._hosts))
        while True:
            await backoff.wait_for("gateway", self.look, errors=(Away,), clock=self._clock, status=self._status)
            self._status.set(**self._counts)
            await self._clock.sleep_ms(LOOK_MS)

    async def look(self) -> None:
        """Once over all. Raises Away."""
        for host in self._hosts:
            for request in (await host.wishes())[:AT_ONCE]:
                self._counts["asked"] += 1
                outcome = await host.client.ask(
                    request.method, request.path, request.body, request.answer, key=request.idempotency_key
                )
                if isinstance(outcome, Refused):
                    self._counts["refused"] += 1
                    self._status.set(last_refusal=f"{host.name}: {outcome.code} {outcome.detail}".rstrip())
