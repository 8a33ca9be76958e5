"""Which services an exchange is made of."""

from typing import Final

SERVICES: Final = ("settlement", "matching", "market_data", "gateway", "supply", "market_maker")
