"""`python -m bench.limits`: an exchange under clients who take too much, and what everybody else is served meanwhile.

Each attack runs against an exchange as `make up` runs it (gateway, two shards with a standby each, settlement, market data,
Apache Kafka, Postgres; without desk and supply). A member who keeps the rules (bench/member.py) is measured alone first, then
for as long under the attack. Then a shard with a million open orders (bench/full_shard.py). Each figure has a bound.
docs/reliability.md gets the tables. With names: only these, and no page.

Exit 1 when a bound was missed.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Final, NamedTuple

from bench.attackers import attack
from bench.document import about, with_section
from bench.full_shard import Fact, full_shard
from bench.member import Asked, Seen, at
from bench.order_ack import CLASS, Caller, account, first_operator, furnish, processes, until
from bench.servers import servers
from bench.usage import MIB, Peak, status_of
from services.cli.stack import Stack
from services.gateway.limits import RATE_PER_S

SECONDS: Final = 40
"""Of each measurement: longer than a connection may say nothing (30 s), so that those who do are met with their end as well."""
AFTER_S: Final = 15
FLOOR_MS: Final = 50
"""A p99 of less is nobody's trouble, however little it was alone."""
TIMES: Final = 3
MORE_MIB: Final = 64
AGAIN_MIB: Final = 16
"""By how much the same attack may go beyond that the second time: what an allocator has kept, it uses again."""
NEWCOMER_MS: Final = 1_000
ROOMS: Final = ("gateway", "market_data")


class Ground(NamedTuple):
    """Where an attack takes place."""

    environment: Mapping[str, str]
    pids: Mapping[str, int]
    books: list[str]
    """Channels of all hours of the class."""
    first_hour: str
    run: Path
    """Where services tell of themselves."""


class Attack(NamedTuple):
    """`begin` puts it at its height; `trade`: what is traded besides, before and during it."""

    name: str
    title: str
    begin: Callable[[Ground], Any]
    trade: Callable[[Ground], Any] | None = None
    promised: Callable[[dict[str, Any]], list[str]] = lambda _: []
    """What the attacker should have been told, and was not."""


def _flood(connections: int, what: str) -> Callable[[Ground], Any]:
    rate = 10 * RATE_PER_S
    return lambda ground: attack(ground.environment, "flood", connections=connections, rate=rate, what=what)


@contextmanager
def _busy(ground: Ground) -> Iterator[None]:
    """All hours are traded, and somebody reads it all: what the feed keeps for those who come back is there before the attack."""
    trade = {"class": CLASS, "from": ground.first_hour, "count": len(ground.books), "rate": 6}
    with (
        attack(ground.environment, "subscribers", readers=1, channels=ground.books),
        attack(ground.environment, "ranges", **trade),
    ):
        yield


@contextmanager
def _stubborn(ground: Ground) -> Iterator[dict[str, Any]]:
    channels = [*ground.books, f"grid:{CLASS}"]
    before = status_of(ground.run, "market_data")
    with attack(ground.environment, "stubborn", readers=10, channels=channels) as got:
        yield got
        # They do not listen, so only market data knows that it has ended them.
        after = status_of(ground.run, "market_data")
    got["cut_off"] = after["slow_readers_ended_total"] - before["slow_readers_ended_total"]
    got["left"] = after["readers"] - before["readers"]


def _was_refused(got: dict[str, Any]) -> list[str]:
    others = set(got) - {"sent", "200", "201", "429 with Retry-After"}
    return [f"answered {sorted(others)}"] * bool(others) + ["never refused"] * ("429 with Retry-After" not in got)


def _was_cut_off(got: dict[str, Any]) -> list[str]:
    return (
        []
        if got["cut_off"] == got["readers"] and got["left"] == 0
        else [f"{got['cut_off']} of {got['readers']} were cut off"]
    )


