"""A source at an address, against a real HTTP server on loopback: what is asked, what is believed, and what is refused."""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from services.supply.places import Away, Document, Same
from services.supply.sources import SourceSettings
from services.supply.web import UrlPlace

NOW_MS = 1_795_467_600_000
CSV = b"InstanceType,Price\n"


class Server:
    """Answers what it was told, in turn, and keeps what it was asked."""

    def __init__(self) -> None:
        self.answers: list[bytes] = []
        self.asked: list[dict[str, str]] = []
        self.port = 0
        self.slowly_s = 0.0

    def says(self, status: str, body: bytes = b"", *headers: str) -> None:
        lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", "Connection: close", *headers, "", ""]
        self.answers.append("\r\n".join(lines).encode() + body)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        first, *lines = head.strip().split("\r\n")
        self.asked.append({"": first} | {k.lower(): v for k, _, v in (line.partition(": ") for line in lines)})
        answer = self.answers.pop(0)
        try:
            for at in range(0, len(answer), 64 if self.slowly_s else len(answer)):
                writer.write(answer[at : at + 64] if self.slowly_s else answer)
                await writer.drain()
                await asyncio.sleep(self.slowly_s)
        except ConnectionError:
            pass  # the client has seen enough
        finally:
            writer.close()


@asynccontextmanager
async def serving() -> AsyncIterator[Server]:
    server = Server()
    listening = await asyncio.start_server(server.serve, "127.0.0.1", 0)
    async with listening:
        server.port = listening.sockets[0].getsockname()[1]
        yield server


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    async with serving() as one:
        yield one


def place(server: Server, path: str = "/vms.csv", *, token: bool = False, timeout_ms: int = 5_000, limit: int = 10_000):
    settings = SourceSettings(
        name="web", catalogue="lambda", url=f"http://127.0.0.1:{server.port}{path}", poll_ms=1_000,
        timeout_ms=timeout_ms, token_env="CLOUD_TOKEN" if token else "",
    )  # fmt: skip
    return UrlPlace(settings, {"CLOUD_TOKEN": "t0ken\n"}, bytes_max=limit)


async def test_an_answer_is_a_catalogue_and_an_unchanged_one_is_not_sent_again(server: Server) -> None:
    at = place(server, "/v8/vms.csv?key=s3cret")
    server.says("200 OK", CSV, 'ETag: "abc"', "Last-Modified: Tue, 24 Nov 2026 10:00:00 GMT")
    (first,) = await at.look(NOW_MS)
    assert isinstance(first, Document)
    assert (first.name, first.catalogue, first.data, first.as_of_ms) == ("web", "lambda", CSV, 1_795_514_400_000)
    # What members are shown as its source holds no key.
    assert first.label == f"http://127.0.0.1:{server.port}/v8/vms.csv"

    server.says("304 Not Modified")
    assert await at.look(NOW_MS) == [Same("web")]
    asked = server.asked[1]
    assert asked[""] == "GET /v8/vms.csv?key=s3cret HTTP/1.1"
    assert (asked["if-none-match"], asked["if-modified-since"]) == ('"abc"', "Tue, 24 Nov 2026 10:00:00 GMT")
    assert "if-none-match" not in server.asked[0]


@pytest.mark.parametrize("said", ["", "Last-Modified: yesterday", "Last-Modified: Mon, 01 Jan 99999 00:00:00 GMT"])
async def test_where_the_server_names_no_time_it_is_now(server: Server, said: str) -> None:
    server.says("200 OK", CSV, *[said] if said else [])
    (found,) = await place(server).look(NOW_MS)
    assert isinstance(found, Document)
    assert found.as_of_ms == NOW_MS


async def test_not_modified_without_a_question_is_no_answer(server: Server) -> None:
    server.says("304 Not Modified")
    with pytest.raises(Away, match="it answers 304"):
        await place(server).look(NOW_MS)


async def test_the_token_comes_from_the_environment_and_is_sent_as_a_bearer(server: Server) -> None:
    server.says("200 OK", CSV)
    await place(server, token=True).look(NOW_MS)
    server.says("200 OK", CSV)
    await place(server).look(NOW_MS)
    assert [asked.get("authorization") for asked in server.asked] == ["Bearer t0ken", None]


