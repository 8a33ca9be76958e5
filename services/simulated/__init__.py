"""What a sandbox has in place of the world outside, all of it simulated: a cloud with machines, and members who trade.

Begin with `covering` for the cloud, with `minds` for the members.
chance       draws that follow from a seed
covering     what market makers have promised and sold → what to buy for them, and when; what becomes of an ended hour
minds        what a demo member sees → what it asks of the exchange next
purse        how much a demo member may spend, so that its money lasts for days
requests     what it wants → the HTTP request for it
client       the public HTTP API, signed with a key; an outcome that is unknown is asked for again
news         what a process has done of late, for its `/status`
fleet        which machines the cloud has for whom, and which of their leases it opens
agents       these machines at the exchange: enrolled, heard, simulated
cloud        `python -m services.simulated cloud`: procures and delivers, with an operator's key
hosts        `python -m services.simulated hosts`: sell what a sandbox's agents let; the machines are real
members      `python -m services.simulated members`: demo members, each with its own key

Like any client it knows the gateway's address and keys, and nothing else of the exchange: no log, no database, no room. Nobody
calls it; it imports `schemas` and `services.runtime`.
What is simulated says so in its name: processes `simulated-cloud`, `simulated-members` and `simulated-hosts`, provider
`simulated-cloud`, accounts `demo-...`.
"""
