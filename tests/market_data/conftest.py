"""Chance that can be repeated."""

import os
import random
import sys

import pytest


@pytest.fixture
def seed() -> int:
    """Another one at each run; said before anything else happens, as the setting that repeats the run."""
    number = int(os.environ.get("HOURBOOK_SEED") or random.SystemRandom().randrange(1 << 40))
    print(f"HOURBOOK_SEED={number} pytest tests/market_data", file=sys.stderr, flush=True)
    return number
