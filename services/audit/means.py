"""Means: cash, holds, collateral, backing; what settlement and operators say about them. M3, M7, C2, C4, C5, B7. Pure."""

from __future__ import annotations

from typing import assert_never

from msgspec.structs import replace

from schemas import commands as cmd
from schemas import events as ev
from schemas.commands import Ground
from schemas.ids import class_no_of, contract_of, hour_of
from schemas.units import Gpus, Micros, Price
from services.audit.arithmetic import block_hold_of, collateral_of, hold_of
from services.audit.market import FORWARD_GROUNDS, WITH_COLLATERAL, Market
from services.audit.moments import Moments

FromSettlement = ev.Credited | ev.Swept | ev.AccountSet | ev.ClassSet | ev.BackingSet | ev.OutboxRejected


class Means:
    """What accounts can pay and may offer."""

    def __init__(self, market: Market, moments: Moments) -> None:
        self.market = market
        self.found = market.found
        self._moments = moments
        self._caps: dict[int, Price] = {}
        """Of contracts whose reference the command under way moves: as they were before."""

    # --- money -----------------------------------------------------------------------------------------

    def available(self, account: int) -> Micros:
        """cash − holds of resting bids and buy blocks − collateral."""
        return self.market.cash[account] - self.holds(account) - self.collateral(account)

    def holds(self, account: int) -> Micros:
        """Worst case of the account's resting bids and buy blocks."""
        market = self.market
        bids = sum(
            hold_of(order.price, order.leaves, market.spec(order.contract).lot, max(order.maker_bp, order.taker_bp))
            for order in market.bids_of[account].values()
        )
        return bids + sum(
            block_hold_of(b.price, b.leaves, b.hours, market.classes[b.class_no].lot, max(b.maker_bp, b.taker_bp))
            for b in market.blocks_of[account].values()
            if b.side == 1
        )

    def collateral(self, account: int) -> Micros:
        """Σ over contracts and grounds of max(backing, owed) × collateral per GPU-hour."""
        return sum(
            self._collateral(account, contract, ground)
            for contract in self.market.collateral_contracts[account]
            for ground in WITH_COLLATERAL
        )

    def _collateral(self, account: int, contract: int, ground: int) -> Micros:
        promise, owed = (
            self.market.backing[account, contract, ground],
            self.market.owed[account, contract, ground],
        )
        most = max(promise.qty, owed)
        return most and most * self._per_gpu(contract, promise.collateral_price)

    def _per_gpu(self, contract: int, price: Price) -> Micros:
        return collateral_of(price, self.market.spec(contract).fees.buyer_taker)

    def left_behind(self, account: int, contract: int) -> Micros:
        """Collateral of what is still owed when the hour ends."""
        market = self.market
        return sum(
            market.owed[account, contract, ground]
            * self._per_gpu(contract, market.backing[account, contract, ground].collateral_price)
            for ground in WITH_COLLATERAL
        )

    # --- machines and promises -------------------------------------------------------------------------

    def unsold(self, account: int, contract: int, ground: int) -> Gpus:
        """What may still be sold on a ground."""
        key = (account, contract, ground)
        return max(0, self.market.backing[key].qty - self.market.owed[key])

    def capacity(self, account: int, contract: int) -> Gpus:
        """Forward: held + Σ over forward grounds max(0, backing − owed). Behind the gate: what is ready."""
        if self.market.phase.get(contract) != "forward":
            return self.unsold(account, contract, Ground.READY)
        unsold = sum(self.unsold(account, contract, ground) for ground in FORWARD_GROUNDS)
        return self.market.held[account, contract] + unsold

    def offered(self, account: int, contract: int) -> Gpus:
        """Open asks of the contract, and sell blocks over it."""
        market = self.market
        asks = sum(order.leaves for order in market.asks_of[account, contract].values())
        blocks = market.blocks_of[account].values()
        return asks + sum(block.leaves for block in blocks if block.side == 2 and contract in block.contracts)

    def _check_money(self, account: int) -> None:
        """M3. Adds up all that the account bids and promises: once for all contracts that a command concerned."""
        available = self.available(account)
        self.found.expect("M3", available >= 0, f"account {account}: available {available} at seq {self.market.seq}")

    def _check_offered(self, account: int, contract: int) -> None:
        """C2."""
        if offered := self.offered(account, contract):
            capacity = self.capacity(account, contract)
            breach = f"account {account}, contract {contract}: asks {offered} > {capacity}"
            self.found.expect("C2", offered <= capacity, breach)

    def command_ended(self) -> None:
        """Of everybody whom the command concerned; after a reference moved, of all who promise in its contracts."""
        market = self.market
        for account in sorted({account for account, _ in market.concerned}):
            self._check_money(account)
        for account, contract in sorted(market.concerned):
            self._check_offered(account, contract)
        market.concerned.clear()
        before, self._caps = self._caps, {}
        rose = {contract for contract, cap in before.items() if market.collar(contract)[1] > cap}
        if rose:
            for (account, contract, ground), promise in market.backing.items():
                if contract in rose:
                    self._check_price(account, contract, ground, promise.qty, promise.collateral_price)

    def collar_moves(self, event: ev.ReferenceMoved) -> None:
        """Told before it is in force: unsold promises below a cap that rises are cut by the end of the command.

        What is bought back later is promised again at the collateral that it had, until the cap rises once more.
        """
        for _, contract, _ in self.market.backing:
            if class_no_of(contract) == event.class_no and event.hour in (0, hour_of(contract)):
                self._caps.setdefault(contract, self.market.collar(contract)[1])

    def _check_price(self, account: int, contract: int, ground: int, qty: Gpus, price: Price) -> None:
        """C5: what is promised and not sold has at least its contract's cap as collateral."""
        if ground not in WITH_COLLATERAL or not price or self.market.phase.get(contract) not in ("forward", "running"):
            return
        _, cap = self.market.collar(contract)
        enough = price >= cap or qty <= self.market.owed[account, contract, ground]
        breach = f"account {account}, contract {contract}, ground {ground}: collateral price {price} < {cap}"
        self.found.expect("C5", enough, breach)

    # --- settlement's messages -------------------------------------------------------------------------

    def from_settlement(self, event: FromSettlement) -> None:
        """What the outbox brought."""
        self.found.expect(
            "S1", event.outbox == self.market.outbox + 1, f"outbox {event.outbox} after {self.market.outbox}"
        )
        self.market.outbox = event.outbox
        match event:
            case ev.Credited() | ev.Swept():
                self._moved(event)
            case ev.AccountSet():
                self._account_set(event)
            case ev.ClassSet():
                self._class_set(event)
            case ev.BackingSet():
                self._backing_set(event)
            case ev.OutboxRejected():
                pass  # it changed nothing here
            case _:
                assert_never(event)

    def _account_set(self, event: ev.AccountSet) -> None:
        known = self.market.accounts.get(event.account)
        same = known is None or known.owner == event.owner
        self.found.expect("B7", same, f"account {event.account} goes to owner {event.owner}")
        self.market.accounts[event.account] = event

    def _class_set(self, event: ev.ClassSet) -> None:
        known = self.market.classes.setdefault(event.class_no, event)
        again = replace(event, index=known.index, outbox=known.outbox)
        self.found.expect("C4", again == known, f"class {event.class_no} was {known}, and is set to {event}")

    def _moved(self, event: ev.Credited | ev.Swept) -> None:
        self.market.cash[event.account] += event.amount if isinstance(event, ev.Credited) else -event.amount
        balance = self.market.cash[event.account]
        self.found.expect(
            "M7", event.balance == balance, f"account {event.account}: {event.balance}, log says {balance}"
        )
        available = self.available(event.account)
        self.found.expect("M3", available >= 0, f"account {event.account}: available {available}")

    def _backing_set(self, event: ev.BackingSet) -> None:
        changed, market = False, self.market
        machines = self._is_machines(event)
        for hour in event.hours:
            contract = contract_of(event.class_no, hour)
            self._moments.check_backed(contract, event.ground, f"backing of account {event.account}")
            market.concerned.add((event.account, contract))
            promise = market.backing[event.account, contract, event.ground]
            if promise.version == event.version:
                same = (promise.qty, promise.collateral_price) == (event.qty, event.collateral_price)
                self.found.expect("C4", same, f"backing version {event.version} of account {event.account} changed")
                continue
            self.found.expect(
                "C4", event.version > promise.version, f"backing version {event.version} after {promise.version}"
            )
            changed = True
            promise.qty, promise.collateral_price, promise.version = event.qty, event.collateral_price, event.version
            self._check_promise(event, contract, machines=machines)
        self.found.expect(
            "C4", changed == event.changed, f"backing of account {event.account}: changed is {event.changed}"
        )
        available = self.available(event.account)
        self.found.expect("C5", available >= 0, f"account {event.account}: {available} available after its promise")

    def _is_machines(self, event: ev.BackingSet) -> bool:
        """A provider's machines stand for themselves, but not for what it owes against collateral from before it was one."""
        if event.ground not in WITH_COLLATERAL:
            return True
        known, market = self.market.accounts.get(event.account), self.market
        keys = [(event.account, contract_of(event.class_no, hour), event.ground) for hour in event.hours]
        secured = any(market.owed[key] and market.backing[key].collateral_price for key in keys)
        return event.ground == Ground.READY and known is not None and known.role == 1 and not secured

    def _check_promise(self, event: ev.BackingSet, contract: int, *, machines: bool) -> None:
        """A market maker's word is worth its collateral."""
        if machines:
            free = event.collateral_price == 0
            self.found.expect(
                "C5", free, f"account {event.account}: collateral price {event.collateral_price} of machines"
            )
            return
        self.market.collateral_contracts[event.account].add(contract)
        if event.qty or self.market.owed[event.account, contract, event.ground]:
            self.found.saw("C5", "promises")
            _, cap = self.market.collar(contract)
            enough = event.collateral_price >= cap
            breach = f"account {event.account}: collateral price {event.collateral_price} < {cap}"
            self.found.expect("C5", enough, breach)

    # --- cuts and corrections --------------------------------------------------------------------------

    def backing_cut(self, event: ev.BackingCut) -> None:
        """The unsold part of a promise ends, all of it; what is owed stays."""
        key = (event.account, event.contract, event.ground)
        unsold = self.unsold(*key)
        fits = event.ground in WITH_COLLATERAL and event.qty == unsold and unsold > 0
        self.found.expect("C5", fits, f"{event}: {unsold} are promised and not sold")
        self.market.backing[key].qty -= event.qty
        self.market.concerned.add((event.account, event.contract))

    def approved(self, command: cmd.CorrectCash) -> None:
        """What the correction that was made rests on: an approval that is still good, and was not used before."""
        market = self.market
        used_until_ms = market.approvals.get(command.approval, -1)
        good = command.approval != "" and used_until_ms < market.time_ms <= command.valid_until_ms
        self.found.expect("B7", good, f"{command} at {market.time_ms}: the approval was used until {used_until_ms}")
        market.approvals[command.approval] = command.valid_until_ms

    def cash_corrected(self, event: ev.CashCorrected, place: int) -> None:
        """Two operators of different owners, an error in a trade that was made, and no more than the payer can pay."""
        market = self.market
        owners = {market.owner(event.operator), market.owner(event.second_operator)}
        self.found.saw("B7", "corrections")
        self.found.expect("B7", len(owners) == 2, f"{event}: both operators answer to owner {owners}")
        made = 1 <= event.trade <= market.trade_last and event.payer != event.payee and event.amount > 0
        self.found.expect("O3", made, f"{event}: the last trade is {market.trade_last}")
        market.cash[event.payer] -= event.amount
        market.cash[event.payee] += event.amount
        market.corrections[market.seq, place] = event
        for account in (event.payer, event.payee):
            market.owner(account)
            available = self.available(account)
            self.found.expect("M3", available >= 0, f"account {account}: available {available} after a correction")
