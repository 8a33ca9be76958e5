"""Which services an exchange is made of."""

from typing import Final

SERVICES: Final = ("settlement", "matching", "market_data", "delivery", "router", "gateway", "supply", "market_maker")
