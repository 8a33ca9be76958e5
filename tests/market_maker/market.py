"""An exchange with the real engine, a catalogue, and the desk's process, which may be started again; the book drawn as text."""

from __future__ import annotations

from schemas.commands import Side
from schemas.ids import hour_of, parse_symbol
from schemas.supply import OfferGone, OfferSeen, PollDone
from services.market_maker.desk import Desk
from services.market_maker.limits import Limits
from services.runtime.status import Status
from tests.clock import HandClock
from tests.market_maker.hall import DESK, T0_MS, Hall

SINGLE = "H100"
NODE = "H100.X8"

LIMITS = Limits(
    capital_micros=10**9, gpus_max=8, gpu_hours_max=1_000, loss_per_day_micros=10**8, stale_after_ms=45_000, jump_bp=10_000,
    settle_ms=60_000, window_hours=3, spread_bp=500, margin_bp=100, age_bp=0, dispersion_share_bp=0, dispersion_bp=0, skew_bp=0,
    perish_bp=0, book_share_bp=0, book_band_bp=0, collateral_over_cap_bp=0, cover_lead_ms=0, running_gpus=0,
    dead_man_ms=30_000, requests_per_second=100, order_valid_ms=1_000, refresh_ms=1_000,
)  # fmt: skip
"""Nothing moves a price but the cheapest offer: 5 % to both sides, and the seller's 50 bp."""


class Page:
    """A file in memory: outlives the processes of a test."""

    def __init__(self) -> None:
        self.text = b""

    def exists(self) -> bool:
        return bool(self.text)

    def read_bytes(self) -> bytes:
        return self.text

    def write_bytes(self, text: bytes) -> None:
        self.text = text


class Market:
    """What a test tells its story with."""

    def __init__(self, *, limits: Limits = LIMITS, wallet: int = 10**12) -> None:
        self.clock = HandClock(T0_MS)
        self.hall = Hall(self.clock, wallet=wallet)
        self.hall.list(SINGLE)
        self.limits = limits
        self.status = Status("market_maker")
        self.records: list[OfferSeen | OfferGone | PollDone] = []
        self.day_file = Page()
        self.start()

    def start(self) -> None:
        """A new process: it knows the topic and the file of the day, and nothing else of the one before."""
        self.desk = Desk(self.hall, self.limits, self.clock, self.status, self.day_file)
        for record in self.records:
            self.desk.offers.apply(record)

    # --- The catalogue ------------------------------------------------------------------------------------------------

    def publish(self, record: OfferSeen | OfferGone | PollDone) -> None:
        self.records.append(record)
        self.desk.offers.apply(record)

    def lists(self, price: int, cloud: str = "cloud", class_id: str = SINGLE, gpus: int = 1) -> None:
        now_ms = self.clock.now_ms()
        self.publish(OfferSeen(cloud, "r", "t", "on_demand", class_id, gpus, price, 1, 1, "file", 0, now_ms, "s"))
        self.polls()

    def drops(self, cloud: str = "cloud") -> None:
        self.publish(OfferGone(cloud, "r", "t", "on_demand", self.clock.now_ms()))
        self.polls()

    def polls(self) -> None:
        self.publish(PollDone("s", 1, 1, 0, {}, self.clock.now_ms()))

    # --- The desk -----------------------------------------------------------------------------------------------------

    async def turn(self) -> None:
        """One reading and what follows from it."""
        await self.desk.read()
        await self.desk.quote()

    def book(self, class_id: str = SINGLE) -> list[str]:
        """Hours with orders of the desk: hour | bids | asks, as the engine has them."""
        drawn: dict[str, dict[Side, list[str]]] = {}
        for order in self.hall.own():
            symbol = self.hall._symbol(order.contract)
            if parse_symbol(symbol)[0] == class_id:
                sides = drawn.setdefault(symbol, {Side.BUY: [], Side.SELL: []})
                sides[Side(order.side)].append(f"{order.leaves}@{order.price}")
        return [
            f"{symbol[-6:-4]} | {' '.join(sides[Side.BUY])} | {' '.join(sides[Side.SELL])}"
            for symbol, sides in sorted(drawn.items())
        ]

    def symbol(self, hour: int, class_id: str = SINGLE) -> str:
        (symbol,) = [row.symbol for row in self.desk.classes[class_id].hours if row.symbol[-6:-4] == f"{hour:02}"]
        return symbol

    def position(self, hour: int, class_id: str = SINGLE) -> int:
        """Held minus owed in the engine."""
        symbol = self.symbol(hour, class_id)
        for (account, contract), (held, owed) in self.hall.engine.positions().items():
            if account == DESK and hour_of(contract) == parse_symbol(symbol)[1]:
                return held - owed
        return 0

    def limit(self, name: str) -> tuple[int, int, bool, int, str]:
        """As `/status` has it: bound, where it stands, whether it is reached, since when (ms after the beginning), why."""
        bound, stands, reached, since_ms, why = (
            self.status.values[f"limit_{name}_{part}"] for part in ("bound", "stands", "reached", "since_ms", "why")
        )
        assert isinstance(reached, bool)
        return int(bound), int(stands), reached, int(since_ms) - T0_MS if since_ms else 0, str(why)

    def reached(self) -> list[str]:
        """Names of the limits that hold the desk back just now."""
        return [
            key.split()[1] for key in self.status.values if key.startswith("limit ") and self.limit(key.split()[1])[2]
        ]

    def says(self, class_id: str = SINGLE) -> str:
        """What the status says that the class rests on."""
        return str(self.status.values[f"quote {class_id}"])
