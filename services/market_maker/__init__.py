"""The desk: the aggregator's own trading, a member like any other. So far it asks; it does not bid and does not source.

offers       what it sees of the clouds' catalogues: the cheapest firm offer of each class, or why there is none
quoting      that offer plus a margin → the price to ask; its capital → the size
planning     what should stand in the books against what does → cancels, orders, backing
limits       what it may risk (limits.toml)
client       the public HTTP API, signed with a member's key, at a bounded rate
desk         the loop over these: reads open orders first, then keeps asks where they belong
__main__     wiring

Walls: it reads the topic `offers` and the public gateway, and knows no other address; its account has a member's rights and
limits (role market maker, whose terms are the same for everybody), pays the same fees, and has no order of its own kind.
"""
