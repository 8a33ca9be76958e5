"""The plumbing of every shell: logs, Postgres, leases, settings, status, supervision. It knows no term of the market.

Begin with `log`, then `supervise`.
log        interfaces `Log` and `Clock`: what shells are written against, so that a simulation can stand in
kafka      `Cluster`, `KafkaLog`: the same interfaces over a broker     kafka_login, kafka_acls   logins and access lists there
topics     creates all topics; checks at every start that they are as they must be     walls   who may do what with which
positions  positions in a log carry the hash of the last record consumed     reading   a log is followed for ever
archive    the old part of a log, in files
postgres   pool and numbered migrations
lease      who may start writing: a name, a holder, an epoch
lives      a room under a lease: one life after the other     decided   the log of what it decides
keys       API keys: secrets sealed, bearer tokens hashed
config     settings from the environment
errors     how a service ends, by what whoever starts it should do next
supervise  `run`: event loop, signals, exit codes
status     `/status`, `/metrics` and `<name>.json` of a process     logging   one JSON object a line
http       the HTTP server of a room, and how much of it a stranger may take
collector  garbage is collected between two batches
backoff    wait for a database or broker that is away, and say so
infra      servers and processes on this machine: for tests, the sandbox, `make up`

Every room's shell calls it. It imports no room, and of `schemas` what logs and keys are made of.
"""
