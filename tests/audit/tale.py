"""A short log that everybody can follow, told by the real engine, and then told wrongly.

Each record has a name. `Tale` holds what `events` says and the frame that caused it; `alter`, `drop` and `add` change one
thing in it; `findings` is what the auditor makes of that.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from schemas import commands as cmd
from schemas.codec import CHAIN_START, EventsRecord, Frame, decode_frame, decode_record, encode_frame, seal
from schemas.commands import Command, Fees, Ground, Role, Side, Tif
from schemas.events import Credited, Event, Filled
from schemas.ids import contract_of, order_id
from schemas.units import MS_PER_HOUR
from services.audit.log_model import ShardModel
from services.audit.market import Contradiction
from services.audit.report import Findings
from services.matching.engine import Engine

T0_MS = 1_790_000_000_000 // MS_PER_HOUR * MS_PER_HOUR
HOUR = T0_MS // MS_PER_HOUR + 1
CONTRACT = contract_of(1, HOUR)
NEXT = contract_of(1, HOUR + 1)
ANA, BOB, BEA, CID, DEE, EVE = range(1, 7)
"""ana and cid have machines, dee makes markets, bob and eve buy; bea is bob's second account."""
OWNER = {BEA: BOB}
ROLE = {ANA: Role.PROVIDER, CID: Role.PROVIDER, DEE: Role.MARKET_MAKER}
CAP = 2_000


class Told(Struct):
    """A record of the log by its name."""

    name: str
    frame: Frame
    record: EventsRecord


class Tale:
    """The log so far."""

    def __init__(self) -> None:
        self.told: list[Told] = []
        self._engine = Engine()
        self._outbox = 0
        self._stamp_ms = T0_MS
        self._seq, self._chain = 0, CHAIN_START

    # --- telling it ------------------------------------------------------------------------------------

    def tell(self, name: str, *commands: Command, ms: int = 10) -> None:
        offset = len(self.told)
        self._stamp_ms += ms
        frame = decode_frame(encode_frame(1 << 32, offset, commands))
        events = self._engine.apply(offset, self._stamp_ms, frame.commands)
        (sealed,) = seal(0, self._seq, self._chain, offset, self._engine.time_ms, frame, events)
        self._seq, self._chain = sealed.seq, sealed.chain
        self.told.append(Told(name, frame, decode_record(sealed.body)))

    def tick(self, name: str, until_ms: int) -> None:
        self.tell(name, cmd.Tick(until_ms), ms=until_ms - self._stamp_ms)

    def outbox(self) -> int:
        self._outbox += 1
        return self._outbox

    def order(
        self,
        name: str,
        account: int,
        side: int,
        qty: int,
        price: int,
        client_id: str = "",
        tif: int = Tif.GTC,
        contract: int = CONTRACT,
        flags: int = 0,
        expires_ms: int = 0,
    ) -> None:
        self.tell(
            name,
            cmd.PlaceOrder(account, contract, side, qty, price, tif, flags, client_id, self.valid_ms, expires_ms),
        )

    @property
    def valid_ms(self) -> int:
        return self._engine.time_ms + 60_000

    @property
    def time_ms(self) -> int:
        return self._engine.time_ms

    def back(self, name: str, account: int, ground: int, qty: int, version: int) -> None:
        price = 0 if ground == Ground.DECLARED or ROLE[account] == Role.PROVIDER else CAP
        hours = (HOUR, HOUR + 1)
        self.tell(name, cmd.SetBacking(self.outbox(), account, 1, hours, ground, qty, price, version))

    # --- telling it wrongly ----------------------------------------------------------------------------

    def place(self, name: str) -> int:
        (place,) = [place for place, told in enumerate(self.told) if told.name == name]
        return place

    def alter(self, name: str, kind: type, nth: int = 0, **changes: Any) -> None:
        """Change fields of the record's nth event of a kind; a callable gets the value as it was."""
        events, place = self._find(name, kind, nth)
        known = {field: getattr(events[place], field) for field in changes}
        events[place] = replace(
            events[place], **{field: new(known[field]) if callable(new) else new for field, new in changes.items()}
        )
        self._put(name, events)

    def ask(self, name: str, nth: int = 0, **changes: Any) -> None:
        """The command was another one: with `alter`, as if the engine had answered to that."""
        told = self.told[self.place(name)]
        commands = list(told.frame.commands)
        commands[nth] = replace(commands[nth], **changes)
        told.frame = told.frame._replace(commands=commands)

    def drop(self, name: str, kind: type, nth: int = 0) -> Event:
        events, place = self._find(name, kind, nth)
        dropped = events.pop(place)
        self._put(name, events)
        return dropped

    def add(self, name: str, event: Event, place: int | None = None) -> None:
        events = list(self.told[self.place(name)].record.events)
        events.insert(len(events) if place is None else place, event)
        self._put(name, events)

    def stamp(self, name: str, change: Callable[[EventsRecord], EventsRecord]) -> None:
        told = self.told[self.place(name)]
        told.record = change(told.record)

    def both(self, name: str, kind: type, **changes: Any) -> None:
        """Command and outcome alike: as if that had been asked, and the engine had let it pass."""
        self.alter(name, kind, **changes)
        self.ask(name, **changes)

    def credit(self, account: int, amount: int) -> None:
        """The account began with another amount."""
        self.alter(f"credit {account}", Credited, amount=amount, balance=amount)
        self.ask(f"credit {account}", amount=amount)

    def move(self, name: str, nth: int, **changes: int) -> None:
        """Change the first title that the record's nth fill moves."""
        first, *others = self.said(name, Filled, nth).moves
        self.alter(name, Filled, nth, moves=(replace(first, **changes), *others))

    def end(self, name: str) -> None:
        """Nothing comes after this record, so that nothing follows from what is changed in it."""
        del self.told[self.place(name) + 1 :]

    def said(self, name: str, kind: type, nth: int = 0) -> Any:
        events, place = self._find(name, kind, nth)
        return events[place]

    def _find(self, name: str, kind: type, nth: int) -> tuple[list[Event], int]:
        events = list(self.told[self.place(name)].record.events)
        return events, [place for place, event in enumerate(events) if isinstance(event, kind)][nth]

    def _put(self, name: str, events: list[Event]) -> None:
        self.stamp(name, lambda record: replace(record, events=events))

    # --- what an auditor makes of it -------------------------------------------------------------------

    def findings(self) -> Findings:
        found = Findings()
        model = ShardModel(found)
        try:
            for told in self.told:
                model.apply(told.record, told.frame)
            model.finish()
        except Contradiction as error:
            found.expect(error.name, False, error.breach)
        return found


