"""The public HTTP API, signed with one key: what any client of the exchange could write.

What became of a request:
- no connection was made: it had no effect (`Away`);
- the answer says `rejected`: it had none either (`Refused`);
- sent and no answer, a broken one, or one that says `unknown` or `pending`: it may have had an effect. Then the very same is
  asked again, under the same client order id or Idempotency-Key, until an answer tells. What is refused for the moment only
  (`retryable`) after that speaks of the repeat alone, and is asked again as well.
"""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Final, Self, TypeVar

import httpx
import msgspec
from msgspec import Struct

from schemas.codec import UNREADABLE
from schemas.http import NewKeyAnswer, Problem, RequestAnswer
from schemas.signing import signed_headers
from services.runtime.log import Clock

ANSWER_S_MAX: Final = 8.0
"""Longer than the gateway takes to give up by itself."""
CONNECT_S_MAX: Final = 2.0
PAUSE_MS: Final = 250
PAUSE_MS_MAX: Final = 5_000
_NOT_SENT: Final = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout)

T = TypeVar("T")


class BadKeys(ValueError):
    """The file does not hold keys."""


class Away(Exception):
    """The gateway is not there, or cannot answer now. Nothing has changed; ask later."""


class Refused(Struct, frozen=True):
    """It had no effect. `retryable`: the same may be taken later."""

    code: str
    detail: str = ""
    retryable: bool = False


class Key(Struct, frozen=True):
    """What signs."""

    key_id: str
    secret: bytes
    account: int

    def __repr__(self) -> str:
        return f"Key({self.key_id})"


def read_keys(path: Path) -> dict[str, Key]:
    """The file holds answers of POST /v1/keys, each under its member's name. Raises BadKeys."""
    try:
        answers = msgspec.json.decode(path.read_bytes(), type=dict[str, NewKeyAnswer])
        return {
            name: Key(each.key.key_id, base64.b64decode(each.secret, validate=True), each.key.account)
            for name, each in answers.items()
        }
    except (OSError, ValueError, *UNREADABLE) as error:  # ValueError: a secret that is not base64
        # Of a file with secrets in it nothing is repeated but its name.
        raise BadKeys(f"{path} does not hold keys by name ({type(error).__name__})") from None


class Client:
    """One key at one gateway. Used as `async with`. `unknown` counts requests whose outcome had to be asked for again."""

    def __init__(self, url: str, key: Key, clock: Clock, transport: httpx.AsyncBaseTransport | None = None) -> None:
        """`transport`: in place of sockets."""
        self.unknown = 0
        self._key = key
        self._clock = clock
        timeout = httpx.Timeout(ANSWER_S_MAX, connect=CONNECT_S_MAX)
        self._http = httpx.AsyncClient(base_url=url, timeout=timeout, trust_env=False, transport=transport)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._http.aclose()

    async def read(self, path: str, kind: type[T]) -> T:
        """Raises Away for whatever is not the thing that was asked for."""
        try:
            answer = await self._send("GET", path, b"", "")
        except httpx.TransportError as error:
            raise Away(repr(error)) from error
        if answer.status_code >= httpx.codes.BAD_REQUEST:
            raise Away(f"{path}: status {answer.status_code}: {answer.content[:300].decode(errors='replace')}")
        return _decoded(answer.content, kind)

    async def ask(self, method: str, path: str, body: Struct | None, kind: type[T], *, key: str = "") -> T | Refused:
        """What changes something, to its end. `key`: an Idempotency-Key. Raises Away while nothing of it was sent."""
        data = b"" if body is None else msgspec.json.encode(body)
        pause_ms, doubted = PAUSE_MS, False
        while True:
            answer = await self._once(method, path, data, key, kind)
            if isinstance(answer, Away):
                if not doubted:
                    raise answer
            elif isinstance(answer, Refused):
                if not (doubted and answer.retryable):
                    return answer
            elif answer is not None:
                return answer
            elif not doubted:
                doubted = True
                self.unknown += 1
            await self._clock.sleep_ms(pause_ms)
            pause_ms = min(2 * pause_ms, PAUSE_MS_MAX)

    async def _once(self, method: str, path: str, data: bytes, key: str, kind: type[T]) -> T | Refused | Away | None:
        """None: nobody knows what became of it."""
        try:
            answer = await self._send(method, path, data, key)
        except _NOT_SENT as error:
            return Away(repr(error))
        except httpx.TransportError:
            return None
        if answer.status_code >= httpx.codes.BAD_REQUEST:
            try:
                problem = msgspec.json.decode(answer.content, type=Problem)
            except msgspec.DecodeError:
                return None  # not from the exchange's own hand: what stands between us may have passed it on
            return None if problem.outcome == "unknown" else Refused(problem.code, problem.detail, problem.retryable)
        try:
            done = _decoded(answer.content, kind)
        except Away:
            return None
        return None if isinstance(done, RequestAnswer) and done.state == "pending" else done

    async def _send(self, method: str, path: str, data: bytes, key: str) -> httpx.Response:
        now_ms = self._clock.now_ms()
        headers = signed_headers(self._key.key_id, self._key.secret, now_ms, method, path, data, key)
        return await self._http.request(method, path, content=data, headers=headers)


def _decoded(body: bytes, kind: type[T]) -> T:
    try:
        return msgspec.json.decode(body, type=kind)
    except msgspec.DecodeError as error:
        raise Away(f"not an answer of the exchange: {error}") from error
