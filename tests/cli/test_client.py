"""What a request that goes wrong becomes: refused, unknown or unreachable, and what is asked again under which key."""

import base64
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import NamedTuple

import msgspec
import pytest

from schemas.http import CancelAnswer, KeyAnswer, NewKeyAnswer, Problem
from services.cli.client import Client
from services.cli.errors import CliError, Refused, Unknown, Unreachable
from services.cli.profile import Profile
from services.runtime.infra import free_port
from tests.cli.conftest import Place

DONE = b'{"order_id": "0-1-0-0", "contract": "X", "cancelled": 1}'


class Asked(NamedTuple):
    """One request that reached the server."""

    method: str
    path: str
    key: str | None


class Answer(NamedTuple):
    """What it is answered; status 0: the connection breaks."""

    status: int
    body: bytes


def problem(code: str, status: int, outcome: str, detail: str = "because") -> Answer:
    body = {"type": f"/problems/{code}", "title": "No", "status": status, "detail": detail, "code": code}
    return Answer(status, json.dumps({**body, "request_id": "r1", "retryable": False, "outcome": outcome}).encode())


BROKEN = Answer(0, b"")
OK = Answer(200, DONE)
FOREIGN = Answer(502, b"<html>Bad gateway</html>")
REFUSED = problem("unknown_order", 404, "rejected", "GET /v1/orders shows the open ones")
UNKNOWN = problem("outcome_unknown", 504, "unknown")


@contextmanager
def server(*answers: Answer) -> Iterator[tuple[Client, list[Asked]]]:
    """A client, and what its server has been asked; it answers in this order."""
    asked: list[Asked] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            answer = answers[len(asked)]
            asked.append(Asked(self.command, self.path, self.headers["Idempotency-Key"]))
            if answer.status == 0:
                return
            self.send_response(answer.status)
            self.send_header("Content-Length", str(len(answer.body)))
            self.end_headers()
            self.wfile.write(answer.body)

        do_DELETE = do_GET  # noqa: N815 # the base class's word

        def log_message(self, *words: object) -> None:
            """Nothing: stderr belongs to the test."""

    listening = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=listening.serve_forever, daemon=True)
    thread.start()
    try:
        with closing(client(listening.server_port)) as caller:
            yield caller, asked
    finally:
        listening.shutdown()
        listening.server_close()
        thread.join()


def client(port: int) -> Client:
    key = KeyAnswer(key_id="hb_1", account=1, scopes=("read",), label="", expires_at="", networks=())
    secret = base64.b64encode(bytes(32)).decode()
    return Client(Profile(f"http://127.0.0.1:{port}", NewKeyAnswer(key=key, secret=secret, bearer="")))


def read(client: Client) -> CancelAnswer:
    return client.get("/v1/thing", CancelAnswer, limit=3, state="")


def write(client: Client) -> CancelAnswer:
    return client.write("DELETE", "/v1/orders/0-1-0-0", None, CancelAnswer)


@pytest.mark.parametrize(
    ("do", "answers", "ends", "times"),
    [
        (read, [OK], "cancelled", 1),
        (read, [BROKEN, OK], "cancelled", 2),
        (read, [BROKEN, BROKEN], Unreachable, 2),
        (read, [FOREIGN], Unreachable, 1),
        (read, [Answer(200, b"[]")], Unreachable, 1),
        (read, [REFUSED], Refused, 1),
        (read, [UNKNOWN, UNKNOWN], Unreachable, 2),
        (write, [OK], "cancelled", 1),
        (write, [BROKEN, OK], "cancelled", 2),
        (write, [BROKEN, BROKEN], Unknown, 2),
        (write, [FOREIGN], Unknown, 1),
        (write, [REFUSED], Refused, 1),
        (write, [UNKNOWN, OK], "cancelled", 2),
        (write, [UNKNOWN, REFUSED], Refused, 2),
        (write, [UNKNOWN, UNKNOWN], Unknown, 2),
    ],
)
def test_how_a_request_ends(
    do: Callable[[Client], CancelAnswer], answers: list[Answer], ends: str | type[CliError], times: int
) -> None:
    """A write whose outcome is not known is asked for again, once, under the same key; never one that was refused."""
    with server(*answers) as (caller, asked):
        if isinstance(ends, str):
            assert do(caller) == msgspec.json.decode(DONE, type=CancelAnswer)
        else:
            with pytest.raises(ends):
                do(caller)

    assert len(asked) == times
    assert len({each.key for each in asked}) == 1
    assert all((each.key is None) == (do is read) for each in asked)


def test_an_empty_query_is_not_sent() -> None:
    with server(OK) as (caller, asked):
        read(caller)

    assert asked == [Asked("GET", "/v1/thing?limit=3", None)]


def test_two_writes_have_two_keys_unless_one_is_given() -> None:
    with server(OK, OK, OK) as (caller, asked):
        write(caller)
        write(caller)
        caller.write("DELETE", "/v1/orders/0-1-0-0", None, CancelAnswer, key="mine")

    assert len({each.key for each in asked}) == 3
    assert asked[-1].key == "mine"


def test_a_refusal_is_said_in_commands_and_kept_as_answered() -> None:
    with server(REFUSED) as (caller, _), pytest.raises(Refused) as caught:
        write(caller)

    assert caught.value.message == "No (unknown_order): `hourbook orders` shows the open ones"
    assert caught.value.problem() == msgspec.json.decode(REFUSED.body, type=Problem)


def test_where_nobody_listens_the_line_says_how_to_start(here: Place) -> None:
    """Unless an exchange runs here: then its status knows more."""
    port = free_port()
    with closing(client(port)) as caller:
        with pytest.raises(
            Unreachable, match=f"nobody answers at http://127.0.0.1:{port}; `make run` starts a sandbox"
        ):
            read(caller)
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("HOURBOOK_HOME", str(here.folder))
            with pytest.raises(Unreachable, match="`hourbook status` tells what it waits for"):
                read(caller)
