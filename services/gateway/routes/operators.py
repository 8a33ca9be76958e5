"""Operators: accounts, classes, money that arrives and leaves, states, deliveries, procurement, corrections, keys."""

from __future__ import annotations

from typing import Final

from litestar import Response, get, patch, post
from litestar.params import JSONBody

from schemas import http
from schemas.commands import Role, State
from schemas.delivery import Delivered
from schemas.edge import iso_hour
from schemas.requests import Deposit, OpenAccount, PayoutMoved, Procure, SetAccountRole
from schemas.specifications import BadSpecification, list_class
from services.gateway.errors import ApiError
from services.gateway.requests import request_id
from services.gateway.routes.keys import issue
from services.gateway.times import parse_hour
from services.gateway.values import decimal, hours_from
from services.gateway.wiring import LATER, IdempotencyKey, Known, Number, Wired


@post("/v1/admin/accounts", status_code=200, responses=LATER)
async def post_account(
    gateway: Wired, caller: Known, data: JSONBody[http.AccountRequest], key: IdempotencyKey = ""
) -> Response[http.RequestAnswer]:
    """Open an account."""
    caller.require("operator")
    role = Role[data.role.upper()]
    return await gateway.settle(OpenAccount(request_id(caller, key), data.owner, data.name, role, 0, data.desk))


@patch("/v1/admin/accounts/{account:int}", status_code=200, responses=LATER)
async def patch_account(
    gateway: Wired, caller: Known, account: Number, data: JSONBody[http.RoleRequest], key: IdempotencyKey = ""
) -> Response[http.RequestAnswer]:
    """Change an account's role."""
    caller.require("operator")
    return await gateway.settle(SetAccountRole(request_id(caller, key), account, Role[data.role.upper()], 0))


@post("/v1/admin/classes", status_code=200, responses=LATER)
async def post_class(
    gateway: Wired, caller: Known, data: JSONBody[http.ClassRequest], key: IdempotencyKey = ""
) -> Response[http.RequestAnswer]:
    """List a class into a shard."""
    caller.require("operator")
    try:
        request = list_class(request_id(caller, key), data.shard, data.specification.encode())
    except BadSpecification as error:
        raise ApiError("wrong_class", str(error)) from None
    return await gateway.settle(request)


@post("/v1/admin/deposits", status_code=200, responses=LATER)
async def post_deposit(
    gateway: Wired, caller: Known, data: JSONBody[http.DepositRequest], key: IdempotencyKey = ""
) -> Response[http.RequestAnswer]:
    """Book money that has arrived."""
    caller.require("operator")
    request = Deposit(request_id(caller, key), data.account, decimal(data.amount), data.provider, data.provider_ref)
    return await gateway.settle(request)


@post("/v1/admin/payouts/{payout:int}", status_code=200, responses=LATER)
async def post_payout(
    gateway: Wired, caller: Known, payout: Number, data: JSONBody[http.PayoutRequest], key: IdempotencyKey = ""
) -> Response[http.RequestAnswer]:
    """What the payment adapter reports."""
    caller.require("operator")
    return await gateway.settle(PayoutMoved(request_id(caller, key), payout, data.state, data.provider))


@post("/v1/admin/states", status_code=200)
async def post_state(gateway: Wired, caller: Known, data: JSONBody[http.StateRequest]) -> http.StateAnswer:
    """Halt, restrict or open."""
    caller.require("operator")
    row = await gateway.classes.get(data.class_id)
    hour = parse_hour(data.hour) if data.hour else 0
    done = await gateway.orders.set_state(caller, row["class_no"], hour, State[data.state.upper()], data.reason)
    return http.StateAnswer(
        class_id=data.class_id, hour=iso_hour(done.hour) if done.hour else "", state=State(done.state).name.lower()
    )


@post("/v1/admin/engine-version", status_code=200)
async def post_engine_version(
    gateway: Wired, caller: Known, data: JSONBody[http.EngineVersionRequest]
) -> http.EngineVersionAnswer:
    """Let a shard go on by the rules of another engine version."""
    caller.require("operator")
    if not 0 <= data.shard < len(gateway.shards.doors):
        raise ApiError("malformed", f"shard is 0 to {len(gateway.shards.doors) - 1}")
    done = await gateway.orders.set_engine_version(caller, data.shard, data.version)
    return http.EngineVersionAnswer(data.shard, done.version)


