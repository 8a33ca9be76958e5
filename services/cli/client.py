"""The public API from the command line: requests signed with HMAC-SHA256.

Reads are repeated once. A write is repeated only while its outcome is unknown, and under the same client order id or
Idempotency-Key, so that it happens once.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import time
import uuid
from typing import Any, Final, TypeVar
from urllib.parse import urlencode

import httpx
import msgspec

from schemas.http import Problem, RequestAnswer
from services.cli.errors import Refused, Unknown, Unreachable
from services.cli.profile import Profile

T = TypeVar("T")
TIMEOUT_S: Final = 10.0
_REPEATS: Final = 2


class Client:
    """One account at one gateway."""

    def __init__(self, profile: Profile) -> None:
        self.url = profile.url
        self._key_id = profile.key.key.key_id
        self._secret = base64.b64decode(profile.key.secret)
        self._http = httpx.Client(base_url=profile.url, timeout=TIMEOUT_S, trust_env=False)

    def get(self, path: str, kind: type[T], **query: object) -> T:
        """Raises Refused, Unreachable."""
        shown = {name.rstrip("_"): value for name, value in query.items() if value not in (None, "")}
        if shown:
            path = f"{path}?{urlencode(shown)}"
        return msgspec.json.decode(self._send("GET", path, b""), type=kind)

    def write(self, method: str, path: str, body: object, kind: type[T]) -> T:
        """Raises Refused, Unknown, Unreachable."""
        data = b"" if body is None else msgspec.json.encode(body)
        return msgspec.json.decode(self._send(method, path, data, idempotency_key=uuid.uuid4().hex), type=kind)

    def settle(self, method: str, path: str, body: object) -> dict[str, Any]:
        """A request to settlement, waited for; its outcome. Raises Refused, Unknown, Unreachable."""
        answer = self.write(method, path, body, RequestAnswer)
        deadline = time.monotonic() + TIMEOUT_S
        while answer.state == "pending":
            if time.monotonic() > deadline:
                raise Unknown(f"still under way; GET /v1/requests/{answer.request_id} tells when it is done")
            time.sleep(0.2)
            answer = self.get(f"/v1/requests/{answer.request_id}", RequestAnswer)
        return dict(answer.outcome)

    def _send(self, method: str, path: str, body: bytes, idempotency_key: str = "") -> bytes:
        for left in reversed(range(_REPEATS)):
            try:
                answer = self._http.request(
                    method, path, content=body, headers=self._headers(method, path, body, idempotency_key)
                )
            except httpx.ConnectError:
                raise Unreachable(
                    f"nobody answers at {self.url}: is the exchange running? `make run` starts one"
                ) from None
            except httpx.TransportError as error:
                if left:
                    continue
                raise Unknown(
                    f"{self.url} broke off ({type(error).__name__}); it may have happened: look, then try again"
                ) from None
            if answer.status_code < 400:
                return answer.content
            problem = _problem(answer)
            if problem.outcome == "rejected":
                raise Refused(f"{problem.title} ({problem.code}): {problem.detail}")
            if not left:
                raise Unknown(f"{problem.title} ({problem.code}): {problem.detail}")
        raise AssertionError("the loop returns or raises")

    def _headers(self, method: str, path: str, body: bytes, idempotency_key: str) -> dict[str, str]:
        stamp = str(time.time_ns() // 1_000_000)
        signature = hmac.new(self._secret, f"{stamp}{method}{path}".encode() + body, hashlib.sha256).hexdigest()
        headers = {"Hourbook-Key": self._key_id, "Hourbook-Timestamp": stamp, "Hourbook-Signature": signature}
        if body:
            headers["Content-Type"] = "application/json"
        if idempotency_key:
            headers["Idempotency-Key"] = idempotency_key
        return headers


def _problem(answer: httpx.Response) -> Problem:
    try:
        return msgspec.json.decode(answer.content, type=Problem)
    except msgspec.DecodeError:
        outcome = "rejected" if answer.status_code < 500 else "unknown"
        return Problem(
            type="",
            title=f"HTTP {answer.status_code}",
            status=answer.status_code,
            detail="not an answer of an exchange",
            code="foreign_answer",
            request_id="",
            retryable=False,
            outcome=outcome,  # type: ignore[arg-type]  # one of the two literals
        )