ATTACKS: Final = (
    # A connection is answered in order, so orders on one are held up by themselves: a key is asked for what is quick.
    Attack("flood-1", "reads at ten times a key's rate, one connection", _flood(1, "reads"), promised=_was_refused),
    Attack("flood-64", "orders at ten times a key's rate, 64 connections", _flood(64, "orders"), promised=_was_refused),
    Attack(
        "idle",
        "1,000 connections to the gateway that send nothing, or a head byte by byte",
        lambda ground: attack(ground.environment, "idle", connections=1_000),
    ),
    Attack(
        "subscribers",
        "1,000 readers of the feed who listen to a quiet book",
        lambda ground: attack(ground.environment, "subscribers", readers=1_000, channels=[ground.books[-1]]),
    ),
    Attack(
        "stubborn",
        "ten readers of the feed who subscribe to every book and never read, while all hours are traded",
        _stubborn,
        trade=_busy,
        promised=_was_cut_off,
    ),
)


class Came(NamedTuple):
    """Of an attack."""

    attack: Attack
    alone: Seen
    under: Seen
    memory: dict[str, tuple[int, int, int]]
    """Room → bytes before, at the height, and at the height of the same attack once more."""
    got: dict[str, Any]

    def missed(self) -> list[str]:
        """Every bound that does not hold."""
        under, faults = self.under, self.attack.promised(self.got)
        for what, before, then in (
            ("orders", self.alone.order, under.order),
            ("the feed", self.alone.told, under.told),
        ):
            allowed = max(FLOOR_MS, TIMES * at(before, 0.99))
            if at(then, 0.99) > allowed:
                faults.append(f"p99 of {what} {at(then, 0.99):.0f} ms, allowed {allowed:.0f}")
        if under.newcomer and under.newcomer[-1] > NEWCOMER_MS:
            faults.append(f"a newcomer waited {under.newcomer[-1] / 1000:.1f} s")
        if under.waiting > 1:
            faults.append(f"{under.waiting} newcomers have no answer")
        if under.refused:
            faults.append(f"refused: {under.refused}")
        if under.left_out:
            faults.append(f"the feed left out {under.left_out}")
        for room, (before, height, again) in self.memory.items():
            if height - before > MORE_MIB * MIB:
                faults.append(f"{room} grew by {(height - before) / MIB:.0f} MiB")
            if again - height > AGAIN_MIB * MIB:
                faults.append(f"{room} grew by {(again - height) / MIB:.0f} MiB the second time")
        return faults

    def row(self) -> str:
        """Of the table."""
        cells = [self.attack.title, ", ".join(f"{name} {_number(value)}" for name, value in self.got.items())]
        for before, then in ((self.alone.order, self.under.order), (self.alone.told, self.under.told)):
            cells.append(" → ".join(f"{at(times, 0.5):.1f}, {at(times, 0.99):.0f}" for times in (before, then)))
        newcomer = self.under.newcomer
        cells.append(f"{at(newcomer, 0.5):.0f}, {newcomer[-1]:.0f}" if newcomer else "–")
        cells.append(str(sum(self.under.refused.values())))
        cells += [", ".join(f"{size / MIB:.0f}" for size in self.memory[room]) for room in ROOMS]
        missed = self.missed()
        return f"| {' | '.join([*cells, '**missed**: ' + '; '.join(missed) if missed else 'reached'])} |"


def _number(value: object) -> str:
    return f"{value:,}" if isinstance(value, int) else str(value)


@contextmanager
def ground() -> Iterator[Ground]:
    """An exchange, a member, and an account for attackers."""
    with servers() as started:
        environment, place = started.enter()
        with processes(place, feed=True) as (stack, supervisor):
            environment |= furnish(stack) | {"BENCH_FEED_PORT": str(stack.feed_port)}
            listed = Caller(stack.http_port, "").done("GET", f"/v1/contracts?class={CLASS}")
            hours = [each for each in listed if each["phase"] == "forward"][4:]
            environment |= {"BENCH_OTHER_BEARER": other(stack), "BENCH_OTHER_CONTRACT": hours[0]["contract"]}
            yield Ground(
                environment,
                {room: supervisor.pid(room) for room in ROOMS},
                [f"book:{each['contract']}" for each in hours],
                hours[0]["hour"],
                stack.home / "run",
            )
            supervisor.poll()
            assert not any(supervisor.restarts().values()), f"restarted: {supervisor.restarts()}"


