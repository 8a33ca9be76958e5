"""Market data: what everybody may know of the market, and what a member may know of his own account, told as it happens.

It reads `events` of every shard from their beginning, and `offers`; it keeps nothing. What it says is rebuilt at each start.

books        depth of every contract, from events alone           tape        trades, statistics of the last 24 hours
blocks       the public block book                                 market      a shard as the public sees it
references   what collars should be based on                       private     orders, fills, positions, balances of an account
channels     one stream of numbered messages, with its ring        sessions    one reader: what he asked for, what he is sent
Pure are all of these. `shell` reads the logs, `server` holds the WebSockets, `app` answers over HTTP.
"""
