"""The private feed of rentals: what a record did to an account's → messages to whoever has shown that the account is his. Pure.

One channel per account. Its numbers are those of the records of `rentals`, from 1: as in `private`, a message says its own and
that of the one before, and a number means the same after a restart and in every process.
"""

from __future__ import annotations

from typing import Final

from schemas import feeds
from schemas.edge import iso, iso_hour, iso_or_none
from schemas.rental import request_of
from schemas.rentals_log import notice_id
from schemas.units import Millis
from services.market_data.channels import Channel, Reader, Rings
from services.market_data.public import encode
from services.market_data.rentals import NOTICES_KEPT, Notice, Owner, Rental, Rentals, Touched

CHANNEL: Final = "rentals"


class RentalFeed:
    """Channels of accounts over their rentals."""

    def __init__(self, rentals: Rentals, rings: Rings) -> None:
        self.rentals = rentals
        self._rings = rings
        self._channels: dict[int, Channel] = {}
        """Account → its channel, as long as somebody listens or did a moment ago."""

    def is_whole(self) -> bool:
        """Always: a record stands by itself."""
        return True

    def join(self, account: int, reader: Reader) -> list[Channel]:
        """Listen to an account's. What was before is asked with `missed`, in the same breath."""
        channel = self._channels.get(account)
        if channel is None:
            channel = self._channels[account] = Channel(CHANNEL, self.rentals.seq, self._rings)
        channel.readers[reader] = None
        return [channel]

    def missed(self, account: int, part: int, seq: int | None) -> list[bytes]:
        """What came after `seq`; where that is not known, or is not asked, everything as it stands."""
        assert part == 0
        channel = self._channels[account]
        missed = channel.since(seq) if seq is not None else None
        return [self._snapshot(account, channel.seq, seq)] if missed is None else missed

    def publish(self, touched: Touched) -> None:
        """Say what the last record has done, to whoever listens."""
        channel = self._channels.get(touched.account)
        if channel is None:
            return
        message = feeds.RentalsChange(
            channel=CHANNEL,
            seq=self.rentals.seq,
            prev_seq=channel.seq,
            time=iso(self.rentals.time_ms),
            rentals=[_rental(touched.rental)] if touched.rental is not None else [],
            notices=[_notice(touched.notice)] if touched.notice is not None else [],
        )
        channel.send(self.rentals.seq, encode(message))

    def cool(self, now_ms: Millis) -> None:
        """Forget channels that nobody has listened to for a while."""
        for account in [account for account, channel in self._channels.items() if channel.is_cold(now_ms)]:
            self._channels.pop(account).forget()

    # --- Lines -------------------------------------------------------------------------------------------------

    def _snapshot(self, account: int, seq: int, since: int | None) -> bytes:
        owner = self.rentals.owners.get(account) or Owner()
        notices = [notice for notice in owner.notices if since is None or notice.seq > since]
        return encode(
            feeds.RentalsSnapshot(
                channel=CHANNEL,
                seq=seq,
                time=iso(self.rentals.time_ms),
                rentals=[_rental(rental) for rental in owner.rentals.values()],
                notices=[_notice(notice) for notice in notices],
                notices_complete=len(notices) < NOTICES_KEPT,
            )
        )


def _rental(rental: Rental) -> feeds.RentalLine:
    return feeds.RentalLine(
        rental=str(rental.rental),
        state="over" if rental.over_ms else "stopping" if rental.stopped_ms else "standing",
        made_at=iso(rental.made_ms),
        stopped_at=iso_or_none(rental.stopped_ms),
        request=request_of(rental.terms),
    )


def _notice(notice: Notice) -> feeds.NoticeLine:
    said = notice.said
    return feeds.NoticeLine(
        id=notice_id(said.rental, said.hour, said.code),
        rental=str(said.rental),
        hour=iso_hour(said.hour),
        code=said.code,
        detail=said.detail,
        at=iso(said.time_ms),
    )
