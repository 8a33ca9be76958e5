"""The routes of /v1. A handler checks the scope, calls one use case, and names the answer; nothing is decided here."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Final, Literal

from litestar import Litestar, Request, Response, delete, get, patch, post, put
from litestar.config.app import AppConfig
from litestar.di import NamedDependency, Provide
from litestar.openapi.config import OpenAPIConfig
from litestar.openapi.plugins import JsonRenderPlugin
from litestar.params import FromPath, FromQuery, HeaderParameter, JSONBody, PathParameter, QueryParameter

from schemas import feeds, http
from schemas.commands import Ground, Role, State
from schemas.delivery import Delivered
from schemas.ids import is_client_id, parse_order
from schemas.keys import KeyIssued, KeyRevoked
from schemas.requests import (
    Back,
    Deposit,
    FromTrading,
    OpenAccount,
    PayoutMoved,
    SetAccountRole,
    ToTrading,
    Withdraw,
)
from schemas.requests import Request as SettlementRequest
from schemas.specifications import BadSpecification, list_class
from schemas.units import format_usd
from services.gateway.asks import Asks, Outcome, refusal_of, refuse, request_id
from services.gateway.auth import Caller, authenticate, check_networks
from services.gateway.auth import Request as Judged
from services.gateway.door import Door
from services.gateway.edge import BODY_MAX, JsonRequest, last_part, problem, rate_limit_headers
from services.gateway.errors import ApiError
from services.gateway.keyring import Keyring
from services.gateway.limits import Limits
from services.gateway.market import ROUTES as MARKET_ROUTES
from services.gateway.market import MarketData
from services.gateway.offers import Offers
from services.gateway.orders import Orders, decimal
from services.gateway.progress import Progress
from services.gateway.reads import Classes, Reads, class_answer
from services.gateway.times import MarketClock, iso, iso_hour, parse_hour
from services.runtime.keys import issue_key
from services.runtime.log import Clock

_MONEY: Final = ("amount", "balance")
"""Of the outcomes of requests: µUSD inside, decimal strings at the edge."""
_INT64_MAX: Final = 2**63 - 1


class Gateway:
    """Everything a handler may call, wired once in `__main__`."""

    def __init__(
        self,
        *,
        doors: Sequence[Door],
        classes: Classes,
        reads: Reads,
        progress: Progress,
        asks: Asks,
        orders: Orders,
        keyring: Keyring,
        limits: Limits,
        offers: Offers,
        market_data: MarketData,
        market: MarketClock,
        clock: Clock,
        master_key: bytes,
    ) -> None:
        self.doors = doors
        self.classes = classes
        self.reads = reads
        self.progress = progress
        self.asks = asks
        self.orders = orders
        self.keyring = keyring
        self.limits = limits
        self.offers = offers
        self.market_data = market_data
        self.market = market
        self.clock = clock
        self.master_key = master_key

    async def admit(self, request: Request[Any, Any, Any]) -> None:
        """Before anything else of a request is looked at: whoever asks privately is known. Raises ApiError."""
        assert isinstance(request, JsonRequest), "the application's request class"
        handler = request.route_handler
        if "caller" in handler.parsed_fn_signature.parameters:
            request.state.caller = await self._caller(request)
        if handler.parsed_data_field is not None and not await request.body():
            raise ApiError("malformed", "a body is missing")

    async def _caller(self, request: JsonRequest) -> Caller:
        address = request.client.host if request.client else ""
        judged = Judged(request.method, request.target, await request.body(), request.headers, address)
        now_ms = self.clock.now_ms()
        caller = authenticate(self.keyring.keys, judged, now_ms)
        verdict = request.state.verdict = self.limits.take(caller.key_id, now_ms)
        if verdict.wait_ms:
            raise ApiError("rate_limited", f"wait {verdict.wait_ms} ms")
        return caller

    async def settle(self, request: SettlementRequest) -> Response[http.RequestAnswer]:
        """A request that is not an order: 200 when its outcome is known, 202 before. Raises ApiError."""
        outcome = refuse(await self.asks.ask(request))
        return Response(self.answer(outcome), status_code=202 if outcome.state == "pending" else 200)

    def answer(self, outcome: Outcome) -> http.RequestAnswer:
        """A request as it stands; of a refused one its code and sentence."""
        shown = {name: format_usd(v) if name in _MONEY else v for name, v in outcome.outcome.items()}
        if "payout" in shown and self.market.sandbox:
            shown["simulated"] = True  # no money moves
        if outcome.state == "refused":
            refusal = refusal_of(outcome)
            shown = {"code": refusal.code, "detail": str(refusal), **refusal.numbers()}
        return http.RequestAnswer(request_id=outcome.request_id, state=outcome.state, outcome=shown)  # type: ignore[arg-type]  # the table's CHECK has the same words


def _member(caller: Caller, scope: str) -> int:
    """The caller's account. Raises ApiError."""
    caller.require(scope)
    if caller.account == 0:
        raise ApiError("unknown_account", "this key belongs to an operator without an account")
    return caller.account


