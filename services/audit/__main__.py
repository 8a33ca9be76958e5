"""`hourbook audit`: every invariant, from the log and from the postings, with the number of objects looked at.

    HOURBOOK_KAFKA=... HOURBOOK_POSTGRES=... HOURBOOK_SHARDS=2 python -m services.audit [--json]

Exit 0: clean. 1: an invariant is broken, or a check found nothing to look at (`--young`: the latter is shown and forgiven, for
an exchange on which not everything has happened yet).
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys

import msgspec
from rich.console import Console
from rich.table import Table

from schemas.codec import BrokenFrame, BrokenRecord, Gap
from services.audit.log_model import Contradiction
from services.audit.report import NAMES, Findings
from services.audit.run import audit
from services.runtime.config import Settings
from services.runtime.errors import BadSettings, Halt
from services.runtime.kafka import Cluster
from services.runtime.postgres import open_pool

STOPPED = (Contradiction, Halt, Gap, BrokenRecord, BrokenFrame)
"""The log contradicts itself: named, and nothing after it can be judged."""


async def run(settings: Settings) -> Findings:
    """Opens what it needs, read-only."""
    err = Console(stderr=True)
    pool = await open_pool(settings.postgres, size_max=1)
    try:
        async with Cluster(settings.kafka, prefix=settings.topic_prefix) as cluster:
            snapshots = settings.data / "snapshots" if settings.data is not None else None
            with err.status("audit") as shown:
                return await audit(
                    cluster, pool, settings.shards, snapshots, lambda what: shown.update(f"audit: {what}")
                )
    finally:
        await pool.close()


def show(found: Findings) -> None:
    """One line per invariant; breaches below."""
    table = Table(box=None, pad_edge=False)
    for column in ("", "invariant", "looked at", "broken"):
        table.add_column(column, justify="right" if column in ("looked at", "broken") else "left")
    for finding in found:
        style = "" if finding.clean else "bold red" if finding.broken else "yellow"
        table.add_row(finding.name, NAMES[finding.name], str(finding.looked_at), str(finding.broken), style=style)
    console = Console()
    console.print(table)
    for finding in found:
        for breach in finding.breaches:
            console.print(f"{finding.name}: {breach}", style="red", soft_wrap=True)


def main(arguments: list[str]) -> int:
    """Exit code."""
    parser = argparse.ArgumentParser(prog="hourbook audit", description=__doc__.split("\n", 1)[0])
    parser.add_argument("--json", action="store_true", help="one JSON document")
    parser.add_argument(
        "--young", action="store_true", help="checks that found nothing to look at are shown, and forgiven"
    )
    options = parser.parse_args(arguments)
    try:
        settings = Settings.from_environment(os.environ, ("kafka", "postgres", "shards"))
        found = asyncio.run(run(settings))
    except BadSettings as error:
        sys.stderr.write(f"audit: {error}\n")
        return error.exit_code
    except STOPPED as error:
        sys.stderr.write(f"audit: {type(error).__name__}: {error}\n")
        return 1
    if options.json:
        sys.stdout.write(msgspec.json.encode([*found]).decode() + "\n")
    else:
        show(found)
    broken = [finding.name for finding in found if finding.broken]
    unseen = [finding.name for finding in found if not finding.looked_at]
    if unseen:
        sys.stderr.write(f"nothing to look at yet for {', '.join(unseen)}{' (forgiven)' if options.young else ''}\n")
    return 1 if broken or (unseen and not options.young) else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
