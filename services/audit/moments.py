"""What time does: phases, states, expiries, the dead man's switch, the cover deadline's moment, the hour's end. C3, C6. Pure.

Each moment is in the log in its time and in its order, and what must be over by then is. An event that time alone caused comes
before the outcome of its record's first command.
"""

from __future__ import annotations

import heapq
from collections import defaultdict
from typing import assert_never

from schemas import events as ev
from schemas.commands import Flag, Ground, SetState, Side, State
from schemas.ids import class_no_of, contract_of, format_order, hour_of
from schemas.units import MS_PER_HOUR, Gpus, Micros, Millis
from services.audit.market import PHASES, Block, Market, Order
from services.audit.queues import Queues

OPENING_MS = 60_000
REOPENING_MS = 60_000
POST_ONLY_MS = 30_000

Place = tuple[int, int]
"""(class, hour; 0: the class)."""


class Moments:
    """The clock of one shard."""

    def __init__(self, market: Market, queues: Queues) -> None:
        self.market = market
        self.found = market.found
        self._queues = queues
        self.by_time = True
        """Nothing of this record's commands has happened yet."""
        self.opened: set[int] = set()
        """Contracts whose state became open since the last outcome."""
        self.covered: set[int] = set()
        """Contracts whose cover deadline has come, or was over when they were listed."""
        self.cover_due: dict[int, Millis] = {}
        self._deadlines: list[tuple[Millis, int]] = []
        """Heap of (when, contract) of these."""
        self._moments: list[tuple[Millis, int, str]] = []
        """Heap of (when, contract, phase from then on)."""
        self._expiries: list[tuple[Millis, int]] = []
        """Heap of (when, order)."""
        self._states_due: dict[Place, tuple[Millis, int, Millis]] = {}
        """-> (when, state, and how long after that it opens)."""
        self._dead_man: dict[int, Millis] = {}
        self._switches: list[tuple[Millis, int]] = []
        """Heap of (when, account), those too that were set anew since."""
        self._fired: set[int] = set()
        self._ending: dict[int, list[int]] = {}
        """contract -> [titles ended, escrow] until its `HourEnded`."""

    # --- what may happen now ---------------------------------------------------------------------------

    def check_open(self, contract: int, what: str) -> None:
        """Orders are taken: in the forward phase before the gate, or in the running phase while a minute is left."""
        market = self.market
        phase = market.phase.get(contract)
        until = {"forward": "running", "running": "closed"}.get(phase or "")
        open_ = (
            until is not None
            and (phase == "forward" or market.version > 1)
            # What time does happens one after the other, however late it is: a buy-in before a gate that is due as well.
            and (self.by_time or market.time_ms < self._due_ms(contract, until))
            and market.minutes(contract) >= 1
        )
        self.found.expect("C3", open_, f"{what} outside its phase ({phase}) at {market.time_ms}")

    def check_forward(self, contract: int, what: str) -> None:
        """Blocks and quotes know no other phase."""
        self.check_open(contract, what)
        phase = self.market.phase.get(contract)
        self.found.expect("C3", phase == "forward", f"{what} in the phase {phase}")

    def check_trading(self, contract: int, what: str) -> None:
        """Only an open contract trades."""
        self.check_open(contract, what)
        state = self.market.state(contract)
        self.found.expect("C3", state == State.OPEN, f"{what} in state {state}")

    def check_backed(self, contract: int, ground: int, what: str) -> None:
        """DECLARED forward, PROMISED until its cover deadline, READY as long as anything trades."""
        if ground == Ground.READY:
            phase = self.market.phase.get(contract)
            self.found.expect("C3", phase in ("forward", "running"), f"{what} in the phase {phase}")
            return
        self.check_open(contract, what)
        late = self.market.phase.get(contract) != "forward" or (ground == Ground.PROMISED and contract in self.covered)
        self.found.expect("C3", not late, f"{what} on ground {ground}, which has ended")

    # --- phases ----------------------------------------------------------------------------------------

    def _due_ms(self, contract: int, phase: str) -> Millis:
        """When the contract comes into a phase."""
        spec, hour = self.market.spec(contract), hour_of(contract)
        end_ms = (hour + 1) * MS_PER_HOUR
        return {
            "forward": (hour - spec.horizon_hours) * MS_PER_HOUR,
            "running": hour * MS_PER_HOUR - spec.gate_ms,
            "closed": end_ms - spec.running_close_ms,
            "ended": end_ms,
        }[phase]

    def moment(self, event: ev.ContractListed | ev.GateClosed | ev.RunningClosed) -> None:
        """Of a contract."""
        match event:
            case ev.ContractListed(contract=contract):
                self._listed(contract)
            case ev.GateClosed(contract=contract):
                self._phase(contract, "running")
                self._check_left(contract)
                self._end_backing(contract, (Ground.DECLARED, Ground.PROMISED))
            case ev.RunningClosed(contract=contract):
                if self.market.phase.get(contract) != "ended" or self.market.spec(contract).running_close_ms:
                    self._phase(contract, "closed")
                    self._close_running(contract)
            case _:
                assert_never(event)

    def _listed(self, contract: int) -> None:
        self._phase(contract, "forward")
        for phase in PHASES[1:]:
            heapq.heappush(self._moments, (self._due_ms(contract, phase), contract, phase))
        if self.market.version == 1:
            return
        self._cover_at(contract)
        if self.by_time:
            # Whoever waited for it has a minute in which nobody takes anything from anybody.
            self._states_due[class_no_of(contract), hour_of(contract)] = (
                self.market.time_ms,
                State.POST_ONLY,
                OPENING_MS,
            )

    def _cover_at(self, contract: int) -> None:
        """Its cover deadline will come, unless it is over."""
        due_ms = hour_of(contract) * MS_PER_HOUR - self.market.spec(contract).cover_ms
        if self.market.time_ms >= due_ms:
            self.covered.add(contract)
        else:
            self._deadline(contract, due_ms)

    def _deadline(self, contract: int, due_ms: Millis) -> None:
        self.cover_due[contract] = due_ms
        heapq.heappush(self._deadlines, (due_ms, contract))

    def version_begins(self) -> None:
        """Version 2 after a lower one: every listed forward contract gets its cover deadline, also one that is over."""
        for contract, phase in self.market.phase.items():
            if phase == "forward":
                self._deadline(contract, hour_of(contract) * MS_PER_HOUR - self.market.spec(contract).cover_ms)

    def _phase(self, contract: int, phase: str) -> None:
        """One after the other, and none before its time."""
        market, place = self.market, PHASES.index(phase)
        is_now, due_ms = market.phase.get(contract), self._due_ms(contract, phase)
        before = PHASES[place - 1] if place else None
        if phase == "ended" and not market.spec(contract).running_close_ms:
            before = "running"  # both are due at the same time, and the end comes first
        fits = is_now == before and market.time_ms >= due_ms
        self.found.expect(
            "C3", fits, f"contract {contract}: {is_now} becomes {phase} at {market.time_ms}, due at {due_ms}"
        )
        market.phase[contract] = phase

    def _check_left(self, contract: int) -> None:
        """Behind the gate only asks stay that say so; that they are backed is C2, at the end of what time does."""
        left = [
            order
            for order in self.market.resting[contract].values()
            if order.side == Side.BUY or not order.flags & Flag.RUNNING
        ]
        self.found.expect("C3", not left, f"{len(left)} orders after the gate of {contract}")
        blocks = [block for block in self.market.open_blocks() if contract in block.contracts]
        self.found.expect("C3", not blocks, f"{len(blocks)} blocks after the gate of {contract}")
        self.market.concerned |= {(order.account, contract) for order in self.market.resting[contract].values()}

    def _end_backing(self, contract: int, grounds: tuple[int, ...]) -> None:
        for (_, of_contract, ground), promise in self.market.backing.items():
            if of_contract == contract and ground in grounds:
                promise.qty = 0

    def _close_running(self, contract: int) -> None:
        """Nothing rests any more, and of what is ready only what was sold stays."""
        left = self.market.resting[contract]
        self.found.expect("C3", not left, f"{len(left)} orders after the running phase of {contract}")
        for (account, of_contract, ground), promise in self.market.backing.items():
            if of_contract == contract and ground == Ground.READY:
                promise.qty = min(promise.qty, self.market.owed[account, contract, ground])

    # --- states ----------------------------------------------------------------------------------------

    def state_set(self, event: ev.StateSet) -> None:
        """What the operator asked for; from halted to open it takes ninety seconds."""
        place = (event.class_no, event.hour)
        before = self.market.states.get(place, State.OPEN)
        self._states_due.pop(place, None)
        command = self.market.commands[event.index] if event.index < len(self.market.commands) else None
        asked = command.state if isinstance(command, SetState) else event.state
        due = asked
        if self.market.version > 1 and asked == State.OPEN and before == State.HALTED:
            due = State.CANCEL_ONLY
            self._states_due[place] = (self.market.time_ms + REOPENING_MS, State.POST_ONLY, POST_ONLY_MS)
        self.found.expect("C3", event.state == due, f"{event}: asked was {asked}, from state {before}")
        self._become(place, event.state)

    def state_reached(self, event: ev.StateReached) -> None:
        """An opening or a reopening goes on."""
        place = (event.class_no, event.hour)
        when, state, opens_ms = self._states_due.pop(place, (0, 0, 0))
        fits = event.state == state and when <= self.market.time_ms and self.by_time
        self.found.expect("C3", fits, f"{event} at {self.market.time_ms}: state {state} was due at {when}")
        if event.state == State.POST_ONLY:
            # An opening counts from when the shard came to it, a reopening from when its own step was due.
            since = self.market.time_ms if opens_ms == OPENING_MS else when
            self._states_due[place] = (since + opens_ms, State.OPEN, 0)
        self._become(place, event.state)

    def _become(self, place: Place, state: int) -> None:
        class_no, hour = place
        contracts = [contract_of(class_no, hour)] if hour else self._alive(class_no)
        closed = [contract for contract in contracts if self.market.state(contract) != State.OPEN]
        self.market.states[place] = state
        self.opened |= {contract for contract in closed if self.market.state(contract) == State.OPEN}

    def _alive(self, class_no: int) -> list[int]:
        return [c for c, phase in self.market.phase.items() if class_no_of(c) == class_no and phase != "ended"]

    def reference_moved(self, event: ev.ReferenceMoved) -> None:
        """The collar follows."""
        self.market.references[event.class_no, event.hour] = event.price
        due = self.market.collar(contract_of(event.class_no, event.hour))
        self.found.expect("C5", (event.low, event.high) == due, f"{event}: the collar is {due}")

    # --- orders ----------------------------------------------------------------------------------------

    def expires(self, order: Order | Block) -> None:
        """A GTD order is gone when its time has come."""
        if order.expires_ms:
            heapq.heappush(self._expiries, (order.expires_ms, order.order))

    def switch_set(self, event: ev.CancelAllAfterSet) -> None:
        """The one before is off."""
        self._dead_man.pop(event.account, None)
        if event.at_ms:
            self._dead_man[event.account] = event.at_ms
            heapq.heappush(self._switches, (event.at_ms, event.account))

    def switch_fired(self, event: ev.DeadManFired) -> None:
        """Everything of the account goes."""
        when = self._dead_man.pop(event.account, None)
        fits = when is not None and when <= self.market.time_ms and self.by_time
        self.found.expect("C3", fits, f"{event} at {self.market.time_ms}, due at {when}")
        self._fired.add(event.account)

    def cancelled_in_time(self, event: ev.OrderCancelled, order: Order | Block) -> None:
        """None expires early."""
        if event.reason == ev.Reason.EXPIRED:
            fits = 0 < order.expires_ms <= self.market.time_ms and self.by_time
            self.found.expect("C3", fits, f"{format_order(order.order)} expires at {order.expires_ms}")

    # --- the end of what time does, and of the record --------------------------------------------------

    def command_ended(self) -> None:
        """What time did, or a command, is complete."""
        self.opened.clear()
        fired, self._fired = self._fired, set()
        if not fired:
            return
        for order in self.market.open_any():
            if order.account in fired:
                self.found.expect("C3", False, f"{format_order(order.order)} rests after its owner's switch fired")

    def time_passed(self) -> None:
        """The first outcome of the record: what was due and concerns promises has happened."""
        while self._deadlines and self._deadlines[0][0] <= self.market.time_ms:
            _, contract = heapq.heappop(self._deadlines)
            if self.cover_due.pop(contract, None) is not None:  # its hour may have ended, too
                self.covered.add(contract)
                self._check_covered(contract)

    def _check_covered(self, contract: int) -> None:
        """C5: nothing is promised any more; what is still owed as promised was told as a failure."""
        for (account, of_contract, ground), promise in self.market.backing.items():
            if of_contract == contract and ground == Ground.PROMISED:
                owed = self.market.owed[account, contract, ground]
                told = self.market.failed.get((contract, account), 0)
                breach = f"contract {contract} after its cover deadline: account {account} promises {promise.qty}, owes {owed}"
                self.found.expect("C5", promise.qty == 0 and owed <= told, f"{breach}, {told} failed")

    def record_ended(self) -> None:
        """What was due by now has happened."""
        now_ms = self.market.time_ms
        while self._moments and self._moments[0][0] <= now_ms:
            when, contract, phase = heapq.heappop(self._moments)
            done = PHASES.index(self.market.phase[contract]) >= PHASES.index(phase)
            self.found.expect("C3", done, f"contract {contract} should be {phase} since {when}")
        while self._expiries and self._expiries[0][0] <= now_ms:
            when, number = heapq.heappop(self._expiries)
            order = self.market.orders.get(number) or self.market.blocks.get(number)
            gone = order is not None and order.leaves == 0
            self.found.expect("C3", gone, f"{format_order(number)} should have expired at {when}")
        for place, (when, state, _) in self._states_due.items():
            self.found.expect("C3", when > now_ms, f"{place} should be in state {state} since {when}")
        while self._switches and self._switches[0][0] <= now_ms:
            when, account = heapq.heappop(self._switches)
            fired = self._dead_man.get(account) != when
            self.found.expect("C3", fired, f"the switch of account {account} should have fired at {when}")

    # --- the hour's end --------------------------------------------------------------------------------

    def title_ended(self, event: ev.TitleEnded) -> None:
        """As it was known."""
        title = self.market.title(event.title)
        said = (event.contract, event.obligor, event.holder, event.ground, event.qty, event.minutes)
        known = (title.contract, title.obligor, title.holder, title.ground, title.qty, title.minutes)
        self.found.expect("C6", said == known, f"title {event.title} ended as {said}, was {known}")
        money = (event.proceeds, event.cost, event.escrow)
        owned = (title.proceeds, title.cost, title.escrow)
        self.found.expect("C6", money == owned, f"title {event.title} ended with {money}, had {owned}")
        self.found.saw("C6", "hours that ended")
        tally = self._ending.setdefault(event.contract, [0, 0])
        tally[0] += 1
        tally[1] += event.escrow

    def collateral_moved(self, event: ev.CollateralMoved, due: Micros) -> None:
        """What is owed when the hour ends leaves its collateral behind."""
        self.found.saw("C5", "hours that ended")
        self.found.expect("C5", event.amount == due, f"collateral {event.amount} of account {event.account}, {due} due")
        self.market.cash[event.account] -= event.amount
        self.market.moved_collateral[event.contract, event.account] = event.amount

    def hour_ended(self, event: ev.HourEnded, left_behind: dict[int, Micros]) -> None:
        """`left_behind`: account -> collateral of what it owes. The contract is gone, with everything of it."""
        market, contract = self.market, event.contract
        if not market.spec(contract).running_close_ms:
            self._close_running(contract)
        self._phase(contract, "ended")
        self.check_positions(contract)
        titles, escrow = self._ending.pop(contract, [0, 0])
        numbers = market.titles_of.pop(contract, set())
        closed = sum(market.titles[number].escrow for number in numbers if market.titles[number].closed)
        live = sum(not market.titles[number].closed for number in numbers)
        self.found.expect(
            "C6", (event.titles, live) == (titles, titles), f"contract {contract}: {live} live, {titles} ended"
        )
        self.found.expect("C6", event.escrow == escrow + closed, f"contract {contract}: escrow {event.escrow}")
        self._check_collateral(event, left_behind)
        for number in numbers:
            market.ended[number] = market.titles.pop(number)
        market.bought.pop(contract, None)
        for positions in (market.held, market.owed, market.backing):
            for key in [key for key in positions if key[1] == contract]:
                del positions[key]  # type: ignore[arg-type]  # the three dicts share the place of the contract
        for contracts in market.collateral_contracts.values():
            contracts.discard(contract)
        self._queues.ended(contract)
        self._states_due.pop((class_no_of(contract), hour_of(contract)), None)
        self.cover_due.pop(contract, None)

    def _check_collateral(self, event: ev.HourEnded, left_behind: dict[int, Micros]) -> None:
        """Whoever owes against collateral leaves it behind, and nobody else does."""
        contract = event.contract
        moved = {account: amount for (of, account), amount in self.market.moved_collateral.items() if of == contract}
        due = {account: amount for account, amount in left_behind.items() if amount}
        self.found.expect("C5", moved == due, f"contract {contract}: collateral {moved} left the shard, {due} due")
        self.found.expect(
            "C5", event.collateral == sum(due.values()), f"contract {contract}: collateral {event.collateral}"
        )

    def check_positions(self, contract: int) -> None:
        """By its titles each account has what it bought minus what it sold, which sums to zero; and who holds owes nothing.

        Running titles stand apart, and count by their minutes.
        """
        held: defaultdict[tuple[int, bool], Gpus] = defaultdict(int)
        owed: defaultdict[tuple[int, bool], Gpus] = defaultdict(int)
        for number in self.market.titles_of.get(contract, ()):
            title = self.market.titles[number]
            if not title.closed:
                running = title.ground == Ground.READY
                held[title.holder, running] += title.qty * title.minutes
                owed[title.obligor, running] += title.qty * title.minutes
        of_fills = self.market.bought[contract]
        for key in held.keys() | owed.keys() | of_fills.keys():
            has, owes, bought = held[key], owed[key], of_fills[key]
            account, running = key
            fits = has - owes == bought and (running or not (has and owes))
            self.found.expect(
                "C1",
                fits,
                f"contract {contract}, account {account}: has {has}, owes {owes}, has bought {bought} minutes",
            )
