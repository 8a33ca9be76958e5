"""Everything that market data knows and everybody who listens, in one place: records in, messages out. Pure.

hub = Hub(shards=2, first_seq=..., feed_key=...)
hub.take(record)                       # the next record of a shard
hub.take_rental(number, record)        # the next record of `rentals`; the first is 1
session = hub.connect(outlet, now_ms)  # then session.receive(...), session.pump(), hub.leave(session)
hub.tick(now_ms)                       # every HEARTBEAT_MS
"""

from __future__ import annotations

from typing import Final

from schemas import feeds
from schemas.codec import EventsRecord
from schemas.edge import iso
from schemas.rentals_log import RentalRecord
from schemas.units import Millis
from services.market_data.channels import Rings
from services.market_data.holdings import Holdings
from services.market_data.market import Market
from services.market_data.private import CHANNEL as ACCOUNT
from services.market_data.private import Desks, PrivateFeed
from services.market_data.public import PublicFeed, encode
from services.market_data.rental_feed import CHANNEL as RENTALS
from services.market_data.rental_feed import RentalFeed
from services.market_data.rentals import Rentals
from services.market_data.sessions import SLOW, Outlet, Private, Session

SESSIONS_MAX: Final = 2_000


class Hub:
    """See the module."""

    def __init__(self, shards: int, *, first_seq: int, feed_key: bytes) -> None:
        self.markets = [Market(shard) for shard in range(shards)]
        self.holdings = [Holdings(shard) for shard in range(shards)]
        self.rings = Rings()
        self.public = PublicFeed(self.markets, first_seq, self.rings)
        self.desks = Desks(feed_key)
        self.private = PrivateFeed(self.markets, self.holdings, self.desks, self.rings)
        self.rentals = Rentals()
        self.rental_feed = RentalFeed(self.rentals, self.rings)
        self.sessions: dict[Session, None] = {}
        self.slow_readers = 0
        """How many were ended because too much waited to be read by them."""
        self._feed_key = feed_key

    def take(self, record: EventsRecord) -> None:
        """The next record of its shard. Raises Contradiction."""
        turn = self.markets[record.shard].apply(record)
        touched = self.holdings[record.shard].apply(record)
        if turn is None or touched is None:
            return
        self.public.publish(turn)
        if touched:
            self.private.publish(record.shard, touched)

    def take_rental(self, number: int, record: RentalRecord) -> None:
        """The next record of `rentals`. Raises Contradiction."""
        touched = self.rentals.take(number, record)
        if touched is not None:
            self.rental_feed.publish(touched)

    def pump(self) -> None:
        """After some records: snapshots that could not be made before."""
        for session in list(self.sessions):
            session.pump()

    def connect(self, outlet: Outlet, now_ms: Millis) -> Session:
        """A new reader. The caller has seen to `SESSIONS_MAX`."""
        private: dict[str, Private] = {ACCOUNT: self.private, RENTALS: self.rental_feed}
        session = Session(self.public, private, self.desks, outlet, feed_key=self._feed_key, now_ms=now_ms)
        self.sessions[session] = None
        return session

    def leave(self, session: Session) -> None:
        """A reader is gone."""
        session.leave()
        self.sessions.pop(session, None)
        self.slow_readers += session.closed.startswith(SLOW)

    def tick(self, now_ms: Millis) -> None:
        """Time has passed: heartbeats, tokens that have run out, channels that nobody listens to."""
        heartbeat = encode(
            feeds.Heartbeat(
                sent_at=iso(now_ms),
                market_time=iso(max(market.time_ms for market in self.markets)),
                at={str(market.shard): market.seq for market in self.markets},
                rentals_at=self.rentals.seq,
            )
        )
        for session in list(self.sessions):
            session.tick(now_ms, heartbeat)
        self.public.cool(now_ms)
        self.private.cool(now_ms)
        self.rental_feed.cool(now_ms)
