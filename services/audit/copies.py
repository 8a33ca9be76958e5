"""The ledger's copy of a shard at one seq, against the log model at that seq: money, positions, titles, orders, backing."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

from schemas.commands import Credit, State
from schemas.ids import class_no_of, contract_of, format_order, hour_of
from services.audit import database
from services.audit import expected as chart
from services.audit.database import Connection
from services.audit.log_model import ShardModel
from services.audit.market import WITH_COLLATERAL
from services.audit.report import Findings

COLUMN_MAX = 2**63 - 1
"""A market maker may number its quotes beyond what a column holds: it is shown as far as that goes."""


async def check_copy(db: Connection, found: Findings, model: ShardModel, shard: int, paid: set[int]) -> None:
    """`paid`: titles of ended hours that were paid out."""
    await _check_money(db, found, model, shard)
    await _check_after_the_hour(db, found, model, shard, paid)
    await _check_outbox(db, found, model, shard)
    await _check_positions(db, found, model, shard)
    await _check_titles(db, found, model, shard, paid)
    await _check_orders(db, found, model, shard)
    await _check_blocks(db, found, model, shard)
    await _check_quotes(db, found, model, shard)
    await _check_fills(db, found, model, shard)
    await _check_public(db, found, model, shard)
    await _check_backing(db, found, model, shard)
    await _check_market(db, found, model, shard)


def _compare(found: Findings, name: str, what: str, there: dict[Any, Any], due: dict[Any, Any]) -> None:
    """One object looked at per key."""
    for key in sorted(there.keys() | due.keys()):
        fits = there.get(key) == due.get(key)
        found.expect(name, fits, f"{what} {key}: ledger {there.get(key)}, log {due.get(key)}")


def _some(amounts: dict[Any, int]) -> dict[Any, int]:
    return {key: amount for key, amount in amounts.items() if amount}


async def _check_money(db: Connection, found: Findings, model: ShardModel, shard: int) -> None:
    trading = await database.balances(db, chart.TRADING, shard)
    _compare(found, "M7", f"shard {shard}, trading balance", trading, _some(dict(model.market.cash)))
    escrow = await database.balances(db, chart.ESCROW, shard)
    over = {contract for contract, phase in model.market.phase.items() if phase == "ended"}
    for contract in sorted(over):
        found.expect("C6", contract not in escrow, f"contract {contract} has ended, with escrow {escrow.get(contract)}")
    alive = {contract: amount for contract, amount in escrow.items() if contract not in over}
    _compare(found, "M7", f"shard {shard}, escrow of contract", alive, _some(model.market.escrows()))


async def _check_after_the_hour(db: Connection, found: Findings, model: ShardModel, shard: int, paid: set[int]) -> None:
    """C6: clearing holds the escrow of titles that wait for their record. C5: and the collateral of their promises."""
    waiting: defaultdict[int, int] = defaultdict(int)
    promised: set[tuple[int, int]] = set()
    for number, title in model.market.ended.items():
        if number in paid:
            continue
        waiting[title.contract] += title.escrow
        if title.ground in WITH_COLLATERAL and not title.closed:
            promised.add((title.contract, title.obligor))
    clearing = await database.balances(db, chart.CLEARING, shard)
    _compare(found, "C6", f"shard {shard}, clearing of contract", clearing, _some(waiting))
    kept = {key: amount for key, amount in model.market.moved_collateral.items() if key in promised}
    rows = await db.fetch("SELECT contract, account, amount FROM settlement.collateral WHERE shard = $1", shard)
    there = {(row["contract"], row["account"]): row["amount"] for row in rows}
    _compare(found, "C5", f"shard {shard}, collateral of (contract, account)", there, kept)
    of_account: defaultdict[int, int] = defaultdict(int)
    for (_, account), amount in kept.items():
        of_account[account] += amount
    booked = await database.balances(db, chart.COLLATERAL, shard)
    _compare(found, "C5", f"shard {shard}, collateral of account", booked, dict(of_account))


async def _check_outbox(db: Connection, found: Findings, model: ShardModel, shard: int) -> None:
    """M7: in transit is what unconfirmed messages carry, and confirmed are those that the log has answered."""
    waiting: defaultdict[int, int] = defaultdict(int)
    for number, message in (await database.outbox(db, shard)).items():
        answered = number <= model.market.outbox
        found.expect("M7", message.confirmed == answered, f"message {number} to shard {shard}: answered is {answered}")
        if isinstance(message.command, Credit) and not answered:
            waiting[message.command.account] += message.command.amount
    transit = await database.balances(db, chart.TRANSIT, shard)
    _compare(found, "M7", f"shard {shard}, in transit", transit, dict(waiting))


async def _check_positions(db: Connection, found: Findings, model: ShardModel, shard: int) -> None:
    due: defaultdict[tuple[int, int], int] = defaultdict(int)
    for title in model.market.titles.values():
        if not title.closed:
            due[title.holder, title.contract] += title.qty * title.minutes
            due[title.obligor, title.contract] -= title.qty * title.minutes
    rows = await db.fetch(
        "SELECT ref, asset, amount FROM settlement.balances WHERE kind = $1 AND shard = $2", chart.TITLES, shard
    )
    over = {contract for contract, phase in model.market.phase.items() if phase == "ended"}
    there = {(row["ref"], row["asset"]): row["amount"] for row in rows if row["asset"] not in over}
    _compare(found, "C1", f"shard {shard}, minutes of (account, contract)", _some(there), _some(due))


async def _check_titles(db: Connection, found: Findings, model: ShardModel, shard: int, paid: set[int]) -> None:
    claims: defaultdict[int, list[tuple[int, int, int]]] = defaultdict(list)
    for row in await db.fetch("SELECT title, account, gain, loss FROM settlement.claims WHERE shard = $1", shard):
        claims[row["title"]].append((row["account"], row["gain"], row["loss"]))
    there = {}
    for row in await db.fetch(
        "SELECT title, contract, obligor, holder, ground, qty, minutes, escrow, proceeds, cost, fees, state"
        " FROM settlement.titles WHERE shard = $1",
        shard,
    ):
        number, *terms = row
        there[number] = (*terms, sorted(claims[number]))
        gains, losses = (sum(claim[place] for claim in claims[number]) for place in (1, 2))
        sums = (row["proceeds"] + gains + row["fees"], row["cost"] + losses)
        escrow = row["escrow"]
        found.expect("C6", sums == (escrow, escrow), f"title {number}: escrow {escrow}, claims {sums}")
    due = {}
    for number, title in [*model.market.titles.items(), *model.market.ended.items()]:
        state = "closed" if title.closed else "live"
        if number in model.market.ended:
            state = "settled" if number in paid else "ended"
        due[number] = (
            title.contract,
            title.obligor,
            title.holder,
            title.ground,
            title.qty,
            title.minutes,
            title.escrow,
            title.proceeds,
            title.cost,
            title.fees,
            state,
            [
                (account, title.gains.get(account, 0), title.losses.get(account, 0))
                for account in sorted(title.gains.keys() | title.losses.keys())
                if title.gains.get(account) or title.losses.get(account)
            ],
        )
    _compare(found, "C6", f"shard {shard}, title", there, due)


async def _check_orders(db: Connection, found: Findings, model: ShardModel, shard: int) -> None:
    rows = await db.fetch(
        "SELECT order_id, account, contract, side, price, qty, leaves, filled, cancelled, state"
        " FROM settlement.orders WHERE shard = $1",
        shard,
    )
    resting = {order.order for order in model.market.open_orders()}
    there = {row["order_id"]: row for row in rows}
    orders = {number: order for number, order in model.market.orders.items() if not order.quote}
    for number in sorted(there.keys() | orders.keys()):
        row, order = there.get(number), orders.get(number)
        name = f"shard {shard}, order {format_order(number)}"
        if row is None or order is None:
            found.expect("B6", False, f"{name} is {'not ' if row is None else ''}projected, log {order}")
            continue
        indexed = (row["account"], row["contract"], row["side"], row["price"], row["state"] == "open")
        due = (order.account, order.contract, order.side, order.price, number in resting)
        found.expect("B6", indexed == due, f"{name}: projected {indexed}, log {due}")
        quantities = (row["qty"], row["leaves"], row["filled"], row["cancelled"])
        of_log = (order.qty, order.leaves, order.filled, order.cancelled)
        found.expect("O1", quantities == of_log, f"{name}: projected {quantities}, log {of_log}")
    levels = await db.fetch(
        "SELECT contract, side, price, count(*) AS orders, sum(leaves) AS gpus FROM settlement.orders"
        " WHERE shard = $1 AND state = 'open' GROUP BY contract, side, price",
        shard,
    )
    projected = {(row["contract"], row["side"], row["price"]): (row["orders"], row["gpus"]) for row in levels}
    _compare(found, "B5", f"shard {shard}, level (contract, side, price)", projected, model.levels())


async def _check_blocks(db: Connection, found: Findings, model: ShardModel, shard: int) -> None:
    """O1: each block as the log left it; a trade of one is under way only within an output."""
    rows = await db.fetch(
        "SELECT order_id, account, class_no, first_hour, hours, side, price, qty, leaves, filled, cancelled, state"
        " FROM settlement.blocks WHERE shard = $1",
        shard,
    )
    there = {row["order_id"]: tuple(row)[1:] for row in rows}
    states = {block.order: "open" for block in model.market.open_blocks()}
    due = {
        number: (
            block.account,
            *block.range,
            block.side,
            block.price,
            block.qty,
            block.leaves,
            block.filled,
            block.cancelled,
            states.get(number, "cancelled" if block.cancelled else "filled"),
        )
        for number, block in model.market.blocks.items()
    }
    _compare(found, "O1", f"shard {shard}, block", there, due)


async def _check_quotes(db: Connection, found: Findings, model: ShardModel, shard: int) -> None:
    """S1: one row per account and class, of its last quotes."""
    rows = await db.fetch(
        "SELECT account, class_no, number, hours, refused FROM settlement.quotes WHERE shard = $1", shard
    )
    there = {tuple(row)[:2]: tuple(row)[2:] for row in rows}
    due = {
        key: (
            min(event.number, COLUMN_MAX),
            sum(1 for outcome in event.outcomes if outcome.bid_qty or outcome.ask_qty),
            sum(1 for outcome in event.outcomes if outcome.code),
        )
        for key, event in model.market.quotes.items()
    }
    _compare(found, "S1", f"shard {shard}, quotes of (account, class)", there, due)


async def _check_public(db: Connection, found: Findings, model: ShardModel, shard: int) -> None:
    """S1: corrections and failed buy-ins can be read by everybody, each once."""
    rows = await db.fetch(
        "SELECT seq, index, trade, payer, payee, amount, operator, second_operator FROM settlement.corrections"
        " WHERE shard = $1",
        shard,
    )
    there = {tuple(row)[:2]: tuple(row)[2:] for row in rows}
    due = {
        key: (event.trade, event.payer, event.payee, event.amount, event.operator, event.second_operator)
        for key, event in model.market.corrections.items()
    }
    _compare(found, "S1", f"shard {shard}, correction (seq, index)", there, due)
    rows = await db.fetch("SELECT contract, account, qty FROM settlement.buy_in_failures WHERE shard = $1", shard)
    failed = {tuple(row)[:2]: row["qty"] for row in rows}
    _compare(found, "S1", f"shard {shard}, failed buy-in of (contract, account)", failed, model.market.failed)


async def _check_fills(db: Connection, found: Findings, model: ShardModel, shard: int) -> None:
    """S1: each trade is projected once, as it happened."""
    rows = await db.fetch(
        "SELECT trade, contract, price, qty, minutes, taker_side, maker_order, taker_order, buyer, seller, notional,"
        " buyer_fee, seller_fee FROM settlement.fills WHERE shard = $1",
        shard,
    )
    there = {row["trade"]: tuple(row)[1:] for row in rows}
    due = {
        trade: (
            event.contract,
            event.price,
            event.qty,
            event.minutes,
            event.taker_side,
            event.maker_order,
            event.taker_order,
            event.buyer,
            event.seller,
            event.notional,
            event.buyer_fee,
            event.seller_fee,
        )
        for trade, event in model.market.trades.items()
    }
    _compare(found, "S1", f"shard {shard}, trade", there, due)


async def _check_backing(db: Connection, found: Findings, model: ShardModel, shard: int) -> None:
    """C2: what may be owed and is, per account, contract and ground."""
    rows = await db.fetch(
        "SELECT b.account, b.contract, b.ground, b.qty, b.collateral_price, b.version, b.owed FROM settlement.backing b"
        " JOIN settlement.contracts c USING (contract) WHERE c.shard = $1",
        shard,
    )
    there = {tuple(row)[:3]: tuple(row)[3:] for row in rows}
    due = {
        key: (promise.qty, promise.collateral_price, promise.version, model.market.owed.get(key, 0))
        for key, promise in model.market.backing.items()
        if promise.version
    }
    _compare(found, "C2", f"shard {shard}, backing of (account, contract, ground)", there, due)


async def _check_market(db: Connection, found: Findings, model: ShardModel, shard: int) -> None:
    """C3: phases and states as the door knows them. C5: collars. B7: owners."""
    market = model.market
    contracts = await db.fetch("SELECT contract, phase, state FROM settlement.contracts WHERE shard = $1", shard)
    there = {row["contract"]: (row["phase"], row["state"]) for row in contracts}
    due = {
        contract: (phase, market.states.get((class_no_of(contract), hour_of(contract)), State.OPEN))
        for contract, phase in market.phase.items()
    }
    _compare(found, "C3", f"shard {shard}, phase and state of contract", there, due)
    await _check_collars(db, found, model, shard)
    accounts = await db.fetch("SELECT account, owner FROM settlement.accounts")
    owners = {row["account"]: row["owner"] for row in accounts if row["account"] in model.market.accounts}
    known = {account: event.owner for account, event in model.market.accounts.items()}
    _compare(found, "B7", "owner of account", owners, known)


async def _check_collars(db: Connection, found: Findings, model: ShardModel, shard: int) -> None:
    """C5: what readers are shown. A contract without a reference of its own has its class's."""
    market = model.market
    classes = await db.fetch(
        "SELECT class_no, state, reference, collar_low, collar_high FROM settlement.classes WHERE shard = $1 AND listed",
        shard,
    )
    of_classes = {row["class_no"]: tuple(row)[1:] for row in classes}
    due = {
        number: (
            market.states.get((number, 0), State.OPEN),
            market.references.get((number, 0), spec.list_price),
            *market.collar(contract_of(number, 0)),
        )
        for number, spec in market.classes.items()
    }
    _compare(found, "C5", f"shard {shard}, state, reference and collar of class", of_classes, due)
    own = await db.fetch(
        "SELECT contract, reference, collar_low, collar_high FROM settlement.contracts WHERE shard = $1 AND reference <> 0",
        shard,
    )
    of_contracts = {row["contract"]: tuple(row)[1:] for row in own}
    moved = {contract_of(*place): price for place, price in market.references.items() if place[1]}
    wanted = {contract: (price, *market.collar(contract)) for contract, price in moved.items()}
    _compare(found, "C5", f"shard {shard}, reference and collar of contract", of_contracts, wanted)
