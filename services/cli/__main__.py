"""`hourbook`: the command line. Exit codes: 0 done, 2 wrong words, 3 refused, 4 unknown outcome, 5 unreachable."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import click
import httpx
from rich.live import Live

from services.cli import local, output, profile, screen
from services.cli.admin import admin
from services.cli.client import Client
from services.cli.errors import Refused, Unusable
from services.cli.member import COMMANDS, Context, pass_context
from services.cli.stack import SERVICES, Stack
from services.runtime.infra import Supervisor
from services.runtime.postgres import open_pool


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--json", "as_json", is_flag=True, help="One JSON document instead of tables.")
@click.pass_context
def hourbook(context: click.Context, as_json: bool) -> None:
    """Limit order books for GPU hours."""
    context.obj = Context(as_json=as_json, make_client=lambda name: Client(profile.find(name)))


for command in (*COMMANDS, admin):
    hourbook.add_command(command)


# --- Starting and stopping ----------------------------------------------------------------------------------


@hourbook.command()
@click.option("--port", default=0, help="The gateway's port; default: any free one.")
@click.option("--check", is_flag=True, help="Start, run the suggested commands, stop; for tests.")
def sandbox(port: int, check: bool) -> None:
    """An exchange on this machine that lives until Ctrl-C. Needs nothing but Python."""
    say = output.console.print
    try:
        with local.sandbox(say, port=port) as (stack, supervisor):
            client = Client(profile.find("member"))
            _wait_for_ask(supervisor, client)
            if check:
                _check(client)
                return
            _watch(stack, supervisor, client)
    except KeyboardInterrupt:
        say("stopped; nothing is left")


def _wait_for_ask(supervisor: Supervisor, client: Client) -> None:
    deadline = time.monotonic() + local.READY_S
    while screen.best_ask(client) is None:
        supervisor.poll()
        if time.monotonic() > deadline:
            raise Refused(f"the desk does not ask; see {profile.SANDBOX / 'logs'}")
        time.sleep(0.3)


def _watch(stack: Stack, supervisor: Supervisor, client: Client) -> None:
    with Live(screen.draw(stack, supervisor, client), console=output.console, auto_refresh=False) as live:
        while True:
            supervisor.poll()
            time.sleep(1)
            live.update(screen.draw(stack, supervisor, client), refresh=True)


def _check(client: Client) -> None:
    hour = screen.best_ask(client)
    assert hour is not None, "waited for"
    for line in screen.suggestions(hour.ask):
        output.console.print(f"$ {line}")
        words = [sys.executable, "-m", "services.cli", *line.split()[1:]]
        done = subprocess.run(words, check=False)
        if done.returncode:
            raise Refused(f"`{line}` ended with {done.returncode}")


@hourbook.command()
def up() -> None:
    """The durable exchange of this folder, in the background: Apache Kafka and Postgres in var/exchange."""
    output.console.print(local.up(output.console.print))


@hourbook.command()
def down() -> None:
    """Stop it; the data stays."""
    output.console.print(local.down())


@hourbook.command()
@click.argument("service", type=click.Choice(SERVICES))
def run(service: str) -> None:
    """Run one SERVICE in the foreground, with the settings in HOURBOOK_* (production; see docs/operations.md)."""
    os.execv(sys.executable, [sys.executable, "-m", f"services.{service}"])  # noqa: S606 # `service` is one of SERVICES


# --- Looking ------------------------------------------------------------------------------------------------


@hourbook.command()
@pass_context
def status(context: Context) -> None:
    """Every service: lag, seq, epoch, what it waits for; and who does not answer."""
    found = []
    for file in sorted(file for home in _run_folders() for file in home.glob("*.json")):
        entry = json.loads(file.read_text())
        try:
            entry |= httpx.get(f"http://{entry['status']}/status", timeout=2, trust_env=False).json()
            entry["answers"] = True
        except (httpx.HTTPError, ValueError):
            entry["answers"] = False
        found.append(entry)
    if not found:
        raise Unusable("no service runs from this folder; `make run` starts a sandbox, `make up` a durable exchange")
    context.show(
        found,
        lambda: output.table(
            "Services",
            ("service", ">pid", "role", ">seq", ">epoch", ">lag", "waits for", "last error"),
            (
                (
                    str(e["name"]),
                    str(e["pid"]),
                    str(e.get("role", "")) if e["answers"] else "DOES NOT ANSWER",
                    str(e.get("seq", "")),
                    str(e.get("epoch", "")),
                    str(e.get("lag", e.get("settlement_lag_ms", ""))),
                    str(e.get("waiting_for", "")),
                    str(e.get("last_error", ""))[:60],
                )
                for e in found
            ),
            empty="",
        ),
    )


def _run_folders() -> list[Path]:
    named = os.environ.get("HOURBOOK_RUN")
    return [Path(named)] if named else [home / "run" for home in profile.homes()]


def _environment() -> dict[str, str]:
    """HOURBOOK_* as set, else of the exchange that runs from this folder. Raises Unusable."""
    if "HOURBOOK_KAFKA" in os.environ:
        return dict(os.environ)
    homes = [home for home in profile.homes() if (home / "environment.json").exists()]
    if not homes:
        raise Unusable("no exchange runs from this folder, and HOURBOOK_KAFKA is not set")
    return {**os.environ, **json.loads((homes[0] / "environment.json").read_text())}


def _run_tool(environment: dict[str, str], *words: str) -> None:
    """Another room's tool, as a process of its own; ends with its exit code."""
    sys.exit(subprocess.run([sys.executable, "-m", *words], env=environment, check=False).returncode)


