"""The sandbox's broker: as much of Kafka's protocol as the services speak, in memory. Nothing but Python is needed.

What is here behaves as Apache Kafka does, and tests/runtime runs the same tests on both. What is not here: disks, replicas,
consumer groups, transactions, logins, access lists, TLS, and Kafka's own time stamps, for want of which it is refused outside a
sandbox. Why it exists: docs/decisions/007-memory-broker.md.

logs      topics and partitions: batches as they came, their offsets, and which of a producer's repeats are known already
answers   one answer for each kind of request: begin here
server    connections

Kafka clients call it: the services of a sandbox. It imports the client library's structures and no room.
"""
