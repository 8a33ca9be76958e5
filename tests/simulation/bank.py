"""What members ask of settlement and what an operator says was delivered, through the gateways' use cases; and the opening."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from schemas import requests as rq
from schemas.commands import Fees, Ground, Role
from schemas.delivery import Delivered
from schemas.ids import contract_of, parse_symbol
from schemas.units import MS_PER_HOUR
from services.gateway.requests import Outcome, request_id
from tests.simulation.members import ACCOUNTS, OPERATOR, OWNERS, Line, Request, caller, is_open, role_of
from tests.simulation.world import Wait

if TYPE_CHECKING:
    from tests.simulation.exchange import Exchange

FAUCET = "simulated-faucet"
MAKERS = [account for account in ACCOUNTS if role_of(account) == Role.MARKET_MAKER]
DRAWS = (
    *["deposit"] * 3,
    *["withdraw"] * 3,
    *["to wallet"] * 3,
    *["back"] * 7,
    *["deliver"] * 5,
    *["transfer"] * 4,
    *["ready"] * 4,
    *["procure"] * 4,
    "role",
)


def opening(exchange: Exchange) -> Iterator[rq.Request]:
    """Accounts, classes, money, backing: written by an operator's tool before the doors open."""
    chance = exchange.world.chance("opening")
    for account in ACCOUNTS:
        owner = OWNERS[account] if OWNERS[account] < account else 0
        yield rq.OpenAccount(f"open-{account}", owner, f"account {account}", role_of(account))
    for class_no, (lot, tick, list_price) in exchange.classes.items():
        fees = Fees(chance.choice([0, 5]), chance.choice([0, 20]), 50, 70)
        shard = exchange.shard_of(class_no)
        yield rq.ListClass(
            f"list-{class_no}", shard, f"SIM.{class_no}", b"", lot, tick, list_price, fees, horizon_hours=24
        )
    for account in ACCOUNTS:
        makes_markets = role_of(account) == Role.MARKET_MAKER
        amount = 10**8 if makes_markets else chance.randint(10**5, 10**8)
        yield rq.Deposit(f"first-{account}", account, amount, FAUCET, f"first-{account}")
        for shard in range(exchange.shards):
            yield rq.ToTrading(
                f"trade-{account}-{shard}",
                account,
                shard,
                amount // (3 if makes_markets else chance.choice([3, 50, 2_000])),
            )
    hour = exchange.market_ms() // MS_PER_HOUR + 1
    for account in ACCOUNTS:
        for class_no, (lot, _, list_price) in exchange.classes.items():
            ground = {Role.PROVIDER: Ground.DECLARED, Role.MARKET_MAKER: Ground.PROMISED}.get(role_of(account))
            if ground is not None:
                price = 3 * list_price if ground == Ground.PROMISED else 0
                # Promises of the first hour may come after its cover deadline.
                hours = tuple(range(hour + (ground == Ground.PROMISED), hour + 20))
                qty = chance.randint(5, 25) * lot
                yield rq.Back(f"b-{account}-{class_no}", account, class_no, hours, ground, qty, price, 1)
                hours, qty = tuple(range(hour, hour + 20)), chance.randint(1, 4) * lot
                yield rq.Back(f"r-{account}-{class_no}", account, class_no, hours, Ground.READY, qty, price, 1)


