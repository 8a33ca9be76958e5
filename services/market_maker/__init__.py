"""The desk: the aggregator's own trading, a member like any other. It quotes both sides around what the clouds ask.

Begin with `desk`, then `quoting`.
desk         the loop: reads what there is, decides what should stand, asks for the difference      __main__   wiring
offers       what it sees of the clouds' catalogues: what an hour costs to replace, or why nobody knows
quoting      that, its position and its spread → what to bid and to ask, and how much
planning     what should stand in the books against what does → quotes, promises, cancels
limits       what it may risk (limits.toml)     risk   what it is worth and has open     reached   each limit as it stands
exchange     the exchange as it sees it          client   that, over the public HTTP API, signed with a member's key
pace         how fast it may ask

Walls: it reads the topic `offers` and the public gateway, and knows no other address; its account has a member's rights and
limits (role market maker, whose terms are the same for everybody), pays the same fees, and has no order of its own kind.
Nobody calls it. It buys no machines itself: what it has promised and sold is covered by an operator's word (`Procure`).
It imports `schemas` and `services.runtime`.
"""
