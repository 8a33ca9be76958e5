"""Reading the logs: `events` of every shard, `rentals` and `offers`, from their beginnings; writing `references`.

1. `catch_up`: every log is read to the end that it has now. Until then nobody is answered.
2. `follow_events`, `follow_rentals`, `follow_offers`: read on, for ever. What is new is told at once.
3. `beat`: heartbeats, and what only time does.
4. `wish`: references that collars should have are written. A wish that is lost is made again a minute later.

Nothing is kept: whoever starts again reads again. A log whose beginning was archived is read through the archive.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

import msgspec

from schemas.codec import UNREADABLE
from schemas.market import Reference, reference_key
from schemas.rentals_log import RentalRecord
from schemas.supply import OfferRecord
from schemas.units import Millis
from services.market_data.books import Contradiction
from services.market_data.clouds import Clouds
from services.market_data.hub import SESSIONS_MAX, Hub
from services.market_data.references import References
from services.market_data.sessions import HEARTBEAT_MS, WAITING_MAX
from services.runtime.archive import end_of_whole
from services.runtime.log import Clock, Log, LogError, Outgoing
from services.runtime.reading import EventsReader, Reader
from services.runtime.status import Status

EVENTS_AT_ONCE: Final = 2_000
"""Applied before others may go on."""
WISH_MS: Final = 5_000
AWAY_MS: Final = 1_000

_rentals: msgspec.msgpack.Decoder[RentalRecord] = msgspec.msgpack.Decoder(RentalRecord)
_offers: msgspec.msgpack.Decoder[OfferRecord] = msgspec.msgpack.Decoder(OfferRecord)


class MarketData:
    """See the module."""

    def __init__(
        self,
        hub: Hub,
        events: Sequence[Log],
        rentals: Log,
        offers: Log,
        open_references: Callable[[], Log],
        clock: Clock,
        status: Status,
        *,
        between: Callable[[bool], None] = lambda busy: None,  # noqa: ARG005 # who simulates wants nothing done
    ) -> None:
        """`open_references` gives a fresh connection after one has failed."""
        self.hub = hub
        self.clouds = Clouds()
        self.references = [References(market, self.clouds) for market in hub.markets]
        self.read_ms: list[Millis] = [0] * len(events)
        """By shard, our clock when its log was last looked at."""
        self.ready = False
        """The end has been reached."""
        self._events = [EventsReader(log) for log in events]
        self._rentals = Reader(rentals)
        self._offers = Reader(offers)
        self._open_references = open_references
        self._clock = clock
        self._status = status
        self._between = between

    # --- Step 1 ------------------------------------------------------------------------------------------------

    async def catch_up(self) -> None:
        """Raises Halt."""
        self._status.set(role="recovering")
        for shard, events in enumerate(self._events):
            end = await end_of_whole(events.log)
            while events.next_offset < end:
                await self._read_events(shard)
        for reader, read in ((self._rentals, self._read_rentals), (self._offers, self._read_offers)):
            end = await end_of_whole(reader.log)
            while reader.next_offset < end:
                await read()
        self.ready = True
        self._status.set(role="open")
        self._tell(self._clock.now_ms())

    # --- Step 2 ------------------------------------------------------------------------------------------------

    async def follow_events(self, shard: int) -> None:
        """For ever. Raises Halt."""
        while True:
            await self._read_events(shard)

    async def follow_rentals(self) -> None:
        """For ever. Raises Halt."""
        while True:
            await self._read_rentals()

    async def follow_offers(self) -> None:
        """For ever. Raises Halt."""
        while True:
            await self._read_offers()

    async def _read_events(self, shard: int) -> None:
        reader = self._events[shard]
        records = await reader.read()
        applied = 0
        for record in records:
            output = reader.output(record)
            if output is None:
                continue
            try:
                self.hub.take(output)
            except Contradiction as error:
                raise reader.halt(record, error) from error
            applied += len(output.events) + 1
            if applied >= EVENTS_AT_ONCE and output.last:
                applied = 0
                self.hub.pump()
                await self._clock.sleep_ms(0)
        self.read_ms[shard] = self._clock.now_ms()
        self._status.set_of(shard, seq=self.hub.markets[shard].seq)
        self.hub.pump()
        self._between(bool(records))

    async def _read_rentals(self) -> None:
        for record in await self._rentals.read():
            try:
                self.hub.take_rental(record.offset + 1, _rentals.decode(record.value))
            except (*UNREADABLE, Contradiction) as error:
                raise self._rentals.halt(record, error) from error

    async def _read_offers(self) -> None:
        for record in await self._offers.read():
            try:
                self.clouds.take(_offers.decode(record.value))
            except UNREADABLE as error:
                raise self._offers.halt(record, error) from error

    # --- Step 3 ------------------------------------------------------------------------------------------------

    async def beat(self) -> None:
        """For ever."""
        while True:
            await self._clock.sleep_ms(HEARTBEAT_MS)
            now_ms = self._clock.now_ms()
            self.hub.tick(now_ms)
            self._tell(now_ms)

    def _tell(self, now_ms: Millis) -> None:
        behind = max(now_ms - read_ms for read_ms in self.read_ms)
        self._status.set(
            readers=len(self.hub.sessions),
            readers_max=SESSIONS_MAX,
            channels=len(self.hub.public.channels.warm),
            kept_bytes=self.hub.rings.bytes,
            kept_bytes_max=self.hub.rings.bytes_max,
            rings_emptied_total=self.hub.rings.emptied,
            read_ago_ms=behind,
            waiting_bytes=max((session.waiting() for session in self.hub.sessions), default=0),
            waiting_bytes_max=WAITING_MAX,
            slow_readers_ended_total=self.hub.slow_readers,
        )

    # --- Step 4 ------------------------------------------------------------------------------------------------

    async def wish(self) -> None:
        """For ever."""
        log = self._open_references()
        written = 0
        while True:
            await self._clock.sleep_ms(WISH_MS)
            now_ms = self._clock.now_ms()
            wishes = [wish for references in self.references for wish in references.due(now_ms)]
            if not wishes:
                continue
            try:
                await log.append([_outgoing(wish) for wish in wishes])
            except LogError as error:
                self._status.wait("kafka", str(error))
                await self._clock.sleep_ms(AWAY_MS)
                log = self._open_references()
                self._status.go_on("kafka")
            else:
                written += len(wishes)
                self._status.set(references_written=written)


def _outgoing(wish: Reference) -> Outgoing:
    return Outgoing(msgspec.msgpack.encode(wish), key=reference_key(wish))
