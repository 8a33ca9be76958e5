"""A log in memory, for benches that measure what happens to bytes and not the broker that brings them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from services.runtime.log import Outgoing, Record


class Stored:
    """`services.runtime.log.Log` over a list."""

    def __init__(self, topic: str, records: Iterable[Record] = ()) -> None:
        self.topic = topic
        self.partition = 0
        self.records = list(records)

    async def bounds(self) -> tuple[int, int]:
        return 0, len(self.records)

    async def read(self, offset: int, *, count: int = 500, wait_ms: int = 0) -> list[Record]:  # noqa: ARG002 # all is there
        return self.records[offset : offset + count]

    async def append(self, records: Sequence[Outgoing]) -> None:
        raise NotImplementedError(f"nothing is written to {self.topic} in a bench: {len(records)} records")
