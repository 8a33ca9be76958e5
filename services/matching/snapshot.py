"""The engine's whole state as bytes. The same state gives the same bytes, whatever path led there. Pure.

A MessagePack document: [format, scalars, classes, accounts, client ids, contracts, blocks, retries, due, approvals]. Nothing
that can be derived is stored: `load` builds it and `check` would notice. Where the bytes are kept: `store`.
"""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Callable
from heapq import heapify
from operator import attrgetter
from typing import Any, Final

import msgspec

from schemas.events import ClassSet
from schemas.ids import class_no_of, hour_of
from services.matching.book import Block, BlockBook, Order, Range, key_of
from services.matching.engine import Engine
from services.matching.literals import BUY, READY, SELL
from services.matching.operating import ENGINE_VERSIONS
from services.matching.queues import Title
from services.matching.state import (
    DEAD_MAN,
    EXPIRED,
    STATE,
    Account,
    Contract,
    Listed,
    Quote,
    hold_of,
    hold_of_block,
)
from services.matching.titles import Position

STATE_FORMAT: Final = 3

_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder()
_SCALARS = (
    "shard",
    "version",
    "version_next",
    "offset",
    "time_ms",
    "t0_ms",
    "rate",
    "sandbox",
    "outbox_last",
    "trade_last",
    "title_last",
)
_ORDER = (
    "order",
    "accepted_ms",
    "account",
    "client_id",
    "contract",
    "side",
    "qty",
    "price",
    "tif",
    "flags",
    "expires_ms",
)
_TITLE = ("number", "obligor", "holder", "ground", "qty", "minutes", "escrow", "proceeds", "cost")


class BadSnapshot(Exception):
    """The bytes are not a snapshot that this build can read."""


def dump(engine: Engine) -> bytes:
    """State → bytes."""
    scalars = [getattr(engine, name) for name in _SCALARS]
    classes = [
        (listed.spec, listed.state, listed.next_ms, listed.reference, listed.moved_ms)
        for _, listed in sorted(engine.classes.items())
    ]
    accounts = [
        (a.account, a.owner, a.role, a.fee_plan, a.cash, a.dead_ms, sorted(a.numbers.items()))
        for _, a in sorted(engine.accounts.items())
    ]
    contracts = [_dump_contract(contract) for _, contract in sorted(engine.contracts.items())]
    blocks = [
        _dump_block(block)
        for _, book in sorted(engine.block_books.items())
        for half in (book.bids, book.asks)
        for block in half
    ]
    due = sorted(moment for moment in engine.due if moment[1] not in _DERIVED)
    approvals = sorted(used for used in engine.approvals.items() if used[1] >= engine.time_ms)
    ids, retries = _dump_ids(engine), list(engine.retries)
    return _encoder.encode((STATE_FORMAT, scalars, classes, accounts, ids, contracts, blocks, retries, due, approvals))


_DERIVED = (STATE, EXPIRED, DEAD_MAN)
"""Kinds of moments that orders, accounts, contracts and classes know themselves."""


_dump_order: Final[Callable[[Order], tuple[Any, ...]]] = attrgetter(*_ORDER)
"""Name by name, a state of a million orders took 4.7 s, and takes 2.8 s."""
_dump_title: Final[Callable[[Title], tuple[Any, ...]]] = attrgetter(*_TITLE)


def _dump_block(block: Order) -> tuple[Any, ...]:
    assert isinstance(block, Block)
    return (*_dump_order(block), block.hours, block.qty_min, block.leaves, block.maker_bp, block.taker_bp)


def _dump_ids(engine: Engine) -> list[tuple[Any, ...]]:
    """Oldest order first; of a range its hours, of a block hours and least quantity."""
    known = [known for account in engine.accounts.values() for known in account.client_ids.values()]
    return [(*_dump_order(o), _kind_of(o)) for o in sorted(known, key=lambda o: o.order)]


def _kind_of(order: Order) -> tuple[Any, ...]:
    if isinstance(order, Range):
        return (order.hours,)
    return (order.hours, order.qty_min) if isinstance(order, Block) else ()


