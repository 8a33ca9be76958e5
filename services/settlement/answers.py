"""What becomes of a request: refused with a code, done, or pending until a shard has confirmed its messages. Pure."""

from __future__ import annotations

from typing import Final, NamedTuple

Outcome = dict[str, int | bool | str]
"""What a request's row says of it; `schemas.requests` names the fields."""

NAME_MAX: Final = 100
"""Characters of an account's name, and of a provider's."""


class Refused(NamedTuple):
    """Nothing changed. `need` and `have` are the numbers of the code's sentence."""

    code: str
    need: int = 0
    have: int = 0


class Done(NamedTuple):
    """It has happened. `account`: whom it concerns."""

    account: int
    outcome: Outcome


class Pending(NamedTuple):
    """Its messages are in the outbox."""

    account: int
    outcome: Outcome


Answer = Refused | Done | Pending
