"""The auditor: every invariant of the design, computed again from the logs and from the postings.

It trusts neither engine nor settlement. `log_model` derives the `market` from `events` alone, theme by theme (`books`, `blocks`
with `plans`, `quotes`, `fills`, `holdings`, `means`, `moments`), with arithmetic, titles and queues of its own; `sums` reads the
postings; `entries`, `asked` and `copies` hold the ledger against the logs; `run` applies `commands` to the production engine,
because D1, D2, M4 and M7 are about that very engine. Each check says how many objects it looked at; one that looked at none has
failed, but for kinds of things that an exchange may do without and that its logs do not have. What cannot be seen from outside
is listed by name in `report.NOT_AUDITED`.
"""
