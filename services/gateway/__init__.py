"""Gateway: the one door for people, bots and the desk. HTTP in, records of the log out, and back.

`door` writes frames and finds their answers; `shards` says which door is open; `asks` does the same for requests to settlement.
What members do with both: `orders`, `ranges`, `blocks`, `quotes`, with `funding` for the money that their bids lack and `telling`
for what they are answered; `previews` only asks. `corrections` is what two operators do. `reads` and `classes` are the
projections in Postgres, through `database`, and `progress` says how far they are; `market` passes market data on. `keyring`,
`auth` and `limits` decide who may; `errors` is every refusal there is; `edge` is what is HTTP about it, `wiring` what handlers
are given, `routes` the handlers. `idle` brings back what lies around. A restart loses nothing.
"""