@post("/v1/admin/deliveries", status_code=202)
async def post_delivery(
    gateway: Wired, caller: Known, data: JSONBody[http.DeliveryRequest], key: IdempotencyKey = ""
) -> http.DeliveryAnswer:
    """Write a simulated delivery record."""
    caller.require("operator")
    _, contract = await gateway.classes.contract(data.contract)
    if not 0 <= data.undelivered_minutes <= 60:
        raise ApiError("malformed", "undelivered_minutes is 0 to 60")
    if not await gateway.reads.was_listed(contract):
        raise ApiError("unknown_contract", f"{data.contract} was never listed: nothing of it was sold")
    record_id = request_id(caller, key)
    await gateway.requests.append(
        "delivery", Delivered(contract, data.title, data.undelivered_minutes, "simulated", record_id)
    )
    return http.DeliveryAnswer(contract=data.contract, record_id=record_id, simulated=True)


@post("/v1/admin/keys")
async def post_operator_key(
    gateway: Wired, caller: Known, data: JSONBody[http.OperatorKeyRequest]
) -> http.NewKeyAnswer:
    """Issue a key for any account."""
    caller.require("operator")
    owner = data.owner
    if owner < 0:
        raise ApiError("malformed", "owner is 0 or a number above it")
    if data.account:
        owner = (await gateway.reads.account(data.account, ())).owner
    return await issue(gateway, data, data.account, owner)


@get("/v1/admin/promises")
async def get_promises(gateway: Wired, caller: Known) -> list[http.PromisedAnswer]:
    """What is owed as promised and has to be covered, of all accounts, the next hours first."""
    caller.require("operator")
    return await gateway.reads.promises()


@get("/v1/admin/uncovered")
async def get_uncovered(gateway: Wired, caller: Known) -> list[http.UncoveredAnswer]:
    """What market makers owe in hours that have begun, with no machine behind it, the oldest hours first."""
    caller.require("operator")
    return await gateway.reads.uncovered()


@get("/v1/admin/undelivered")
async def get_undelivered(gateway: Wired, caller: Known) -> list[http.UndeliveredAnswer]:
    """Ended hours that wait for delivery records, the oldest first."""
    caller.require("operator")
    return await gateway.reads.undelivered()


@post("/v1/admin/procure", status_code=200, responses=LATER)
async def post_procurement(
    gateway: Wired, caller: Known, data: JSONBody[http.ProcureRequest], key: IdempotencyKey = ""
) -> Response[http.RequestAnswer]:
    """Buy machines for an account, simulated: they stand behind what it has promised, or sold as ready."""
    caller.require("operator")
    row = await gateway.classes.get(data.class_id)
    request = Procure(
        request_id(caller, key),
        data.account,
        row["class_no"],
        hours_from(data.from_hour, data.hours),
        data.qty,
        decimal(data.cost),
        data.provider,
        data.title,
    )
    return await gateway.settle(request)


@post("/v1/admin/corrections/approval", status_code=200)
async def post_approval(gateway: Wired, caller: Known, data: JSONBody[http.CorrectionRequest]) -> http.ApprovalAnswer:
    """The first operator's part of a correction: nothing happens yet."""
    caller.require("operator")
    return gateway.corrections.approve(caller, data)


@post("/v1/admin/corrections", status_code=200)
async def post_correction(
    gateway: Wired, caller: Known, data: JSONBody[http.ApprovedCorrectionRequest]
) -> http.CorrectionAnswer:
    """The second operator's part: a clear error is put right in cash."""
    caller.require("operator")
    return await gateway.corrections.submit(caller, data)


ROUTES: Final = [
    post_account,
    patch_account,
    post_class,
    post_deposit,
    post_payout,
    post_state,
    post_engine_version,
    post_delivery,
    post_operator_key,
    get_promises,
    get_uncovered,
    get_undelivered,
    post_procurement,
    post_approval,
    post_correction,
]
