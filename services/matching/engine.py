"""The engine of one shard: commands in, events out, nothing else.

Pure and deterministic: same records, same events, for ever. docs/engine.md is the text of this module; checks stand in its
order, then a marked line, then changes that cannot fail. Money in µUSD, quantities in GPUs, times in ms.
"""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Iterator, Sequence
from heapq import heappop, heappush
from typing import Any, Final, assert_never

from msgspec.structs import astuple

from schemas import commands as cmd
from schemas import events as ev
from schemas.codec import Malformed
from schemas.commands import ALL_HOURS, CancelOrder, Command, Ground, PlaceOrder, Role, State
from schemas.events import CancelAccepted, Code, Event, Filled, OrderAccepted, OrderCancelled, Reason
from schemas.ids import (
    HOUR_MASK,
    LEGS_MAX,
    SHARDS_MAX,
    class_no_of,
    contract_of,
    is_class_id,
    is_client_id,
    order_id,
)
from schemas.units import AMOUNT_MAX, BP, MS_PER_HOUR, PRICE_MAX, QTY_MAX, Gpus, Hour, Micros, Millis, Price, fee
from services.matching.book import HalfBook, Order, key_of
from services.matching.invariants import check
from services.matching.literals import (
    ASKED,
    BUY,
    CANCEL_OLDEST,
    CANCEL_ONLY,
    DECLARED,
    FOK,
    GTC,
    GTD,
    NOT_FILLED,
    OPEN,
    OPENING,
    POST_ONLY,
    RUNNING,
    SELL,
)
from services.matching.titles import FORWARD_GROUNDS, Position, Register

ENGINE_VERSIONS: Final = (1,)
STEP_MS_MAX: Final = 60_000
"""How far one record that is not a tick may move time, in stamp time."""
VALIDITY_MS_MAX: Final = 600_000
CLIENT_ID_MS: Final = 900_000
OPEN_ORDERS_MAX: Final = 100_000
CLIENT_IDS_MAX: Final = 200_000
"""In use by one account: each is remembered for 15 minutes, so a flood of them must end somewhere."""
NEED_MAX: Final = 2**63 - 1
"""No larger number is said, so that every reader can store it."""

HOUR_ENDED, RUNNING_CLOSED, GATE_CLOSED, LISTED = range(4)
"""Kinds of moments, in the order of those due at the same time."""

# As constants, what is used for every command: a compiled build looks other modules' names up each time.
_astuple: Final = astuple
_PlaceOrder: Final = PlaceOrder
_CancelOrder: Final = CancelOrder
_CancelAccepted: Final = CancelAccepted
_Filled: Final = Filled
_OrderAccepted: Final = OrderAccepted
_OrderCancelled: Final = OrderCancelled


class WrongStart(Exception):
    """The first record of the shard is not `StartShard`, alone, at offset 0."""


class Account:
    """A member's money in this shard."""

    __slots__ = ("account", "cash", "client_ids", "collateral", "fee_plan", "holds", "open_orders", "owner", "role")

    def __init__(self, account: int, owner: int, role: int, fee_plan: int) -> None:
        self.account = account
        self.owner = owner
        self.role = role
        self.fee_plan = fee_plan
        self.cash: Micros = 0
        self.holds: Micros = 0
        self.collateral: Micros = 0
        self.open_orders = 0
        self.client_ids = _by_client_id()

    @property
    def available(self) -> Micros:
        """What an order or a promise may still take."""
        return self.cash - self.holds - self.collateral


