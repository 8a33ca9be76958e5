"""`hourbook`: the command line. Exit codes: 0 done, 2 wrong words, 3 refused, 4 unknown outcome, 5 unreachable."""

from __future__ import annotations

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
    os.execv(sys.executable, [sys.executable, "-m", f"services.{service}"])


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
    context.show(found, lambda: output.table(
        "Services", ("service", ">pid", "role", ">seq", ">epoch", ">lag", "waits for", "last error"),
        (
            (str(e["name"]), str(e["pid"]), str(e.get("role", "")) if e["answers"] else "DOES NOT ANSWER", str(e.get("seq", "")),
             str(e.get("epoch", "")), str(e.get("lag", e.get("settlement_lag_ms", ""))), str(e.get("waiting_for", "")),
             str(e.get("last_error", ""))[:60])
            for e in found
        ),
        empty="",
    ))


def _run_folders() -> list[Path]:
    named = os.environ.get("HOURBOOK_RUN")
    return [Path(named)] if named else [home / "run" for home in profile.homes()]


def _tool(name: str, module: str, sentence: str) -> None:
    """A command that another room's tool does; it reads HOURBOOK_* or the exchange of this folder."""

    @hourbook.command(name, help=sentence, context_settings={"ignore_unknown_options": True, "help_option_names": []})
    @click.argument("words", nargs=-1, type=click.UNPROCESSED)
    @pass_context
    def command(context: Context, words: tuple[str, ...]) -> None:
        environment = dict(os.environ)
        if "HOURBOOK_KAFKA" not in environment:
            homes = [home for home in profile.homes() if (home / "environment.json").exists()]
            if not homes:
                raise Unusable("no exchange runs from this folder, and HOURBOOK_KAFKA is not set")
            environment |= json.loads((homes[0] / "environment.json").read_text())
        more = ["--json"] if context.as_json else []
        sys.exit(subprocess.run([sys.executable, "-m", module, *words, *more], env=environment, check=False).returncode)


_tool("audit", "services.audit", "Check every invariant from the log and from the postings.")
_tool("replay", "services.matching.replay", "Replay a shard's commands and compare with its events.")
_tool("archive", "services.matching.archive", "Copy the logs into files, verify them, and cut what is safe to cut.")
_tool("quarantine", "services.matching.quarantine", "Take a broken record of commands out of the market, for ever.")


def main() -> None:
    """Console script."""
    hourbook.main(prog_name="hourbook")


if __name__ == "__main__":
    main()
