"""Which services an exchange is made of."""

from typing import Final

SERVICES: Final = ("settlement", "matching", "gateway", "supply", "market_maker")
