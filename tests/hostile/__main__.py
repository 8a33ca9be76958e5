"""`make hostile`: a stranger asks a running exchange of its own everything that the OpenAPI document allows, and much more.

The seed is the first line; the same again with HOURBOOK_SEED. Ctrl-C ends it early.
Exit 0: every answer was one that the document tells of, no process has ended meanwhile, and the audit is clean.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import random
import sys
import time

from services.runtime.infra import ApacheKafka, any_postgres, open_folder
from tests.gateway.exchange import Exchange
from tests.hostile.asking import Stranger, told
from tests.hostile.auditing import audited, processes

AT_ONCE = 12
SHOW_S = 10.0


def main() -> int:
    parser = argparse.ArgumentParser(prog="make hostile", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--cases", type=int, default=5_000)
    cases = parser.parse_args().cases
    seed = int(os.environ.get("HOURBOOK_SEED") or random.SystemRandom().getrandbits(32))
    print(f"HOURBOOK_SEED={seed} make hostile CASES={cases}", flush=True)
    with (
        open_folder() as home,
        ApacheKafka(home / "kafka") as kafka,
        any_postgres()(home / "postgres", fsync=False) as postgres,
    ):
        exchange = Exchange(kafka, postgres, home, "hostile-")
        try:
            exchange.open()
            return _ask(exchange, seed, cases)
        finally:
            exchange.close()


def _ask(exchange: Exchange, seed: int, cases: int) -> int:
    stranger, running = Stranger(exchange, seed), processes(exchange)
    begin_s = shown_s = time.monotonic()
    known = set[tuple[str, str]]()

    def tell(asked: Stranger) -> None:
        nonlocal shown_s
        now_s = time.monotonic()
        for fault in asked.faults:
            if (fault.route, fault.what) not in known:  # at once: a run that is ended has told it
                known.add((fault.route, fault.what))
                print(told([fault]), flush=True)
        if now_s - shown_s >= SHOW_S:
            shown_s = now_s
            print(f"{asked.cases:,} of {cases:,} in {now_s - begin_s:.0f} s, {len(asked.faults)} faults", flush=True)

    with contextlib.suppress(KeyboardInterrupt):  # enough: what was asked until now is judged all the same
        stranger.all_bounds(tell)
        stranger.rounds(cases, AT_ONCE, tell)
    took_s = time.monotonic() - begin_s
    breaches, ended = audited(exchange), processes(exchange) != running
    print(told(stranger.faults))
    print("\n".join(breaches))
    statuses = ", ".join(f"{status}: {count:,}" for status, count in sorted(stranger.statuses.items()))
    print(
        f"{stranger.cases:,} requests to {len(stranger.routes)} routes in {took_s:.0f} s ({statuses}): "
        f"{len(stranger.faults)} answers that the document does not tell of, {len(breaches)} breaches in the books, "
        f"{'a process has ended' if ended else 'no process has ended'}"
    )
    return 1 if stranger.faults or breaches or ended else 0


if __name__ == "__main__":
    sys.exit(main())
