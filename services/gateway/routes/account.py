"""An account: money, hours, capacity, requests."""

from __future__ import annotations

from typing import Final

from litestar import Response, get, post, put
from litestar.params import JSONBody

from schemas import http
from schemas.commands import Ground
from schemas.requests import Back, FromTrading, ToTrading, Withdraw
from services.gateway.edge import JsonRequest, last_part
from services.gateway.errors import ApiError
from services.gateway.requests import request_id
from services.gateway.times import parse_hour
from services.gateway.values import decimal, hours_from
from services.gateway.wiring import LATER, HourQuery, IdempotencyKey, Known, Limit, Wired, member

_WHO_MAY_BACK: Final = {
    "declared": "declared is for providers; for a market maker an operator procures machines (POST /v1/admin/procure)",
    "promised": "promised is for market makers: ask an operator for the role",
    "ready": "ready is for providers and market makers: ask an operator for the role",
}


@get("/v1/account")
async def get_account(gateway: Wired, caller: Known) -> http.AccountAnswer:
    """Who the key belongs to."""
    return await gateway.reads.account(member(caller, "read"), caller.scopes)


@get("/v1/fills")
async def get_fills(gateway: Wired, caller: Known, limit: Limit = 100) -> list[http.FillAnswer]:
    """The account's trades, newest first."""
    account = member(caller, "read")
    await gateway.progress.wait_for(account)
    return await gateway.reads.fills(account, limit)


@get("/v1/positions")
async def get_positions(gateway: Wired, caller: Known) -> list[http.PositionAnswer]:
    """Hours held and owed."""
    account = member(caller, "read")
    await gateway.progress.wait_for(account)
    return await gateway.reads.positions(account)


@get("/v1/balance")
async def get_balance(gateway: Wired, caller: Known) -> http.BalanceAnswer:
    """Wallet and trading balances."""
    account = member(caller, "read")
    await gateway.progress.wait_for(account)
    return await gateway.reads.balance(account, len(gateway.shards.doors))


@get("/v1/ledger")
async def get_ledger(gateway: Wired, caller: Known, limit: Limit = 100) -> list[http.LineAnswer]:
    """The account's ledger lines, newest first."""
    account = member(caller, "read")
    await gateway.progress.wait_for(account)
    return await gateway.reads.ledger(account, limit)


@get("/v1/capacity")
async def get_capacity(gateway: Wired, caller: Known) -> list[http.CapacityAnswer]:
    """Backing in force."""
    account = member(caller, "read")
    await gateway.progress.wait_for(account)
    return await gateway.reads.capacity(account)


@get("/v1/income")
async def get_income(
    gateway: Wired, caller: Known, before: HourQuery = "", limit: Limit = 100
) -> list[http.IncomeAnswer]:
    """What the hours that the account owes bring, by contract, newest first."""
    account = member(caller, "read")
    await gateway.progress.wait_for(account)
    now_ms = gateway.market.market_ms(gateway.clock.now_ms())
    return await gateway.reads.income(account, parse_hour(before) if before else 0, limit, now_ms)


@get("/v1/withdrawals")
async def get_withdrawals(gateway: Wired, caller: Known) -> list[http.WithdrawalAnswer]:
    """The account's payouts."""
    return await gateway.reads.withdrawals(member(caller, "read"), simulated=gateway.market.sandbox)


@get("/v1/requests/{key:path}")
async def get_request(gateway: Wired, caller: Known, request: JsonRequest) -> http.RequestAnswer:
    """Outcome of an own request, by its Idempotency-Key or its request id."""
    prefix = request_id(caller, "-")[:-1]
    key = last_part(request, "/v1/requests/").removeprefix(prefix)
    return gateway.answer(await gateway.requests.outcome(request_id(caller, key)))


@post("/v1/transfers", status_code=200, responses=LATER)
async def post_transfer(
    gateway: Wired, caller: Known, data: JSONBody[http.TransferRequest], key: IdempotencyKey = ""
) -> Response[http.RequestAnswer]:
    """Between wallet and trading balance."""
    account = member(caller, "trade")
    if (data.shard is None) == (not data.class_id):
        raise ApiError("malformed", "name the shard, or a class that trades there")
    shard = data.shard if data.shard is not None else (await gateway.classes.get(data.class_id))["shard"]
    kind = ToTrading if data.direction == "to_trading" else FromTrading
    return await gateway.settle(kind(request_id(caller, key), account, shard, decimal(data.amount)))


@post("/v1/withdrawals", status_code=200, responses=LATER)
async def post_withdrawal(
    gateway: Wired, caller: Known, data: JSONBody[http.WithdrawalRequest], key: IdempotencyKey = ""
) -> Response[http.RequestAnswer]:
    """Wallet → payout."""
    account = member(caller, "trade")
    return await gateway.settle(Withdraw(request_id(caller, key), account, decimal(data.amount), data.destination))


@put("/v1/capacity", status_code=200, responses=LATER)
async def put_capacity(
    gateway: Wired, caller: Known, data: JSONBody[http.CapacityRequest], key: IdempotencyKey = ""
) -> Response[http.RequestAnswer]:
    """Back hours: with machines (declared), collateral (promised), or what is there at once in the running hour (ready)."""
    account = member(caller, "supply")
    row = await gateway.classes.get(data.class_id)
    request = Back(
        request_id(caller, key),
        account,
        row["class_no"],
        hours_from(data.from_hour, data.hours),
        Ground[data.ground.upper()],
        data.qty,
        decimal(data.collateral_price),
        data.version,
    )
    try:
        return await gateway.settle(request)
    except ApiError as error:
        if error.code == "wrong_role":
            raise ApiError("wrong_role", _WHO_MAY_BACK[data.ground]) from error
        raise


ROUTES: Final = [
    get_account,
    get_fills,
    get_positions,
    get_balance,
    get_ledger,
    get_capacity,
    get_income,
    get_withdrawals,
    get_request,
    post_transfer,
    post_withdrawal,
    put_capacity,
]
