"""The engine's whole state as bytes. The same state gives the same bytes, whatever path led there. Pure.

A MessagePack document: [format, scalars, classes, accounts, client ids, contracts, due]. Nothing that can be derived is
stored: `load` builds it and `check` would notice.
"""

from __future__ import annotations

import hashlib
from collections import deque
from heapq import heapify
from typing import Any, Final

import msgspec

from schemas.commands import Side
from schemas.events import ClassSet
from services.matching.book import Order, key_of
from services.matching.engine import ENGINE_VERSIONS, Account, Contract, Engine, Listed, hold_of
from services.matching.literals import GTC
from services.matching.titles import Backing, Title

SNAPSHOT_FORMAT: Final = 1

_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder()
_SCALARS = (
    "shard",
    "version",
    "offset",
    "time_ms",
    "t0_ms",
    "rate",
    "sandbox",
    "outbox_last",
    "trade_last",
    "title_last",
)
_CLIENT_ID = ("order", "accepted_ms", "account", "client_id", "contract", "side", "qty", "price", "tif", "flags")
_TITLE = ("number", "obligor", "holder", "ground", "qty", "minutes", "escrow", "proceeds", "cost")


class BadSnapshot(Exception):
    """The bytes are not a snapshot that this build can read."""


def dump(engine: Engine) -> bytes:
    """State → bytes."""
    scalars = [getattr(engine, name) for name in _SCALARS]
    classes = [(listed.spec, listed.state) for _, listed in sorted(engine.classes.items())]
    accounts = [(a.account, a.owner, a.role, a.fee_plan, a.cash) for _, a in sorted(engine.accounts.items())]
    contracts = [_dump_contract(contract) for _, contract in sorted(engine.contracts.items())]
    return _encoder.encode(
        (SNAPSHOT_FORMAT, scalars, classes, accounts, _dump_ids(engine), contracts, sorted(engine.due))
    )


def _dump_ids(engine: Engine) -> list[tuple[Any, ...]]:
    """Oldest order first."""
    return sorted(
        tuple(getattr(known, name) for name in _CLIENT_ID)
        for account in engine.accounts.values()
        for known in account.client_ids.values()
    )


def _dump_contract(contract: Contract) -> tuple[Any, ...]:
    register = contract.register
    orders = [
        (o.order, o.account, o.side, o.price, o.leaves, o.maker_bp, o.taker_bp, o.client_id)
        for half in (contract.bids, contract.asks)
        for o in half
    ]
    titles = [tuple(getattr(title, name) for name in _TITLE) for title in register.titles()]
    positions = [
        (account, [title.number for title in p.held], _dump_backing(p.declared), _dump_backing(p.promised))
        for account, p in sorted(register.positions.items())
        if p.held.qty or p.open_asks or _dump_backing(p.declared) != _EMPTY or _dump_backing(p.promised) != _EMPTY
    ]
    return (
        contract.contract,
        contract.forward,
        contract.state,
        orders,
        titles,
        positions,
        register.closed_escrow,
    )


def _dump_backing(backing: Backing) -> tuple[Any, ...]:
    return backing.qty, backing.collateral_price, backing.version, [title.number for title in backing]


_EMPTY = _dump_backing(Backing(0, 0))


def load(snapshot: bytes) -> Engine:
    """Bytes → state that goes on bit for bit as the one dumped. Raises BadSnapshot."""
    try:
        document = _decoder.decode(snapshot)
        if document[0] != SNAPSHOT_FORMAT:
            raise BadSnapshot(f"snapshot format {document[0]}, this build reads {SNAPSHOT_FORMAT}")
        return _load(*document[1:])
    except (msgspec.DecodeError, TypeError, ValueError, LookupError, ArithmeticError) as error:
        raise BadSnapshot(f"not a snapshot: {error!r}") from error


def _load(
    scalars: list[Any], classes: list[Any], accounts: list[Any], ids: list[Any], contracts: list[Any], due: list[Any]
) -> Engine:
    engine = Engine()
    for name, value in zip(_SCALARS, scalars, strict=True):
        setattr(engine, name, value)
    if engine.version not in ENGINE_VERSIONS:
        raise BadSnapshot(f"state of engine version {engine.version}; this build knows {ENGINE_VERSIONS}")
    for spec, state in classes:
        listed = Listed(msgspec.convert(spec, ClassSet))
        listed.state = state
        engine.classes[listed.spec.class_no] = listed
    for number, owner, role, fee_plan, cash in accounts:
        account = engine.accounts[number] = Account(number, owner, role, fee_plan)
        account.cash = cash
    known_ids = [_ended(row) for row in ids]
    for known in known_ids:
        engine.accounts[known.account].client_ids[known.client_id] = known
    engine.ids_by_age = deque(sorted(known_ids, key=lambda known: (known.accepted_ms, known.account, known.client_id)))
    for row in contracts:
        _load_contract(engine, row)
    engine.due = [(when, kind, class_no, hour) for when, kind, class_no, hour in due]
    heapify(engine.due)
    return engine


def _load_contract(engine: Engine, row: list[Any]) -> None:
    number, forward, state, orders, titles, positions, closed_escrow = row
    contract = engine.contracts[number] = Contract(number, engine.classes[number >> 24])
    contract.forward, contract.state = forward, state
    register = contract.register
    by_number: dict[int, Title] = {}
    for title_number, obligor, holder, ground, *values in titles:
        owing, holding = register.of(obligor).on(ground), register.of(holder).held
        by_number[title_number] = Title(title_number, owing, holding, *values)
    register.closed_escrow = closed_escrow
    register.escrow = closed_escrow + sum(title.escrow for title in by_number.values())
    for account, held, declared, promised in positions:
        position = register.of(account)
        for title_number in held:
            position.held.append(by_number[title_number])
        for backing, (qty, price, version, owed) in ((position.declared, declared), (position.promised, promised)):
            backing.qty, backing.collateral_price, backing.version = qty, price, version
            for title_number in owed:
                backing.append(by_number[title_number])
        position.collateral = position.collateral_due(contract.listed.spec.fees.buyer_taker)
        engine.accounts[account].collateral += position.collateral
    _load_orders(engine, contract, orders)


def _ended(row: list[Any]) -> Order:
    """An order as its client id remembers it, until it is found in a book."""
    order = Order(*row)
    order.leaves = 0
    return order


def _load_orders(engine: Engine, contract: Contract, orders: list[Any]) -> None:
    for number, account, side, price, leaves, maker_bp, taker_bp, client_id in orders:
        owner = engine.accounts[account]
        if client_id:
            order = owner.client_ids[client_id]
        else:
            order = Order(number, 0, account, "", contract.contract, side, leaves, price, GTC, 0)
        order.leaves, order.maker_bp, order.taker_bp = leaves, maker_bp, taker_bp
        if side == Side.BUY:
            order.hold = hold_of(contract.listed, price, leaves)
            owner.holds += order.hold
            contract.bids.add(order)
        else:
            order.position = contract.register.of(account)
            order.position.open_asks += leaves
            contract.asks.add(order)
        owner.open_orders += 1
        engine.orders[key_of(number)] = order


def state_hash(engine: Engine) -> bytes:
    """BLAKE2b-128 of the state's bytes."""
    return hashlib.blake2b(dump(engine), digest_size=16).digest()