Wired = NamedDependency[Gateway]
Known = NamedDependency[Caller]
IdempotencyKey = Annotated[str, HeaderParameter(name="Idempotency-Key")]
Number = Annotated[int, PathParameter(ge=1, le=_INT64_MAX)]
"""In a path."""

# --- Market, open to all ------------------------------------------------------------------------------------


@get("/v1/time")
async def get_time(gateway: Wired) -> http.TimeAnswer:
    """Our clock."""
    now_ms = gateway.clock.now_ms()
    return http.TimeAnswer(now=iso(now_ms), market=iso(gateway.market.market_ms(now_ms)), rate=gateway.market.rate)


@get("/v1/status")
async def get_status(gateway: Wired) -> http.StatusAnswer:
    """Whether orders are accepted, and how far settlement is."""
    shards = tuple(
        http.ShardStatus(
            shard=door.shard,
            seq=door.seq,
            settled_seq=gateway.progress.settled[door.shard],
            settlement_lag_ms=gateway.progress.lag_ms(door.shard),
        )
        for door in gateway.doors
    )
    accepting = not any(gateway.orders.refusal(door.shard) for door in gateway.doors)
    return http.StatusAnswer(accepting_orders=accepting, sandbox=gateway.market.sandbox, shards=shards)


@get("/v1/classes")
async def get_classes(gateway: Wired) -> list[http.ClassAnswer]:
    """All listed classes."""
    await gateway.classes.refresh()
    return [class_answer(row) for row in gateway.classes.by_id.values()]


@get("/v1/classes/{class_id:str}")
async def get_class(gateway: Wired, class_id: FromPath[str]) -> http.ClassAnswer:
    """One class with its contract specification."""
    await gateway.classes.refresh()
    return class_answer(await gateway.classes.get(class_id), specification=True)


@get("/v1/contracts")
async def get_contracts(
    gateway: Wired, class_id: Annotated[str, QueryParameter(name="class")]
) -> list[http.ContractAnswer]:
    """Hours of a class that have not ended, each with its best prices."""
    await gateway.classes.refresh()
    return await gateway.reads.contracts(await gateway.classes.get(class_id))


@get("/v1/contracts/{symbol:str}/book")
async def get_book(gateway: Wired, symbol: FromPath[str], depth: FromQuery[int] = 50) -> http.BookAnswer:
    """Depth of one contract."""
    row, contract = await gateway.classes.contract(symbol)
    return await gateway.reads.book(symbol, contract, row["shard"], max(1, depth))


@get("/v1/trades")
async def get_trades(
    gateway: Wired, contract: FromQuery[str], limit: Annotated[int, QueryParameter(ge=1, le=500)] = 100
) -> list[http.TradeAnswer]:
    """Newest public trades of one contract."""
    _, number = await gateway.classes.contract(contract)
    return await gateway.reads.trades(contract, number, limit)


@get("/v1/supply")
async def get_supply(gateway: Wired, class_id: Annotated[str, QueryParameter(name="class")] = "") -> http.SupplyAnswer:
    """What clouds list, and references per class."""
    return gateway.offers.answer(class_id)


# --- Orders -------------------------------------------------------------------------------------------------


@post("/v1/orders")
async def post_order(gateway: Wired, caller: Known, data: JSONBody[http.OrderRequest]) -> http.OrderAnswer:
    """Place an order; answered when its event is in the log."""
    _member(caller, "trade")
    return await gateway.orders.place(caller, data)


@get("/v1/orders")
async def get_orders(
    gateway: Wired,
    caller: Known,
    contract: FromQuery[str] = "",
    limit: Annotated[int, QueryParameter(ge=1, le=500)] = 100,
    order_state: Annotated[Literal["open", "filled", "cancelled", ""], QueryParameter(name="state")] = "",
) -> list[http.OrderAnswer]:
    """The account's orders, newest first."""
    account = _member(caller, "read")
    number = (await gateway.classes.contract(contract))[1] if contract else 0
    await gateway.progress.wait_for(account)
    return await gateway.reads.orders(account, order_state, number, limit)


