"""Who and what is there in every flow: the members, their money, the classes, and how the shard opens."""

from __future__ import annotations

from typing import NamedTuple

from schemas import commands as cmd
from schemas.commands import Fees, Ground, Role, SetClass
from schemas.units import BP, MS_PER_HOUR, Millis, Price

T0_MS: Millis = 497_222 * MS_PER_HOUR + 1_234_567
OPERATOR = 900
STRANGER = 99
"""An account that nobody opens."""


class Member(NamedTuple):
    name: str
    owner: int
    role: Role
    cash: int


MEMBERS = {
    1: Member("ana", 1, Role.PROVIDER, 60_000_000),
    2: Member("abe", 1, Role.MEMBER, 90_000_000),  # ana's second account
    3: Member("mia", 3, Role.MARKET_MAKER, 900_000_000),
    4: Member("max", 3, Role.PROVIDER, 5_000_000),  # mia's second account
    5: Member("moe", 5, Role.MARKET_MAKER, 1_540),  # exactly 70 promises in TINY
    6: Member("bob", 6, Role.MEMBER, 20_000_000),
    7: Member("pia", 7, Role.MEMBER, 35),  # exactly a bid for three GPUs of TINY at its list price
    8: Member("ora", 8, Role.MEMBER, 4_000_000),  # may correct cash, together with
    9: Member("otto", 9, Role.MEMBER, 7_000),
}
CLASSES = {
    # Prices of a few µUSD and high fees: every division leaves a remainder.
    1: SetClass(0, 1, "TINY", 1, 1, 10, Fees(30, 900, 50, 1_000), horizon_hours=5),
    # Nodes of eight; its gate closes a whole hour before, its running phase ends with the hour.
    2: SetClass(
        0, 2, "NODE.X8", 8, 50, 1_000, Fees(), horizon_hours=4, gate_ms=MS_PER_HOUR, running_close_ms=0,
        collar_low_bp=8_333, collar_high_bp=12_345,
    ),
    # Prices as they are; its gate closes when the hour begins, and its first hour is left out.
    3: SetClass(
        0, 3, "REAL.US", 1, 5_000, 2_000_000, Fees(5, 10, 0, 50), horizon_hours=3, gate_ms=0, cover_ms=5_400_000,
        running_close_ms=MS_PER_HOUR - 1, first_hour=T0_MS // MS_PER_HOUR + 2,
    ),
}  # fmt: skip
NEW_CLASS = SetClass(0, 4, "NEW", 1, 1, 7, Fees(), horizon_hours=1, gate_ms=1, cover_ms=2 * MS_PER_HOUR)
"""Listed later, if at all; each of its hours when it is too late to promise."""
OPENING_HOURS = {1: 3, 2: 2, 3: 2}
"""Of each class: how many hours are backed at the opening."""
OPENING_BACKING = (
    # account, class, ground, lots
    (1, 1, Ground.DECLARED, 15),
    (1, 2, Ground.DECLARED, 2),
    (3, 1, Ground.PROMISED, 9),
    (3, 3, Ground.PROMISED, 20),
    (4, 1, Ground.DECLARED, 4),
    (5, 1, Ground.PROMISED, 30),
)
"""What stands behind asks in the first hours of a class."""


def rules_of(class_no: int) -> SetClass:
    """The class, or the one that may come, for a class that is not there."""
    return CLASSES.get(class_no, NEW_CLASS)


def cap_of(rules: SetClass) -> Price:
    """The collar's upper bound: what a promise's collateral price is at least."""
    return rules.list_price * rules.collar_high_bp // BP


def name_of(account: int) -> str:
    """`ana`, or `account 99`."""
    return MEMBERS[account].name if account in MEMBERS else f"account {account}"


def start_of(shard: int, version: int, rate: int) -> cmd.StartShard:
    """The shard's first command; time runs faster in a sandbox only."""
    return cmd.StartShard(shard, version, T0_MS, rate, rate > 1)
