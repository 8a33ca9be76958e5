"""A short log of the second engine version, told by the real engine: blocks, ranges, quotes, both phases, promises bought in."""

from __future__ import annotations

from schemas import commands as cmd
from schemas.commands import Fees, Flag, Ground, QuoteHour, Role, Side, Tif
from schemas.ids import order_id
from schemas.units import MS_PER_HOUR
from tests.audit.tale import ANA, BEA, BOB, CID, DEE, EVE, HOUR, NEXT, OWNER, ROLE, T0_MS, Tale

GATE_MS = HOUR * MS_PER_HOUR - 300_000
COVER_MS = HOUR * MS_PER_HOUR - 1_800_000
BUY, SELL = Side.BUY, Side.SELL


def block(tale: Tale, name: str, account: int, side: int, qty: int, price: int, qty_min: int = 1) -> None:
    """Over both hours."""
    body = cmd.PlaceBlock(account, 1, HOUR, 2, side, qty, qty_min, price, Tif.GTC, 0, "", tale.valid_ms)
    tale.tell(name, body)


def of(tale: Tale, name: str) -> int:
    """Order id of the record's first command."""
    return order_id(0, tale.place(name), 0)


def the_second_tale() -> Tale:
    """Two hours of one class: the first one is told to its end."""
    tale = Tale()
    tale.tell("start", cmd.StartShard(0, 2, T0_MS))
    tale.tell("list", cmd.SetClass(tale.outbox(), 1, "TEST", 1, 10, 1_000, Fees(0, 10, 50, 30), horizon_hours=3))
    for account in (ANA, BOB, BEA, CID, DEE, EVE):
        owner, role = OWNER.get(account, account), ROLE.get(account, Role.MEMBER)
        tale.tell(f"open {account}", cmd.SetAccount(tale.outbox(), account, owner, role, 0))
        tale.tell(f"credit {account}", cmd.Credit(tale.outbox(), account, 100_000))
    tale.back("ana declares 20", ANA, Ground.DECLARED, 20, 1)
    tale.back("cid declares 20", CID, Ground.DECLARED, 20, 1)
    tale.back("dee promises 8", DEE, Ground.PROMISED, 8, 1)
    _blocks(tale)
    _orders(tale)
    _quotes(tale)
    _operators(tale)
    _deadline(tale)
    _running(tale)
    return tale


def _blocks(tale: Tale) -> None:
    tale.order("ana asks 3 at 1000", ANA, SELL, 3, 1_000)
    tale.order("ana asks 3 at 1000 in the next", ANA, SELL, 3, 1_000, contract=NEXT)
    block(tale, "bob's block takes 2", BOB, BUY, 2, 1_100)
    block(tale, "cid's block waits", CID, SELL, 4, 1_050)
    # One GPU of each hour book, which are better, and then cid's block at its own price.
    block(tale, "eve's block takes 3", EVE, BUY, 3, 1_100, 2)
    block(tale, "bob's block waits", BOB, BUY, 5, 900, 3)
    tale.order("cid asks 3 at 880", CID, SELL, 3, 880)
    tale.order("cid asks 3 at 880 in the next", CID, SELL, 3, 880, contract=NEXT)
    tale.tell("bob's block goes", cmd.CancelOrder(BOB, of(tale, "bob's block waits"), "", tale.valid_ms))


def _orders(tale: Tale) -> None:
    hours = (HOUR, HOUR + 1, HOUR + 900)
    tale.tell("bob's range", cmd.PlaceRange(BOB, 1, hours, BUY, 2, 800, Tif.GTC, 0, "range", tale.valid_ms))
    tale.tell("bob's range again", cmd.PlaceRange(BOB, 1, hours, BUY, 2, 800, Tif.GTC, 0, "range", tale.valid_ms))
    tale.order("eve bids 4 at 800", EVE, BUY, 4, 800, "eve-1")
    tale.tell("eve takes less", cmd.AmendOrder(EVE, 0, "eve-1", 2, 800, tale.valid_ms))
    tale.tell("eve takes more", cmd.AmendOrder(EVE, 0, "eve-1", 5, 800, tale.valid_ms))
    tale.order("bea bids for a minute", BEA, BUY, 1, 810, tif=Tif.GTD, expires_ms=tale.time_ms + 60_000)
    tale.tell("eve's switch", cmd.CancelAllAfter(EVE, 90_000, tale.valid_ms))
    tale.tick("a minute later", tale.time_ms + 60_000)
    tale.tick("the switch fires", tale.time_ms + 60_000)
    tale.tell("bob wants nothing", cmd.MassCancel(BOB, 1, HOUR, BUY, tale.valid_ms))


def _quotes(tale: Tale) -> None:
    quotes = (QuoteHour(HOUR, 700, 2, 1_200, 2), QuoteHour(HOUR + 900, 700, 2, 1_200, 2))
    tale.tell("dee quotes", cmd.PutQuotes(DEE, 1, 1, quotes, tale.valid_ms))
    tale.tell("dee quotes less", cmd.PutQuotes(DEE, 1, 2, (QuoteHour(HOUR, 700, 1, 1_190, 2),), tale.valid_ms))
    tale.order("eve takes the quote", EVE, BUY, 2, 1_190, tif=Tif.IOC)


def _operators(tale: Tale) -> None:
    tale.tell("halt", cmd.SetState(ANA, 1, HOUR, 4, "fire"))
    tale.tell("reopen", cmd.SetState(ANA, 1, HOUR, 1, "no fire"))
    tale.tick("post-only", tale.time_ms + 60_000)
    tale.tick("open", tale.time_ms + 30_000)
    tale.tell("correct", cmd.CorrectCash(ANA, CID, BOB, EVE, 500, 1, "a wrong price", "a1", tale.valid_ms))
    tale.tell("correct more", cmd.CorrectCash(ANA, CID, BOB, EVE, 1, 1, "a wrong price", "a2", tale.valid_ms))
    tale.tell("the reference rises", cmd.MoveReference(1, HOUR, 1_100, "index"))


def _deadline(tale: Tale) -> None:
    """dee owes 2: one is bought, the other one fails."""
    tale.order("cid asks 1 at 1300", CID, SELL, 1, 1_300)
    tale.tick("cover", COVER_MS)
    tale.order("ana asks 2 at 1500", ANA, SELL, 2, 1_500, flags=Flag.RUNNING)
    tale.back("ana is ready with 3", ANA, Ground.READY, 3, 1)
    ready = cmd.SetBacking(tale.outbox(), DEE, 1, (HOUR,), Ground.READY, 2, 2_200, 1)
    tale.tell("dee is ready with 2", ready)


def _running(tale: Tale) -> None:
    tale.tick("gate", GATE_MS)
    tale.tick("the hour begins", HOUR * MS_PER_HOUR + 20 * 60_000)
    tale.order("dee asks 1 at 1400", DEE, SELL, 1, 1_400)
    tale.order("eve buys 2 at once", EVE, BUY, 2, 1_500, tif=Tif.IOC)
    tale.tick("closed", (HOUR + 1) * MS_PER_HOUR - 600_000)
    tale.tick("end", (HOUR + 1) * MS_PER_HOUR)
