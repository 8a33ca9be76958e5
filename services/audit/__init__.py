"""The auditor: every invariant of the design, computed again from the log and from the postings.

It trusts neither engine nor settlement: `log_model` derives the market from `events` alone, `ledger_checks` reads the
postings, `replay_checks` runs the engine anew over `commands`. Each check says how many objects it looked
at; one that looked at none has failed.
"""
