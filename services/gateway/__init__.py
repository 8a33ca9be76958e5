"""Gateway: the one door for people, bots and the desk. HTTP in, records of the log out, and back.

`door` writes frames and finds their answers; `asks` does the same for requests to settlement; `reads` is the
projections in Postgres; `keyring`, `auth` and `limits` decide who may; `errors` is every refusal there is; `app` only
routes. A restart loses nothing.
"""