@get("/v1/orders/{order_id:str}")
async def get_order(gateway: Wired, caller: Known, order_id: FromPath[str]) -> http.OrderAnswer:
    """One order."""
    account = _member(caller, "read")
    await gateway.progress.wait_for(account)
    row = await gateway.reads.order(account, _order(order_id))
    if row is None:
        raise ApiError("unknown_order", "no order of this account has this id")
    return await gateway.reads.order_answer(row)


@get("/v1/orders/client/{client_id:path}")
async def get_order_by_client_id(gateway: Wired, caller: Known, request: JsonRequest) -> http.OrderAnswer:
    """The newest order with this client order id."""
    account = _member(caller, "read")
    client_id = last_part(request, "/v1/orders/client/")
    if not is_client_id(client_id):
        raise ApiError("wrong_client_id")
    await gateway.progress.wait_for(account)
    row = await gateway.reads.order_by_client_id(account, client_id)
    if row is None:
        raise ApiError("unknown_order", "no order of this account has this client order id")
    return await gateway.reads.order_answer(row)


@delete("/v1/orders/{order_id:str}", status_code=200)
async def delete_order(gateway: Wired, caller: Known, order_id: FromPath[str]) -> http.CancelAnswer:
    """Cancel by order id."""
    _member(caller, "trade")
    return await gateway.orders.cancel(caller, _order(order_id))


@delete("/v1/orders/client/{client_id:path}", status_code=200)
async def delete_order_by_client_id(gateway: Wired, caller: Known, request: JsonRequest) -> http.CancelAnswer:
    """Cancel by client order id."""
    _member(caller, "trade")
    return await gateway.orders.cancel_client_id(caller, last_part(request, "/v1/orders/client/"))


def _order(text: str) -> int:
    try:
        return parse_order(text)
    except ValueError as error:
        raise ApiError("wrong_order_id", str(error)) from None


# --- Account ------------------------------------------------------------------------------------------------


@get("/v1/account")
async def get_account(gateway: Wired, caller: Known) -> http.AccountAnswer:
    """Who the key belongs to."""
    return await gateway.reads.account(_member(caller, "read"), caller.scopes)


@get("/v1/fills")
async def get_fills(
    gateway: Wired, caller: Known, limit: Annotated[int, QueryParameter(ge=1, le=500)] = 100
) -> list[http.FillAnswer]:
    """The account's trades, newest first."""
    account = _member(caller, "read")
    await gateway.progress.wait_for(account)
    return await gateway.reads.fills(account, limit)


@get("/v1/positions")
async def get_positions(gateway: Wired, caller: Known) -> list[http.PositionAnswer]:
    """Hours held and owed."""
    account = _member(caller, "read")
    await gateway.progress.wait_for(account)
    return await gateway.reads.positions(account)


@get("/v1/balance")
async def get_balance(gateway: Wired, caller: Known) -> http.BalanceAnswer:
    """Wallet and trading balances."""
    account = _member(caller, "read")
    await gateway.progress.wait_for(account)
    return await gateway.reads.balance(account, len(gateway.doors))


@get("/v1/ledger")
async def get_ledger(
    gateway: Wired, caller: Known, limit: Annotated[int, QueryParameter(ge=1, le=500)] = 100
) -> list[http.LineAnswer]:
    """The account's ledger lines, newest first."""
    account = _member(caller, "read")
    await gateway.progress.wait_for(account)
    return await gateway.reads.ledger(account, limit)


@get("/v1/capacity")
async def get_capacity(gateway: Wired, caller: Known) -> list[http.CapacityAnswer]:
    """Backing in force."""
    account = _member(caller, "read")
    await gateway.progress.wait_for(account)
    return await gateway.reads.capacity(account)


@get("/v1/withdrawals")
async def get_withdrawals(gateway: Wired, caller: Known) -> list[http.WithdrawalAnswer]:
    """The account's payouts."""
    return await gateway.reads.withdrawals(_member(caller, "read"), simulated=gateway.market.sandbox)


@get("/v1/requests/{key:path}")
async def get_request(gateway: Wired, caller: Known, request: JsonRequest) -> http.RequestAnswer:
    """Outcome of an own request, by its Idempotency-Key or its request id."""
    prefix = request_id(caller, "-")[:-1]
    key = last_part(request, "/v1/requests/").removeprefix(prefix)
    return gateway.answer(await gateway.asks.outcome(request_id(caller, key)))