class Teller:
    """Asks settlement for one thing after the other, and asks again until it is told what became of it."""

    def __init__(self, exchange: Exchange, name: str) -> None:
        self._exchange = exchange
        self._world = exchange.world
        self._name = name
        self._chance = exchange.world.chance(name)
        self._line = Line(exchange, self._chance)
        self._drawn = 0
        self._last: Request | None = None

    async def run(self) -> None:
        """Until the market closes; what is under way is asked to its end."""
        await Wait(self._world.now_ms + 120_000, self._exchange.opened)
        while self._exchange.open:
            await Wait(self._world.now_ms + self._chance.randint(0, 300))
            if self._last is not None and self._chance.random() < 0.05:
                # The same again gets the first outcome.
                await self._ask(self._last)
                continue
            self._drawn += 1
            kind = self._chance.choice(DRAWS)
            if kind == "deliver":
                await self._deliver(f"{self._name}-{self._drawn}")
            else:
                self._last = Request(self._draw(kind, f"{self._name}-{self._drawn}"))
                self._exchange.receipts.requests.append(self._last)
                await self._ask(self._last)

    # --- What is asked -------------------------------------------------------------------------------------

    def _draw(self, kind: str, key: str) -> rq.Request:
        chance = self._chance
        account, amount = chance.choice(ACCOUNTS), chance.randint(1, 10 ** chance.randint(2, 8))
        name, shard = request_id(caller(account), key), chance.randrange(self._exchange.shards)
        match kind:
            case "deposit":
                reference = f"{self._name}-{chance.randint(1, self._drawn)}"
                return rq.Deposit(request_id(OPERATOR, key), account, amount, FAUCET, reference)
            case "role":
                # The same once more: nothing of what an account may do goes by its first one alone.
                return rq.SetAccountRole(request_id(OPERATOR, key), account, role_of(account), 0)
            case "withdraw":
                return rq.Withdraw(name, account, amount, chance.choice(["home", "simulated:fail"]))
            case "back":
                return self._backing(name, account)
            case "ready":
                return self._ready(name, account)
            case "procure":
                return self._procured(request_id(OPERATOR, key))
            case "to wallet":
                return rq.FromTrading(name, account, shard, amount)
        return rq.ToTrading(name, account, shard, amount)

    def _backing(self, name: str, account: int) -> rq.Back:
        chance, exchange = self._chance, self._exchange
        class_no = chance.choice(list(exchange.classes))
        lot, _, list_price = exchange.classes[class_no]
        promised = role_of(account) == Role.MARKET_MAKER or chance.random() < 0.1
        exchange.versions[account, class_no] += chance.choice([1, 1, 1, 0])
        hour = exchange.market_ms() // MS_PER_HOUR + chance.choice([0, 1, 1, 1, 2])
        return rq.Back(
            name,
            account,
            class_no,
            tuple(range(hour, hour + chance.randint(1, 6))),
            Ground.PROMISED if promised else Ground.DECLARED,
            chance.choice([0, 0, 1, *[chance.randint(3, 25)] * 4]) * lot,
            chance.choice([2, 3, 3]) * list_price if promised else 0,
            max(1, exchange.versions[account, class_no]),
        )

    def _ready(self, name: str, account: int) -> rq.Back:
        """What may be sold at once: of a provider without, of a market maker with collateral."""
        chance, exchange = self._chance, self._exchange
        class_no = chance.choice(list(exchange.classes))
        lot, _, list_price = exchange.classes[class_no]
        exchange.versions[account, class_no] += 1
        hour = exchange.market_ms() // MS_PER_HOUR + chance.choice([0, 0, 0, 1, 1])
        price = chance.choice([2, 2, 4]) * list_price if role_of(account) == Role.MARKET_MAKER else 0
        hours, qty = tuple(range(hour, hour + chance.randint(1, 3))), chance.choice([0, *range(1, 13)]) * lot
        return rq.Back(name, account, class_no, hours, Ground.READY, qty, price, exchange.versions[account, class_no])

    def _procured(self, name: str) -> rq.Procure:
        """An operator buys machines behind what a market maker may owe; most hours stay without."""
        chance, exchange = self._chance, self._exchange
        class_no = chance.choice(list(exchange.classes))
        lot, _, list_price = exchange.classes[class_no]
        hour = exchange.market_ms() // MS_PER_HOUR + chance.choice([1, 1, 1, 2, 2, 30])
        account = chance.choice(MAKERS if chance.random() < 0.9 else ACCOUNTS)
        hours, qty = tuple(range(hour, hour + chance.randint(1, 2))), chance.randint(1, 6) * lot
        return rq.Procure(
            name, account, class_no, hours, qty, len(hours) * qty * list_price * 9 // 10, "simulated-cloud"
        )

    async def _ask(self, told: Request) -> None:
        while True:
            answer = await self._line.ask(lambda gateway: gateway.requests.ask(told.request))
            if isinstance(answer, Outcome):
                told.state, told.code, told.outcome = answer.state, answer.code, answer.outcome
                if told.state != "pending":
                    break
                self._told("request pending")
            elif is_open(answer):
                told.doubts += 1
                self._told("request in doubt")
            else:
                assert answer.code == "not_ready", answer.code
                self._told("request not ready")
            await Wait(self._world.now_ms + self._chance.randint(50, 1_000))
        self._told(f"request {told.state}")

    async def _deliver(self, key: str) -> None:
        exchange, chance = self._exchange, self._chance
        hour = exchange.market_ms() // MS_PER_HOUR - chance.randint(-1, 3)
        contract = contract_of(chance.choice(list(exchange.classes)), hour)
        if exchange.traded and chance.random() < 0.8:
            class_id, hour = parse_symbol(chance.choice(exchange.traded)[1])
            contract = contract_of(int(class_id.rsplit(".", 1)[1]), hour)
        title = 0 if chance.random() < 0.8 else chance.randint(1, 200)
        record = Delivered(contract, title, chance.choice([0, 0, 13, 60]), "simulated", request_id(OPERATOR, key))
        while (answer := await self._line.ask(lambda gateway: gateway.requests.append("delivery", record))) is not None:
            self._told("delivery in doubt" if is_open(answer) else "delivery not ready")
            await Wait(self._world.now_ms + chance.randint(50, 1_000))
        self._told("delivery acknowledged")
        exchange.receipts.deliveries.append(record.record_id)

    def _told(self, what: str) -> None:
        self._exchange.receipts.told[what] += 1
