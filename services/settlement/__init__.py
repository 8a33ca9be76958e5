"""The room of the ledger: money, titles and claims, transfers, backing, delivery, payouts.

ledger          the chart of accounts; entries that sum to zero; balances
titles          who owes and who holds an hour, and who owns its escrow
state           everything that settlement knows, and what a batch changes of it
backing         what an account may owe in an hour on each ground, and does
events          one event of a shard → entries, projections, confirmations; fills
orders, blocks  projections of orders, ranges, quotes; of blocks and their trades
sides           who stands behind a fill's side that is no order of one hour
contracts       phases, states, references, cover deadlines, the hour's end
confirmations   what a shard did with our messages
corrections     errors put right in cash
requests        one request → checks, entries, messages to a shard, an outcome
deliveries      one delivery record → pay-out of titles of ended hours
payments        what moves payouts; `SimulatedPayments` for sandboxes
tables          rows of schema `settlement`, for whoever stores them
store           what settlement wants of a database
postgres_store  that, over Postgres: one transaction per batch
shell           reads logs, applies, commits, sends messages to the shards
"""
