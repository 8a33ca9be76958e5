"""What can be said to a market: a sentence → a command.

ana buys 10 at 2.10                          [ioc, fok, post-only, cancel-oldest, running] [until 22:05] [in hour +1] [as mine]
ana buys 2 at 2.10 in hours +0 +1            a range: the same in many hours
ana bids a block of 4 for 3 hours from +0 at 2.00[, at least 2]                [ioc, fok] [until 22:05] [as mine]
mike quotes #7: +0 bids 2 at 1.90 asks 3 at 2.10; +1 asks 3 at 2.10
ana amends bid 1.90 to 3 at 2.00             also by her own id: ana amends mine to ...
ana cancels bid 1.90 / ana cancels mine / ana cancels all [bids, asks] [in hour +1] [of class 1]
ana's switch is set to 5000 ms / ana's switch is off
carl declares 5 / mike promises 5 [at 4.00] / carl readies 5 [at 4.00]         [in hours +0 +1]
ana is given 5.00 / ana gives back 5.00 / ana is a provider
the hour is halted / the class is open / the reference of the class is 2.50 / the engine becomes version 2
olga and otto correct 5.00 from ana to bert for trade 1
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from schemas import commands as cmd
from schemas.commands import Command, Flag, Ground, QuoteHour, Role, Side, State, Tif
from schemas.units import parse_usd
from tests.matching.drawing import clock

if TYPE_CHECKING:
    from tests.matching.market import Market

CLASS: Final = 1
OPERATOR: Final = 900
VALID_MS: Final = 30_000


def command_of(market: Market, sentence: str) -> Command:
    """What it asks for."""
    for pattern, make in _SENTENCES.items():
        match = re.fullmatch(pattern, sentence)
        if match is not None:
            command: Command = make(market, *match.groups())
            return command
    raise AssertionError(f"nobody understands: {sentence}")


# --- Orders ------------------------------------------------------------------------------------------------


def _side(verb: str) -> Side:
    return Side.BUY if verb in {"buys", "bids", "bid"} else Side.SELL


def _kind(how: str) -> tuple[Tif, int, int]:
    """(tif, flags, expires_ms) of " post-only until 22:05"."""
    tif, flags, expires_ms = Tif.GTC, 0, 0
    words = iter(how.split())
    for word in words:
        if word == "until":
            tif, expires_ms = Tif.GTD, clock(next(words))
        elif word in {"ioc", "fok"}:
            tif = Tif[word.upper()]
        else:
            flags |= Flag[word.upper().replace("-", "_")]
    return tif, flags, expires_ms


def _order(
    market: Market, name: str, verb: str, qty: str, price: str, how: str, later: str | None, client: str | None
) -> cmd.PlaceOrder:
    tif, flags, expires_ms = _kind(how)
    return market.order(
        name, _side(verb), int(qty), price, tif=tif, flags=flags, client=client or "", later=int(later or 0),
        expires_ms=expires_ms,
    )  # fmt: skip


def _range(
    market: Market, name: str, verb: str, qty: str, price: str, how: str, hours: str, client: str | None
) -> cmd.PlaceRange:
    tif, flags, expires_ms = _kind(how)
    at = tuple(market.hour + int(later) for later in hours.split())
    return cmd.PlaceRange(
        market.account(name), CLASS, at, _side(verb), int(qty), parse_usd(price), tif, flags, client or "",
        market.engine.time_ms + VALID_MS, expires_ms,
    )  # fmt: skip


def _block(
    market: Market,
    name: str,
    verb: str,
    qty: str,
    hours: str,
    first: str,
    price: str,
    least: str | None,
    how: str,
    client: str | None,
) -> cmd.PlaceBlock:
    tif, flags, expires_ms = _kind(how)
    return cmd.PlaceBlock(
        market.account(name), CLASS, market.hour + int(first), int(hours), _side(verb), int(qty), int(least or qty),
        parse_usd(price), tif, flags, client or "", market.engine.time_ms + VALID_MS, expires_ms,
    )  # fmt: skip


_QUOTE = re.compile(r"([+-]\d+)(?: bids (\d+) at ([\d.]+))?(?: asks (\d+) at ([\d.]+))?(?: nothing)?")


def _put_quotes(market: Market, name: str, number: str, hours: str) -> cmd.PutQuotes:
    quotes = []
    for hour in hours.split("; "):
        match = _QUOTE.fullmatch(hour)
        assert match is not None, f"no quote: {hour}"
        later, bid_qty, bid, ask_qty, ask = match.groups()
        prices = (parse_usd(bid or "0"), int(bid_qty or 0), parse_usd(ask or "0"), int(ask_qty or 0))
        quotes.append(QuoteHour(market.hour + int(later), *prices))
    return cmd.PutQuotes(market.account(name), CLASS, int(number), tuple(quotes), market.engine.time_ms + VALID_MS)


def _resting(market: Market, name: str, side: str, price: str) -> int:
    """The id of the one order of the story's hour that waits there, or of the one block."""
    contract = market.engine.contracts[market.contract()]
    half = contract.bids if side == "bid" else contract.asks
    blocks = contract.buy_blocks if side == "bid" else contract.sell_blocks
    account, at = market.account(name), parse_usd(price)
    found = [o.order for o in [*half, *blocks] if o.account == account and o.price == at]
    assert len(found) == 1, f"{name} has {len(found)} {side}s at {price}"
    return found[0]


