"""The public gateway, as an agent sees it: signed requests, and what to make of what is answered.

Away          nobody answers, or asks to wait: try later, tenants keep access
EnrolAgain    this instance is not known, or a number has been used: begin a new one
Running       another agent of this machine is alive: wait until it is gone
errors.Refused   everything else that will not become better by itself: a sentence
"""

from __future__ import annotations

import base64
import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Final, TypeVar
from urllib.parse import quote, urlsplit

import httpx
import msgspec
from msgspec import Struct

from schemas.agents import Enrolled, Enrolment, Heartbeat, HeartbeatAnswer
from schemas.http import NewKeyAnswer, Problem, TimeAnswer
from schemas.signing import signed_headers
from schemas.units import Millis
from services.agent.errors import Refused, Unusable

T = TypeVar("T")
TIMEOUT_S: Final = 15.0
"""An answer to a heartbeat may be held for some seconds while nothing is new."""
CONNECT_S: Final = 5.0
_WAIT_MAX_MS: Final = 60_000
"""Whoever asks for a longer wait is asked again sooner: a lease may be about to begin."""
_WRONG_KEY: Final = (
    "the exchange does not take this key ({code}: {detail}); --key names a file with a key of scope `agent`"
)


class Away(Exception):
    """Try again; not before `wait_ms`, where the exchange has said so."""

    def __init__(self, message: str, wait_ms: Millis = 0) -> None:
        super().__init__(message)
        self.wait_ms = wait_ms


class EnrolAgain(Exception):
    """With a new instance."""


class Running(Exception):
    """Another agent of this machine."""


class Profile(Struct):
    """A file as the command line has them: an address, and a key as POST /v1/keys answers it."""

    url: str
    key: NewKeyAnswer


def read_profile(file: Path, url: str | None) -> Profile:
    """`url`: in place of the file's. Raises Unusable."""
    try:
        profile = msgspec.json.decode(file.read_bytes(), type=Profile)
        base64.b64decode(profile.key.secret, validate=True)
    except OSError as error:
        raise Unusable(f"{file} cannot be read: {error.strerror}; --key names another") from None
    except (msgspec.DecodeError, ValueError):
        raise Unusable(f"{file} is no profile (a JSON object with url and key); --key names another") from None
    profile.url = (url or profile.url).rstrip("/")
    if not profile.url.startswith(("http://", "https://")) or not urlsplit(profile.url).hostname:
        raise Unusable(f"{profile.url!r} is no address of an exchange, which begins with http:// or https://")
    return profile


class Exchange:
    """One key at one gateway. Never two requests at once: the caller sees to it."""

    def __init__(self, profile: Profile, elapsed_ms: Callable[[], Millis]) -> None:
        self._key_id = profile.key.key.key_id
        self._secret = base64.b64decode(profile.key.secret)
        self._http = httpx.AsyncClient(
            base_url=profile.url, timeout=httpx.Timeout(TIMEOUT_S, connect=CONNECT_S), trust_env=False
        )
        self._elapsed_ms = elapsed_ms
        self._ahead_ms = time.time_ns() // 1_000_000 - elapsed_ms()
        """The exchange's time before the machine's elapsed time. By the machine's clock at first, which may be wrong."""

    async def __aenter__(self) -> Exchange:
        """Nothing is asked yet."""
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Its connection."""
        await self._http.aclose()

    async def enrol(self, enrolment: Enrolment) -> Enrolled:
        """Raises Away, EnrolAgain, Running, Refused."""
        return await self._post("/v1/machines", enrolment, Enrolled)

    async def beat(self, machine: str, heartbeat: Heartbeat) -> HeartbeatAnswer:
        """Raises Away, EnrolAgain, Running, Refused."""
        return await self._post(f"/v1/machines/{quote(machine)}/heartbeats", heartbeat, HeartbeatAnswer)

    async def _post(self, path: str, content: Enrolment | Heartbeat, kind: type[T]) -> T:
        body = msgspec.json.encode(content)
        answer = await self._send("POST", path, body)
        if answer.status_code == 401 and _problem(answer).code == "wrong_timestamp":
            # The machine's clock is wrong. From here on the exchange's counts.
            self._ahead_ms = await self._their_time_ms() - self._elapsed_ms()
            answer = await self._send("POST", path, body)
        if answer.status_code >= 400:
            raise _meaning(answer)
        try:
            return msgspec.json.decode(answer.content, type=kind)
        except msgspec.DecodeError as error:
            raise Away(f"its answer cannot be read ({error}); it may be of another version than this program") from None

    async def _their_time_ms(self) -> Millis:
        answer = await self._send("GET", "/v1/time", b"")
        if answer.status_code >= 400:
            raise _meaning(answer)
        try:
            told = msgspec.json.decode(answer.content, type=TimeAnswer)
            return int(datetime.fromisoformat(told.now).timestamp() * 1000)
        except (msgspec.DecodeError, ValueError) as error:
            raise Away(f"the time it tells cannot be read ({error})") from None

    async def _send(self, method: str, path: str, body: bytes) -> httpx.Response:
        now_ms = self._elapsed_ms() + self._ahead_ms
        headers = signed_headers(self._key_id, self._secret, now_ms, method, path, body)
        try:
            return await self._http.request(method, path, content=body, headers=headers)
        except httpx.TransportError as error:
            raise Away(f"{type(error).__name__}: {error}".rstrip(": ")) from None


def _problem(answer: httpx.Response) -> Problem:
    try:
        return msgspec.json.decode(answer.content, type=Problem)
    except (msgspec.DecodeError, UnicodeDecodeError):
        # A proxy's page, most likely.
        return Problem(
            type="", title="", status=answer.status_code, detail=f"HTTP {answer.status_code} without an explanation",
            code="", request_id="", retryable=False, outcome="unknown",
        )  # fmt: skip


def _meaning(answer: httpx.Response) -> Exception:
    """What an answer that is no success means for the agent."""
    problem, status = _problem(answer), answer.status_code
    words = f"{problem.title}: {problem.detail}" if problem.title else problem.detail
    match problem.code:
        case "stale_heartbeat" | "unknown_machine":
            return EnrolAgain(words)
        case "agent_running":
            return Running(words)
        case "agent_superseded":
            return Refused(
                f"another agent has taken this machine over ({words}); this one stops and leaves every tenant as he is"
            )
        case "machine_known":
            return Refused(
                f"the exchange knows this machine already ({words}); choose another --machine, or stop the other"
            )
    if problem.retryable or status == 429 or status >= 500:
        return Away(f"HTTP {status}: {words}", _wait_ms(answer))
    if status in {401, 403}:
        return Refused(_WRONG_KEY.format(code=problem.code or status, detail=words))
    if not problem.code:
        return Away(f"HTTP {status} from something that is no exchange")
    return Refused(f"the exchange does not take this machine ({problem.code}): {words}")


def _wait_ms(answer: httpx.Response) -> Millis:
    text = answer.headers.get("Retry-After", "")
    return min(int(text) * 1000, _WAIT_MAX_MS) if text.isascii() and text.isdigit() else 0
