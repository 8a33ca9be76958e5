"""Every key in force: topic `keys`, read whole before the first request and followed from there."""

from __future__ import annotations

import logging

import msgspec
from cryptography.exceptions import InvalidTag

from schemas.codec import UNREADABLE
from schemas.keys import KeyIssued, KeyRecord, KeyRevoked
from services.gateway.auth import Key
from services.runtime.errors import Halt
from services.runtime.keys import unseal
from services.runtime.log import Log, Record

_decoder: msgspec.msgpack.Decoder[KeyRecord] = msgspec.msgpack.Decoder(KeyRecord)
_log = logging.getLogger("hourbook.gateway")


class Keyring:
    """`keys`: by id. A key works from the moment its record is read."""

    def __init__(self, log: Log, master_key: bytes) -> None:
        self.keys: dict[str, Key] = {}
        self._log = log
        self._master_key = master_key
        self._next = 0

    async def load(self) -> None:
        """Read to the topic's present end. Raises Halt, LogError."""
        _, end = await self._log.bounds()
        while self._next < end:
            await self.follow(wait_ms=1_000)

    async def follow(self, *, wait_ms: int) -> None:
        """One read."""
        for record in await self._log.read(self._next, wait_ms=wait_ms):
            self._take(record)
            self._next = record.offset + 1

    def _take(self, record: Record) -> None:
        try:
            entry = _decoder.decode(record.value)
        except UNREADABLE as error:
            raise Halt(f"keys offset {record.offset} is not a key record: {error}") from error
        if isinstance(entry, KeyRevoked):
            self.keys.pop(entry.key_id, None)
            return
        self._open(entry)

    def _open(self, entry: KeyIssued) -> None:
        try:
            secret = unseal(self._master_key, entry.key_id, entry.secret_sealed)
        except InvalidTag:
            # Sealed with another master key: it cannot be used here, and nothing else is wrong.
            _log.warning("key %s was sealed with another master key and is not usable", entry.key_id)
            return
        self.keys[entry.key_id] = Key(entry, secret)
