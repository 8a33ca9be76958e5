"""Matching: books, accounts and titles of a shard, one writer, replayable. Begin with `engine`: one record in, events out.

Pure, no clock and no disk (`make compile` makes machine code of them):
    engine       a record: time, what is due, each command. What it is made of, and its page says which is what: `orders`,
                 `changes`, `blocks`, `plans`, `quotes`, `settling`, `backing`, `operating`, `trading`, `moments`, `state`,
                 `book`, `titles`, `queues`
    snapshot     the engine's state as bytes     invariants   what must hold of it, worked out anew
    literals     numbers of enumerations         native       what only the compiled build reads
The process around it. Every one begins as a follower; who gets the lease goes on as the writer:
    __main__     wiring                          replica      bytes of `commands` in, bytes of `events` out
    recovery     from a snapshot to a replica    mirror       a replica held against what `events` says
    follower     the warm standby; snapshots     shell        the active writer, step by step
    store        where snapshots are kept        references   what market data wishes of collars → commands
    quarantine   records taken out of the market replay       a log once more, compared      tools   an operator's commands

Nobody calls it: it reads `commands` and writes `events` (docs/architecture.md). It imports `schemas` and `services.runtime`; the
auditor alone imports it, because some invariants are about this very engine.
"""