def _dump_contract(contract: Contract) -> tuple[Any, ...]:
    register = contract.register
    orders = [
        (
            o.order,
            o.account,
            o.side,
            o.price,
            o.leaves,
            o.maker_bp,
            o.taker_bp,
            o.client_id,
            o.tif,
            o.flags,
            o.expires_ms,
        )
        for half in (contract.bids, contract.asks)
        for o in half
    ]
    quotes = [
        (
            account,
            *(side.order if side is not None and side.level is not None else 0 for side in (quote.bid, quote.ask)),
        )
        for account, quote in sorted(contract.quotes.items())
    ]
    titles = [_dump_title(title) for title in register.titles()]
    positions = [_dump_position(account, p) for account, p in sorted(register.positions.items())]
    return (
        contract.contract,
        contract.forward,
        contract.closed,
        contract.covered,
        contract.state,
        contract.next_ms,
        contract.reference,
        contract.moved_ms,
        orders,
        [quote for quote in quotes if quote[1] or quote[2]],
        titles,
        [row for row in positions if row[1:] != _NOTHING[1:]],
        register.closed_escrow,
    )


def _dump_position(account: int, p: Position) -> tuple[Any, ...]:
    held, running = [title.number for title in p.held], [title.number for title in p.running]
    backings = [
        (backing.qty, backing.collateral_price, backing.version, [title.number for title in backing])
        for backing in (p.declared, p.promised, p.ready)
    ]
    return account, held, running, *backings


_NOTHING = _dump_position(0, Position(0))


def load(snapshot: bytes) -> Engine:
    """Bytes → state that goes on bit for bit as the one dumped. Raises BadSnapshot."""
    try:
        document = _decoder.decode(snapshot)
        if document[0] != STATE_FORMAT:
            raise BadSnapshot(f"state format {document[0]}, this build reads {STATE_FORMAT}")
        return _load(*document[1:])
    except (msgspec.DecodeError, TypeError, ValueError, LookupError, ArithmeticError) as error:
        raise BadSnapshot(f"not a snapshot: {error!r}") from error


def _load(
    scalars: list[Any],
    classes: list[Any],
    accounts: list[Any],
    ids: list[Any],
    contracts: list[Any],
    blocks: list[Any],
    retries: list[int],
    due: list[Any],
    approvals: list[Any],
) -> Engine:
    engine = Engine()
    for name, value in zip(_SCALARS, scalars, strict=True):
        setattr(engine, name, value)
    if engine.version not in ENGINE_VERSIONS or engine.version_next not in ENGINE_VERSIONS:
        raise BadSnapshot(f"state of engine version {engine.version}; this build knows {ENGINE_VERSIONS}")
    engine.due = [(when, kind, class_no, hour) for when, kind, class_no, hour in due]
    heapify(engine.due)
    for spec, state, next_ms, reference, moved_ms in classes:
        listed = Listed(msgspec.convert(spec, ClassSet))
        listed.state, listed.reference, listed.moved_ms = state, reference, moved_ms
        listed.low, listed.high = listed.collar(reference)
        engine.classes[listed.spec.class_no] = listed
        _load_state(engine, listed, next_ms, listed.spec.class_no, 0)
    for number, owner, role, fee_plan, cash, dead_ms, numbers in accounts:
        account = engine.accounts[number] = Account(number, owner, role, fee_plan)
        account.cash, account.dead_ms, account.numbers = cash, dead_ms, dict(numbers)
        if dead_ms:
            engine.plan(dead_ms, DEAD_MAN, number, 0)
    known_ids = [_ended(row) for row in ids]
    for known in known_ids:
        engine.accounts[known.account].client_ids[known.client_id] = known
    engine.ids_by_age = deque(sorted(known_ids, key=lambda known: (known.accepted_ms, known.account, known.client_id)))
    for row in contracts:
        _load_contract(engine, row)
    for row in blocks:
        _load_block(engine, row)
    for number in retries:
        block = engine.orders[key_of(number)]
        assert isinstance(block, Block)
        engine.retries[number] = block
    engine.approvals = dict(approvals)
    return engine


def _load_state(engine: Engine, target: Contract | Listed, next_ms: int, class_no: int, hour: int) -> None:
    target.next_ms = next_ms
    if next_ms:
        engine.plan(next_ms, STATE, class_no, hour)


