"""Gateway: the one door for people, bots and the desk. HTTP in, records of the log out, and back. A restart loses nothing.

Begin with `door`, then `orders`.
door         writes frames and finds their answers          shards       which door is open just now
requests     the same for what is asked of settlement       funding      money for bids that lack it     idle   and back
rooms        other rooms, asked over HTTP: delivery and     router       also how the router trades for members here
What members do with them:
orders, ranges, blocks, quotes; what placing is alike in: `placing`; what they are answered: `telling`
previews     what an order would do (arithmetic: `previewing`)
What operators do: `corrections`, with `approvals`; halts are in `orders`, the rest is `requests`
What is read:
reads        projections in Postgres, through `database`    progress     how far they are: a read waits for what was acknowledged
classes      classes and contracts                          volume       how much is traded, and the desk's part
offers       what clouds ask                                market       market data, passed on
Who may, and how it is said:
keyring, auth, limits                                       errors       every refusal there is
values, times   numbers, moments and names at the edge      edge         what is HTTP about it
brake        who asks too often is refused before the application looks
app, wiring, routes   the application, what handlers are given, the handlers
openapi      the API as a document                          metrics      numbers for operators
page         the page that `make web` has built

Clients call it over HTTP, the router among them, and nobody else does. It reads the topics `events`, `keys`, `offers` and
settlement's tables, asks market data, delivery and the router over HTTP, and writes `commands`, `requests`, `delivery` and
`keys`. It imports `schemas` and `services.runtime`.
"""
