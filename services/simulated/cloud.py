"""The simulated cloud: a loop over what `covering` says, through the public API with an operator's key."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Sequence
from datetime import datetime
from typing import Final

from schemas import http
from schemas.edge import iso_hour
from schemas.ids import parse_symbol
from schemas.units import MS_PER_MINUTE, Millis, Price, format_usd, parse_usd
from services.runtime import backoff
from services.runtime.log import Clock
from services.runtime.status import Status
from services.simulated.agents import Fleet
from services.simulated.client import Away, Client, Refused
from services.simulated.covering import Purchase, Report, Uncovered, failures, purchases, ready_purchases, report
from services.simulated.fleet import Market
from services.simulated.news import News

PROVIDER: Final = "simulated-cloud"
LOOK_MS: Final = 2_000
AGAIN_MS: Final = 60_000
"""What was refused is asked again, but not at every look."""
REPORTED_HOURS: Final = 48
"""An hour that was reported is paid out long before, and then asked for no more."""


class Cloud:
    """Buys and delivers, for ever. What it says of itself is in `/status`: `procured_gpu_minutes`, `delivered_hours`, `news`."""

    def __init__(self, client: Client, clock: Clock, status: Status, seed: str, fleets: Sequence[Fleet] = ()) -> None:
        """`fleets`: machines of accounts that it simulates them for."""
        self._fleets = fleets
        self._client = client
        self._clock = clock
        self._status = status
        self._seed = seed
        self._log = logging.getLogger(f"hourbook.{status.name}")
        self._news = News(status)
        self._reported: set[tuple[str, int]] = set()
        """(contract, title; 0: all)."""
        self._refusals: Counter[str] = Counter()
        self._not_before_ms: dict[str, Millis] = {}
        self._uncovered: set[Uncovered] = set()
        self._counts = Counter[str](
            procured_gpu_minutes=0, spent_micros=0, delivered_hours=0, undelivered_minutes=0, failed_titles=0
        )

    async def run(self) -> None:
        """For ever; waits while the gateway is away."""
        self._status.set(role="simulated", provider=PROVIDER)
        while True:
            await backoff.wait_for("gateway", self.look, errors=(Away,), clock=self._clock, status=self._status)
            self._status.set(requests_unknown=self._client.unknown, **self._counts)
            await self._clock.sleep_ms(LOOK_MS)

    async def look(self) -> None:
        """Once over all there is. Raises Away."""
        promises = await self._client.read("/v1/admin/promises", list[http.PromisedAnswer])
        uncovered = await self._client.read("/v1/admin/uncovered", list[http.UncoveredAnswer])
        if promises or uncovered:
            now_ms = await self._market_ms()
            cheapest = await self._cheapest()
            cover_ms = await self._cover_ms()
            for each in (
                *ready_purchases(uncovered, cheapest, self._refusals),
                *purchases(promises, cheapest, cover_ms, self._refusals, now_ms),
            ):
                if isinstance(each, Purchase):
                    if self._clock.elapsed_ms() >= self._not_before_ms.get(each.contract, 0):
                        await self._procure(each)
                elif each not in self._uncovered:
                    self._uncovered.add(each)
                    self._tell(f"no cloud offers {each.qty} × {each.contract}: a promise stays uncovered")
        await self._deliver_all(uncovered)
        await self._see_to_machines()

    async def _see_to_machines(self) -> None:
        """After what has ended was reported: from the first machine on the exchange looks itself, and not before."""
        if not self._fleets:
            return
        # Anew: what was bought a moment ago is to have its machine at once.
        promises = await self._client.read("/v1/admin/promises", list[http.PromisedAnswer])
        uncovered = await self._client.read("/v1/admin/uncovered", list[http.UncoveredAnswer])
        lots = {each.class_id: each.lot for each in await self._client.read("/v1/classes", list[http.ClassAnswer])}
        told = await self._client.read("/v1/time", http.TimeAnswer)
        market = Market(_ms(told.now), _ms(told.market), told.rate)
        for fleet in self._fleets:
            await fleet.look(lots, market, promises, uncovered)
        self._status.set(
            machines=sum(len(of_class) for fleet in self._fleets for of_class in fleet.agents.values()),
            machine_gpus=sum(fleet.gpus for fleet in self._fleets),
        )

    async def _deliver_all(self, uncovered: list[http.UncoveredAnswer]) -> None:
        """First what failed, title by title: the record of an hour speaks of all that have none of their own.

        Not of classes with machines: there the exchange looks itself.
        """
        served = set(await self._client.read("/v1/admin/served", list[str]))
        told = await self._client.read("/v1/admin/undelivered", list[http.UndeliveredAnswer])
        ended = [each for each in told if parse_symbol(each.contract)[0] not in served]
        uncovered = [each for each in uncovered if parse_symbol(each.contract)[0] not in served]
        # An hour that has ended since may have titles without a machine, too: the next look tells.
        unclear = {each.contract for each in uncovered if not each.ended}
        for each in failures(uncovered):
            if not await self._deliver(each):
                unclear.add(each.contract)
        for hour in ended:
            if hour.contract not in unclear:
                await self._deliver(report(hour.contract, self._seed))

    async def _cover_ms(self) -> dict[str, Millis]:
        """How long before an hour its promises must be covered, by class."""
        listed = await self._client.read("/v1/classes", list[http.ClassAnswer])
        return {each.class_id: each.cover_minutes * MS_PER_MINUTE for each in listed}

    async def _market_ms(self) -> Millis:
        return _ms((await self._client.read("/v1/time", http.TimeAnswer)).market)

    async def _cheapest(self) -> dict[str, Price]:
        """Of firm offers, by class."""
        told = await self._client.read("/v1/supply", http.SupplyAnswer)
        return {each.class_id: parse_usd(each.cheapest) for each in told.references if each.offers}

    async def _procure(self, bought: Purchase) -> None:
        body = http.ProcureRequest(
            account=bought.account, class_id=bought.class_id, from_hour=iso_hour(bought.hour), hours=1,
            qty=bought.qty, cost=format_usd(bought.cost), provider=PROVIDER, title=bought.title,
        )  # fmt: skip
        outcome = await self._client.ask("POST", "/v1/admin/procure", body, http.RequestAnswer, key=bought.key)
        part = f" for {bought.minutes} minutes" if bought.title else ""
        what = f"{bought.qty} × {bought.contract}{part} for account {bought.account}"
        if isinstance(outcome, Refused):
            self._refusals[bought.contract] += 1
            self._not_before_ms[bought.contract] = self._clock.elapsed_ms() + AGAIN_MS
            self._tell(f"procured nothing: {what}: {outcome.code} {outcome.detail}".rstrip())
            return
        self._counts["procured_gpu_minutes"] += bought.qty * bought.minutes
        self._counts["spent_micros"] += bought.cost
        self._tell(f"procured {what} at {format_usd(bought.price)}")

    async def _deliver(self, done: Report) -> bool:
        """Whether nothing is left to be said of it."""
        if (done.contract, done.title) in self._reported:
            return True
        body = http.DeliveryRequest(
            contract=done.contract, simulated=True, title=done.title, undelivered_minutes=done.undelivered_minutes
        )
        outcome = await self._client.ask("POST", "/v1/admin/deliveries", body, http.DeliveryAnswer, key=done.key)
        what = f"title {done.title} of {done.contract}" if done.title else done.contract
        if isinstance(outcome, Refused):
            self._tell(f"delivered nothing: {what}: {outcome.code} {outcome.detail}".rstrip())
            if outcome.retryable:
                return False
        self._reported.add((done.contract, done.title))
        oldest = parse_symbol(done.contract)[1] - REPORTED_HOURS
        self._reported = {each for each in self._reported if parse_symbol(each[0])[1] > oldest}
        if isinstance(outcome, Refused):
            return True
        self._counts["failed_titles" if done.title else "delivered_hours"] += 1
        self._counts["undelivered_minutes"] += done.undelivered_minutes
        if done.title:
            self._tell(f"not delivered: {what}: no machine was procured for it")
        else:
            lost = f", but for {done.undelivered_minutes} minutes" if done.undelivered_minutes else ""
            self._tell(f"delivered {what}{lost}")
        return True

    def _tell(self, text: str) -> None:
        """In `/status` and in the log; that it is simulated stands in every line."""
        self._news.tell(f"simulated cloud: {text}")
        self._log.info("simulated cloud: %s", text)


def _ms(text: str) -> Millis:
    return int(datetime.fromisoformat(text).timestamp() * 1_000)