def _load_contract(engine: Engine, row: list[Any]) -> None:
    number, forward, closed, covered, state, next_ms, reference, moved_ms, orders, quotes, titles, positions, escrow = (
        row
    )
    listed = engine.classes[class_no_of(number)]
    contract = engine.contracts[number] = Contract(number, listed)
    contract.forward, contract.closed, contract.covered, contract.state = forward, closed, covered, state
    _load_state(engine, contract, next_ms, class_no_of(number), hour_of(number))
    contract.reference, contract.moved_ms = reference, moved_ms
    if reference:
        contract.low, contract.high = listed.collar(reference)
    register = contract.register
    by_number: dict[int, Title] = {}
    for title_number, obligor, holder, ground, *values in titles:
        holding = register.of(holder)
        held = holding.running if ground == READY else holding.held
        by_number[title_number] = Title(title_number, register.of(obligor).on(ground), held, *values)
    register.closed_escrow = escrow
    register.escrow = escrow + sum(title.escrow for title in by_number.values())
    for account, held, running, *backings in positions:
        position = register.of(account)
        for title_number in held:
            position.held.append(by_number[title_number])
        for title_number in running:
            position.running.append(by_number[title_number])
        for backing, (qty, price, version, owed) in zip(
            (position.declared, position.promised, position.ready), backings, strict=True
        ):
            backing.qty, backing.collateral_price, backing.version = qty, price, version
            for title_number in owed:
                backing.append(by_number[title_number])
        position.collateral = position.collateral_due(listed.spec.fees.buyer_taker)
        engine.accounts[account].collateral += position.collateral
    _load_orders(engine, contract, orders)
    for account, bid, ask in quotes:
        quote = contract.quotes[account] = Quote()
        quote.bid = engine.orders[key_of(bid)] if bid else None
        quote.ask = engine.orders[key_of(ask)] if ask else None


def _ended(row: list[Any]) -> Order:
    """An order as its client id remembers it, until it is found in a book."""
    *values, kind = row
    order: Order
    if len(kind) == 2:
        order = _block(values, *kind)
    elif kind:
        order = Range(**dict(zip(_ORDER, values, strict=True)), hours=tuple(kind[0]))
    else:
        order = Order(*values)
    order.leaves = 0
    return order


def _block(values: list[Any], hours: int, qty_min: int) -> Block:
    return Block(**dict(zip(_ORDER, values, strict=True)), hours=hours, qty_min=qty_min, contracts=[])


def _load_orders(engine: Engine, contract: Contract, orders: list[Any]) -> None:
    for number, account, side, price, leaves, maker_bp, taker_bp, client_id, tif, flags, expires_ms in orders:
        owner = engine.accounts[account]
        if client_id:
            order = owner.client_ids[client_id]
        else:
            order = Order(number, 0, account, "", contract.contract, side, leaves, price, tif, flags, expires_ms)
        order.leaves, order.maker_bp, order.taker_bp = leaves, maker_bp, taker_bp
        if side == BUY:
            order.hold = hold_of(contract.listed, price, leaves)
            owner.holds += order.hold
            contract.bids.add(order)
        else:
            order.position = contract.register.of(account)
            order.position.open_asks += leaves
            contract.asks.add(order)
        _enter(engine, order, owner)


def _enter(engine: Engine, order: Order, owner: Account) -> None:
    engine.enter(order, owner)
    if order.expires_ms:
        engine.plan(order.expires_ms, EXPIRED, order.order, 0)


def _load_block(engine: Engine, row: list[Any]) -> None:
    *values, hours, qty_min, leaves, maker_bp, taker_bp = row
    block: Order = _block(values, hours, qty_min)
    owner = engine.accounts[block.account]
    if block.client_id:
        block = owner.client_ids[block.client_id]
    assert isinstance(block, Block)
    block.leaves, block.maker_bp, block.taker_bp = leaves, maker_bp, taker_bp
    block.contracts = [engine.contracts[block.contract + place] for place in range(hours)]
    if block.side == SELL:
        block.asked = leaves
        block.positions = [contract.register.of(block.account) for contract in block.contracts]
        for contract, position in zip(block.contracts, block.positions, strict=True):
            position.open_asks += leaves
            contract.sell_blocks.append(block)
    else:
        block.hold = hold_of_block(block.contracts[0].listed, block.price, leaves, hours)
        owner.holds += block.hold
        for contract in block.contracts:
            contract.buy_blocks.append(block)
    owner.blocks += 1
    engine.block_books.setdefault((block.contract, hours), BlockBook()).half(block.side).add(block)
    _enter(engine, block, owner)


def state_hash(engine: Engine) -> bytes:
    """`hash_of` what `dump` gives."""
    return hash_of(dump(engine))


def hash_of(dumped: bytes) -> bytes:
    """BLAKE2b-128 of the state's bytes: a large shard takes seconds to dump, and whoever has done so need not do it again."""
    return hashlib.blake2b(dumped, digest_size=16).digest()