@hourbook.command()
@click.option("--young", is_flag=True, help="Forgive checks that found nothing to look at yet.")
@pass_context
def audit(context: Context, young: bool) -> None:
    """Check every invariant from the log and from the postings."""
    _run_tool(
        _environment(), "services.audit", *(["--young"] if young else []), *(["--json"] if context.as_json else [])
    )


_shard = click.option("--shard", type=int, required=True)


@hourbook.command()
@_shard
@click.option("--through-seq", type=int, help="Stop after this record of events; default: the end.")
def replay(shard: int, through_seq: int | None) -> None:
    """Run a shard's commands through this build and compare with its events."""
    more = [] if through_seq is None else ["--through-seq", str(through_seq)]
    _run_tool({**_environment(), "HOURBOOK_SHARD": str(shard)}, "services.matching", "replay", *more)


@hourbook.command()
@_shard
@click.option("--offset", type=int, required=True)
@click.option("--hash", "digest", required=True, help="As matching said it when it stopped.")
@click.option("--reason", required=True)
@click.option("--operator", required=True, help="Your name, for the record.")
def quarantine(shard: int, offset: int, digest: str, reason: str, operator: str) -> None:
    """Take a broken record of commands out of the market, for ever."""
    _run_tool(
        {**_environment(), "HOURBOOK_SHARD": str(shard)},
        "services.matching",
        "quarantine",
        "--offset",
        str(offset),
        "--hash",
        digest,
        "--reason",
        reason,
        "--operator",
        operator,
    )


@hourbook.command()
@_shard
def archive(shard: int) -> None:
    """Copy a shard's logs into files, verify them, and cut what no cursor and no snapshot needs any more."""
    environment = _environment()
    cursors = asyncio.run(_cursors(environment["HOURBOOK_POSTGRES"], shard))
    _run_tool({**environment, "HOURBOOK_SHARD": str(shard)}, "services.matching", "archive", "--cursors", cursors)


async def _cursors(dsn: str, shard: int) -> str:
    """Where settlement stands in the shard's events."""
    pool = await open_pool(dsn, size_max=1)
    try:
        found = await pool.fetchval(
            "SELECT next_offset FROM settlement.cursors WHERE topic = 'events' AND partition = $1", shard
        )
    finally:
        await pool.close()
    return str(found or 0)


def main() -> None:
    """Console script."""
    hourbook.main(prog_name="hourbook")


if __name__ == "__main__":
    main()
