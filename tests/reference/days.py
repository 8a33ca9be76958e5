"""Days of chance: what people do, in a mood, in a shard of one version or another. The same seed, the same day."""

from __future__ import annotations

import random
from typing import NamedTuple

from tests.reference.flow import FrameIntent, random_day
from tests.reference.memory import Setting
from tests.reference.moods import MOODS, MOODS_OF_VERSION_1

FRAMES = 48


class Day(NamedTuple):
    """A flow and the shard that it is for."""

    flow: list[FrameIntent]
    setting: Setting


def day_of(seed: str, number: int, frames: int = FRAMES) -> Day:
    """The moods take turns; most shards start with version 2, some come to it, few stay with version 1."""
    chance = random.Random(f"{seed}/{number}/setting")
    start = chance.choice(["version 1", "version 1 to 2", *["version 2"] * 6])
    setting = Setting(
        shard=number % 256,
        rate=60 if number % 8 == 7 else 1,
        version=2 if start == "version 2" else 1,
        retries_max=chance.choice([64, 64, 2, 1]),
    )
    moods = MOODS_OF_VERSION_1 if start == "version 1" else [*MOODS]
    mood = MOODS[moods[number % len(moods)]]
    flow = random_day(f"{seed}/{number}", frames, mood, switch=start == "version 1 to 2")
    return Day(list(flow), setting)
