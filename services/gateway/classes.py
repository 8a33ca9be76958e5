"""Classes and contracts as the door knows them: listed classes by id and number, symbols, collars, and names at the edge."""

from __future__ import annotations

import tomllib

from schemas import http
from schemas.edge import STATES, iso_hour
from schemas.ids import class_no_of, contract_of, format_symbol, hour_of, parse_symbol
from schemas.specifications import Specification, parse
from schemas.units import MS_PER_MINUTE, BasisPoints, Price, format_usd
from services.gateway.database import Database, Row
from services.gateway.errors import ApiError


class Classes:
    """Listed classes, by id and number; read again when one is asked for that is not known."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.by_id: dict[str, Row] = {}
        self.by_no: dict[int, Row] = {}

    async def refresh(self) -> None:
        """Read all."""
        rows = await self._database.fetch("SELECT * FROM settlement.classes WHERE listed ORDER BY class_id")
        self.by_id = {row["class_id"]: row for row in rows}
        self.by_no = {row["class_no"]: row for row in rows}

    async def get(self, class_id: str) -> Row:
        """Raises ApiError unknown_class."""
        if class_id not in self.by_id:
            await self.refresh()
        if class_id not in self.by_id:
            raise ApiError("unknown_class", f"{class_id!r} is not listed; GET /v1/classes lists the classes")
        return self.by_id[class_id]

    async def specification(self, class_id: str) -> Specification:
        """As it was listed, which no later build changes. Raises ApiError unknown_class."""
        return parse((await self.get(class_id))["specification"].encode())

    async def number(self, class_no: int) -> Row:
        """A class that an order or title is of."""
        if class_no not in self.by_no:
            await self.refresh()
        return self.by_no[class_no]

    async def contract(self, symbol: str) -> tuple[Row, int]:
        """Symbol → (class, contract). Whether the hour is listed is not looked at. Raises ApiError."""
        try:
            class_id, hour = parse_symbol(symbol)
        except ValueError as error:
            raise ApiError("wrong_contract", str(error)) from None
        row = await self.get(class_id)
        return row, contract_of(row["class_no"], hour)

    async def symbol(self, contract: int) -> str:
        """Contract → symbol."""
        row = await self.number(class_no_of(contract))
        return format_symbol(row["class_id"], hour_of(contract))


def class_answer(row: Row, *, specification: bool = False) -> http.ClassAnswer:
    """A row of `classes`."""
    return http.ClassAnswer(
        class_id=row["class_id"],
        title=str(tomllib.loads(row["specification"]).get("title", "")),
        shard=row["shard"],
        lot=row["lot"],
        tick=format_usd(row["tick"]),
        list_price=format_usd(row["list_price"]),
        reference=format_usd(row["reference"]),
        collar_low=format_usd(row["collar_low"]),
        collar_high=format_usd(row["collar_high"]),
        buyer_maker_bp=row["buyer_maker"],
        buyer_taker_bp=row["buyer_taker"],
        seller_maker_bp=row["seller_maker"],
        seller_taker_bp=row["seller_taker"],
        horizon_hours=row["horizon_hours"],
        gate_minutes=row["gate_ms"] // MS_PER_MINUTE,
        cover_minutes=row["cover_ms"] // MS_PER_MINUTE,
        state=STATES[row["state"]],
        specification=row["specification"] if specification else "",
    )


def bid_rate(of_class: Row) -> BasisPoints:
    """With which a bid's hold counts: the higher of a buyer's two rates."""
    rate: BasisPoints = max(of_class["buyer_maker"], of_class["buyer_taker"])
    return rate


def contract_answer(of_class: Row, row: Row) -> http.ContractAnswer:
    """A row of `contracts`."""
    low, high = collar(of_class, row)
    return http.ContractAnswer(
        contract=format_symbol(of_class["class_id"], row["hour"]),
        class_id=of_class["class_id"],
        hour=iso_hour(row["hour"]),
        phase=row["phase"],
        state=STATES[max(of_class["state"], row["state"])],
        collar_low=format_usd(low),
        collar_high=format_usd(high),
    )


def collar(of_class: Row, contract: Row) -> tuple[Price, Price]:
    """Of an hour: its own, or its class's."""
    row = contract if contract["reference"] else of_class
    return row["collar_low"], row["collar_high"]
