"""One reader: what he asks for, what he is sent, and when it is too much. Pure: bytes in, bytes out, the clock is the caller's.

What is bounded, so that nobody can make us remember without end: the size and number of a reader's messages, his channels, and
what waits to be sent to him. Everybody is sent the same messages, none is left out: who cannot keep up is cut off with a
reason, and may resume. Snapshots are sent one by one, as he takes them.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping
from typing import Final, NamedTuple, Protocol, assert_never

import msgspec

from schemas import feeds
from schemas.codec import UNREADABLE
from schemas.edge import iso
from schemas.feed_token import ExpiredToken, WrongToken, read_token
from schemas.ids import SHARDS_MAX
from schemas.units import Millis
from services.market_data.channels import Channel, Reader
from services.market_data.private import CHANNEL as ACCOUNT
from services.market_data.private import Desks
from services.market_data.public import PublicFeed, Refused, encode

CHANNELS_MAX: Final = 1_024
"""Of one reader."""
MESSAGE_MAX: Final = 64 * 1024
"""Bytes of a reader's message: enough to resume all of his channels."""
OPS_MAX: Final = 100
"""Of a reader, within `OPS_MS`."""
FRAMES_MAX: Final = 1_000
"""Of a reader, of any kind, within `OPS_MS`: pings and pieces of messages cost work, too, and each ping an answer."""
ASKED_MAX: Final = 2 * CHANNELS_MAX
"""Channels that he names in them: each may cost a snapshot."""
OPS_MS: Final = 10_000
WAITING_MAX: Final = 4 * 1024 * 1024
"""Bytes that wait for a reader; beyond it he is cut off. One more message may be on top."""
PACED: Final = 256 * 1024
"""The next snapshot is sent when no more than this waits."""
PRIVATE_MS: Final = 600_000
"""From `auth` to the next: a key that has ended reads no longer than this."""
HEARTBEAT_MS: Final = 5_000

SHARD_DIGITS: Final = len(str(SHARDS_MAX - 1))
SLOW: Final = "slow_reader"
POLICY, TOO_BIG = 1008, 1009
"""Codes of RFC 6455."""

_decoder: msgspec.json.Decoder[feeds.Op] = msgspec.json.Decoder(feeds.Op)


class Outlet(Protocol):
    """A connection."""

    def send(self, data: bytes) -> None:
        """Queue a message."""

    def waiting(self) -> int:
        """Bytes that are queued."""

    def close(self, code: int, reason: str) -> None:
        """Say why, and end it once that is sent or a while has passed."""


class Private(Protocol):
    """A feed that is for an account alone: one channel, or one for each of its parts."""

    def is_whole(self) -> bool:
        """Whether snapshots can be made now."""

    def join(self, account: int, reader: Reader) -> list[Channel]:
        """Listen to all parts. What was before is asked with `missed`, in the same breath."""

    def missed(self, account: int, part: int, seq: int | None) -> list[bytes]:
        """What came after `seq`, or a snapshot."""


class _Wanted(NamedTuple):
    """A channel that its snapshot, or what was missed, is still to be sent of."""

    name: str
    seq: int | None = None
    """Go on after this message."""
    parts: dict[int, int] = {}  # noqa: RUF012 # never changed
    """Of a private one: the same by part, which is the shard of `account`."""


