"""Whatever the OpenAPI document allows, and much that it does not, asked of a running exchange with members' and operators' keys.

More of it, for as long as you like: `make hostile CASES=50000`.
"""

from __future__ import annotations

import os
import sys

import pytest

from tests.gateway.exchange import Exchange
from tests.hostile.asking import Stranger, told
from tests.hostile.auditing import audited, processes

ROUTES = 60
"""At least: of each the bounds are asked."""


@pytest.fixture(scope="module")
def stranger(exchange: Exchange) -> Stranger:
    # The same requests each time: new ones are what `make hostile` is for.
    seed = int(os.environ.get("HOURBOOK_SEED") or 1)
    print(f"HOURBOOK_SEED={seed} pytest tests/hostile/test_any_request.py", file=sys.stderr, flush=True)
    return Stranger(exchange, seed)


def test_every_bound_of_every_route_is_kept_and_told_as_the_document_says(stranger: Stranger) -> None:
    """What lies on a bound, beyond it, of another type, missing, twice, and methods that there are not."""
    stranger.all_bounds()
    assert told(stranger.faults) == ""
    assert len(stranger.routes) > ROUTES
    assert stranger.cases > 2_000


def test_random_requests_are_answered_as_the_document_says_and_leave_the_books_clean(stranger: Stranger) -> None:
    """Orders, blocks, quotes, deposits, halts and keys at random, most of them with ids that there are."""
    before, running = stranger.cases, processes(stranger.exchange)
    stranger.rounds(before + 500, at_once=1)
    assert told(stranger.faults) == ""
    done = sum(stranger.statuses[status] for status in (200, 201, 202))
    assert done > (stranger.cases - before) // 10, f"hardly anything was accepted: {stranger.statuses}"
    assert (audited(stranger.exchange), processes(stranger.exchange)) == ([], running)