def _cancel_at(market: Market, name: str, side: str, price: str) -> cmd.CancelOrder:
    return cmd.CancelOrder(
        market.account(name), _resting(market, name, side, price), "", market.engine.time_ms + VALID_MS
    )


def _cancel(market: Market, name: str, client: str) -> cmd.CancelOrder:
    return cmd.CancelOrder(market.account(name), 0, client, market.engine.time_ms + VALID_MS)


def _cancel_all(
    market: Market, name: str, sides: str | None, later: str | None, class_no: str | None
) -> cmd.MassCancel:
    side = _side(sides[:-1]) if sides else 0
    hour = market.hour + int(later) if later else 0
    return cmd.MassCancel(market.account(name), int(class_no or 0), hour, side, market.engine.time_ms + VALID_MS)


def _amend(
    market: Market, name: str, side: str | None, at: str | None, client: str | None, qty: str, price: str
) -> cmd.AmendOrder:
    order = _resting(market, name, side, at) if side and at else 0
    return cmd.AmendOrder(
        market.account(name), order, client or "", int(qty), parse_usd(price), market.engine.time_ms + VALID_MS
    )


def _switch(market: Market, name: str, after_ms: str | None) -> cmd.CancelAllAfter:
    return cmd.CancelAllAfter(market.account(name), int(after_ms or 0), market.engine.time_ms + VALID_MS)


# --- Settlement and operators --------------------------------------------------------------------------------


def _back(market: Market, name: str, verb: str, qty: str, price: str | None, hours: str | None) -> cmd.SetBacking:
    ground = {"declares": Ground.DECLARED, "promises": Ground.PROMISED, "readies": Ground.READY}[verb]
    number = market.account(name)
    maker = market.engine.accounts[number].role == Role.MARKET_MAKER
    usual = market.cap if ground == Ground.PROMISED or (ground == Ground.READY and maker) else 0
    at = [int(later) for later in hours.split()] if hours else [0]
    return market.backing(name, int(qty), ground, parse_usd(price) if price else usual, hours=at)


def _money(kind: type[cmd.Credit | cmd.Sweep]) -> Any:
    def moved(market: Market, name: str, usd: str) -> Command:
        number = market.account(name)
        return kind(market.outbox(), number, parse_usd(usd))

    return moved


def _role(market: Market, name: str, role: str) -> cmd.SetAccount:
    number = market.account(name)
    return cmd.SetAccount(market.outbox(), number, market.account(market.owners.get(name, name)), Role[role.upper()], 0)


def _state(market: Market, what: str, state: str) -> cmd.SetState:
    hour = market.hour if what == "hour" else cmd.ALL_HOURS
    return cmd.SetState(OPERATOR, CLASS, hour, State[state.upper().replace("-", "_")], "because")


def _reference(market: Market, what: str, price: str) -> cmd.MoveReference:
    hour = market.hour if what == "hour" else cmd.ALL_HOURS
    return cmd.MoveReference(CLASS, hour, parse_usd(price), "index")


def _correct(market: Market, first: str, second: str, usd: str, payer: str, payee: str, trade: str) -> cmd.CorrectCash:
    people = map(market.account, (first, second, payer, payee))
    market.approvals += 1
    return cmd.CorrectCash(
        *people, parse_usd(usd), int(trade), "typed wrong", f"a{market.approvals}", market.engine.time_ms + VALID_MS
    )


_KIND = r"((?: (?:ioc|fok|post-only|cancel-oldest|running|until [\d:]+))*)"
_CLIENT = r"(?: as (\S+))?"
_SENTENCES: dict[str, Any] = {
    rf"(\w+) (buys|sells) (\d+) at ([\d.]+){_KIND}(?: in hour ([+-]\d+))?{_CLIENT}": _order,
    rf"(\w+) (buys|sells) (\d+) at ([\d.]+){_KIND} in hours((?: [+-]\d+)+){_CLIENT}": _range,
    rf"(\w+) (bids|offers) a block of (\d+) for (\d+) hours from ([+-]\d+) at ([\d.]+)(?:, at least (\d+))?{_KIND}{_CLIENT}": (
        _block
    ),
    r"(\w+) quotes #(\d+): (.+)": _put_quotes,
    r"(\w+) amends (?:(bid|ask) ([\d.]+)|(\S+)) to (\d+) at ([\d.]+)": _amend,
    r"(\w+) cancels all(?: (bids|asks))?(?: in hour ([+-]\d+))?(?: of class (\d+))?": _cancel_all,
    r"(\w+) cancels (bid|ask) ([\d.]+)": _cancel_at,
    r"(\w+) cancels (\S+)": _cancel,
    r"(\w+)'s switch is (?:set to (\d+) ms|off)": _switch,
    r"(\w+) (declares|promises|readies) (\d+)(?: at ([\d.]+))?(?: in hours((?: [+-]\d+)+))?": _back,
    r"(\w+) is given ([\d.]+)": _money(cmd.Credit),
    r"(\w+) gives back ([\d.]+)": _money(cmd.Sweep),
    r"(\w+) is a (member|provider|market_maker)": _role,
    r"the (hour|class) is (open|post-only|cancel-only|halted)": _state,
    r"the reference of the (hour|class) is ([\d.]+)": _reference,
    r"the engine becomes version (\d+)": lambda _, version: cmd.SetEngineVersion(OPERATOR, int(version)),
    r"(\w+) and (\w+) correct ([\d.]+) from (\w+) to (\w+) for trade (\d+)": _correct,
}
