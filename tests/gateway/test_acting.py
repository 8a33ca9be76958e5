"""The router acts for a member: with a token that only it can make, for an account that exists, to read and to trade."""

from __future__ import annotations

import re
from typing import Any

import pytest

from schemas.router_key import ACCOUNT_HEADER, HEADER, acting_token, derive_router_key, room_token
from services.gateway.auth import Caller
from services.gateway.router import Acting
from services.gateway.routes import ROUTES
from tests.gateway.test_edge import Door, _token

MASTER_KEY = bytes(range(32))
TOKEN = acting_token(derive_router_key(MASTER_KEY))
OF_ANA = {HEADER: TOKEN, ACCOUNT_HEADER: "7"}
_PARAMETER = re.compile(r"{\w+:\w+}")


class Accounts:
    """Settlement's table of them: Ana's, 7, is owner 70's."""

    def __init__(self) -> None:
        self.asked = 0

    async def fetchval(self, _: str, account: int) -> int | None:
        self.asked += 1
        return {7: 70}.get(account)


class Acted(Door):
    """A door that knows the router."""

    def __init__(self) -> None:
        super().__init__()
        self.accounts: Any = Accounts()
        self.gateway.acting = Acting(MASTER_KEY, self.accounts)

    async def said(self, headers: dict[str, str], method: str = "GET", path: str = "/v1/keys") -> tuple[int, str]:
        """Status, and the code of a refusal."""
        answer = await self.http.request(method, path, headers=headers)
        return answer.status_code, "" if answer.is_success else answer.json()["code"]


@pytest.fixture
async def door():
    made = Acted()
    yield made
    await made.http.aclose()


async def test_the_router_is_the_member_with_two_scopes_and_a_key_of_its_own(door: Acted) -> None:
    """The owner is the account's, so that self-trades are seen; he is looked up once."""
    headers = {name.lower(): value for name, value in OF_ANA.items()}
    caller = await door.gateway.acting.caller(headers, "GET", "/v1/account")
    assert caller == Caller("router:7", 7, 70, ("read", "trade"))
    assert await door.gateway.acting.caller(headers, "POST", "/v1/orders") == caller
    assert door.accounts.asked == 1
    assert await door.said(OF_ANA) == (200, "")


@pytest.mark.parametrize(
    ("headers", "refusal"),
    [
        ({HEADER: TOKEN[:-1] + "z", ACCOUNT_HEADER: "7"}, (401, "unauthenticated")),
        ({HEADER: "", ACCOUNT_HEADER: "7"}, (401, "unauthenticated")),
        ({HEADER: "ä".encode("latin-1").decode("latin-1"), ACCOUNT_HEADER: "7"}, (401, "unauthenticated")),
        # What gateways show to the router opens nothing here.
        ({HEADER: room_token(derive_router_key(MASTER_KEY)), ACCOUNT_HEADER: "7"}, (401, "unauthenticated")),
        ({HEADER: acting_token(derive_router_key(bytes(32))), ACCOUNT_HEADER: "7"}, (401, "unauthenticated")),
        ({ACCOUNT_HEADER: "7"}, (401, "unauthenticated")),
        ({HEADER: TOKEN}, (404, "unknown_account")),
        ({HEADER: TOKEN, ACCOUNT_HEADER: ""}, (404, "unknown_account")),
        ({HEADER: TOKEN, ACCOUNT_HEADER: "0"}, (404, "unknown_account")),
        ({HEADER: TOKEN, ACCOUNT_HEADER: "-7"}, (404, "unknown_account")),
        ({HEADER: TOKEN, ACCOUNT_HEADER: "seven"}, (404, "unknown_account")),
        ({HEADER: TOKEN, ACCOUNT_HEADER: "9" * 30}, (404, "unknown_account")),
        ({HEADER: TOKEN, ACCOUNT_HEADER: "8"}, (404, "unknown_account")),
    ],
)
async def test_whoever_is_not_the_router_or_names_no_account_is_refused(
    door: Acted, headers: dict[str, str], refusal: tuple[int, str]
) -> None:
    sent = {name: value.encode("latin-1") for name, value in headers.items()}
    assert await door.said(sent) == refusal  # type: ignore[arg-type]  # bytes, which httpx sends as they are


async def test_a_key_of_ones_own_counts_for_more_than_the_routers_headers(door: Acted) -> None:
    """A member who adds them is himself: neither more nor less."""
    assert await door.said({"Authorization": f"Bearer {_token('ana')}", HEADER: "nonsense"}) == (200, "")
    assert await door.said({"Authorization": "Bearer nobody.token", **OF_ANA}) == (401, "unauthenticated")
    assert await door.said({"Hourbook-Key": "nobody", **OF_ANA}) == (401, "unauthenticated")


async def test_every_account_that_the_router_acts_for_has_a_rate_of_its_own(door: Acted) -> None:
    """Two at once, as everybody here; who has used up his own keeps nobody else from his."""
    assert [await door.said(OF_ANA) for _ in range(3)] == [(200, ""), (200, ""), (429, "rate_limited")]
    assert door.gateway.limits.take("router:8", door.clock.ms).wait_ms == 0
    assert (await door.ask("ana")).status_code == 200


CHANGES = [
    (str(method), _PARAMETER.sub("1", path))
    for route in ROUTES
    for path in sorted(route.paths)
    for method in sorted(route.http_methods)
    if method != "GET"
]
ADMIN = [
    (str(method), _PARAMETER.sub("1", path))
    for route in ROUTES
    for path in sorted(route.paths)
    for method in sorted(route.http_methods)
    if path.startswith("/v1/admin/")
]


@pytest.mark.parametrize(
    ("method", "path"), [each for each in CHANGES if not re.match("/v1/(orders|ranges|blocks)", each[1])]
)
async def test_the_router_changes_orders_and_nothing_else(door: Acted, method: str, path: str) -> None:
    """No money leaves, no key is made, no machine is touched, nothing is rented in a member's name."""
    assert await door.said(OF_ANA, method, path) == (403, "missing_scope")


@pytest.mark.parametrize(("method", "path"), ADMIN)
async def test_the_router_is_no_operator(door: Acted, method: str, path: str) -> None:
    body = {} if method == "GET" else {"json": {}}
    answer = await door.http.request(method, path, headers=OF_ANA, **body)  # type: ignore[arg-type]
    assert (answer.status_code, answer.json()["code"]) == (403, "missing_scope")


def test_both_lists_are_of_something() -> None:
    assert len(CHANGES) > 40
    assert len(ADMIN) > 10
