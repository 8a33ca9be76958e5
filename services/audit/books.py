"""Orders of one hour and their books: accepted, resting, amended, cancelled. B1, B6, O1, O2, O3, C3. Pure."""

from __future__ import annotations

from collections import Counter

from schemas import events as ev
from schemas.commands import CancelAllAfter, MassCancel, Side, Tif
from schemas.ids import class_no_of, contract_of, format_order, hour_of, order_id
from schemas.units import Gpus, Millis
from services.audit.market import Block, Market, Order
from services.audit.moments import Moments

CLIENT_ID_WINDOW_MS = 900_000

Level = tuple[int, int, int]
"""(contract, side, price)."""


class Books:
    """Every book of a shard."""

    def __init__(self, market: Market, moments: Moments) -> None:
        self.market = market
        self.found = market.found
        self._moments = moments
        self.came_to_rest: set[tuple[int, int]] = set()
        """(contract, side) of orders that came to rest since the last outcome."""
        self.client_ids: dict[tuple[int, str], tuple[int, Millis, bool]] = {}
        """-> (order, when accepted, whether its order may keep it longer)."""
        self._mass: tuple[ev.MassCancelAccepted, MassCancel] | None = None
        self._reasons: Counter[int] = Counter()
        """Of cancellations since the last outcome."""

    # --- accepted --------------------------------------------------------------------------------------

    def accepted(self, event: ev.OrderAccepted) -> None:
        """A newcomer."""
        self.use_client_id(event.account, event.client_id, event.order)
        self.enter(
            Order(
                event.order,
                event.account,
                event.contract,
                event.side,
                event.qty,
                event.price,
                event.tif,
                event.flags,
                event.maker_bp,
                event.taker_bp,
                event.qty,
                event.expires_ms,
            )
        )

    def range_accepted(self, event: ev.RangeAccepted) -> None:
        """A newcomer for each leg that was not refused, and an outcome for each leg in order."""
        market = self.market
        first = order_id(market.shard, market.offset, event.index)
        self.use_client_id(event.account, event.client_id, first, kept=False)
        places = [leg.leg for leg in event.legs]
        self.found.expect(
            "O3", places == list(range(len(event.hours))), f"outcomes {places} for {len(event.hours)} legs"
        )
        for leg, hour in zip(event.legs, event.hours, strict=False):
            if leg.code:
                self.found.expect(
                    "O3", leg.order == 0, f"leg {leg.leg} is refused, and order {format_order(leg.order)}"
                )
                continue
            self.found.saw("O1", "ranges")
            fits = leg.order == first + leg.leg
            self.found.expect("O3", fits, f"leg {leg.leg} of {format_order(first)} is {format_order(leg.order)}")
            contract = contract_of(event.class_no, hour)
            rates = (event.maker_bp, event.taker_bp)
            order = Order(
                leg.order,
                event.account,
                contract,
                event.side,
                event.qty,
                event.price,
                event.tif,
                event.flags,
                *rates,
                event.qty,
                event.expires_ms,
            )
            self.enter(order)

    def enter(self, order: Order) -> None:
        """It trades first, and rests by the end of the command."""
        name, market = format_order(order.order), self.market
        self.found.expect("B6", order.order not in market.orders, f"{name} accepted twice")
        self._moments.check_open(order.contract, f"{name} accepted")
        market.owner(order.account)
        self.check_rates(class_no_of(order.contract), order)
        market.orders[order.order] = order
        market.entering[order.order] = order
        market.touched.add(order.contract)
        market.concerned.add((order.account, order.contract))
        self._moments.expires(order)

    def use_client_id(self, account: int, client_id: str, order: int, *, kept: bool = True) -> None:
        """O2: it is free: never used, or a quarter of an hour ago by an order that is over. `kept`: it may rest longer."""
        if not client_id:
            return
        earlier = self.client_ids.get((account, client_id))
        free = earlier is None or (
            self.market.time_ms - earlier[1] >= CLIENT_ID_WINDOW_MS and not (earlier[2] and self._leaves(earlier[0]))
        )
        self.found.expect("O2", free, f"{client_id} of account {account} is two orders")
        self.client_ids[account, client_id] = (order, self.market.time_ms, kept)

    def _leaves(self, number: int) -> Gpus:
        order = self.market.orders.get(number) or self.market.blocks.get(number)
        return order.leaves if order else 0

    def check_known_id(self, account: int, client_id: str, order: int) -> None:
        """O2: a repeat is answered with the very order."""
        known = self.client_ids.get((account, client_id))
        self.found.expect(
            "O2",
            known is not None and known[0] == order,
            f"{client_id} of account {account} is not {format_order(order)}",
        )

    def check_rates(self, class_no: int, order: Order | Block) -> None:
        """M6: the class's, by side."""
        fees = self.market.spec(contract_of(class_no, 1)).fees
        due = (fees.buyer_maker, fees.buyer_taker) if order.side == Side.BUY else (fees.seller_maker, fees.seller_taker)
        fits = (order.maker_bp, order.taker_bp) == due
        self.found.expect("M6", fits, f"{format_order(order.order)} has rates other than {due}")

    # --- at rest ---------------------------------------------------------------------------------------

    def rest(self, order: Order) -> None:
        """It is in its book from here on, last in its level."""
        market, name = self.market, format_order(order.order)
        stays = order.tif in (Tif.GTC, Tif.GTD)
        self.found.expect("O1", stays, f"{name} rests, and is no GTC or GTD order")
        if market.phase.get(order.contract) == "running":
            self.found.expect("C3", order.side == Side.SELL, f"{name} rests in the running phase, and is a bid")
        market.resting[order.contract][order.order] = order
        if order.side == Side.BUY:
            market.bids_of[order.account][order.order] = order
        else:
            market.asks_of[order.account, order.contract][order.order] = order
        self.came_to_rest.add((order.contract, order.side))

    def gone(self, order: Order) -> None:
        """It is in no book any more."""
        market = self.market
        market.resting[order.contract].pop(order.order, None)
        market.bids_of[order.account].pop(order.order, None)
        market.asks_of[order.account, order.contract].pop(order.order, None)
        market.touched.add(order.contract)

    def traded(self, order: Order, qty: Gpus, leaves: Gpus) -> None:
        """O1 after a fill."""
        order.filled += qty
        order.leaves -= qty
        self.found.expect("O1", order.leaves == leaves, f"{format_order(order.order)}: leaves {leaves}")
        self.check_quantities(order)
        if order.leaves == 0:
            self.gone(order)

    def check_quantities(self, order: Order | Block) -> None:
        """O1."""
        whole = order.leaves >= 0 and order.filled + order.leaves + order.cancelled == order.qty
        self.found.expect("O1", whole, f"{format_order(order.order)}: {order}")

    # --- amended and cancelled -------------------------------------------------------------------------

    def amended(self, event: ev.OrderAmended) -> None:
        """Less at the same price keeps its place; anything else enters anew. A cut is cancelled, a rise is asked for."""
        market, name = self.market, format_order(event.order)
        order = market.order(event.order)
        self.found.saw("O1", "amends")
        rests = event.order in market.resting[order.contract] and order.account == event.account
        self.found.expect("O1", rests and event.qty > 0, f"{name} is amended: {event}, and is {order}")
        keeps = (event.price, event.qty <= order.leaves) == (order.price, True)
        self.found.expect("B4", keeps == event.kept_place, f"{name} keeps its place: {event.kept_place}, due {keeps}")
        self.resize(order, event.qty)
        market.concerned.add((order.account, order.contract))
        if not event.kept_place:
            self._moments.check_open(order.contract, f"{name} amended")
            self.gone(order)
            order.price = event.price
            market.entering[order.order] = order

    def resize(self, order: Order, qty: Gpus) -> None:
        """New open quantity."""
        if qty < order.leaves:
            order.cancelled += order.leaves - qty
        else:
            order.qty += qty - order.leaves
        order.leaves = qty
        self.check_quantities(order)

    def cancelled(self, event: ev.OrderCancelled) -> None:
        """The rest of an order is gone."""
        order = self.market.order(event.order)
        self._moments.cancelled_in_time(event, order)
        order.cancelled += event.qty
        order.leaves -= event.qty
        self.check_quantities(order)
        whose = (event.account, event.contract) == (order.account, order.contract)
        self.found.expect(
            "O1",
            whose and order.leaves == 0,
            f"{format_order(order.order)} cancelled with {order.leaves} left: {event}",
        )
        self.gone(order)

    def reason(self, reason: int) -> None:
        """Of any cancellation."""
        self._reasons[reason] += 1

    def mass_cancel(self, event: ev.MassCancelAccepted) -> None:
        """As many cancellations follow, and nothing that was meant is left."""
        commands = self.market.commands
        command = commands[event.index] if event.index < len(commands) else None
        if isinstance(command, MassCancel):
            self._mass = (event, command)

    def switch_set(self, event: ev.CancelAllAfterSet) -> None:
        """So long after now as was asked."""
        commands = self.market.commands
        command = commands[event.index] if event.index < len(commands) else None
        if isinstance(command, CancelAllAfter):
            due = self.market.time_ms + command.after_ms if command.after_ms else 0
            self.found.expect("O3", event.at_ms == due, f"{event}: asked was {due}")
        self._moments.switch_set(event)

    # --- the end of a command --------------------------------------------------------------------------

    def command_ended(self) -> None:
        """Books must be sane."""
        for contract in sorted(self.market.touched):
            self.check_book(contract)
        self.market.touched.clear()
        mass, self._mass = self._mass, None
        if mass is not None:
            self._check_mass(*mass)
        self._reasons.clear()

    def check_book(self, contract: int) -> None:
        """B1."""
        bids = [order.price for order in self.market.resting[contract].values() if order.side == Side.BUY]
        asks = [order.price for order in self.market.resting[contract].values() if order.side == Side.SELL]
        if bids and asks:
            self.found.expect("B1", max(bids) < min(asks), f"contract {contract}: bid {max(bids)} >= ask {min(asks)}")

    def _check_mass(self, event: ev.MassCancelAccepted, command: MassCancel) -> None:
        count = self._reasons[ev.Reason.MASS]
        self.found.expect("O3", event.count == count, f"{event}: {count} cancellations follow")
        left = [one for one in self.market.open_any() if one.account == event.account and self._is_meant(one, command)]
        self.found.expect("O3", not left, f"{event}: {len(left)} orders are left of what was meant")

    @staticmethod
    def _is_meant(one: Order | Block, command: MassCancel) -> bool:
        contracts = one.contracts if isinstance(one, Block) else [one.contract]
        return (
            command.class_no in (0, class_no_of(contracts[0]))
            and command.side in (0, one.side)
            and (command.hour == 0 or any(hour_of(contract) == command.hour for contract in contracts))
        )

    def levels(self, *, quotes: bool) -> dict[Level, tuple[int, Gpus]]:
        """Level -> (orders, GPUs) of what is open, with or without the orders of quotes."""
        found: dict[Level, tuple[int, Gpus]] = {}
        for order in self.market.open_orders():
            if quotes or not order.quote:
                level = (order.contract, order.side, order.price)
                orders, gpus = found.get(level, (0, 0))
                found[level] = (orders + 1, gpus + order.leaves)
        return found