class Session:
    """A connected reader."""

    def __init__(
        self,
        public: PublicFeed,
        private: Mapping[str, Private],
        desks: Desks,
        outlet: Outlet,
        *,
        feed_key: bytes,
        now_ms: Millis,
    ) -> None:
        """`private`: by the channels' names. `desks` learns what tokens say."""
        self.channels: dict[str, Channel] = {}
        """Public ones, by name."""
        self.account = 0
        """0: he has not shown whose he is."""
        self.closed = ""
        """Why nothing more is sent."""
        self._public = public
        self._private = private
        self._desks = desks
        self._outlet = outlet
        self._feed_key = feed_key
        self._private_until_ms: Millis = 0
        self._joined: dict[str, list[Channel]] = {}
        """Private ones, by name."""
        self._wanted: deque[_Wanted] = deque()
        self._ops = 0
        self._asked = 0
        self._frames = 0
        self._ops_since_ms = now_ms
        self._send(feeds.Hello(channels_max=CHANNELS_MAX, heartbeat_ms=HEARTBEAT_MS))

    def waiting(self) -> int:
        """Bytes that he has not read yet."""
        return self._outlet.waiting()

    # --- What he is sent ---------------------------------------------------------------------------------------

    def deliver(self, data: bytes) -> None:
        """One message, unless too much waits already."""
        if self.closed:
            return
        waiting = self._outlet.waiting()
        if waiting > WAITING_MAX:
            self.close(POLICY, f"{SLOW}: {waiting} bytes wait to be read, allowed are {WAITING_MAX}")
            return
        self._outlet.send(data)

    def ended(self, channel: Channel) -> None:
        """An hour has: its channel is over."""
        self.channels.pop(channel.name, None)
        channel.readers.pop(self, None)

    def _send(self, message: feeds.Message) -> None:
        self.deliver(encode(message))

    def pump(self) -> None:
        """Send snapshots that are wanted, as long as he takes them. Call it when something was read, and after each output."""
        wanted = self._wanted
        while wanted and not self.closed and self._outlet.waiting() <= PACED:
            if not self._begin(wanted[0]):
                return
            wanted.popleft()

    def _begin(self, wanted: _Wanted) -> bool:
        """False: not in the middle of an output."""
        if wanted.name in self._private:
            return self._begin_private(wanted.name, wanted.parts)
        try:
            if not self._public.is_whole(wanted.name):
                return False
            channel = self._public.open(wanted.name)
            missed = channel.since(wanted.seq) if wanted.seq is not None else None
            first = [self._public.snapshot(channel)] if missed is None else missed
        except Refused as refused:
            # It ended between question and answer.
            self._send(feeds.Refusal(code=refused.code, detail=str(refused), channel=wanted.name))
            return True
        for data in first:
            self.deliver(data)
        if not self.closed:
            self.channels[wanted.name] = channel
            channel.readers[self] = None
        return True

    def _begin_private(self, name: str, seqs: dict[int, int]) -> bool:
        feed = self._private[name]
        if not feed.is_whole():
            return False
        self._leave_private(name)
        if not self.account:
            return True  # it ran out meanwhile, and was said to have
        self._joined[name] = channels = feed.join(self.account, self)
        for part in range(len(channels)):
            for data in feed.missed(self.account, part, seqs.get(part)):
                self.deliver(data)
        return True

    def tick(self, now_ms: Millis, heartbeat: bytes) -> None:
        """Every `HEARTBEAT_MS`."""
        if self.account and now_ms >= self._private_until_ms:
            wanted = [each.name for each in self._wanted if each.name in self._private]
            for name in (*self._joined, *wanted) or (ACCOUNT,):
                self._send(feeds.Refusal(code="token_expired", detail="send auth again before `until`", channel=name))
                self._leave_private(name)
            self.account = 0
        self.deliver(heartbeat)
        self.pump()

    def close(self, code: int, reason: str) -> None:
        """Leave everything, and say why."""
        if self.closed:
            return
        self.closed = reason
        self.leave()
        self._outlet.close(code, reason)

    def leave(self) -> None:
        """He is gone."""
        self.closed = self.closed or "gone"
        for channel in self.channels.values():
            channel.readers.pop(self, None)
        self.channels.clear()
        self._wanted.clear()
        for name in list(self._joined):
            self._leave_private(name)

    def _leave_private(self, name: str) -> bool:
        """False: it was not read."""
        channels = self._joined.pop(name, [])
        for channel in channels:
            channel.readers.pop(self, None)
        return bool(channels)

    # --- What he asks ------------------------------------------------------------------------------------------

    def admit(self, now_ms: Millis) -> bool:
        """One frame of his, whatever it holds. False: he is cut off, nothing more of his is looked at."""
        if self.closed:
            return False
        self._forget(now_ms)
        self._frames += 1
        if self._frames > FRAMES_MAX:
            self.close(POLICY, f"rate_limited: more than {FRAMES_MAX} frames in {OPS_MS // 1000} s")
        return not self.closed

    def receive(self, data: bytes, now_ms: Millis) -> None:
        """The message that his frames made up."""
        if self.closed:
            return
        self._forget(now_ms)
        self._ops += 1
        if self._ops > OPS_MAX:
            self.close(POLICY, f"rate_limited: more than {OPS_MAX} messages in {OPS_MS // 1000} s")
            return
        try:
            op = _decoder.decode(data)
        except UNREADABLE as error:
            self._send(feeds.Refusal(code="malformed", detail=f"the message does not decode: {error}"))
            return
        if isinstance(op, feeds.Subscribe | feeds.Unsubscribe | feeds.Resume):
            self._asked += len(op.channels)
            if self._asked > ASKED_MAX:
                self.close(POLICY, f"rate_limited: more than {ASKED_MAX} channels named in {OPS_MS // 1000} s")
                return
        match op:
            case feeds.Subscribe():
                self._subscribe([_Wanted(name) for name in dict.fromkeys(op.channels)], op.id)
            case feeds.Resume():
                self._resume(op)
            case feeds.Unsubscribe():
                self._unsubscribe(op)
            case feeds.Auth():
                self._authenticate(op, now_ms)
            case feeds.Ping():
                self._send(feeds.Pong(id=op.id))
            case _:
                assert_never(op)
        self.pump()

    def _forget(self, now_ms: Millis) -> None:
        """What he did longer ago than `OPS_MS`."""
        # Or before the clock was set back: he would be held to it for as long as that.
        if not 0 <= now_ms - self._ops_since_ms < OPS_MS:
            self._ops, self._asked, self._frames, self._ops_since_ms = 0, 0, 0, now_ms

    def _subscribe(self, asked: Iterable[_Wanted], answer_to: feeds.Id) -> None:
        """What can be had is queued, what cannot is said."""
        taken: list[_Wanted] = []
        queued = {wanted.name for wanted in self._wanted}
        for wanted in asked:
            try:
                self._judge(wanted.name, queued, len(taken))
            except Refused as refused:
                self._send(
                    feeds.Refusal(code=refused.code, detail=str(refused), channel=wanted.name[:100], id=answer_to)
                )
            else:
                taken.append(wanted)
        if taken:
            self._send(feeds.Subscribed(channels=tuple(wanted.name for wanted in taken), id=answer_to))
            self._wanted.extend(taken)

    def _judge(self, name: str, queued: set[str], taken: int) -> None:
        """Raises Refused."""
        if name in self._private and not self.account:
            raise Refused("unauthenticated", "send auth with a token first: POST /v1/feed-token gives one")
        if name in self.channels or name in self._joined or name in queued:
            raise Refused("already_subscribed", "unsubscribe first to begin anew")
        if name in self._private:
            return
        self._public.is_whole(name)
        if len(self.channels) + len(queued) + taken >= CHANNELS_MAX:
            raise Refused("too_many_subscriptions", f"{CHANNELS_MAX} channels are allowed in one connection")

    def _resume(self, op: feeds.Resume) -> None:
        wanted = [
            _Wanted(name, None, {0: seq}) if name in self._private else _Wanted(name, seq)
            for name, seq in op.channels.items()
            if name != ACCOUNT
        ]
        if op.account:
            wanted.append(_Wanted(ACCOUNT, None, {int(s): seq for s, seq in op.account.items() if _is_shard(s)}))
        self._subscribe(wanted, op.id)

    def _unsubscribe(self, op: feeds.Unsubscribe) -> None:
        left = []
        for name in dict.fromkeys(op.channels):
            wanted = [each for each in self._wanted if each.name == name]
            for each in wanted:
                self._wanted.remove(each)
            channel = self.channels.pop(name, None)
            if channel is not None:
                channel.readers.pop(self, None)
            was_private = self._leave_private(name)
            if wanted or channel is not None or was_private:
                left.append(name)
            else:
                self._send(
                    feeds.Refusal(
                        code="not_subscribed", detail="this channel is not read here", channel=name[:100], id=op.id
                    )
                )
        if left:
            self._send(feeds.Unsubscribed(channels=tuple(left), id=op.id))

    def _authenticate(self, op: feeds.Auth, now_ms: Millis) -> None:
        try:
            token = read_token(self._feed_key, op.token, now_ms)
        except WrongToken as error:
            self._send(feeds.Refusal(code="wrong_token", detail=str(error), id=op.id))
            return
        except ExpiredToken as error:
            self._send(feeds.Refusal(code="token_expired", detail=str(error), id=op.id))
            return
        if self.account not in (0, token.account):
            self._send(
                feeds.Refusal(code="other_account", detail="a connection is for one account: open another", id=op.id)
            )
            return
        self.account = token.account
        self._desks.learn(token.desks)
        self._private_until_ms = now_ms + PRIVATE_MS
        self._send(feeds.Authenticated(account=token.account, until=iso(self._private_until_ms), id=op.id))


def _is_shard(text: str) -> bool:
    """Whether a reader means one: Python refuses to make a number of thousands of digits."""
    return len(text) <= SHARD_DIGITS and text.isdecimal()
