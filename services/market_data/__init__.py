"""Market data: what everybody may know of the market, and what a member may know of his own account, told as it happens.

It reads `events` of every shard from their beginning, `rentals` and `offers`; it keeps nothing. What it says is rebuilt at each
start.

Begin with `hub`, then `market` and `holdings`. Pure are all but the last three:
hub          records in, messages out: all that is known, and who listens
market       a shard as the public sees it                         holdings    what every account of a shard has
books        depth of every contract, from events alone            tape        trades, statistics of the last 24 hours
blocks       the public block book                                 clouds      what clouds ask for a class
rentals      what every account rents and was told of it           rental_feed that → messages to its owner
references   what collars should be based on
public       what has changed → messages for everybody             private     orders, fills, positions, balances of an account
channels     one stream of numbered messages, with its ring        sessions    one reader: what he asked for, what he is sent
answers      the same over HTTP                                    lines       numbers inside, decimal strings at the edge
asyncapi     the feed as a document
shell        reads the logs, writes `references`                   server      holds the WebSockets
app          answers over HTTP inside the cluster; `__main__` wires

Readers call it on its WebSocket port, the gateway over HTTP. It writes the topic `references` and nothing else, has no database,
and imports `schemas` and `services.runtime`.
"""
