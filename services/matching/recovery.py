"""How a shard's process comes to its state: the newest snapshot that both logs bear out, or the beginning.

1. The quarantine is read.
2. Each snapshot, newest first: it is whole; the engine in it has the state hash it was stored with; `commands` holds the
   very record it was taken after (if not, Halt: that log was cut or replaced); `events` holds the very record that its seq
   ends with (if not, an older one is tried: `events` may have lost its tail, and it is said again from further back).
3. Without one, from offset 0 of both logs. Where one was cut, Halt: a tool makes a snapshot from the archive.

What follows in the logs is applied and compared by `Mirror.catch_up`.
"""

from __future__ import annotations

from collections.abc import Callable

from services.matching import snapshot as engine_bytes
from services.matching.engine import Engine
from services.matching.mirror import Mirror
from services.matching.quarantine import QuarantineReader
from services.matching.replica import Replica
from services.matching.store import FILE_FORMAT, Snapshot, SnapshotStore, Unusable
from services.runtime.errors import Halt
from services.runtime.log import Log
from services.runtime.positions import START, Position, contradiction, verify

Notice = Callable[[str], None]


async def recover(
    shard: int, commands: Log, events: Log, quarantine: Log, store: SnapshotStore, *, notice: Notice
) -> Mirror:
    """A mirror at the newest usable snapshot or at the beginning. `notice` hears why a snapshot was passed over. Raises Halt."""
    banned = QuarantineReader(quarantine, shard)
    await banned.refresh()
    for name in await store.names():
        try:
            stored = await store.load(name)
            replica = restore(shard, stored)
        except Unusable as error:
            notice(f"snapshot {name} is not used: {error}")
            continue
        await verify(commands, replica.position)
        events_position = Position(stored.events_next, stored.events_hash)
        reason = await contradiction(events, events_position)
        if reason:
            notice(f"snapshot {name} is not used: {reason}")
            continue
        return Mirror(replica, commands, events, banned, events_position, epoch=stored.epoch)
    for log in (commands, events):
        if reason := await contradiction(log, START):
            raise Halt(
                f"{reason}. No snapshot can be begun at: `hourbook snapshot --shard {shard}` makes one from there"
            )
    return Mirror(Replica(shard, Engine()), commands, events, banned)


def restore(shard: int, stored: Snapshot) -> Replica:
    """The replica in a snapshot. Raises Unusable."""
    if stored.shard != shard:
        raise Unusable(f"it is of shard {stored.shard}")
    try:
        engine = engine_bytes.load(stored.engine)
    except engine_bytes.BadSnapshot as error:
        raise Unusable(str(error)) from error
    if engine_bytes.state_hash(engine) != stored.state_hash:
        raise Unusable("the engine in it has another state hash than the one it was stored with")
    position = Position(stored.commands_next, stored.commands_hash)
    return Replica(shard, engine, position=position, seq=stored.seq, chain=stored.chain)


def take(mirror: Mirror) -> Snapshot:
    """The snapshot of a mirror whose every output was seen in `events`."""
    assert mirror.verified, "events does not hold everything up to here"
    replica, events_position = mirror.replica, mirror.events_position
    dumped = engine_bytes.dump(replica.engine)
    return Snapshot(
        format=FILE_FORMAT,
        shard=replica.shard,
        commands_next=replica.next_offset,
        commands_hash=replica.position.last_hash,
        events_next=events_position.next_offset,
        events_hash=events_position.last_hash,
        seq=replica.seq,
        chain=replica.chain,
        epoch=mirror.epoch,
        time_ms=replica.engine.time_ms,
        state_hash=engine_bytes.hash_of(dumped),
        engine=dumped,
    )


async def save(mirror: Mirror, store: SnapshotStore) -> str:
    """Write the snapshot of a verified mirror; its name. Raises OSError."""
    return await store.save(take(mirror))
