"""A gateway of one test: answers what it was told to, and keeps what it was asked. In place of sockets only."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Any

import httpx
import msgspec

from services.simulated.client import Client, Key

Answer = tuple[int, object] | Exception
KEY = Key("k", b"secret", 3)


class TestClock:
    """Time that passes where somebody waits."""

    __test__ = False

    def __init__(self, now_ms: int = 0) -> None:
        self.now = now_ms
        self.slept: list[int] = []

    def now_ms(self) -> int:
        return self.now

    def elapsed_ms(self) -> int:
        return self.now_ms()

    async def sleep_ms(self, duration_ms: int) -> None:
        self.slept.append(duration_ms)
        self.now += duration_ms
        await asyncio.sleep(0)


class FakeGateway(httpx.AsyncBaseTransport):
    """`routes`: method and path (without query) → what it answers, in turn, the last one for ever."""

    def __init__(self, routes: dict[str, list[Answer] | Callable[[Any], Answer]]) -> None:
        self.routes = {where: answers if callable(answers) else deque(answers) for where, answers in routes.items()}
        self.asked: list[tuple[str, Any, str]] = []
        """Where, body, Idempotency-Key."""

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        where = f"{request.method} {request.url.path}"
        content = await request.aread()
        body = msgspec.json.decode(content) if content else None
        self.asked.append((where, body, request.headers.get("Idempotency-Key", "")))
        answers = self.routes.get(where)
        if answers is None:
            answer: Answer = problem(404, "not_found")
        elif callable(answers):
            answer = answers(body)
        else:
            answer = answers.popleft() if len(answers) > 1 else answers[0]
        if isinstance(answer, Exception):
            raise answer
        status, shown = answer
        return httpx.Response(status, content=shown if isinstance(shown, bytes) else msgspec.json.encode(shown))

    def sent(self, where: str) -> list[Any]:
        """Bodies that were sent there."""
        return [body for at, body, _ in self.asked if at == where]

    def keys(self, where: str) -> list[str]:
        return [key for at, _, key in self.asked if at == where]

    def client(self, clock: TestClock) -> Client:
        return Client("http://gateway", KEY, clock, self)


def problem(status: int, code: str, *, retryable: bool = False, outcome: str = "rejected") -> Answer:
    return status, {
        "type": f"/problems/{code}", "title": code, "status": status, "detail": "", "code": code, "request_id": "r",
        "retryable": retryable, "outcome": outcome,
    }  # fmt: skip
