"""Operators' tools of other rooms: audit, replay, snapshot, archive, quarantine. Each runs as a process of its own.

They reach the exchange by HOURBOOK_* as set, else by the `environment.json` of the exchange that runs from this folder. A tool
that does not end well keeps its exit code: 1 fault or broken invariant, 65 the log contradicts what must hold, 69 a server does
not answer, 78 settings.
"""

from __future__ import annotations

import asyncio
import json
import os
import socket
import subprocess
import sys
from contextlib import nullcontext
from typing import Any, Final

import click
import msgspec
from rich.console import Console

from services.cli import output, profile
from services.cli.context import Context, pass_context
from services.cli.errors import ToolEnded, Unreachable
from services.cli.status import last_words

BROKER_S_MAX: Final = 3.0


def environment() -> dict[str, str]:
    """For a tool. Raises Unreachable."""
    if "HOURBOOK_KAFKA" in os.environ:
        return dict(os.environ)
    home = profile.home()
    if home is None or not (home / "environment.json").exists():
        raise profile.nothing_runs()
    named: dict[str, str] = json.loads((home / "environment.json").read_bytes())
    return {**os.environ, **named}


def check_broker(addresses: str) -> None:
    """A tool would wait for a broker for as long as it takes; whoever types a command wants to know. Raises Unreachable."""
    for address in addresses.split(","):
        host, _, port = address.rpartition(":")
        try:
            with socket.create_connection((host, int(port)), BROKER_S_MAX):
                return
        except (OSError, ValueError):
            continue
    raise Unreachable(f"no broker answers at {addresses} (HOURBOOK_KAFKA)")


def _run(context: Context, shard: int, what: str, *words: str) -> dict[str, Any]:
    """Matching's tool; what it printed. Raises ToolEnded, Unreachable."""
    reached = environment()
    check_broker(reached["HOURBOOK_KAFKA"])
    waiting = nullcontext() if context.as_json else Console(stderr=True).status(f"{what} of shard {shard}")
    with waiting:
        done = subprocess.run(
            [sys.executable, "-m", "services.matching", what, *words],
            env={**reached, "HOURBOOK_SHARD": str(shard)},
            capture_output=True,
            text=True,
            check=False,
        )
    if done.returncode:
        raise ToolEnded(_why(done.stderr, done.returncode), done.returncode)
    result: dict[str, Any] = json.loads(done.stdout)
    return result


def _why(printed: str, code: int) -> str:
    """What a tool said last, in a sentence."""
    lines = printed.strip().splitlines()
    return last_words(lines[-1]) if lines else f"it ended with {code} and said nothing"


@click.command()
@click.option("--young", is_flag=True, help="Forgive checks that found nothing to look at yet.")
@pass_context
def audit(context: Context, young: bool) -> None:
    """Check every invariant from the log and from the postings.

    Exit 1: one is broken, or had nothing to look at.
    """
    words = [sys.executable, "-m", "services.audit", *(["--young"] if young else [])]
    if not context.as_json:
        sys.exit(subprocess.run(words, env=environment(), check=False).returncode)
    done = subprocess.run([*words, "--json"], env=environment(), capture_output=True, text=True, check=False)
    if not done.stdout.strip():
        raise ToolEnded(_why(done.stderr, done.returncode), done.returncode)
    output.document(msgspec.Raw(done.stdout.encode()))
    sys.exit(done.returncode)


_shard = click.option("--shard", type=click.IntRange(0, 255), required=True)


@click.command()
@_shard
@click.option("--through-seq", type=int, help="Stop after this record of events; default: the end.")
@pass_context
def replay(context: Context, shard: int, through_seq: int | None) -> None:
    """Run a shard's commands anew and compare with its events."""
    done = _run(context, shard, "replay", *([] if through_seq is None else ["--through-seq", str(through_seq)]))
    context.show(
        done,
        lambda: output.console.print(
            f"shard {shard}: {done['commands']} commands gave {done['records']} records of events, and all {done['compared']} "
            f"that are in the log are the same; seq {done['seq']}, state {done['state_hash']}, "
            f"{done['commands_per_s']} commands/s"
        ),
    )


@click.command()
@_shard
@pass_context
def snapshot(context: Context, shard: int) -> None:
    """Write a snapshot of a shard now. A standby does so every 200,000 records or ten minutes."""
    done = _run(context, shard, "snapshot")
    context.show(done, lambda: output.console.print(f"shard {shard}: snapshot {done['file']} at seq {done['seq']}"))


@click.command()
@_shard
@click.option("--offset", type=click.IntRange(min=0), required=True, help="Of the record in the topic commands.")
@click.option("--hash", "digest", required=True, help="Of the record, as matching said it when it stopped.")
@click.option("--reason", required=True, help="Kept in the log.")
@click.option("--operator", required=True, help="Your name, for the record.")
@pass_context
def quarantine(context: Context, shard: int, offset: int, digest: str, reason: str, operator: str) -> None:
    """Take a broken record of commands out of the market, for ever."""
    words = ["--offset", str(offset), "--hash", digest, "--reason", reason, "--operator", operator]
    done = _run(context, shard, "quarantine", *words)
    context.show(
        done,
        lambda: output.console.print(
            f"commands/{shard} offset {offset} is out of the market; matching passes over it at its next start"
        ),
    )


@click.command()
@_shard
@pass_context
def archive(context: Context, shard: int) -> None:
    """Move the old part of a shard's logs into files.

    They are copied, verified, and cut where no cursor and no snapshot needs them any more.
    """
    words = ["--cursors", asyncio.run(_cursors(environment().get("HOURBOOK_POSTGRES", ""), shard))]
    done = _run(context, shard, "archive", *words)

    def human() -> None:
        for topic, end in done["archived"].items():
            begins = done["begins"][topic]
            cut = f"the log now begins at {begins}" if isinstance(begins, int) else begins
            output.console.print(f"{topic}/{shard}: copied below offset {end}; {cut}")

    context.show(done, human)


async def _cursors(dsn: str, shard: int) -> str:
    """Where settlement stands in the shard's events. Raises Unreachable."""
    import asyncpg

    from services.runtime.postgres import open_pool

    try:
        pool = await open_pool(dsn, size_max=1)
        try:
            found = await pool.fetchval(
                "SELECT next_offset FROM settlement.cursors WHERE topic = 'events' AND partition = $1", shard
            )
        finally:
            await pool.close()
    except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
        raise Unreachable(
            f"Postgres does not say how far settlement is, and nothing is cut without that: {error}"
        ) from None
    return str(found or 0)


COMMANDS = (audit, replay, snapshot, archive, quarantine)