class Listed:
    """A class as listed here, with what follows from its specification."""

    __slots__ = ("ask_bp", "bid_bp", "bid_bp_max", "high", "lot", "low", "spec", "state", "tick")

    def __init__(self, spec: ev.ClassSet) -> None:
        self.spec = spec
        self.state: int = OPEN
        self.low: Price = -(-spec.list_price * spec.collar_low_bp // BP)
        self.high: Price = spec.list_price * spec.collar_high_bp // BP
        self.lot: Gpus = spec.lot
        self.tick: Price = spec.tick
        self.bid_bp = (spec.fees.buyer_maker, spec.fees.buyer_taker)
        self.bid_bp_max = max(self.bid_bp)
        self.ask_bp = (spec.fees.seller_maker, spec.fees.seller_taker)


class Contract:
    """One hour of one class: its book and its titles."""

    __slots__ = ("asks", "bids", "contract", "forward", "listed", "register", "state")

    def __init__(self, contract: int, listed: Listed) -> None:
        self.contract = contract
        self.listed = listed
        self.forward = True
        self.state: int = OPEN
        self.bids = HalfBook(BUY)
        self.asks = HalfBook(SELL)
        self.register = Register()


class Engine:
    """One shard. State changes in `apply` and nowhere else."""

    def __init__(self) -> None:
        self.shard = -1
        self.version = 0
        self.offset = -1
        self.time_ms: Millis = 0
        self.t0_ms: Millis = 0
        self.rate = 1
        self.sandbox = False
        self.outbox_last = 0
        self.trade_last = 0
        self.title_last = 0
        self.classes: dict[int, Listed] = {}
        self.accounts: dict[int, Account] = {}
        self.contracts: dict[int, Contract] = {}
        self.orders: dict[int, Order] = {}
        """Resting orders by `key_of` their ids."""
        self.due: list[tuple[Millis, int, int, Hour]] = []
        """Heap of (when, kind, class number, hour)."""
        self.ids_by_age: deque[Order] = deque()
        """Oldest first: what may be forgotten next."""
        # Of the record that is applied: its events, and its orders that came with a client id.
        self._out: list[Event] = []
        self._named: list[Order] = []

    # --- one record ------------------------------------------------------------------------------------

    def apply(self, offset: int, stamp_ms: Millis, commands: Sequence[Command | Malformed]) -> list[Event]:
        """One record of `commands`: what is due first, then each command; the events in order."""
        assert offset > self.offset, f"offset {offset} after {self.offset}"
        if self.shard < 0:
            self._check_start(offset, commands)
        else:
            self._pass_time(stamp_ms, commands)
        self.offset = offset
        out: list[Event] = []
        self._out = out
        while self.due and self.due[0][0] <= self.time_ms:
            self._moment(*heappop(self.due)[1:])
        self._forget_ids()
        for index, command in enumerate(list(commands)):  # a list is what a compiled build walks fastest
            if type(command) is _PlaceOrder:
                self._place(index, command)
            elif type(command) is _CancelOrder:
                self._cancel(index, command)
            else:
                self._other(index, command, stamp_ms)
        if self._named:
            self.ids_by_age.extend(self._named)
            self._named = []
        return out

    def skip(self, offset: int) -> None:
        """A quarantined record: no command, and no time passes."""
        assert offset > self.offset, f"offset {offset} after {self.offset}"
        self.offset = offset

    def _check_start(self, offset: int, commands: Sequence[Command | Malformed]) -> None:
        if offset != 0 or len(commands) != 1 or not isinstance(commands[0], cmd.StartShard):
            raise WrongStart(f"record {offset} is not StartShard alone: this is not the beginning of a shard")
        start = commands[0]
        rate_allowed = start.rate == 1 or (start.rate > 1 and start.sandbox)
        if (
            start.engine_version not in ENGINE_VERSIONS
            or not 0 <= start.shard < SHARDS_MAX
            or start.t0_ms < 0
            or not rate_allowed
        ):
            raise WrongStart(f"this build cannot start {start}")

    def market_ms(self, stamp_ms: Millis) -> Millis:
        """Market time of a stamp."""
        return self.t0_ms + self.rate * (stamp_ms - self.t0_ms)

    def _pass_time(self, stamp_ms: Millis, commands: Sequence[Command | Malformed]) -> None:
        first = commands[0]
        if len(commands) == 1 and type(first) is cmd.Tick:
            target = self.market_ms(first.until_ms)
        else:
            target = min(self.market_ms(stamp_ms), self.time_ms + STEP_MS_MAX * self.rate)
        self.time_ms = max(self.time_ms, target)

    def _other(self, index: int, command: Command | Malformed, stamp_ms: Millis) -> None:
        match command:
            case CancelOrder():
                self._cancel(index, command)
            case PlaceOrder():
                self._place(index, command)
            case cmd.SetAccount() | cmd.Credit() | cmd.Sweep() | cmd.SetBacking() | cmd.SetClass():
                self._from_settlement(index, command)
            case cmd.SetState():
                self._set_state(index, command)
            case cmd.SetEngineVersion():
                self._set_version(index, command)
            case cmd.StartShard():
                self._start(index, command, stamp_ms)
            case cmd.Tick():
                self._out.append(ev.Ticked(index, self.time_ms))
            case cmd.MoveReference():
                self._reject(index, 0, Code.NOT_OFFERED_YET)
            case cmd.CorrectCash():
                self._reject(index, command.operator, Code.NOT_OFFERED_YET)
            case cmd.PlaceRange() | cmd.PlaceBlock() | cmd.AmendOrder():
                self._reject(index, command.account, Code.NOT_OFFERED_YET, command.client_id)
            case cmd.PutQuotes() | cmd.MassCancel() | cmd.CancelAllAfter():
                self._reject(index, command.account, Code.NOT_OFFERED_YET)
            case Malformed():
                self._reject(index, 0, Code.MALFORMED)
            case _:
                assert_never(command)

    def _reject(self, index: int, account: int, code: int, client_id: str = "", need: int = 0, have: int = 0) -> None:
        self._out.append(ev.Rejected(index, account, int(code), client_id, need, have))

    # --- orders ----------------------------------------------------------------------------------------

    def _place(self, index: int, command: PlaceOrder) -> None:
        # All values in one call, and as they came: a compiled build would ask for each by its name, and box what it says.
        account_no, contract_no, side, qty, price, tif, flags, client_id, valid_until_ms, expires_ms = _astuple(command)
        account, contract = self.accounts.get(account_no), self.contracts.get(contract_no)
        number = order_id(self.shard, self.offset, index)
        order = Order(number, self.time_ms, account_no, client_id, contract_no, side, qty, price, tif, flags)
        refusal = self._refusal(order, account, contract, valid_until_ms, expires_ms)
        if refusal is not None:
            code, need, have = refusal
            if code == _REPEATED:
                self._out.append(ev.OrderRepeated(index, account_no, need, client_id))
            else:
                self._reject(index, account_no, code, client_id, need, have)
            return
        # From here on it cannot be refused: a fill is already somebody's money.
        assert account is not None
        assert contract is not None
        rates = contract.listed.bid_bp if order.side == BUY else contract.listed.ask_bp
        order.maker_bp, order.taker_bp = maker_bp, taker_bp = rates
        self._out.append(
            _OrderAccepted(
                index, number, account_no, contract_no, side, qty, price, tif, flags, client_id, maker_bp, taker_bp
            )
        )  # fmt: skip
        if order.client_id:
            account.client_ids[order.client_id] = order
            self._named.append(order)
        half = contract.asks if order.side == BUY else contract.bids
        if half.reached_by(order.price) and self._match(contract, account, order):
            return
        if order.leaves:
            if order.tif == GTC:
                self._rest(contract, account, order)
            else:
                self._cancelled(order, order.leaves, NOT_FILLED)

    def _refusal(
        self,
        order: Order,
        account: Account | None,
        contract: Contract | None,
        valid_until_ms: Millis,
        expires_ms: Millis,
    ) -> tuple[int, int, int] | None:
        """(code, need, have) of the first check that fails."""
        time_ms = self.time_ms
        if not time_ms <= valid_until_ms <= time_ms + VALIDITY_MS_MAX:
            return (Code.TOO_LATE if time_ms > valid_until_ms else Code.WRONG_VALIDITY), 0, 0
        if account is None:
            return Code.UNKNOWN_ACCOUNT, 0, 0
        client_id = order.client_id
        if client_id:
            known = account.client_ids.get(client_id)
            if known is not None and self._remembers(known):
                return _same(known, order, expires_ms)
            if not is_client_id(client_id):
                return Code.WRONG_CLIENT_ID, 0, 0
        if contract is None:
            known_class = class_no_of(order.contract) in self.classes
            return (Code.UNKNOWN_CONTRACT if known_class else Code.UNKNOWN_CLASS), 0, 0
        if not contract.forward:
            return Code.WRONG_PHASE, 0, 0
        listed = contract.listed
        side, qty, price = order.side, order.qty, order.price
        plain = (
            order.tif == GTC
            and order.flags == 0
            and expires_ms == 0
            and listed.state == OPEN
            and contract.state == OPEN
        )
        if not plain or (side != BUY and side != SELL):
            refusal = _refusal_of_kind(order, contract, expires_ms)
            if refusal is not None:
                return refusal
        if not 0 < qty <= QTY_MAX or qty % listed.lot:
            return Code.WRONG_QTY, listed.lot, 0
        if price <= 0 or price % listed.tick:
            return Code.WRONG_PRICE, listed.tick, 0
        if not listed.low <= price <= listed.high:
            return Code.OUTSIDE_COLLAR, listed.low if price < listed.low else listed.high, 0
        if account.open_orders >= OPEN_ORDERS_MAX:
            return Code.TOO_MANY_ORDERS, OPEN_ORDERS_MAX, 0
        if client_id and len(account.client_ids) >= CLIENT_IDS_MAX:
            return Code.TOO_MANY_ORDERS, CLIENT_IDS_MAX, 0
        if side == BUY:
            need = hold_of(listed, price, qty)
            have = account.cash - account.holds - account.collateral
            if need > have:
                return Code.INSUFFICIENT_FUNDS, need, have
        else:
            position = order.position = contract.register.positions.get(order.account)
            free = position.capacity() - position.open_asks if position is not None else 0
            if qty > free:
                return Code.INSUFFICIENT_BACKING, qty, max(0, free)
        return None if plain else self._refusal_of_book(order, contract, account)

    def _refusal_of_book(self, order: Order, contract: Contract, account: Account) -> tuple[int, int, int] | None:
        half = contract.asks if order.side == BUY else contract.bids
        post_only = order.flags & POST_ONLY or OPENING in (contract.state, contract.listed.state)
        if post_only and half.reached_by(order.price):
            return Code.WOULD_TRADE, 0, 0
        if order.tif == FOK:
            fillable = self._fillable(order, half, account.owner)
            if fillable < order.qty:
                return Code.CANNOT_FILL, order.qty, fillable
        return None

    def _fillable(self, order: Order, half: HalfBook, owner: int) -> Gpus:
        found = 0
        for maker in half:
            if found >= order.qty or (maker.price - order.price) * half.sign < 0:
                break
            if self.accounts[maker.account].owner != owner:
                found += maker.leaves
            elif not order.flags & CANCEL_OLDEST:
                break
        return found

    def _match(self, contract: Contract, account: Account, taker: Order) -> bool:
        """Fill against the other side; True when self-trade prevention ended the newcomer."""
        half = contract.asks if taker.side == BUY else contract.bids
        while taker.leaves and half.reached_by(taker.price):
            maker = half.first()
            maker_account = self.accounts[maker.account]
            if maker_account.owner == account.owner:
                if not taker.flags & CANCEL_OLDEST:
                    self._cancelled(taker, taker.leaves, int(Reason.SELF_TRADE_NEWEST))
                    return True
                self._cancel_resting(maker, maker_account, int(Reason.SELF_TRADE_OLDEST))
                continue
            self._fill(contract, maker, maker_account, taker, account)
            if not maker.leaves:
                half.remove(maker)
                self._gone(maker, maker_account)
        return False

    def _fill(
        self, contract: Contract, maker: Order, maker_account: Account, taker: Order, taker_account: Account
    ) -> None:
        qty = taker.leaves if taker.leaves < maker.leaves else maker.leaves
        price = maker.price
        notional = price * qty
        register = contract.register
        maker_leaves = maker.leaves = maker.leaves - qty
        taker.leaves -= qty
        if taker.side == BUY:
            buyer, seller = taker_account, maker_account
            buyer_fee = fee(notional, taker.taker_bp)
            seller_fee = fee(notional, maker.maker_bp)
            selling = maker.position
            assert selling is not None
            selling.open_asks -= qty
        else:
            buyer, seller = maker_account, taker_account
            buyer_fee = fee(notional, maker.maker_bp)
            seller_fee = fee(notional, taker.taker_bp)
            selling = taker.position
            assert selling is not None
            hold = hold_of(contract.listed, price, maker_leaves) if maker_leaves else 0
            buyer.holds += hold - maker.hold
            maker.hold = hold
        buying = register.of(buyer.account)
        moves = register.trade(buying, selling, qty, 60, notional - seller_fee, seller_fee + buyer_fee, self.title_last)
        self.title_last = register.title_last
        buyer.cash -= register.paid
        seller.cash += register.received
        self._recollateral(contract, buyer, buying)
        assert buyer.cash >= buyer.holds + buyer.collateral, f"M3: account {buyer.account} pays more than it has"
        self.trade_last += 1
        self._out.append(
            _Filled(
                self.trade_last,
                contract.contract,
                price,
                qty,
                60,
                taker.side,
                maker.order,
                taker.order,
                maker_leaves,
                taker.leaves,
                buyer.account,
                seller.account,
                notional,
                buyer_fee,
                seller_fee,
                moves,
            )
        )

    def _rest(self, contract: Contract, account: Account, order: Order) -> None:
        if order.side == BUY:
            order.hold = hold_of(contract.listed, order.price, order.leaves)
            account.holds += order.hold
            assert account.holds + account.collateral <= account.cash, f"M3: hold of account {order.account}"
            contract.bids.add(order)
        else:
            position = order.position
            assert position is not None
            position.open_asks += order.leaves
            assert position.open_asks <= position.capacity(), f"C2: asks of account {order.account}"
            contract.asks.add(order)
        self.orders[key_of(order.order)] = order
        account.open_orders += 1

    def _cancelled(self, order: Order, qty: Gpus, reason: int) -> None:
        self._out.append(_OrderCancelled(order.order, order.account, order.contract, qty, reason))

    def _cancel_resting(self, order: Order, account: Account, reason: int) -> None:
        """Take a resting order out of its book."""
        contract = self.contracts[order.contract]
        leaves, order.leaves = order.leaves, 0
        if order.side == BUY:
            account.holds -= order.hold
            order.hold = 0
            contract.bids.remove(order)
        else:
            assert order.position is not None
            order.position.open_asks -= leaves
            contract.asks.remove(order)
        self._gone(order, account)
        self._cancelled(order, leaves, reason)

    def _gone(self, order: Order, account: Account) -> None:
        """It rests no more; its client id too goes, when its window is over."""
        del self.orders[key_of(order.order)]
        account.open_orders -= 1
        if not self._young(order) and order.client_id:
            del account.client_ids[order.client_id]

    def _young(self, known: Order) -> bool:
        return self.time_ms - known.accepted_ms < CLIENT_ID_MS

    def _remembers(self, known: Order) -> bool:
        return self._young(known) or known.level is not None

    def _forget_ids(self) -> None:
        ids = self.ids_by_age
        while ids and not self._young(ids[0]):
            known = ids.popleft()
            if known.level is None:
                # It may be away already: what is due comes first and ends orders older than the window (`_gone`).
                self.accounts[known.account].client_ids.pop(known.client_id, None)

    def _cancel(self, index: int, command: CancelOrder) -> None:
        valid_until_ms: Millis
        account_no, number, client_id, valid_until_ms = _astuple(command)
        if self.time_ms > valid_until_ms:
            return self._reject(index, account_no, Code.TOO_LATE, client_id)
        if valid_until_ms > self.time_ms + VALIDITY_MS_MAX:
            return self._reject(index, account_no, Code.WRONG_VALIDITY, client_id)
        account = self.accounts.get(account_no)
        if account is None:
            return self._reject(index, account_no, Code.UNKNOWN_ACCOUNT, client_id)
        order = self._resting(number) if number else account.client_ids.get(client_id)
        if order is None or order.level is None or order.account != account.account:
            return self._reject(index, account_no, Code.UNKNOWN_ORDER, client_id)
        # From here on it cannot be refused.
        self._out.append(_CancelAccepted(index, account_no, order.order))
        self._cancel_resting(order, account, ASKED)
        return None

    def _resting(self, number: int) -> Order | None:
        order = self.orders.get(key_of(number))
        return order if order is not None and order.order == number else None

    # --- settlement ------------------------------------------------------------------------------------

    def _from_settlement(self, index: int, command: cmd.OutboxCommand) -> None:
        expected = self.outbox_last + 1
        if command.outbox != expected:
            self._out.append(ev.OutboxSkipped(index, command.outbox, expected))
            return
        self.outbox_last = expected
        refusal: tuple[int, int, int] | None
        match command:
            case cmd.SetAccount():
                refusal = self._set_account(index, command)
            case cmd.Credit():
                refusal = self._credit(index, command)
            case cmd.Sweep():
                refusal = self._sweep(index, command)
            case cmd.SetBacking():
                refusal = self._set_backing(index, command)
            case cmd.SetClass():
                refusal = self._set_class(index, command)
            case _:
                assert_never(command)
        if refusal is not None:
            account = 0 if isinstance(command, cmd.SetClass) else command.account
            self._out.append(ev.OutboxRejected(index, command.outbox, account, int(refusal[0]), refusal[1], refusal[2]))

    def _set_account(self, index: int, c: cmd.SetAccount) -> tuple[int, int, int] | None:
        if c.account <= 0 or c.owner <= 0:
            return Code.UNKNOWN_ACCOUNT, 0, 0
        account = self.accounts.get(c.account)
        if account is not None and account.owner != c.owner:
            return Code.WRONG_OWNER, 0, 0
        if not Role.MEMBER <= c.role <= Role.MARKET_MAKER:
            return Code.WRONG_ROLE, 0, 0
        if c.fee_plan != 0:
            return Code.NOT_OFFERED_YET, 0, 0
        if account is None:
            self.accounts[c.account] = Account(c.account, c.owner, c.role, c.fee_plan)
        else:
            account.role = c.role
        self._out.append(ev.AccountSet(index, c.outbox, c.account, c.owner, c.role, c.fee_plan))
        return None

    def _credit(self, index: int, c: cmd.Credit) -> tuple[int, int, int] | None:
        account = self.accounts.get(c.account)
        if account is None:
            return Code.UNKNOWN_ACCOUNT, 0, 0
        if not 0 < c.amount <= AMOUNT_MAX:
            return Code.WRONG_AMOUNT, 0, 0
        account.cash += c.amount
        self._out.append(ev.Credited(index, c.outbox, c.account, c.amount, account.cash))
        return None

    def _sweep(self, index: int, c: cmd.Sweep) -> tuple[int, int, int] | None:
        account = self.accounts.get(c.account)
        if account is None:
            return Code.UNKNOWN_ACCOUNT, 0, 0
        if not 0 < c.amount <= AMOUNT_MAX:
            return Code.WRONG_AMOUNT, 0, 0
        amount = min(c.amount, max(account.available, 0))
        account.cash -= amount
        self._out.append(ev.Swept(index, c.outbox, c.account, amount, account.cash))
        return None

    def _set_backing(self, index: int, c: cmd.SetBacking) -> tuple[int, int, int] | None:
        refusal = self._refusal_of_backing(c)
        if refusal is not None:
            return refusal
        account = self.accounts[c.account]
        contracts = [self.contracts[contract_of(c.class_no, hour)] for hour in c.hours]
        increase = sum(self._collateral_increase(contract, c) for contract in contracts)
        if increase > 0 and increase > account.available:
            return Code.INSUFFICIENT_FUNDS, min(increase, NEED_MAX), account.available
        # From here on it cannot be refused.
        place, changed, short = len(self._out), False, 0
        for contract in contracts:
            backing = contract.register.of(c.account).on(c.ground)
            if backing.version != c.version:
                changed = True
                backing.qty, backing.collateral_price, backing.version = c.qty, c.collateral_price, c.version
                self._cover(contract, c.account)
                self._cut_asks(contract, c.account)
                self._recollateral(contract, account, contract.register.positions[c.account])
            short = max(short, backing.owed_qty - backing.qty)
        said = ev.BackingSet(
            index,
            c.outbox,
            c.account,
            c.class_no,
            c.hours,
            c.ground,
            c.qty,
            c.collateral_price,
            c.version,
            changed,
            short,
        )
        self._out.insert(place, said)
        return None

    def _refusal_of_backing(self, c: cmd.SetBacking) -> tuple[int, int, int] | None:
        account = self.accounts.get(c.account)
        if account is None:
            return Code.UNKNOWN_ACCOUNT, 0, 0
        listed = self.classes.get(c.class_no)
        if listed is None:
            return Code.UNKNOWN_CLASS, 0, 0
        hours = c.hours
        if not 0 < len(hours) <= LEGS_MAX or any(a >= b for a, b in itertools.pairwise(hours)):
            return Code.WRONG_HOURS, 0, 0
        if c.ground == Ground.READY:
            return Code.NOT_OFFERED_YET, 0, 0
        if c.ground not in FORWARD_GROUNDS:
            return Code.WRONG_GROUND, 0, 0
        needed = Role.PROVIDER if c.ground == Ground.DECLARED else Role.MARKET_MAKER
        if account.role != needed:
            return Code.WRONG_ROLE, 0, 0
        for hour in hours:
            contract = self._listed_contract(c.class_no, hour)
            if contract is None:
                return Code.UNKNOWN_CONTRACT, hour, 0
            if not contract.forward:
                return Code.WRONG_PHASE, hour, 0
        if not 0 <= c.qty <= QTY_MAX or c.qty % listed.spec.lot:
            return Code.WRONG_QTY, listed.spec.lot, 0
        positions = (self.contracts[contract_of(c.class_no, hour)].register.positions.get(c.account) for hour in hours)
        owed = any(position is not None and position.promised.owed_qty for position in positions)
        refusal = _refusal_of_collateral(c, listed, owed=owed)
        if refusal is not None:
            return refusal
        for hour in hours:
            position = self.contracts[contract_of(c.class_no, hour)].register.positions.get(c.account)
            in_force = position.on(c.ground) if position else None
            version = in_force.version if in_force else 0
            same = in_force is not None and (in_force.qty, in_force.collateral_price) == (c.qty, c.collateral_price)
            if c.version < 1 or c.version < version or (c.version == version and not same):
                return Code.STALE_VERSION, 0, version
        return None

    def _collateral_increase(self, contract: Contract, c: cmd.SetBacking) -> Micros:
        if c.ground != Ground.PROMISED:
            return 0
        position = contract.register.of(c.account)
        backing = position.promised
        kept = (backing.qty, backing.collateral_price)
        backing.qty, backing.collateral_price = c.qty, c.collateral_price
        due = position.collateral_due(contract.listed.spec.fees.buyer_taker)
        backing.qty, backing.collateral_price = kept
        return due - position.collateral

    def _recollateral(self, contract: Contract, account: Account, position: Position) -> None:
        if position.collateral or position.promised.qty:
            due = position.collateral_due(contract.listed.spec.fees.buyer_taker)
            account.collateral += due - position.collateral
            position.collateral = due

    def _cover(self, contract: Contract, account: int) -> None:
        """Declared backing takes over titles owed as promised, oldest first."""
        covered = contract.register.cover(account, self.title_last)
        self.title_last = contract.register.title_last
        for source, title, qty in covered:
            self._out.append(ev.TitleCovered(contract.contract, source, title, qty, DECLARED))

    def _cut_asks(self, contract: Contract, account: int) -> None:
        position = contract.register.positions[account]
        if position.open_asks <= position.capacity():
            return
        for order in reversed([order for order in contract.asks if order.account == account]):
            self._cancel_resting(order, self.accounts[account], int(Reason.BACKING_LOWERED))
            if position.open_asks <= position.capacity():
                return

    def _set_class(self, index: int, c: cmd.SetClass) -> tuple[int, int, int] | None:
        event = ev.ClassSet(
            index,
            c.outbox,
            c.class_no,
            c.class_id,
            c.lot,
            c.tick,
            c.list_price,
            c.fees,
            c.horizon_hours,
            c.gate_ms,
            c.cover_ms,
            c.running_close_ms,
            c.collar_low_bp,
            c.collar_high_bp,
            c.first_hour,
        )
        known = self.classes.get(c.class_no)
        if not _sound(c) or (known is not None and not _same_class(known.spec, event)):
            return Code.WRONG_CLASS, 0, 0
        if known is None and any(listed.spec.class_id == c.class_id for listed in self.classes.values()):
            return Code.WRONG_CLASS, 0, 0
        self._out.append(event)
        if known is None:
            self.classes[c.class_no] = Listed(event)
            hour_now = self.time_ms // MS_PER_HOUR
            first = max(c.first_hour, (self.time_ms + c.gate_ms) // MS_PER_HOUR + 1)
            last = hour_now + c.horizon_hours
            for hour in range(first, min(last, HOUR_MASK) + 1):
                self._list(c.class_no, hour)
            self._list_next(c.class_no, max(first, last + 1))
        return None

    # --- operators -------------------------------------------------------------------------------------

    def _set_state(self, index: int, c: cmd.SetState) -> None:
        if not State.OPEN <= c.state <= State.HALTED:
            return self._reject(index, c.operator, Code.WRONG_STATE)
        listed = self.classes.get(c.class_no)
        if listed is None:
            return self._reject(index, c.operator, Code.UNKNOWN_CLASS)
        if c.hour == ALL_HOURS:
            listed.state = c.state
        else:
            contract = self._listed_contract(c.class_no, c.hour)
            if contract is None:
                return self._reject(index, c.operator, Code.UNKNOWN_CONTRACT)
            contract.state = c.state
        self._out.append(ev.StateSet(index, c.operator, c.class_no, c.hour, c.state, c.reason))
        return None

    def _listed_contract(self, class_no: int, hour: Hour) -> Contract | None:
        """An hour of more bits than it may have would be read as another class's."""
        return self.contracts.get(contract_of(class_no, hour)) if 0 < hour <= HOUR_MASK else None

    def _set_version(self, index: int, c: cmd.SetEngineVersion) -> None:
        if c.version not in ENGINE_VERSIONS or c.version < self.version:
            return self._reject(index, c.operator, Code.WRONG_VERSION)
        self.version = c.version
        self._out.append(ev.EngineVersionSet(index, c.operator, c.version))
        return None

    def _start(self, index: int, c: cmd.StartShard, stamp_ms: Millis) -> None:
        if self.shard >= 0:
            return self._reject(index, 0, Code.WRONG_STATE)
        self.shard, self.version, self.t0_ms, self.rate, self.sandbox = (
            c.shard,
            c.engine_version,
            c.t0_ms,
            c.rate,
            c.sandbox,
        )
        self.time_ms = max(0, self.market_ms(stamp_ms))
        self._out.append(ev.ShardStarted(index, c.shard, c.engine_version, c.t0_ms, c.rate, c.sandbox))
        return None

    # --- time ------------------------------------------------------------------------------------------

    def _moment(self, kind: int, class_no: int, hour: Hour) -> None:
        contract = contract_of(class_no, hour)
        if kind == LISTED:
            self._list(class_no, hour)
            self._list_next(class_no, hour + 1)
        elif kind == GATE_CLOSED:
            self._close_gate(self.contracts[contract])
        elif kind == RUNNING_CLOSED:
            self._out.append(ev.RunningClosed(contract))
        else:
            self._end_hour(self.contracts[contract])

    def _list_next(self, class_no: int, hour: Hour) -> None:
        """`hour` is listed when its moment comes, unless it has more bits than an hour of a contract."""
        if hour <= HOUR_MASK:
            horizon = self.classes[class_no].spec.horizon_hours
            heappush(self.due, ((hour - horizon) * MS_PER_HOUR, LISTED, class_no, hour))

    def _list(self, class_no: int, hour: Hour) -> None:
        listed = self.classes[class_no]
        contract = contract_of(class_no, hour)
        self.contracts[contract] = Contract(contract, listed)
        heappush(self.due, (hour * MS_PER_HOUR - listed.spec.gate_ms, GATE_CLOSED, class_no, hour))
        heappush(self.due, ((hour + 1) * MS_PER_HOUR - listed.spec.running_close_ms, RUNNING_CLOSED, class_no, hour))
        heappush(self.due, ((hour + 1) * MS_PER_HOUR, HOUR_ENDED, class_no, hour))
        self._out.append(ev.ContractListed(contract))

    def _close_gate(self, contract: Contract) -> None:
        contract.forward = False
        for order in [*contract.bids, *contract.asks]:
            self._cancel_resting(order, self.accounts[order.account], int(Reason.GATE_CLOSED))
        for account in sorted(contract.register.positions):
            position = contract.register.positions[account]
            position.declared.qty = position.promised.qty = 0
            self._recollateral(contract, self.accounts[account], position)
        self._out.append(ev.GateClosed(contract.contract))

    def _end_hour(self, contract: Contract) -> None:
        register = contract.register
        ended = escrow = collateral = 0
        for t in register.titles():
            ended += 1
            escrow += t.escrow
            self._out.append(
                ev.TitleEnded(
                    contract.contract,
                    t.number,
                    t.obligor,
                    t.holder,
                    t.ground,
                    t.qty,
                    t.minutes,
                    t.proceeds,
                    t.cost,
                    t.escrow,
                )
            )
        assert escrow + register.closed_escrow == register.escrow, f"C6: escrow of contract {contract.contract}"
        for number in sorted(register.positions):
            amount = register.positions[number].collateral
            if amount:
                account = self.accounts[number]
                account.collateral -= amount
                account.cash -= amount
                collateral += amount
                self._out.append(ev.CollateralMoved(contract.contract, number, amount))
        self._out.append(ev.HourEnded(contract.contract, ended, register.escrow, collateral))
        register.clear()
        del self.contracts[contract.contract]

    # --- views -----------------------------------------------------------------------------------------

    def balances(self) -> dict[int, Micros]:
        """account -> trading balance, holds and collateral included."""
        return {number: account.cash for number, account in self.accounts.items()}

    def holds(self) -> dict[int, Micros]:
        """account -> cash held for resting bids."""
        return {number: account.holds for number, account in self.accounts.items()}

    def collaterals(self) -> dict[int, Micros]:
        """account -> cash held for promises."""
        return {number: account.collateral for number, account in self.accounts.items()}

    def escrows(self) -> dict[int, Micros]:
        """contract -> escrow of its titles."""
        return {number: contract.register.escrow for number, contract in self.contracts.items()}

    def positions(self) -> dict[tuple[int, int], tuple[Gpus, Gpus]]:
        """(account, contract) -> (held, owed), where either is not 0."""
        return {
            (account, number): (position.held.qty, position.owed_qty())
            for number, contract in self.contracts.items()
            for account, position in contract.register.positions.items()
            if position.held.qty or position.owed_qty()
        }

    def open_orders(self) -> Iterator[tuple[int, int, int, int, Gpus, Price]]:
        """(order, account, contract, side, leaves, price) of each resting order."""
        for o in self.orders.values():
            yield o.order, o.account, o.contract, o.side, o.leaves, o.price

    def resting_count(self) -> int:
        """How many orders rest."""
        return len(self.orders)

    def check(self) -> None:
        """Every invariant that can be seen from inside; AssertionError names the one that is broken."""
        check(self)


_REPEATED: Final = -1


def _by_client_id() -> dict[str, Order]:
    """An empty dict that has had a key which is no text.

    CPython keeps hashes beside the keys of such a dict; in one of texts alone it reads the texts themselves to see that they
    are others, each from somewhere else in memory. Asking whether a client id is new takes a tenth less.
    """
    ids: dict[Any, Any] = {0: None}
    del ids[0]
    return ids


def hold_of(listed: Listed, price: Price, leaves: Gpus) -> Micros:
    """`units.bid_hold`, written out: the hottest line of the engine."""
    cash = price * leaves
    return cash + cash * listed.bid_bp_max // BP + leaves // listed.lot


def _refusal_of_kind(order: Order, contract: Contract, expires_ms: Millis) -> tuple[int, int, int] | None:
    """States, sides, kinds: all that is no question for a plain order in an open book."""
    state = max(contract.listed.state, contract.state)
    if state >= CANCEL_ONLY:
        return Code.HALTED, 0, 0
    tif, flags = order.tif, order.flags
    if order.side != BUY and order.side != SELL:
        return Code.WRONG_SIDE, 0, 0
    if not GTC <= tif <= FOK:
        return Code.WRONG_TIF, 0, 0
    if tif == GTD or (flags > 0 and flags & RUNNING):
        return Code.NOT_OFFERED_YET, 0, 0
    if expires_ms or (state == OPENING and tif != GTC):
        return Code.WRONG_TIF, 0, 0
    if flags and (flags < 0 or flags & ~(POST_ONLY | CANCEL_OLDEST) or (flags & POST_ONLY and tif != GTC)):
        return Code.WRONG_FLAGS, 0, 0
    return None


def _same(known: Order, o: Order, expires_ms: Millis) -> tuple[int, int, int]:
    first = (known.contract, known.side, known.qty, known.price, known.tif, known.flags, 0)
    again = (o.contract, o.side, o.qty, o.price, o.tif, o.flags, expires_ms)
    return (_REPEATED, known.order, 0) if first == again else (Code.DUPLICATE_CLIENT_ID, 0, known.order)


def _refusal_of_collateral(c: cmd.SetBacking, listed: Listed, *, owed: bool) -> tuple[int, int, int] | None:
    if c.ground == Ground.DECLARED:
        return (Code.WRONG_COLLATERAL, 0, 0) if c.collateral_price else None
    cap = listed.high
    if (c.qty or owed) and c.collateral_price < cap:
        return Code.WRONG_COLLATERAL, cap, 0
    return None if 0 <= c.collateral_price <= PRICE_MAX else (Code.WRONG_COLLATERAL, 0, 0)


def _sound(c: cmd.SetClass) -> bool:
    fees = (c.fees.buyer_maker, c.fees.buyer_taker, c.fees.seller_maker, c.fees.seller_taker)
    return (
        1 <= c.class_no <= 1 << 20
        and is_class_id(c.class_id)
        and 1 <= c.lot <= 1_000
        and c.tick >= 1
        and 0 < c.list_price <= 10**9
        and c.list_price % c.tick == 0
        and all(0 <= rate <= 1_000 for rate in fees)
        and 1 <= c.horizon_hours <= 1_000
        and 0 <= c.gate_ms <= MS_PER_HOUR
        and 0 <= c.cover_ms <= 24 * MS_PER_HOUR
        and 0 <= c.running_close_ms < MS_PER_HOUR
        and 1 <= c.collar_low_bp <= BP <= c.collar_high_bp <= 10 * BP
        and 0 <= c.first_hour <= HOUR_MASK
    )


def _same_class(known: ev.ClassSet, new: ev.ClassSet) -> bool:
    return _values(known) == _values(new)


def _values(spec: ev.ClassSet) -> tuple[Any, ...]:
    """All but index and outbox."""
    return tuple(getattr(spec, name) for name in spec.__struct_fields__[2:])
