"""Standing instructions: what is bought for them, and what never is. Begin with `test_deciding`.

`place` is a small exchange to trade at, `room` a router without sockets that trades there, `judge` says from the exchange's own
fills whether a rental's limits were kept.
"""
