"""The auditor: every invariant of the design, computed again from the logs and from the postings. Begin with `run`.

It trusts neither engine nor settlement. `log_model` derives the `market` from `events` alone, theme by theme: `books`, `blocks`
with `plans`, `quotes`, `fills`, `holdings` with `titles` and `queues`, `means`, `moments`, `outcomes`, with an `arithmetic` of
its own. `sums` reads the postings; `entries` with `expected`, `asked` and `copies` hold the ledger (`database`) against the logs;
`leases` holds what delivery has recorded against events and delivery records, and `rentals` what the router has against events;
`run` applies `commands` to the production engine, because D1, D2, M4 and M7 are about that very engine. Each check says how many
objects it looked at; one that looked at none has failed, but for kinds of things that an exchange may do without and that its
logs do not have. What cannot be seen from outside is listed by name in `report.NOT_AUDITED`.

`hourbook audit` starts it, as a process that only reads. It imports `schemas`, `services.runtime`, and of all rooms alone another
one: `run` imports `services.matching`.
"""
