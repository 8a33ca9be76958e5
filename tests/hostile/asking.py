"""A stranger who has read the OpenAPI document, and asks everything that it allows and much that it does not.

    asked = Stranger(exchange, seed=7)
    asked.all_bounds()      # every bound, pattern and missing part of every route, once: no chance in it
    asked.rounds(9_000, 12) # random requests, many with contracts and orders that there are, until it has asked so often
    assert asked.faults == []

An answer must be one that the document tells of: its status, form and headers. Every refusal is an RFC 9457 problem,
a broken request is never accepted, and only a documented 503 or 504 may say that the exchange could not answer.
"""

from __future__ import annotations

import itertools
import random
from collections import Counter
from collections.abc import Callable, Iterator
from copy import deepcopy
from typing import Any, Final, NamedTuple

import requests
import schemathesis
from hypothesis import HealthCheck, Phase, assume, given, settings
from hypothesis import seed as seeded
from hypothesis import strategies as st
from hypothesis.errors import Unsatisfiable
from requests.auth import AuthBase
from schemathesis import Case, GenerationMode, Response
from schemathesis.core.failures import FailureGroup
from schemathesis.specs.openapi import checks

from schemas.specifications import published
from services.gateway.errors import CODES
from tests.gateway.exchange import CLASSES, Exchange, Key, Member, begin, signature

CHECKS: Final = [
    checks.status_code_conformance,
    checks.content_type_conformance,
    checks.response_headers_conformance,
    checks.response_schema_conformance,
    checks.negative_data_rejection,
    checks.unsupported_method,
]
EACH_BY_ITSELF: Final = ("POST /v1/orders/batch",)
"""What is broken in one of several there is refused in its place of the answer, and the others are done: no acceptance."""
SCOPES: Final = ("read", "trade", "supply", "operator")
MODES: Final = (GenerationMode.POSITIVE, GenerationMode.NEGATIVE)
LIKELY: Final = (0.0, 0.5, 0.8, 0.9, 1.0, 1.0)
"""Each whole request is asked so many times: with so much of what there is in place of what was made up."""
_SHOWN: Final = 300


class Fault(NamedTuple):
    """An answer that the document does not tell of."""

    route: str
    what: str
    asked: str
    answered: str


class Signed(AuthBase):
    """Signs whatever is sent, as it is sent."""

    def __init__(self, key: Key) -> None:
        self.key = key

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        body = request.body or b""
        sent = body.encode() if isinstance(body, str) else body
        request.headers.update(signature(self.key, request.method or "", request.path_url, sent))
        return request


class Bearing(AuthBase):
    """Shows a token."""

    def __init__(self, key: Key) -> None:
        self.key = key

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        request.headers["Authorization"] = f"Bearer {self.key.bearer}"
        return request


