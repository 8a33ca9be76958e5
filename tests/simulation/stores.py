"""Simulated lease and snapshot store: what a database and a disk may do to a shard. They outlive every process."""

from __future__ import annotations

import contextlib
import errno
from collections import Counter

from services.matching.store import Snapshot, Unusable, decode, encode
from services.runtime.lease import LeaseAway
from tests.simulation.world import Wait, World


class SimLease:
    """`services.runtime.lease.Lease` over one table row per name; the database's clock is the world's."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.away = False
        self.held: dict[str, tuple[int, str, int]] = {}
        """name -> (epoch, holder, expires_ms)."""

    async def acquire(self, name: str, holder: str, ttl_ms: int, *, above: int = 0) -> int | None:
        await self._ask()
        epoch, by, expires_ms = self.held.get(name, (0, "", 0))
        if expires_ms > self.world.now_ms and by != holder:
            return None
        epoch = max(epoch, above) + 1
        self.held[name] = (epoch, holder, self.world.now_ms + ttl_ms)
        return epoch

    async def renew(self, name: str, holder: str, epoch: int, ttl_ms: int) -> bool:
        await self._ask()
        if self.held.get(name, (0, "", 0))[:2] != (epoch, holder):
            return False
        self.held[name] = (epoch, holder, self.world.now_ms + ttl_ms)
        return True

    async def release(self, name: str, holder: str, epoch: int) -> None:
        await self._ask()
        if self.held.get(name, (0, "", 0))[:2] == (epoch, holder):
            self.held[name] = (epoch, holder, 0)

    async def _ask(self) -> None:
        await Wait(self.world.now_ms + int(self.world.chance("latency").random() * 4))
        if self.away:
            raise LeaseAway("simulated: the database is away")


class SimSnapshots:
    """`services.matching.store.SnapshotStore` in memory, through the bytes of the real files."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.files: dict[str, bytes] = {}
        self.full = False
        """No room on the disk."""
        self.did: Counter[str] = Counter()

    async def names(self) -> list[str]:
        return sorted(self.files, reverse=True)

    async def load(self, name: str) -> Snapshot:
        await Wait(self.world.now_ms + 1)
        if name not in self.files:
            raise Unusable("gone")
        return decode(self.files[name])

    async def save(self, snapshot: Snapshot) -> str:
        await Wait(self.world.now_ms + self.world.chance("latency").randint(0, 20))
        if self.full:
            self.did["disk was full"] += 1
            raise OSError(errno.ENOSPC, "simulated: no space left on device")
        name = f"{snapshot.commands_next:012d}"
        self.files[name] = encode(snapshot)
        self.did["snapshot"] += 1
        for old in sorted(self.files)[:-3]:
            del self.files[old]
        return name

    def whole(self) -> list[Snapshot]:
        """Those that can be read."""
        found = []
        for _, data in sorted(self.files.items()):
            with contextlib.suppress(Unusable):
                found.append(decode(data))
        return found

    def damage(self, chance_of: str) -> bool:
        """Cut off or flip a byte of one file, as a bad disk would; False: there is none."""
        chance = self.world.chance(chance_of)
        if not self.files:
            return False
        name = chance.choice(sorted(self.files))
        data = bytearray(self.files[name])
        if chance.random() < 0.3:
            del data[chance.randrange(len(data)) :]
        else:
            data[chance.randrange(len(data))] ^= 0xFF
        self.files[name] = bytes(data)
        return True
