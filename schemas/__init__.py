"""The only language between rooms: units, ids, and every message that crosses a topic or the HTTP edge.

A room (`services/X`) imports `schemas` and `services.runtime`, never another room. Nothing here imports a room, reads a clock or
does I/O. Begin with `commands`, then `events`.

units, ids       amounts and their rounding; contracts, orders, symbols
commands         what is asked of a shard                 events     what happened in it
codec            frames, records, chain: the bytes of both
requests         what is asked of settlement              delivery   what was delivered
supply           what clouds offer                        market     what collars should be based on
keys, signing    who may come through the door, and how a request is signed        feed_token   for the private feed
http             bodies of the public API                 feeds      messages of market data
leases           what delivery has recorded of machines and titles              rental     bodies of the API about them
market_clock     market time by a wall clock              delivery_key   what gateways and delivery share
rentals_log      what the router has recorded             router_key     what gateways and the router share
agents           what agents on machines and the exchange tell each other
edge             how numbers are written in both
specifications   what a class is (`classes/*.toml`)       listing    what it must be for a shard to list it

A topic's module says who writes it and who reads it, in which order and how often a record may come.
"""