@post("/v1/transfers")
async def post_transfer(
    gateway: Wired, caller: Known, data: JSONBody[http.TransferRequest], key: IdempotencyKey = ""
) -> Response[http.RequestAnswer]:
    """Between wallet and trading balance."""
    account = _member(caller, "trade")
    if (data.shard is None) == (not data.class_id):
        raise ApiError("malformed", "name the shard, or a class that trades there")
    shard = data.shard if data.shard is not None else (await gateway.classes.get(data.class_id))["shard"]
    kind = ToTrading if data.direction == "to_trading" else FromTrading
    return await gateway.settle(kind(request_id(caller, key), account, shard, decimal(data.amount)))


@post("/v1/withdrawals")
async def post_withdrawal(
    gateway: Wired, caller: Known, data: JSONBody[http.WithdrawalRequest], key: IdempotencyKey = ""
) -> Response[http.RequestAnswer]:
    """Wallet → payout."""
    account = _member(caller, "trade")
    return await gateway.settle(Withdraw(request_id(caller, key), account, decimal(data.amount), data.destination))


@put("/v1/capacity")
async def put_capacity(
    gateway: Wired, caller: Known, data: JSONBody[http.CapacityRequest], key: IdempotencyKey = ""
) -> Response[http.RequestAnswer]:
    """Back hours with machines (declared) or collateral (promised)."""
    account = _member(caller, "supply")
    row = await gateway.classes.get(data.class_id)
    first = parse_hour(data.from_hour)
    if not 1 <= data.hours <= 1_024:
        raise ApiError("wrong_hours")
    ground = Ground.DECLARED if data.ground == "declared" else Ground.PROMISED
    request = Back(
        request_id(caller, key),
        account,
        row["class_no"],
        tuple(range(first, first + data.hours)),
        ground,
        data.qty,
        decimal(data.collateral_price),
        data.version,
    )
    return await gateway.settle(request)


# --- Keys ---------------------------------------------------------------------------------------------------


@get("/v1/keys")
async def get_keys(gateway: Wired, caller: Known) -> list[http.KeyAnswer]:
    """Keys of the same account and owner."""
    caller.require("read")
    return [
        _key(key.record)
        for key in gateway.keyring.keys.values()
        if (key.record.account, key.record.owner) == (caller.account, caller.owner)
    ]


@post("/v1/keys")
async def post_key(gateway: Wired, caller: Known, data: JSONBody[http.KeyRequest]) -> http.NewKeyAnswer:
    """A further key of the same account."""
    for scope in ("trade", *data.scopes):
        caller.require(scope)
    return await _issue(gateway, data, caller.account, caller.owner)


@delete("/v1/keys/{key_id:str}", status_code=200)
async def delete_key(gateway: Wired, caller: Known, key_id: FromPath[str]) -> dict[str, str]:
    """End an own key, or as an operator any."""
    if "operator" not in caller.scopes:
        caller.require("trade")
    key = gateway.keyring.keys.get(key_id)
    own = key is not None and (key.record.account, key.record.owner) == (caller.account, caller.owner)
    if key is None or not (own or "operator" in caller.scopes):
        raise ApiError("not_found", "there is no such key of yours")
    await gateway.asks.append("keys", KeyRevoked(key_id))
    return {"revoked": key_id}


async def _issue(gateway: Gateway, data: http.KeyRequest, account: int, owner: int) -> http.NewKeyAnswer:
    check_networks(data.networks)
    expires_ms = gateway.clock.now_ms() + data.expires_in_s * 1000 if data.expires_in_s > 0 else 0
    issued = issue_key(
        gateway.master_key,
        account=account,
        owner=owner,
        scopes=tuple(data.scopes),
        label=data.label,
        expires_ms=expires_ms,
        networks=data.networks,
    )
    await gateway.asks.append("keys", issued.record)
    return http.NewKeyAnswer(key=_key(issued.record), secret=issued.secret, bearer=issued.bearer)


def _key(record: KeyIssued) -> http.KeyAnswer:
    return http.KeyAnswer(
        key_id=record.key_id,
        account=record.account,
        scopes=record.scopes,
        label=record.label,
        expires_at=iso(record.expires_ms) if record.expires_ms else "",
        networks=record.networks,
    )


