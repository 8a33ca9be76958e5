"""Orders, ranges, blocks, quotes."""

from __future__ import annotations

from typing import Annotated, Final, Literal

from litestar import delete, get, patch, post, put
from litestar.params import FromQuery, JSONBody, QueryParameter

from schemas import http
from services.gateway.database import Row
from services.gateway.edge import JsonRequest, check_query, last_part, own_id
from services.gateway.errors import ApiError
from services.gateway.times import parse_hour
from services.gateway.values import order_number, side_of
from services.gateway.wiring import (
    ClassId,
    ClassQuery,
    Gateway,
    HourQuery,
    Known,
    Limit,
    OrderId,
    SymbolQuery,
    Wired,
    member,
)

ORDERS_PER_TOKEN: Final = 8
"""Of a batch, beyond its first: what they cost the door together is about what one request alone does."""


@post("/v1/orders")
async def post_order(gateway: Wired, caller: Known, data: JSONBody[http.OrderRequest]) -> http.OrderAnswer:
    """Place an order; answered when its event is in the log."""
    member(caller, "trade")
    return await gateway.orders.place(caller, data)


@post("/v1/orders/batch", status_code=200)
async def post_orders(
    gateway: Wired, caller: Known, request: JsonRequest, data: JSONBody[http.BatchRequest]
) -> http.BatchAnswer:
    """Place up to 64 orders, each judged by itself; answered when the last of them is."""
    member(caller, "trade")
    # The first is in the request's own price.
    gateway.charge(request, caller, (len(data.orders) - 1) // ORDERS_PER_TOKEN)
    return await gateway.orders.place_many(caller, data.orders)


@get("/v1/orders")
async def get_orders(
    gateway: Wired,
    caller: Known,
    contract: SymbolQuery = "",
    limit: Limit = 100,
    order_state: Annotated[Literal["open", "filled", "cancelled", ""], QueryParameter(name="state")] = "",
) -> list[http.OrderAnswer]:
    """The account's orders, newest first."""
    account = member(caller, "read")
    number = (await gateway.classes.contract(contract))[1] if contract else 0
    await gateway.progress.wait_for(account)
    return await gateway.reads.orders(account, order_state, number, limit)


@get("/v1/orders/{order_id:str}")
async def get_order(gateway: Wired, caller: Known, order_id: OrderId) -> http.OrderAnswer:
    """One order."""
    account = member(caller, "read")
    await gateway.progress.wait_for(account)
    row = await gateway.reads.order(account, order_number(order_id))
    if row is None:
        raise ApiError("unknown_order", "no order of this account has this id")
    return await gateway.reads.order_answer(row)


@get("/v1/orders/client/{client_id:path}")
async def get_order_by_client_id(gateway: Wired, caller: Known, request: JsonRequest) -> http.OrderAnswer:
    """The newest order with this client order id."""
    account = member(caller, "read")
    client_id = own_id(request, "/v1/orders/client/")
    await gateway.progress.wait_for(account)
    known = await gateway.reads.known(account, client_id)
    if known is None or known.is_block:
        raise ApiError("unknown_order", "no order of this account has this client order id")
    return await gateway.reads.order_answer(known.row)


@delete("/v1/orders/{order_id:str}", status_code=200)
async def delete_order(gateway: Wired, caller: Known, order_id: OrderId) -> http.CancelAnswer:
    """Cancel by order id."""
    member(caller, "trade")
    return await gateway.orders.cancel(caller, order_number(order_id))


@delete("/v1/orders/client/{client_id:path}", status_code=200)
async def delete_order_by_client_id(gateway: Wired, caller: Known, request: JsonRequest) -> http.CancelAnswer:
    """Cancel what a client order id stands for: an order, a block, or all hours of a range."""
    member(caller, "trade")
    return await gateway.orders.cancel_client_id(caller, last_part(request, "/v1/orders/client/"))


@patch("/v1/orders/{order_id:str}")
async def patch_order(
    gateway: Wired, caller: Known, order_id: OrderId, data: JSONBody[http.AmendRequest]
) -> http.AmendAnswer:
    """New open quantity and price."""
    member(caller, "trade")
    return await gateway.orders.amend(caller, order_number(order_id), data)


@patch("/v1/orders/client/{client_id:path}")
async def patch_order_by_client_id(
    gateway: Wired, caller: Known, request: JsonRequest, data: JSONBody[http.AmendRequest]
) -> http.AmendAnswer:
    """The same by client order id."""
    member(caller, "trade")
    return await gateway.orders.amend_client_id(caller, last_part(request, "/v1/orders/client/"), data)


@delete("/v1/orders", status_code=200)
async def delete_orders(
    gateway: Wired,
    caller: Known,
    request: JsonRequest,
    class_id: ClassQuery = "",
    hour: HourQuery = "",
    side: FromQuery[Literal["buy", "sell", ""]] = "",
) -> http.MassCancelAnswer:
    """Cancel every order and block of the account that matches."""
    member(caller, "trade")
    check_query(request, "class", "hour", "side")  # what is passed over would cancel more than was meant
    of_class = await gateway.classes.get(class_id) if class_id else None
    command = gateway.orders.mass_cancel(
        caller,
        of_class["class_no"] if of_class else 0,
        parse_hour(hour) if hour else 0,
        side_of(side) if side else 0,
    )
    return await gateway.orders.cancel_all(_shards(gateway, of_class), command)


@put("/v1/cancel-all-after")
async def put_cancel_all_after(
    gateway: Wired,
    caller: Known,
    request: JsonRequest,
    data: JSONBody[http.CancelAllAfterRequest],
    class_id: Annotated[str, QueryParameter(name="class")] = "",
) -> http.CancelAllAfterAnswer:
    """A dead man's switch: everything of the account is cancelled unless it is renewed in time.

    Each shard has one of its own. With `class`: that of the shard which trades the class, and of no other; without: all.
    """
    member(caller, "trade")
    check_query(request, "class")
    of_class = await gateway.classes.get(class_id) if class_id else None
    return await gateway.orders.cancel_all_after(caller, _shards(gateway, of_class), data.after_seconds)


def _shards(gateway: Gateway, of_class: Row | None) -> list[int]:
    """The one that trades the class; of no class: all."""
    return [of_class["shard"]] if of_class else [door.shard for door in gateway.shards.doors]


# --- Previews: nothing changes ------------------------------------------------------------------------------


@post("/v1/orders/preview", status_code=200)
async def post_order_preview(gateway: Wired, caller: Known, data: JSONBody[http.OrderRequest]) -> http.PreviewAnswer:
    """What an order would do now."""
    member(caller, "read")
    return await gateway.previews.order(caller, data)


@post("/v1/ranges/preview", status_code=200)
async def post_range_preview(
    gateway: Wired, caller: Known, data: JSONBody[http.RangeRequest]
) -> http.RangePreviewAnswer:
    """What a range would do now, hour by hour and in all."""
    member(caller, "read")
    return await gateway.previews.range(caller, data)


@post("/v1/blocks/preview", status_code=200)
async def post_block_preview(
    gateway: Wired, caller: Known, data: JSONBody[http.BlockRequest]
) -> http.BlockPreviewAnswer:
    """What a block would do now, with an estimate of its hand-overs."""
    member(caller, "read")
    return await gateway.previews.block(caller, data)


# --- Ranges, blocks, quotes ---------------------------------------------------------------------------------


@post("/v1/ranges")
async def post_range(gateway: Wired, caller: Known, data: JSONBody[http.RangeRequest]) -> http.RangeAnswer:
    """Place the same order in many hours; one outcome each."""
    member(caller, "trade")
    return await gateway.ranges.place(caller, data)


@get("/v1/ranges/{client_id:path}")
async def get_range(gateway: Wired, caller: Known, request: JsonRequest) -> http.RangeAnswer:
    """Hours of a range that were accepted, by its client order id."""
    account = member(caller, "read")
    client_id = own_id(request, "/v1/ranges/")
    await gateway.progress.wait_for(account)
    return await gateway.ranges.get(account, client_id)


@post("/v1/blocks")
async def post_block(gateway: Wired, caller: Known, data: JSONBody[http.BlockRequest]) -> http.BlockAnswer:
    """Place a block: contiguous hours, all or none."""
    member(caller, "trade")
    return await gateway.blocks.place(caller, data)


@get("/v1/blocks")
async def get_blocks(
    gateway: Wired,
    caller: Known,
    limit: Limit = 100,
    block_state: Annotated[Literal["open", "filled", "cancelled", ""], QueryParameter(name="state")] = "",
) -> list[http.BlockAnswer]:
    """The account's blocks, newest first."""
    account = member(caller, "read")
    await gateway.progress.wait_for(account)
    return await gateway.reads.blocks(account, block_state, limit)


@get("/v1/blocks/{block_id:str}")
async def get_block(gateway: Wired, caller: Known, block_id: OrderId) -> http.BlockAnswer:
    """One block, with what it has traded by hour, and its hand-overs."""
    account = member(caller, "read")
    await gateway.progress.wait_for(account)
    row = await gateway.reads.block(account, order_number(block_id))
    if row is None:
        raise ApiError("unknown_order", "no block of this account has this id")
    return await gateway.reads.block_answer(row, whole=True)


@get("/v1/blocks/client/{client_id:path}")
async def get_block_by_client_id(gateway: Wired, caller: Known, request: JsonRequest) -> http.BlockAnswer:
    """The same by client order id."""
    account = member(caller, "read")
    client_id = own_id(request, "/v1/blocks/client/")
    await gateway.progress.wait_for(account)
    known = await gateway.reads.known(account, client_id)
    if known is None or not known.is_block:
        raise ApiError("unknown_order", "no block of this account has this client order id")
    return await gateway.reads.block_answer(known.row, whole=True)


@delete("/v1/blocks/{block_id:str}", status_code=200)
async def delete_block(gateway: Wired, caller: Known, block_id: OrderId) -> http.CancelAnswer:
    """Cancel a block; the same as DELETE /v1/orders/{id}."""
    member(caller, "trade")
    return await gateway.orders.cancel(caller, order_number(block_id))


@put("/v1/quotes/{class_id:str}")
async def put_quotes(
    gateway: Wired, caller: Known, class_id: ClassId, data: JSONBody[http.QuotesRequest]
) -> http.QuotesAnswer:
    """Quote both sides in many hours; one outcome each."""
    member(caller, "trade")
    return await gateway.quotes.put(caller, class_id, data)


@get("/v1/quotes")
async def get_quotes(gateway: Wired, caller: Known) -> list[http.QuotedAnswer]:
    """The last quotes command of the account in each class."""
    account = member(caller, "read")
    await gateway.progress.wait_for(account)
    return await gateway.reads.quotes(account)


ROUTES: Final = [
    post_order,
    post_orders,
    get_orders,
    get_order,
    get_order_by_client_id,
    delete_order,
    delete_order_by_client_id,
    patch_order,
    patch_order_by_client_id,
    delete_orders,
    put_cancel_all_after,
    post_order_preview,
    post_range_preview,
    post_block_preview,
    post_range,
    get_range,
    post_block,
    get_blocks,
    get_block,
    get_block_by_client_id,
    delete_block,
    put_quotes,
    get_quotes,
]