class Stranger:
    """Asks with a member's key, a market maker's, an operator's and an operator's who has an account; signed and not."""

    def __init__(self, exchange: Exchange, seed: int) -> None:
        self.exchange = exchange
        self.seed = seed
        self.cases = 0
        self.statuses: Counter[int] = Counter()
        self.routes: Counter[str] = Counter()
        self.faults: list[Fault] = []
        self._chance = random.Random(f"{seed}/who")
        people = (exchange.member(), exchange.member(role="market_maker"), exchange.member(role="provider"))
        # Keys of their own: some requests end keys, and must not end these.
        keys = [exchange.key(each.account, "read", "trade", "supply") for each in people]
        keys += [exchange.key(0, "read", "operator"), exchange.key(people[0].account, *SCOPES)]
        # Most often whoever may do everything: a missing scope is told before anything else is looked at.
        self._ways: list[AuthBase] = [way(key) for key in [*keys, *keys[-1:] * 4] for way in (Signed, Bearing)]
        self._http = requests.Session()
        self._http.trust_env = False
        self.known = _known(exchange, people)
        document = exchange.http.get(f"{exchange.url}/v1/openapi/openapi.json").json()
        self._schema = schemathesis.openapi.from_dict(document)
        self._schema.config.generation.with_security_parameters = False
        self._operations = [found.ok() for found in self._schema.get_all_operations()]
        self._strategies: dict[tuple[str, GenerationMode], st.SearchStrategy[Case]] = {}

    def all_bounds(self, tell: Callable[[Stranger], None] = lambda _: None) -> None:
        """In order, each once."""
        for operation in self._operations:
            for case in self._schema.iter_coverage_cases(
                operation, generation_modes=list(MODES), generation_config=self._schema.config.generation
            ):
                # Whoever may do everything: a missing scope would be told before the rest is looked at.
                self.ask(case, self._chance.choice(self._ways[-2:]))
            self._open()
            tell(self)

    def rounds(self, cases: int, at_once: int, tell: Callable[[Stranger], None] = lambda _: None) -> None:
        """Every route in turn, each time with so many whole requests and as many broken ones, until there were `cases`."""
        for number in itertools.count():
            for operation in self._operations:
                for mode in MODES:
                    self._some(operation, mode, at_once, f"{self.seed}/{number}/{operation.label}/{mode.value}")
                self._open()
                tell(self)
                if self.cases >= cases:
                    return

    def _some(self, operation: Any, mode: GenerationMode, at_once: int, seed: str) -> None:
        place = operation.label, mode
        if place not in self._strategies:
            self._strategies[place] = operation.as_strategy(generation_mode=mode)

        @seeded(int.from_bytes(seed.encode()))
        @settings(
            max_examples=at_once,
            database=None,
            deadline=None,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        @given(self._strategies[place], st.randoms(use_true_random=False))
        def ask(case: Case, chance: random.Random) -> None:
            assume(case.body is None or len(repr(case.body)) < 50_000)
            if mode is GenerationMode.NEGATIVE:
                self.ask(case)
                return
            whole = deepcopy((case.path_parameters, case.query, case.headers, case.body))
            for likely in LIKELY:
                case.path_parameters, case.query, case.headers, case.body = deepcopy(whole)
                self._season(case, chance, likely)
                self.ask(case)

        try:
            ask()
        except Unsatisfiable:
            assert mode is GenerationMode.NEGATIVE, f"{operation.label}: nothing that the document allows can be made"

    def _season(self, case: Case, chance: random.Random, likely: float) -> None:
        """Put what there is in place of what was made up: else all that is ever met is an unknown class."""
        for place in (case.path_parameters, case.query, case.headers, case.body):
            for node in _dicts(place):
                for name in node:
                    if name in self.known and chance.random() < likely:
                        node[name] = chance.choice(self.known[name])

    def ask(self, case: Case, way: AuthBase | None = None) -> None:
        """One request, and all that is to be said of its answer."""
        way = way or self._chance.choice(self._ways)
        answer = case.call(base_url=self.exchange.url, session=self._http, auth=way, timeout=30)
        self.cases += 1
        self.statuses[answer.status_code] += 1
        self.routes[case.operation.label] += 1
        for what in [*_broken(case, answer), *_no_problem(answer)]:
            self.faults.append(Fault(case.operation.label, what, _sent(answer), answer.text[:_SHOWN]))
        self._learn(answer)

    def _learn(self, answer: Response) -> None:
        """Names that an answer gives to things."""
        if 200 <= answer.status_code < 300 and answer.headers.get("content-type", [""])[0].startswith(
            "application/json"
        ):
            for node in _dicts(answer.json()):
                for name, also in LEARNED.items():
                    if node.get(name):
                        for place in also:
                            self.known[place] = [*self.known.get(place, [])[-20:], node[name]]

    def _open(self) -> None:
        """Whatever was halted opens again, so that there is a market in which to ask the rest."""
        for class_id in CLASSES:
            body = {"class": class_id, "state": "open", "reason": "the next route"}
            self.exchange.operator.ask("POST", "/v1/admin/states", body)


def told(faults: list[Fault]) -> str:
    """Each kind once, with how often it came and its first request."""
    kinds: dict[tuple[str, str], list[Fault]] = {}
    for fault in faults:
        kinds.setdefault((fault.route, fault.what), []).append(fault)
    return "\n".join(
        f"{len(found)} × {route}: {what}\n    {found[0].asked}\n    {found[0].answered}"
        for (route, what), found in sorted(kinds.items(), key=lambda kind: -len(kind[1]))
    )


LEARNED: Final = {
    "order_id": ("order_id",),
    "block_id": ("block_id", "order_id"),
    "trade": ("trade",),
    "payout": ("payout",),
    "approval": ("approval",),
    "title": ("title",),
    "request_id": ("key",),
}
"""Field of an answer: the parameters and fields that take it."""


FAR: Final = ("9999-12-31T23:59:59.9999Z", "9999-12-31T23:59:59-23:59", "0001-01-01T00:00:00+23:59")
FAR_HOURS: Final = ("3883-12-08T15:00Z", "9999-12-31T23:00Z", "9999-12-31T23:00-23:00")
"""Where calendars end."""


def _known(exchange: Exchange, people: tuple[Member, ...]) -> dict[str, list[Any]]:
    contracts = exchange.fresh_hours(3) + exchange.fresh_hours(2, CLASSES[1])
    contracts.append(exchange.operator.get(f"/v1/contracts?class={CLASSES[0]}")[0]["contract"])
    hours = [begin(contract) for contract in contracts[:3]]
    names = ["one", "two", "three"]
    accounts = [each.account for each in people]
    return {
        "contract": contracts,
        "symbol": contracts,
        "class": [*CLASSES, CLASSES[0]],
        "class_id": list(CLASSES),
        "hour": hours,
        "from": [*hours, *hours, *FAR_HOURS],
        "hours": [1, 2, 3, hours, [*FAR_HOURS]],
        "count": [0, 1, 3],
        "price": ["1.00", "2.00", "3.00", "3.20", "0.90"],
        "bid": ["2.00", "1.00"],
        "ask": ["3.50", "1.20", "2.00"],
        "qty": [1, 2, 8],
        "bid_qty": [0, 1, 4],
        "ask_qty": [0, 1, 4],
        "client_order_id": [*names, ""],
        "client_id": names,
        "Idempotency-Key": names,
        "key": names,
        "account": accounts,
        "payer": accounts,
        "payee": accounts,
        "amount": ["1", "0.000001", "25"],
        "cost": ["1", "3"],
        "collateral_price": ["0", "8.00"],
        "shard": [0, 1],
        "tif": ["gtc", "ioc", "fok", "gtd"],
        "expires": ["", "", "", "2100-01-01T00:00:00Z", *FAR],
        "valid_for_ms": [30_000],
        "specification": [text.decode() for text in published().values()],
        "number": [None, 1, 2**62],
    }


def _dicts(node: object) -> Iterator[dict[str, Any]]:
    if isinstance(node, dict):
        yield node
    for each in node.values() if isinstance(node, dict) else node if isinstance(node, list) else ():
        yield from _dicts(each)


def _broken(case: Case, answer: Response) -> Iterator[str]:
    is_apart = case.operation.label in EACH_BY_ITSELF
    wanted = [each for each in CHECKS if not (is_apart and each is checks.negative_data_rejection)]
    try:
        case.validate_response(answer, checks=wanted)
    except FailureGroup as group:
        for failure in group.exceptions:
            yield f"{failure.title}: {failure.message}".partition("\n\n")[0][:_SHOWN]


def _no_problem(answer: Response) -> Iterator[str]:
    """What is wrong with a refusal."""
    status = answer.status_code
    if status < 400:
        return
    if answer.headers.get("content-type") != ["application/problem+json"]:
        yield f"{status} is no problem document"
        return
    said = answer.json()
    row = CODES.get(said["code"])
    if row is None or (row.status, said["status"]) != (status, status):
        yield f"{said['code']} with {status}"
        return
    if status == 500 or (status > 500 and not said["retryable"]):
        yield f"{status} {said['code']}"


def _sent(answer: Response) -> str:
    request = answer.request
    body = request.body or b""
    shown = body[:_SHOWN] if isinstance(body, bytes) else body[:_SHOWN].encode()
    key = request.headers.get("Idempotency-Key", "")
    return f"{request.method} {request.path_url[:_SHOWN]} {key!r} {shown!r}"
