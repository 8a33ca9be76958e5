"""The router: a rental is a standing instruction, and hours are bought for it as long as it stands.

state       rentals, their orders, what their owners were told: from the room's own records (`schemas/rentals_log.py`)
market      classes, collars and what became of the orders, from `events`
holding     both together: what a rental has in each hour
books       levels as a decision sees them
deciding    what is to be ordered now, and why an hour cannot be had: limits, choice of the class, the curve on stop
sending     orders under way: which may be sent now, which have had no effect for certain
asking      what a member asks for, and `answers`, `previewing`, `refusals` what he is told
trading     what the exchange and market data are to the room; `gateway` and `reading` ask them over HTTP
webhooks    notices to addresses that members name     addresses   which of these are asked
shell       reads `events`, writes `rentals`; begin there
app         what the gateway passes on

One room works, by its lease. It trades by the public API like everybody, on behalf of the account that rents, and knows of its
fills by `events`. Whatever it decides is a record before anybody is told of it.
"""
