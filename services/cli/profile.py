"""Whom the command line speaks for, and where.

A home is a folder of an exchange started from here: `var/sandbox` (ephemeral) or `var/exchange` (`hourbook up`). It
holds `member.json` and `operator.json`, each an address and a key, readable by their owner only. $HOURBOOK_PROFILE
names another such file; ~/.config/hourbook/profile.json is looked for last.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

import msgspec
from msgspec import Struct

from schemas.http import NewKeyAnswer
from services.cli.errors import Unusable
from services.cli.stack import write_private

SANDBOX: Final = Path("var/sandbox")
DURABLE: Final = Path("var/exchange")


class Profile(Struct):
    """One file."""

    url: str
    key: NewKeyAnswer


def save(file: Path, profile: Profile) -> None:
    """Mode 0600."""
    write_private(file, msgspec.json.encode(profile))


def homes() -> list[Path]:
    """Exchanges started from this folder, the sandbox first."""
    return [home for home in (SANDBOX, DURABLE) if home.is_dir()]


def find(name: str) -> Profile:
    """`member` or `operator`. Raises Unusable with what to do."""
    named = os.environ.get("HOURBOOK_PROFILE")
    files = [Path(named)] if named else [home / f"{name}.json" for home in homes()]
    if not named:
        files.append(Path.home() / ".config" / "hourbook" / "profile.json")
    for file in files:
        if file.exists():
            try:
                return msgspec.json.decode(file.read_bytes(), type=Profile)
            except msgspec.DecodeError:
                raise Unusable(f"{file} is not a profile; HOURBOOK_PROFILE may name another file") from None
    raise Unusable(
        "there is no exchange here: start one with `make run` in another terminal and stay in the project's folder, "
        "or name a profile in HOURBOOK_PROFILE"
    )
