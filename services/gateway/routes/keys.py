"""Keys, and tokens for the private feed."""

from __future__ import annotations

from typing import Final

from litestar import delete, get, post
from litestar.params import FromPath, JSONBody

from schemas import feeds, http
from schemas.edge import iso
from schemas.keys import KeyIssued, KeyRevoked
from services.gateway.auth import check_networks
from services.gateway.errors import ApiError
from services.gateway.wiring import Gateway, Known, Wired, member
from services.runtime.keys import issue_key


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
    return await issue(gateway, data, caller.account, caller.owner)


@delete("/v1/keys/{key_id:str}", status_code=200)
async def delete_key(gateway: Wired, caller: Known, key_id: FromPath[str]) -> dict[str, str]:
    """End an own key, or as an operator any."""
    if "operator" not in caller.scopes:
        caller.require("trade")
    key = gateway.keyring.keys.get(key_id)
    own = key is not None and (key.record.account, key.record.owner) == (caller.account, caller.owner)
    if key is None or not (own or "operator" in caller.scopes):
        raise ApiError("not_found", "there is no such key of yours")
    await gateway.requests.append("keys", KeyRevoked(key_id))
    return {"revoked": key_id}


async def issue(gateway: Gateway, data: http.KeyRequest, account: int, owner: int) -> http.NewKeyAnswer:
    """A new key, in the log."""
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
    await gateway.requests.append("keys", issued.record)
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
    return await gateway.market_data.token(member(caller, "read"), gateway.clock.now_ms())


ROUTES: Final = [
    get_keys,
    post_key,
    delete_key,
    post_feed_token,
]
