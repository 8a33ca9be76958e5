"""A lane does to a connection what it says, and nothing afterwards."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from services.cli.furnishing import HOST_CLASS, HOST_SEATS, HOSTS
from services.cli.stack import logins_of
from tests.chaos.exchange import AT_KAFKA, AT_POSTGRES, GATEWAYS, INSIDE, HostileStack
from tests.chaos.lanes import Background, Lane


@pytest.fixture
def lane() -> Iterator[Lane]:
    """To a server that says back whatever it hears."""
    with socket.create_server(("127.0.0.1", 0)) as server, Background() as background:
        threading.Thread(target=_say_back, args=(server,), daemon=True).start()
        yield Lane(background, server.getsockname()[1])


def _say_back(server: socket.socket) -> None:
    with contextlib.suppress(OSError):  # the end of the test
        while True:
            connection, _ = server.accept()
            threading.Thread(target=_echo, args=(connection,), daemon=True).start()


def _echo(connection: socket.socket) -> None:
    with contextlib.suppress(OSError), connection:
        while heard := connection.recv(4096):
            connection.sendall(heard)


def connected(lane: Lane) -> socket.socket:
    return socket.create_connection(("127.0.0.1", lane.port), timeout=5)


def asked(connection: socket.socket, what: bytes) -> bytes:
    connection.sendall(what)
    return connection.recv(4096)


def asked_anew(lane: Lane, what: bytes) -> bytes:
    with connected(lane) as connection:
        return asked(connection, what)


def test_what_is_sent_arrives_and_is_answered(lane: Lane) -> None:
    with connected(lane) as connection:
        assert [asked(connection, word) for word in (b"one", b"two")] == [b"one", b"two"]


def test_a_cut_lane_resets_and_refuses_until_it_is_restored(lane: Lane) -> None:
    with connected(lane) as connection:
        assert asked(connection, b"before") == b"before"
        lane.cut()
        with pytest.raises(ConnectionResetError):
            asked(connection, b"after")
    with pytest.raises(ConnectionError):
        asked_anew(lane, b"meanwhile")
    lane.restore()
    assert asked_anew(lane, b"again") == b"again"


def test_a_silent_lane_takes_everything_and_brings_it_late(lane: Lane) -> None:
    with connected(lane) as connection:
        lane.silence()
        connection.sendall(b"into the dark")
        connection.settimeout(0.3)
        with pytest.raises(TimeoutError):
            connection.recv(4096)
        lane.restore()
        connection.settimeout(5)
        assert connection.recv(4096) == b"into the dark"


def test_a_slow_lane_delays_both_ways_and_stays_in_order(lane: Lane) -> None:
    with connected(lane) as connection:
        lane.slow(0.15)
        began_s = time.monotonic()
        assert asked(connection, b"slowly") == b"slowly"
        assert 0.3 <= time.monotonic() - began_s < 3
        heard = b""
        for number in range(20):
            connection.sendall(b"%02d " % number)
        while len(heard) < 60:
            heard += connection.recv(4096)
        assert heard.split() == [b"%02d" % number for number in range(20)]


def test_a_reset_loses_what_was_on_its_way(lane: Lane) -> None:
    with connected(lane) as connection:
        lane.slow(0.5)
        connection.sendall(b"never heard")
        time.sleep(0.1)
        lane.reset()
        with pytest.raises(ConnectionResetError):
            connection.recv(4096)
    lane.restore()
    assert asked_anew(lane, b"as before") == b"as before"


KAFKA, POSTGRES, GATEWAY, DELIVERY, ROUTER = ":61001", ":61002", ":61003", ":61004", ":61005"


def test_every_process_is_told_of_lanes_and_not_of_servers_and_rooms(tmp_path: Path) -> None:
    stack = HostileStack(
        f"127.0.0.1{KAFKA}", f"postgresql://hourbook@127.0.0.1{POSTGRES}/hourbook", tmp_path, shards=2,
        http_port=int(GATEWAY[1:]), feed_port=61_006, market_port=61_007, delivery_port=int(DELIVERY[1:]),
        router_port=int(ROUTER[1:]), logins=logins_of(tmp_path),
    )  # fmt: skip
    stack.second_port = 61_008
    with Background() as background:
        stack.kafka_lanes = {name: Lane(background, 1) for name in AT_KAFKA}
        stack.postgres_lanes = {name: Lane(background, 1) for name in AT_POSTGRES}
        stack.inside_lanes = {name: Lane(background, 1) for name in INSIDE}
        programs = stack.programs()
        agents = [stack.agent(name, tmp_path / f"{name}.json", HOST_CLASS, HOST_SEATS) for name in HOSTS]
    told = {program.name: " ".join([*map(str, program.argv), *program.env.values()]) for program in programs + agents}

    assert {name for name, words in told.items() if KAFKA in words} == set()
    assert {name for name, words in told.items() if POSTGRES in words} == set()
    assert {name for name in GATEWAYS if DELIVERY in told[name] or ROUTER in told[name]} == set()
    assert {name for name in ("router", *(agent.name for agent in agents)) if GATEWAY in told[name]} == set()
    lanes = {name.partition(" ")[0]: lane.port for name, lane in stack.inside_lanes.items() if "→ gateway" in name}
    assert {name: f":{port}" in told[name] for name, port in lanes.items()} == dict.fromkeys(lanes, True)
