"""The room of the ledger: money, titles and claims, transfers, backing, delivery, payouts. Begin with `shell`, then `events`.

Three logs come in, one batch after the other; each batch is one transaction in Postgres, and messages to shards go out after it.

shell           reads logs, applies, commits, sends messages to the shards: the protocol, step by step
__main__        wiring; one life after the other
postgres_store  `store.Store` over Postgres: one transaction per batch      store    what settlement wants of a database
payments        what moves payouts; `SimulatedPayments` for sandboxes
Pure are all of these:
state           everything that settlement knows, and what a batch changes of it   changes   rows to write, by their keys
rows            rows of schema `settlement`, for whoever stores them
ledger          the chart of accounts; entries that sum to zero; balances
titles          who owes and who holds an hour, and who owns its escrow
backing         what an account may owe in an hour on each ground, and does
events          one event of a shard → entries, projections, confirmations; fills
orders, blocks  projections of orders, ranges, quotes; of blocks and their trades
sides           who stands behind a fill's side that is no order of one hour
contracts       phases, states, references, cover deadlines, the hour's end
confirmations   what a shard did with our messages                                 corrections   errors put right in cash
requests        one request → an answer; each kind in `accounts`, `money`, `machines`; `answers`: what an answer can be
deliveries      one delivery record → pay-out of titles of ended hours
refusals        what came from outside and has no place to go

Nobody calls it: it reads `events`, `requests` and `delivery` and writes `commands` (its outbox) and Postgres, where gateways
read. It imports `schemas` and `services.runtime`.
"""
