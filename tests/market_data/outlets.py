"""Connections of which a test sees everything."""

from __future__ import annotations

import json
from typing import Any

from tests.market_data.client import Client


class Pipe:
    """An outlet whose reader takes everything at once, or nothing while `stuck`."""

    def __init__(self, client: Client | None = None, *, stuck: bool = False) -> None:
        self.client = client or Client()
        self.stuck = stuck
        self.queued: list[bytes] = []
        self.closed: tuple[int, str] | None = None

    def send(self, data: bytes) -> None:
        assert self.closed is None, "nothing is sent after the end"
        self.queued.append(bytes(data))
        if not self.stuck:
            self.read()

    def read(self) -> None:
        queued, self.queued = self.queued, []
        for data in queued:
            self.client.read(data)

    def waiting(self) -> int:
        return sum(len(data) for data in self.queued)

    def close(self, code: int, reason: str) -> None:
        self.closed = code, reason


def op(name: str, **fields: Any) -> bytes:
    return json.dumps({"op": name, **fields}).encode()
