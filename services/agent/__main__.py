"""`hourbook agent`: the program on a provider's machine. Exits: 0 stopped, 1 fault, 2 words or machine, 3 the exchange said no."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import ipaddress
import logging
import os
import signal
import socket
import sys
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Final, get_args

import msgspec

from schemas.agents import Driver as DriverName
from schemas.agents import MachineName
from services.agent import inventory, store
from services.agent.drivers.base import Driver, Place
from services.agent.drivers.container import ContainerDriver
from services.agent.drivers.folder import OpenDriver
from services.agent.drivers.pretend import SimulatedDriver
from services.agent.drivers.user import UserDriver
from services.agent.errors import AgentEnd, Unusable
from services.agent.exchange import Exchange, Profile, read_profile
from services.agent.shell import Agent, Identity, elapsed_ms

PORTS_MAX: Final = 1_000
_log: Final = logging.getLogger("hourbook.agent")


def main(arguments: Sequence[str]) -> int:
    """The exit code."""
    if not __debug__:
        sys.stderr.write("hourbook agent: refusing to run with -O: it removes the assertions\n")
        return os.EX_CONFIG
    logging.basicConfig(format="%(asctime)s %(message)s", level=logging.WARNING)
    logging.getLogger("hourbook").setLevel(logging.INFO)
    logging.getLogger("asyncssh").setLevel(logging.CRITICAL)
    try:
        _start(_words(arguments))
    except AgentEnd as end:
        sys.stderr.write(f"hourbook agent: {' '.join(str(end).split())}\n")
        return end.exit_code
    return 0


def _words(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="hourbook agent", description="Lets tenants in on this machine (docs/agent.md)."
    )
    parser.add_argument("--machine", required=True, help="your own word for this machine")
    parser.add_argument("--class", required=True, dest="class_id", metavar="CLASS", help="the class that it is for")
    parser.add_argument("--gpus", type=int, help="how many; default: all that NVML finds, else 1, declared")
    parser.add_argument("--driver", default="open", help=f"how tenants are let in: {', '.join(get_args(DriverName))}")
    parser.add_argument("--host", default="127.0.0.1", help="where tenants reach this machine")
    parser.add_argument(
        "--listen", help="address of the SSH servers; default: all, or --host where that is this machine alone"
    )
    parser.add_argument("--ports", metavar="FIRST-LAST", help="ports for the SSH servers; default: any that is free")
    parser.add_argument("--image", default="", help="for docker and podman, where a lease names none")
    parser.add_argument("--home", type=Path, help="the agent's folder; default: ~/.local/state/hourbook/MACHINE")
    parser.add_argument(
        "--key", type=Path, help="profile with address and key of scope agent; default: HOURBOOK_PROFILE"
    )
    parser.add_argument("--url", help="of the exchange, in place of the profile's")
    return parser.parse_args(arguments)


def _start(words: argparse.Namespace) -> None:
    """Raises AgentEnd."""
    try:
        msgspec.convert(words.machine, MachineName)
    except msgspec.ValidationError:
        raise Unusable(
            f"--machine is {words.machine!r}, wanted are small letters, digits and hyphens, 36 at most, no hyphen first"
        ) from None
    profile = read_profile(_profile_file(words.key), words.url)
    listen = words.listen or _listen(words.host)
    ports = _ports(words.ports)
    home = words.home or Path.home() / ".local" / "state" / "hourbook" / words.machine
    _check_driver(words.driver)
    with store.claimed(home.absolute()):
        saved = store.load(home.absolute())
        found = inventory.find(home.absolute(), words.gpus, simulated=words.driver == "simulated")
        place = Place(home=home.absolute(), listen=listen, ports=ports, gpus_are_real=found.source == "nvml")
        driver = _driver(words.driver, place, words.image)
        identity = Identity(
            machine=words.machine,
            class_id=words.class_id,
            host=words.host,
            version=f"hourbook {version('hourbook')}",
            driver=driver.name,
            boot_id=inventory.boot_id(),
        )
        _log.info("machine %s, driver %s, %s inventory, home %s", words.machine, driver.name, found.source, home)
        if driver.name == "open" and not _is_loopback(listen):
            _log.warning(
                "driver open isolates nothing: whoever rents this machine works as the user who runs this agent"
            )
        asyncio.run(_serve(home.absolute(), identity, profile, driver, found, saved))


async def _serve(
    home: Path,
    identity: Identity,
    profile: Profile,
    driver: Driver,
    found: inventory.Inventory,
    saved: store.Saved,
) -> None:
    """Until a signal, or the agent's own end. Raises AgentEnd."""
    async with Exchange(profile, elapsed_ms) as exchange:
        agent = Agent(home, identity, exchange, driver, found, saved)
        task = asyncio.ensure_future(agent.run())
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, task.cancel)
        with contextlib.suppress(asyncio.CancelledError):
            await task
        inside = sum(held.stage == "open" for held in agent.machine.held.values())
        _log.info("stopped; leases that stay open and end by themselves: %d", inside)


# --- Words --------------------------------------------------------------------------------------------------


def _profile_file(key: Path | None) -> Path:
    if key is not None:
        return key
    if named := os.environ.get("HOURBOOK_PROFILE"):
        return Path(named)
    raise Unusable("no key: --key names a profile with the exchange's address and a key of scope `agent`")


def _listen(host: str) -> str:
    """The loopback address where tenants come from this machine only, else all. Raises Unusable."""
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except OSError as error:
        raise Unusable(f"--host is {host!r}, which cannot be resolved: {error.strerror or error}") from None
    addresses = {str(each[4][0]) for each in found}
    return min(addresses) if all(_is_loopback(address) for address in addresses) else "0.0.0.0"  # noqa: S104 # tenants come from anywhere


def _is_loopback(address: str) -> bool:
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return False


def _ports(text: str | None) -> tuple[int, ...]:
    if text is None:
        return ()
    first, _, last = text.partition("-")
    if not all(each.isascii() and each.isdigit() for each in (first, last)):
        raise Unusable(f"--ports is {text!r}, wanted is a range such as 22000-22063")
    if not 0 < int(first) <= int(last) <= 65_535 or int(last) - int(first) >= PORTS_MAX:
        raise Unusable(
            f"--ports is {text!r}, wanted are at most {PORTS_MAX} ports from 1 to 65535, the first one first"
        )
    return tuple(range(int(first), int(last) + 1))


def _check_driver(name: str) -> None:
    """Raises Unusable: there is none such, or this machine cannot."""
    if name not in get_args(DriverName):
        raise Unusable(f"--driver is {name!r}, wanted is one of {', '.join(get_args(DriverName))}")
    if name == "user":
        UserDriver.check()
    if name in {"docker", "podman"}:
        ContainerDriver.check(name)


def _driver(name: str, place: Place, image: str) -> Driver:
    match name:
        case "open":
            return OpenDriver(place)
        case "user":
            return UserDriver(place)
        case "docker" | "podman":
            return ContainerDriver(place, name, image)
        case _:
            assert name == "simulated", name
            return SimulatedDriver()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
