"""Gateway: the one door for people, bots and the desk. HTTP in, records of the log out, and back.

`door` writes frames and finds their answers; `asks` does the same for requests to settlement; `orders` is what members do with
both. `reads` is the projections in Postgres, through `database`, and `progress` says how far they are. `keyring`, `auth` and
`limits` decide who may; `errors` is every refusal there is; `edge` is what is HTTP about it, and `app` only routes. `idle` brings
back what lies around. A restart loses nothing.
"""