@post("/v1/feed-token")
async def post_feed_token(gateway: Wired, caller: Known) -> feeds.TokenAnswer:
    """For the private feed of the key's account."""
    return await gateway.market_data.token(_member(caller, "read"), gateway.clock.now_ms())


# --- Operators ----------------------------------------------------------------------------------------------


@post("/v1/admin/accounts")
async def post_account(
    gateway: Wired, caller: Known, data: JSONBody[http.AccountRequest], key: IdempotencyKey = ""
) -> Response[http.RequestAnswer]:
    """Open an account."""
    caller.require("operator")
    role = Role[data.role.upper()]
    return await gateway.settle(OpenAccount(request_id(caller, key), data.owner, data.name, role, 0, data.desk))


@patch("/v1/admin/accounts/{account:int}")
async def patch_account(
    gateway: Wired, caller: Known, account: Number, data: JSONBody[http.RoleRequest], key: IdempotencyKey = ""
) -> Response[http.RequestAnswer]:
    """Change an account's role."""
    caller.require("operator")
    return await gateway.settle(SetAccountRole(request_id(caller, key), account, Role[data.role.upper()], 0))


@post("/v1/admin/classes")
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


@post("/v1/admin/deposits")
async def post_deposit(
    gateway: Wired, caller: Known, data: JSONBody[http.DepositRequest], key: IdempotencyKey = ""
) -> Response[http.RequestAnswer]:
    """Book money that has arrived."""
    caller.require("operator")
    request = Deposit(request_id(caller, key), data.account, decimal(data.amount), data.provider, data.provider_ref)
    return await gateway.settle(request)


@post("/v1/admin/payouts/{payout:int}")
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


@post("/v1/admin/deliveries", status_code=202)
async def post_delivery(
    gateway: Wired, caller: Known, data: JSONBody[http.DeliveryRequest], key: IdempotencyKey = ""
) -> http.DeliveryAnswer:
    """Write a simulated delivery record."""
    caller.require("operator")
    _, contract = await gateway.classes.contract(data.contract)
    if not 0 <= data.undelivered_minutes <= 60:
        raise ApiError("malformed", "undelivered_minutes is 0 to 60")
    record_id = request_id(caller, key)
    await gateway.asks.append(
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
    if data.account:
        owner = (await gateway.reads.account(data.account, ())).owner
    return await _issue(gateway, data, data.account, owner)


ROUTES: Final = [
    get_time,
    get_status,
    get_classes,
    get_class,
    get_contracts,
    get_book,
    get_trades,
    get_supply,
    post_order,
    get_orders,
    get_order,
    get_order_by_client_id,
    delete_order,
    delete_order_by_client_id,
    get_account,
    get_fills,
    get_positions,
    get_balance,
    get_ledger,
    get_capacity,
    get_withdrawals,
    get_request,
    post_transfer,
    post_withdrawal,
    put_capacity,
    get_keys,
    post_key,
    delete_key,
    post_feed_token,
    post_account,
    patch_account,
    post_class,
    post_deposit,
    post_payout,
    post_state,
    post_delivery,
    post_operator_key,
    *MARKET_ROUTES,
]

# --- The application ----------------------------------------------------------------------------------------


def build(gateway: Gateway) -> Litestar:
    """The ASGI application over a wired gateway."""

    async def provide_gateway() -> Gateway:
        return gateway

    async def provide_market_data() -> MarketData:
        return gateway.market_data

    async def provide_caller(request: JsonRequest, gateway: Wired) -> Caller:  # noqa: ARG001 # so that it comes second
        # For two things that do not need each other Litestar starts tasks: nearly as much work as all the rest of a request.
        caller: Caller = request.state.caller
        return caller

    return Litestar(
        route_handlers=ROUTES,
        request_class=JsonRequest,
        dependencies={
            "gateway": Provide(provide_gateway),
            "caller": Provide(provide_caller),
            "market_data": Provide(provide_market_data),
        },
        before_request=gateway.admit,
        before_send=[rate_limit_headers(gateway.limits)],
        exception_handlers={Exception: problem},  # every refusal leaves in one form
        request_max_body_size=BODY_MAX,
        # The document alone: pages for it would fetch scripts from strangers.
        openapi_config=OpenAPIConfig(
            title="Hourbook", version="1", path="/v1/openapi", render_plugins=[JsonRenderPlugin()]
        ),
        on_app_init=[_quiet],
    )


def _quiet(config: AppConfig) -> AppConfig:
    """Litestar's own logging would print bodies of failed requests."""
    config.logging_config = None
    return config
