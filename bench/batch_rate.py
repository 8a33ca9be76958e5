"""Orders a second in batches of 64 from 64 clients, against the gateway of PyPI `matching-engine`, which takes one at a time.

As `bench.order_rate`, whose page says what runs on either side. Target: 3 times the peer.
"""

from __future__ import annotations

from bench.order_rate import bench

BATCH = 64
ORDERS = 320
"""Of each client in each round."""

if __name__ == "__main__":
    bench("batch_rate", batch=BATCH, orders=ORDERS)
