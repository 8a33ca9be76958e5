"""`hourbook audit`: every invariant, from the logs and from the postings, with the number of objects looked at.

HOURBOOK_KAFKA, HOURBOOK_POSTGRES and HOURBOOK_SHARDS say which exchange; with HOURBOOK_DATA its snapshots
and the archived part of its logs are read too. Nothing is written, and the exchange may run on meanwhile.

A check that found nothing to look at proves nothing, so it has failed. A young exchange has not had
everything yet: no hour that ended, no title that was delivered, no promise. --young forgives those checks
and shows which they were; it forgives nothing that is broken.

exit codes: 0 clean; 1 an invariant is broken, or a check found nothing to look at;
69 broker or database does not answer; 78 a setting is missing or wrong
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys

import asyncpg
import msgspec
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from services.audit.report import NAMES, NOT_AUDITED, Findings
from services.audit.run import audit
from services.runtime.config import Settings
from services.runtime.errors import BadSettings
from services.runtime.kafka import Cluster
from services.runtime.log import LogError
from services.runtime.logging import silence_libraries
from services.runtime.postgres import open_pool

_AWAY = (LogError, OSError, asyncpg.PostgresError)


async def run(settings: Settings) -> Findings:
    """Opens what it needs, read-only."""
    err = Console(stderr=True)
    pool = await open_pool(settings.postgres, size_max=1)
    try:
        async with Cluster(settings.kafka, prefix=settings.topic_prefix, login=settings.login) as cluster:
            with err.status("audit") as shown:
                return await audit(
                    cluster,
                    pool,
                    settings.shards,
                    settings.data and settings.data / "snapshots",
                    lambda what: shown.update(f"audit: {what}"),
                    archive=settings.data and settings.data / "archive",
                )
    finally:
        await pool.close()


def show(found: Findings, console: Console) -> None:
    """One line per invariant, those too that are shown elsewhere; breaches below."""
    table = Table(box=None, pad_edge=False)
    table.add_column("")
    table.add_column("invariant")
    table.add_column("looked at", justify="right", no_wrap=True)
    table.add_column("broken", justify="right")
    for finding in found:
        style = "bold red" if finding.broken else "yellow" if finding.unseen else ""
        table.add_row(finding.name, NAMES[finding.name], f"{finding.looked_at:,}", str(finding.broken), style=style)
    console.print(table)
    console.print("\nNot to be seen from logs and ledger:")
    for name, one in NOT_AUDITED.items():
        where = f"; shown by {', '.join(one.shown_by)}" if one.shown_by else ""
        console.print(f"{name}  {one.rule}: {one.why}{where}", style="dim", highlight=False, soft_wrap=True)
    for finding in found:
        for breach in finding.breaches:
            console.print(f"{finding.name}: {escape(breach)}", style="red", highlight=False, soft_wrap=True)
        if finding.broken > len(finding.breaches):
            console.print(f"{finding.name}: and {finding.broken - len(finding.breaches)} more", style="red")
    for sentence in found.stopped:
        console.print(escape(sentence), style="bold red", highlight=False, soft_wrap=True)
    looked_at = sum(finding.looked_at for finding in found)
    broken = sorted(found.broken())
    console.print(
        f"\n{looked_at:,} objects looked at; " + (f"broken: {', '.join(broken)}" if broken else "none broken")
    )


def verdict(found: Findings, *, young: bool) -> int:
    """Exit code; says on stderr what was not looked at."""
    if unseen := found.unseen():
        forgiven = " (forgiven: the exchange is young)" if young else "; with --young that is forgiven"
        names = ", ".join(f"{name} ({', '.join(parts)})" for name, parts in unseen.items())
        sys.stderr.write(f"nothing to look at for {names}{forgiven}\n")
    return 1 if found.broken() or (unseen and not young) else 0


def _parser() -> argparse.ArgumentParser:
    headline, _, rest = (__doc__ or "").partition("\n")
    parser = argparse.ArgumentParser(
        prog="hourbook audit",
        description=headline.partition(": ")[2],
        epilog=rest,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--json", action="store_true", help="one JSON document instead of a table")
    parser.add_argument(
        "--young", action="store_true", help="forgive checks that found nothing to look at yet; see below"
    )
    return parser


def main(arguments: list[str]) -> int:
    """Exit code."""
    options = _parser().parse_args(arguments)
    silence_libraries()
    try:
        settings = Settings.from_environment(os.environ, ("kafka", "postgres", "shards"))
        found = asyncio.run(run(settings))
    except BadSettings as error:
        sys.stderr.write(f"audit: {error}\n")
        return error.exit_code
    except _AWAY as error:
        sys.stderr.write(f"audit: nothing was judged: {type(error).__name__}: {error}\n")
        return os.EX_UNAVAILABLE
    if options.json:
        sys.stdout.write(msgspec.json.encode(found.document()).decode() + "\n")
    else:
        show(found, Console())
    return verdict(found, young=options.young)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
