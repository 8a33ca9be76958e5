"""One stream of messages that its readers can count: each says its own number and the one before. Pure.

The last messages are kept in a ring, so that whoever was away for a moment gets what he missed; else he is sent a snapshot. A
message is encoded once, for all readers.
"""

from __future__ import annotations

from collections import deque
from typing import Final, NamedTuple, Protocol

from schemas.units import Millis

RING_MAX: Final = 512
"""Messages."""
RING_BYTES_MAX: Final = 256 * 1024
RINGS_BYTES_MAX: Final = 128 * 1024 * 1024
"""Of all channels together: sixteen readers reach every book of a hundred classes, whose full rings would take 4 GiB."""
WARM_MS: Final = 120_000
"""For so long after its last reader has gone a channel goes on, since he may come back."""


class Reader(Protocol):
    """Who listens."""

    def deliver(self, data: bytes) -> None:
        """Send it, or end the connection of somebody who reads too slowly. Never raises."""

    def ended(self, channel: Channel) -> None:
        """Nothing of it follows."""


class _Kept(NamedTuple):
    prev_seq: int
    seq: int
    data: bytes


class Rings:
    """What the rings of all channels hold together. Beyond `bytes_max` the one that has been quiet longest is emptied."""

    def __init__(self, bytes_max: int = RINGS_BYTES_MAX) -> None:
        self.bytes = 0
        self.bytes_max = bytes_max
        self.emptied = 0
        """How many rings have been."""
        self._quiet: dict[Channel, None] = {}
        """Whose rings hold anything, the one that has been quiet longest first."""

    def moved(self, channel: Channel, more: int) -> None:
        """The channel has sent a message, and its ring holds so many bytes more."""
        self._quiet.pop(channel, None)
        self._quiet[channel] = None
        self.bytes += more
        while self.bytes > self.bytes_max:
            next(iter(self._quiet)).forget()
            self.emptied += 1

    def freed(self, channel: Channel, less: int) -> None:
        """Its ring is empty, and held so many bytes."""
        self._quiet.pop(channel, None)
        self.bytes -= less
        assert self.bytes >= 0


class Channel:
    """A stream. `seq` is the number of its last message."""

    __slots__ = ("_bytes", "_ring", "_rings", "idle_since_ms", "name", "readers", "seq")

    def __init__(self, name: str, seq: int, rings: Rings) -> None:
        self.name = name
        self.seq = seq
        self.readers: dict[Reader, None] = {}
        self.idle_since_ms: Millis = 0
        """When it was first seen without readers; 0: it has some, or was not looked at since."""
        self._ring: deque[_Kept] = deque()
        self._bytes = 0
        self._rings = rings

    def send(self, seq: int, data: bytes) -> None:
        """The next message, which says `self.seq` as the one before."""
        assert seq > self.seq
        before = self._bytes
        self._ring.append(_Kept(self.seq, seq, data))
        self._bytes += len(data)
        while len(self._ring) > RING_MAX or self._bytes > RING_BYTES_MAX:
            self._bytes -= len(self._ring.popleft().data)
        self._rings.moved(self, self._bytes - before)
        self.seq = seq
        for reader in list(self.readers):  # one of them may leave by this
            reader.deliver(data)

    def forget(self) -> None:
        """Keep nothing of what was sent."""
        self._ring.clear()
        self._rings.freed(self, self._bytes)
        self._bytes = 0

    def since(self, seq: int) -> list[bytes] | None:
        """What came after message `seq`; None: that is no longer known."""
        if seq == self.seq:
            return []
        for place, kept in enumerate(self._ring):
            if kept.prev_seq == seq:
                return [each.data for each in list(self._ring)[place:]]
        return None

    def is_cold(self, now_ms: Millis) -> bool:
        """Nobody has listened for a while."""
        if self.readers:
            self.idle_since_ms = 0
            return False
        self.idle_since_ms = self.idle_since_ms or now_ms
        return now_ms - self.idle_since_ms >= WARM_MS


class Channels:
    """Channels by name, as long as somebody listens or did a moment ago; of others only the number is kept.

    They begin to count at `first_seq`. It lies above all numbers that a process before this one, or beside it, has given: so
    a number from elsewhere is never taken for one of ours, and whoever resumes with it is sent a snapshot.
    """

    def __init__(self, first_seq: int, rings: Rings) -> None:
        self.warm: dict[str, Channel] = {}
        self._rings = rings
        self._first_seq = first_seq
        self._seqs: dict[str, int] = {}

    def open(self, name: str) -> Channel:
        """A channel that counts on from where it was."""
        channel = self.warm.get(name)
        if channel is None:
            channel = self.warm[name] = Channel(name, self._seqs.pop(name, self._first_seq), self._rings)
        return channel

    def end(self, name: str) -> Channel | None:
        """It never comes again; None: nobody listened."""
        self._seqs.pop(name, None)
        ended = self.warm.pop(name, None)
        if ended is not None:
            ended.forget()
        return ended

    def cool(self, now_ms: Millis) -> None:
        """Forget the messages of channels without readers.

        Their number moves on by one, since from now on nothing is counted: whoever comes back with the last one that he saw
        cannot be told that he has missed nothing.
        """
        for name in [name for name, channel in self.warm.items() if channel.is_cold(now_ms)]:
            cooled = self.warm.pop(name)
            cooled.forget()
            self._seqs[name] = cooled.seq + 1