def other(stack: Stack) -> str:
    """Another account with money in the shard; its bearer."""
    bearer = account(Caller(stack.http_port, first_operator(stack)), "other", "member")
    member = Caller(stack.http_port, bearer)
    until(lambda: member.ask("GET", "/v1/account")[0] == 200)
    member.done("POST", "/v1/transfers", {"direction": "to_trading", "amount": "900000", "class": CLASS})
    return bearer


def measured(attack: Attack, seconds: float) -> Came:
    """Alone, under attack, and under it again; on an exchange of its own, so that nothing is left of the attack before."""
    with ground() as place, ExitStack() as trading:
        member = Asked(place.environment)
        if attack.trade:
            trading.enter_context(attack.trade(place))
        member.during(seconds / 4)  # a young exchange is slower than a warm one
        alone = member.during(seconds)
        with Peak(place.pids) as peak, attack.begin(place) as got:
            under = member.during(seconds)
        time.sleep(AFTER_S)
        with Peak(place.pids) as second, attack.begin(place):
            time.sleep(seconds)
        memory = {room: (before, peak.most[room], second.most[room]) for room, before in peak.before.items()}
        member.stop()
    came = Came(attack, alone, under, memory, got)
    print(came.row(), file=sys.stderr, flush=True)
    return came


PAGE: Final = Path(__file__).parents[1] / "docs" / "reliability.md"
HEADING: Final = "Limits under load"
HEAD: Final = f"""\
Written by `make limits`. A member places 20 orders a second and reads his book on the feed, and once a second somebody new asks
for the market's state: alone, then under the attack ({SECONDS} s each; attackers run at low priority beside the exchange).
Times in milliseconds from when an order was due; memory in MiB before, at the height, and at the height of the same attack once
more. Bounds: p99 at most {TIMES} times what it was alone, or {FLOOR_MS} ms; a newcomer's answer within {NEWCOMER_MS // 1000} s;
no refusal, nothing left out by the feed; memory at most {MORE_MIB} MiB more, and {AGAIN_MIB} MiB beyond that the second time.
"""


def section(came: list[Came], facts: list[Fact], run: list[str]) -> str:
    """Of the page."""
    lines = [
        HEAD,
        *run,
        "",
        "| attack | what it got | order: p50, p99 | feed: same | newcomer: p50, longest | refused | gateway | market data | |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- |",
        *(each.row() for each in came),
    ]
    if facts:
        lines += [
            "",
            "| a shard with a million open orders | bound | measured | verdict |",
            "| --- | --- | --- | --- |",
        ]
        lines += [fact.row() for fact in facts]
    return "\n".join(lines)


def main() -> int:
    names = [attack.name for attack in ATTACKS] + ["full-shard"]
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(names))
    parser.add_argument("--seconds", type=float, default=SECONDS, help="of each measurement (default %(default)s)")
    parser.add_argument("--orders", type=int, default=1_000_000, help="in the full shard (default %(default)s)")
    given = parser.parse_args()
    if unknown := set(given.names) - set(names):
        parser.error(f"there is no attack {', '.join(sorted(unknown))}")
    wanted, began, load = set(given.names or names), time.monotonic(), os.getloadavg()[0]
    came = [measured(attack, given.seconds) for attack in ATTACKS if attack.name in wanted]
    facts = full_shard(given.orders) if "full-shard" in wanted else []
    missed = [(each.attack.name, each.missed()) for each in came] + [(fact.what, fact.missed()) for fact in facts]
    text = section(came, facts, about(time.monotonic() - began, load))
    if given.names:
        print(text)
    else:
        PAGE.write_text(with_section(PAGE.read_text(), HEADING, text))
    for name, faults in missed:
        print(f"{name:40} {'MISSED: ' + '; '.join(faults) if faults else 'reached'}", file=sys.stderr)
    return 1 if any(faults for _, faults in missed) else 0


if __name__ == "__main__":
    sys.exit(main())
