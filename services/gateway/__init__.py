"""Gateway: the one door for people, bots and the desk. HTTP in, records of the log out, and back.

Begin with `door`, then `orders`. `door` writes frames and finds their answers; `shards` says which door is open; `requests` does
the same for what is asked of settlement.
What members do with both: `orders`, `ranges`, `blocks`, `quotes`, with `funding` for the money that their bids lack and `telling`
for what they are answered; `previews` only asks. `corrections` is what two operators do. `reads` and `classes` are the
projections in Postgres, through `database`, and `progress` says how far they are; `market` passes market data on. `keyring`,
`auth` and `limits` decide who may; `errors` is every refusal there is; `edge` is what is HTTP about it, `wiring` what handlers
are given, `routes` the handlers. `idle` brings back what lies around. A restart loses nothing.

Clients call it over HTTP and nobody else does. It reads the topics `events`, `keys`, `offers` and settlement's tables, asks
market data over HTTP, and writes `commands`, `requests`, `delivery` and `keys`. It imports `schemas` and `services.runtime`.
"""
