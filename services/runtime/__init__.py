"""The plumbing of every shell: logs, Postgres, leases, settings, status, supervision. It knows no term of the market.

log        interfaces `Log` and `Clock`: what shells are written against, so that a simulation can stand in
kafka      `Cluster`, `KafkaLog`: the same interfaces over a broker
topics     creates all topics; checks at every start that they are as they must be
positions  positions in a log carry the hash of the last record consumed
postgres   pool and numbered migrations
lease      who may start writing: a name, a holder, an epoch
config     settings from the environment
supervise  `run`: event loop, signals, exit codes
status     `/status`, `/metrics` and `<name>.json` of a process
collector  garbage is collected between two batches
backoff    wait for a database or broker that is away, and say so
"""
