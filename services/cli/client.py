"""The public API from the command line: requests signed with HMAC-SHA256.

A request that broke off, or whose outcome is unknown, is repeated once: a write under the same client order id or
Idempotency-Key, so that it happens once. An amend has neither: it is not repeated.
"""

from __future__ import annotations

import base64
import re
import time
import uuid
from datetime import datetime
from typing import Final, TypeVar
from urllib.parse import urlencode

import httpx
import msgspec

from schemas.http import Problem, RequestAnswer, TimeAnswer
from schemas.signing import signed_headers
from services.cli.errors import CliError, Refused, Unknown, Unreachable
from services.cli.profile import Profile, where_to_look

T = TypeVar("T")
TIMEOUT_S: Final = 10.0
_REPEATS: Final = 2
_COMMANDS: Final = {
    "blocks": "`hourbook blocks`",
    "classes": "`hourbook book`",
    "contracts": "`hourbook book CLASS`",
    "orders": "`hourbook orders`",
    "trades": "`hourbook fills`",
    "positions": "`hourbook positions`",
    "rentals": "`hourbook rentals`",
    "status": "`hourbook status`",
}
"""Where the API's advice names one of its addresses, this is the command for it."""


class Client:
    """One account at one gateway."""

    def __init__(self, profile: Profile) -> None:
        self.url = profile.url
        self._key_id = profile.key.key.key_id
        self._secret = base64.b64decode(profile.key.secret)
        self._http = httpx.Client(base_url=profile.url, timeout=TIMEOUT_S, trust_env=False)

    def close(self) -> None:
        """Its connections."""
        self._http.close()

    def get(self, path: str, kind: type[T], **query: object) -> T:
        """Raises Refused, Unreachable."""
        shown = {name.rstrip("_"): value for name, value in query.items() if value not in (None, "")}
        if shown:
            path = f"{path}?{urlencode(shown)}"
        return self._decode(self._send("GET", path, b""), kind)

    def market_now(self) -> datetime:
        """What time it is in the market, in the local zone. Raises Refused, Unreachable."""
        return datetime.fromisoformat(self.get("/v1/time", TimeAnswer).market).astimezone()

    def write(
        self, method: str, path: str, body: object, kind: type[T], *, key: str = "", repeats: int = _REPEATS
    ) -> T:
        """`key`: an Idempotency-Key under which it may be asked again. Raises Refused, Unknown, Unreachable."""
        data = b"" if body is None else msgspec.json.encode(body)
        answer = self._send(method, path, data, idempotency_key=key or uuid.uuid4().hex, repeats=repeats)
        return self._decode(answer, kind)

    def delete(self, path: str, kind: type[T], **query: str) -> T:
        """Of what matches. Raises Refused, Unknown, Unreachable."""
        shown = urlencode({name: value for name, value in query.items() if value})
        return self.write("DELETE", f"{path}?{shown}" if shown else path, None, kind)

    def settle(self, method: str, path: str, body: object, *, key: str = "") -> RequestAnswer:
        """A request to settlement, waited for. Raises Refused, Unknown, Unreachable."""
        answer = self.write(method, path, body, RequestAnswer, key=key)
        deadline = time.monotonic() + TIMEOUT_S
        while answer.state == "pending":
            if time.monotonic() > deadline:
                raise Unknown(
                    f"still under way as request {answer.request_id}; `hourbook status` tells what settlement waits for"
                )
            time.sleep(0.2)
            answer = self.get(f"/v1/requests/{answer.request_id}", RequestAnswer)
        return answer

    def _send(self, method: str, path: str, body: bytes, idempotency_key: str = "", repeats: int = _REPEATS) -> bytes:
        for left in reversed(range(repeats)):
            try:
                answer = self._http.request(
                    method, path, content=body, headers=self._headers(method, path, body, idempotency_key)
                )
            except httpx.ConnectError:
                raise Unreachable(f"nobody answers at {self.url}; {where_to_look()}") from None
            except httpx.TransportError as error:
                if left:
                    continue
                raise _broken_off(method, f"{self.url} broke off ({type(error).__name__})") from None
            if answer.status_code < 400:
                return answer.content
            problem = _problem(answer)
            if problem is None:
                raise _broken_off(
                    method, f"{self.url} answered HTTP {answer.status_code}, which is no exchange's answer"
                )
            if problem.outcome == "rejected":
                raise Refused(_words(problem), answered=problem)
            if not left:
                raise (Unreachable if method == "GET" else Unknown)(_words(problem), answered=problem)
        raise AssertionError("the loop returns or raises")

    def _decode(self, body: bytes, kind: type[T]) -> T:
        try:
            return msgspec.json.decode(body, type=kind)
        except msgspec.DecodeError:
            raise Unreachable(f"{self.url} is no exchange, or one of another version than this program") from None

    def _headers(self, method: str, path: str, body: bytes, idempotency_key: str) -> dict[str, str]:
        now_ms = time.time_ns() // 1_000_000
        return signed_headers(self._key_id, self._secret, now_ms, method, path, body, idempotency_key)


def _problem(answer: httpx.Response) -> Problem | None:
    try:
        return msgspec.json.decode(answer.content, type=Problem)
    except msgspec.DecodeError:
        return None


def _broken_off(method: str, what: str) -> CliError:
    if method == "GET":
        return Unreachable(f"{what}; nothing was changed, try again")
    return Unknown(f"{what}; it may have happened: look, then try again")


def _words(problem: Problem) -> str:
    """The API's sentence, in commands instead of addresses."""
    advice = re.sub(r"GET /v1/(\w+)\S*", lambda found: _COMMANDS.get(found[1], found[0]), problem.detail)
    advice = re.sub(r"PUT /v1/launches/([\w-]+)", r"`hourbook launch \1`", advice)
    return f"{problem.title} ({problem.code}): {advice}"