def the_tale() -> Tale:
    """One hour of one class, from its listing to its end."""
    tale = Tale()
    tale.tell("start", cmd.StartShard(0, 1, T0_MS))
    tale.tell("list", cmd.SetClass(tale.outbox(), 1, "TEST", 1, 10, 1_000, Fees(0, 10, 50, 30), horizon_hours=3))
    for account in (ANA, BOB, BEA, CID, DEE, EVE):
        owner, role = OWNER.get(account, account), ROLE.get(account, Role.MEMBER)
        tale.tell(f"open {account}", cmd.SetAccount(tale.outbox(), account, owner, role, 0))
        tale.tell(f"credit {account}", cmd.Credit(tale.outbox(), account, 100_000))
    tale.back("ana declares 10", ANA, Ground.DECLARED, 10, 1)
    tale.back("cid declares 10", CID, Ground.DECLARED, 10, 1)
    tale.back("dee promises 6", DEE, Ground.PROMISED, 6, 1)
    tale.back("dee promises 6 again", DEE, Ground.PROMISED, 6, 1)
    tale.order("ana asks 4 at 1000", ANA, Side.SELL, 4, 1_000)
    tale.order("cid asks 4 at 1000", CID, Side.SELL, 4, 1_000)
    tale.order("dee asks 4 at 1010", DEE, Side.SELL, 4, 1_010)
    tale.order("bob buys 6", BOB, Side.BUY, 6, 1_000)
    tale.order("bob asks 2 at 1100", BOB, Side.SELL, 2, 1_100)
    tale.order("eve buys 7", EVE, Side.BUY, 7, 1_100, tif=Tif.IOC)
    tale.order("bob bids 3 at 900", BOB, Side.BUY, 3, 900, "bob-1")
    tale.order("bob bids 3 again", BOB, Side.BUY, 3, 900, "bob-1")
    tale.order("bob bids 2 under the same id", BOB, Side.BUY, 2, 900, "bob-1")
    tale.order("cid asks 2 at 1200", CID, Side.SELL, 2, 1_200)
    tale.order("eve asks 2 at 1000", EVE, Side.SELL, 2, 1_000)
    tale.order("ana buys 2 back", ANA, Side.BUY, 2, 1_000)
    tale.order("eve bids 2 at 800", EVE, Side.BUY, 2, 800)
    valid = T0_MS + 60_000
    tale.tell("eve cancels", cmd.CancelOrder(EVE, order_id(0, tale.place("eve bids 2 at 800"), 0), "", valid))
    tale.back("cid declares 4", CID, Ground.DECLARED, 4, 2)
    tale.tell("bob takes 500 out", cmd.Sweep(tale.outbox(), BOB, 500))
    tale.tell("an old message", cmd.Credit(1, BOB, 500))
    tale.tell("two at once", cmd.SetState(9, 1, 0, 1, ""), cmd.SetState(9, 1, 0, 1, ""))
    tale.tick("gate", HOUR * MS_PER_HOUR - 300_000)
    tale.tick("closed", (HOUR + 1) * MS_PER_HOUR - 600_000)
    tale.tick("end", (HOUR + 1) * MS_PER_HOUR)
    return tale
