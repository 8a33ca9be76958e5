"""Owners of rentals are told by POST: JSON, signed, to addresses that they name, which may be anybody's.

A request goes to global addresses alone (in a sandbox to this machine's own, too), to the very address that was judged, follows
nothing, and waits for no body. Each notice is tried a few times, then given up: the rental says it for as long as it is so.
How each has ended the room records; what has not is told again by the next one. So somebody may be told twice.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import socket
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Final
from urllib.parse import urlsplit

import httpx
import msgspec
from msgspec import Struct

from schemas.edge import iso, iso_hour
from schemas.rentals_log import notice_id
from schemas.router_key import webhook_key
from services.router.addresses import Unfit, fit_address
from services.router.trading import Notice
from services.runtime.log import Clock
from services.runtime.status import Status

SIGNATURE: Final = "Hourbook-Signature"
"""Hex HMAC-SHA256 of the body, with the rental's key (`RentalAnswer.webhook_key`)."""
TRIES: Final = 5
FIRST_PAUSE_MS: Final = 2_000
"""After the first try; four times as long after each that follows."""
ANSWER_S: Final = 5.0
AT_ONCE: Final = 16
AT_ONCE_OF_ACCOUNT: Final = 2
"""So that nobody's slow addresses keep others' notices waiting."""
ACCOUNT_MAX: Final = 32
"""Notices of an account that wait or are under way; more are not sent."""
QUEUE_MAX: Final = 10_000

Resolve = Callable[[str, int], Awaitable[list[str]]]


class Body(Struct, frozen=True, kw_only=True):
    """What is posted."""

    id: str
    """Of the notice, the same at every try: by this it is known where it came before."""
    rental: str
    hour: str
    code: str
    detail: str
    at: str


def rental_key(router_key: bytes, rental: int) -> str:
    """With which a rental's notices are signed: hex, as its owner reads it."""
    return hmac.new(webhook_key(router_key), str(rental).encode(), hashlib.sha256).hexdigest()


def signature(key: str, body: bytes) -> str:
    """Hex."""
    return hmac.new(key.encode(), body, hashlib.sha256).hexdigest()


async def resolve(host: str, port: int) -> list[str]:
    """Addresses of a name. Raises OSError."""
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [str(address[0]) for _, _, _, _, address in found]


class Webhooks:
    """`Hooks`. `run` sends."""

    def __init__(
        self,
        router_key: bytes,
        clock: Clock,
        status: Status,
        *,
        sandbox: bool,
        transport: httpx.AsyncBaseTransport | None = None,
        look_up: Resolve = resolve,
    ) -> None:
        """`transport`, `look_up`: in place of sockets and of names."""
        self._router_key = router_key
        self._clock = clock
        self._status = status
        self._sandbox = sandbox
        self._look_up = look_up
        self._waiting: asyncio.Queue[Notice] = asyncio.Queue(QUEUE_MAX)
        self._counts: Counter[int] = Counter()
        """Account → its notices that wait or are under way; none without any."""
        self._turns: dict[int, asyncio.Semaphore] = {}
        """Of these accounts."""
        self._ended: list[tuple[Notice, bool]] = []
        self._told = self._lost = 0
        self._http = httpx.AsyncClient(
            timeout=ANSWER_S, follow_redirects=False, trust_env=False, transport=transport,
            limits=httpx.Limits(max_connections=AT_ONCE, max_keepalive_connections=0),
        )  # fmt: skip

    def tell(self, notice: Notice) -> None:
        """Soon, and without waiting for it. An account that has too many under way is not told of this one."""
        if self._counts[notice.account] >= ACCOUNT_MAX or self._waiting.full():
            self._end(notice, is_taken=False)
            return
        self._counts[notice.account] += 1
        self._waiting.put_nowait(notice)

    def ended(self) -> list[tuple[Notice, bool]]:
        """Those that are told no more since this was last asked; whether each was taken, or given up."""
        ended, self._ended = self._ended, []
        return ended

    def key(self, rental: int) -> str:
        """With which a rental's notices are signed."""
        return rental_key(self._router_key, rental)

    async def run(self) -> None:
        """For ever."""
        gate = asyncio.Semaphore(AT_ONCE)
        async with self._http, asyncio.TaskGroup() as tasks:
            while True:
                notice = await self._waiting.get()
                tasks.create_task(self._deliver(notice, gate))

    async def _deliver(self, notice: Notice, gate: asyncio.Semaphore) -> None:
        is_taken = False
        for number in range(TRIES):
            if number:
                await self._clock.sleep_ms(FIRST_PAUSE_MS * 4 ** (number - 1))
            turns = self._turns.setdefault(notice.account, asyncio.Semaphore(AT_ONCE_OF_ACCOUNT))
            async with turns, gate:
                is_taken = await self._try(notice)
            if is_taken:
                break
        self._counts[notice.account] -= 1
        if not self._counts[notice.account]:
            del self._counts[notice.account]
            self._turns.pop(notice.account, None)
        self._end(notice, is_taken=is_taken)

    async def _try(self, notice: Notice) -> bool:
        """Whether the other side took it."""
        parts = urlsplit(notice.webhook)
        host, port = parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)
        if parts.scheme != "https" and not self._sandbox:
            return False
        body = msgspec.json.encode(
            Body(
                id=notice_id(notice.rental, notice.hour, notice.code),
                rental=str(notice.rental),
                hour=iso_hour(notice.hour),
                code=notice.code,
                detail=notice.detail,
                at=iso(notice.at_ms),
            )
        )
        headers = {
            "Host": parts.netloc,
            "Content-Type": "application/json",
            SIGNATURE: signature(self.key(notice.rental), body),
        }
        try:
            async with asyncio.timeout(2 * ANSWER_S):
                address = fit_address(await self._look_up(host, port), sandbox=self._sandbox)
                url = httpx.URL(notice.webhook).copy_with(host=address, port=port)
                async with self._http.stream(
                    "POST", url, content=body, headers=headers, extensions={"sni_hostname": host}
                ) as answer:
                    return answer.is_success
        except (httpx.HTTPError, httpx.InvalidURL, OSError, TimeoutError, UnicodeError, Unfit):
            return False

    def _end(self, notice: Notice, *, is_taken: bool) -> None:
        self._ended.append((notice, is_taken))
        self._told += is_taken
        self._lost += not is_taken
        self._status.set(notices_told=self._told, notices_lost=self._lost)