@pytest.mark.parametrize(
    ("status", "headers", "wanted_ms"),
    [
        ("404 Not Found", [], 0),
        ("401 Unauthorized", [], 0),
        ("500 Oops", ["Retry-After: 9"], 0),
        ("204 No Content", [], 0),
        ("503 Busy", ["Retry-After: 120"], 120_000),
        ("429 Slowly", ["Retry-After: Wed, 25 Nov 2026 10:00:00 GMT"], 0),
        ("429 Slowly", ["Retry-After: 99999999999"], 0),
    ],
)
async def test_another_status_is_away_with_the_pause_that_it_asks_for(
    server: Server, status: str, headers: list[str], wanted_ms: int
) -> None:
    server.says(status, b"" if status.startswith("204") else b"x", *headers)
    with pytest.raises(Away, match=f"it answers {status[:3]}") as away:
        await place(server).look(NOW_MS)
    assert away.value.wanted_ms == wanted_ms


async def test_a_redirect_within_the_host_is_followed_and_one_to_another_is_not(server: Server) -> None:
    server.says("301 Moved", b"", "Location: /new.csv")
    server.says("200 OK", CSV)
    assert len(await place(server, token=True).look(NOW_MS)) == 1
    assert [asked[""].split()[1] for asked in server.asked] == ["/vms.csv", "/new.csv"]

    async with serving() as other:
        for to in (
            f"http://localhost:{server.port}/",
            f"http://127.0.0.1:{other.port}/",
            "file:///etc/passwd",
            "//evil/",
        ):
            server.says("302 Found", b"", f"Location: {to}")
            with pytest.raises(Away, match="is not followed"):
                await place(server, token=True).look(NOW_MS)
        # Nor has the token gone there.
        assert other.asked == []


async def test_redirects_in_a_circle_end(server: Server) -> None:
    for _ in range(4):
        server.says("302 Found", b"", "Location: /vms.csv")
    with pytest.raises(Away, match="more than 3 redirects"):
        await place(server).look(NOW_MS)


async def test_too_many_bytes_are_refused_packed_ones_too(server: Server) -> None:
    server.says("200 OK", bytes(10_001))
    with pytest.raises(Away, match="more than 10000 bytes"):
        await place(server).look(NOW_MS)
    packed = gzip.compress(bytes(10_000_000))
    assert len(packed) < 10_000
    server.says("200 OK", packed, "Content-Encoding: gzip")
    with pytest.raises(Away, match="more than 10000 bytes"):
        await place(server).look(NOW_MS)
    server.says("200 OK", gzip.compress(CSV), "Content-Encoding: gzip")
    (found,) = await place(server).look(NOW_MS)
    assert isinstance(found, Document)
    assert found.data == CSV


async def test_an_answer_that_trickles_has_an_end(server: Server) -> None:
    """Each chunk comes soon enough for a limit per read; the whole does not."""
    server.slowly_s = 0.05
    server.says("200 OK", bytes(9_000))
    with pytest.raises(Away, match="no whole answer within 300 ms"):
        await place(server, timeout_ms=300).look(NOW_MS)


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"HTTP/1.1 200 OK\r\nContent-Length: 900\r\n\r\nhalf",
        b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n\r\nnot gzip",
        b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:x/\r\nContent-Length: 0\r\n\r\n",
        b"SSH-2.0-OpenSSH\r\n\r\n",
        b"\x16\x03\x01\x00\x00",
    ],
)
async def test_what_is_not_a_whole_answer_is_away_and_quotes_no_secret(server: Server, answer: bytes) -> None:
    server.answers.append(answer)
    with pytest.raises(Away, match=r", asking 127\.0\.0\.1") as away:
        await place(server, "/?key=s3cret").look(NOW_MS)
    assert "s3cret" not in str(away.value)


async def test_nobody_at_the_address_is_away() -> None:
    async with serving() as gone:
        pass
    with pytest.raises(Away, match=r"ConnectError, asking 127\.0\.0\.1: All connection attempts failed"):
        await place(gone).look(NOW_MS)
