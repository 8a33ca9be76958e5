"""Whom the command line speaks for, and where.

A home is a folder of an exchange started from here: `var/sandbox` (ephemeral) or `var/exchange` (`hourbook up`). It holds
`member.json` and `operator.json`, each an address and a key, readable by their owner only. The process that runs it holds a
lock beside it for as long as it lives, so that what a killed one has left behind is not taken for an exchange.

HOURBOOK_HOME      another home; default: of those above the one that runs, the sandbox first
HOURBOOK_PROFILE   a file like member.json; default: the home's, else ~/.config/hourbook/profile.json
"""

from __future__ import annotations

import base64
import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import msgspec
from msgspec import Struct

from schemas.codec import UNREADABLE
from schemas.http import NewKeyAnswer
from services.cli.errors import Unreachable, Unusable
from services.cli.files import write_private

SANDBOX: Final = Path("var/sandbox")
DURABLE: Final = Path("var/exchange")
BOT: Final = "bot.json"
"""In a home: a market maker's, for whoever writes one."""
START: Final = "`make run` starts a sandbox, `make up` a durable exchange"


_CLAIM_TRIES: Final = 20


class Profile(Struct):
    """One file."""

    url: str
    key: NewKeyAnswer


def page_of(profile: Profile) -> str:
    """The address of the exchange's page, with the key in the part that no browser sends on: whoever opens it is signed in."""
    return f"{profile.url}/#key={profile.key.bearer}"


def save(file: Path, profile: Profile) -> None:
    """Mode 0600."""
    write_private(file, msgspec.json.encode(profile))


# --- Homes --------------------------------------------------------------------------------------------------


def _lock_file(home: Path) -> Path:
    return home.with_name(f"{home.name}.lock")


@contextmanager
def claimed(home: Path) -> Iterator[None]:
    """The exchange of `home` is ours while the block runs. Raises Unusable when it is another process's."""
    file = _lock_file(home)
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("a+") as lock:
        for left in reversed(range(_CLAIM_TRIES)):
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                # Held for a moment only by whoever asks `owner`.
                if left == 0 or owner(home):
                    raise Unusable(f"the exchange of {home} runs already, as process {owner(home)}") from None
                time.sleep(0.05)
        lock.truncate(0)
        lock.write(str(os.getpid()))
        lock.flush()
        # The file stays afterwards: whoever removes it while another waits for it makes two locks of one.
        yield


def owner(home: Path) -> int:
    """The process that runs the exchange of `home`; 0: none."""
    try:
        with _lock_file(home).open() as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                return int(lock.read() or 0)
    except FileNotFoundError:
        pass
    return 0


def home() -> Path | None:
    """The exchange that commands are about; None: none runs from this folder."""
    if named := os.environ.get("HOURBOOK_HOME"):
        return Path(named)
    return next((each for each in (SANDBOX, DURABLE) if owner(each)), None)


def beside(started: Path) -> str:
    """What to know of the other exchange of this folder where it runs as well; else empty."""
    other = DURABLE if started == SANDBOX else SANDBOX
    if not owner(other):
        return ""
    return (
        f"{other} runs from here as well: commands speak to {SANDBOX} until it stops, "
        f"and to {DURABLE} with HOURBOOK_HOME={DURABLE}"
    )


def where_to_look() -> str:
    """What to do where nobody answers."""
    return "`hourbook status` tells what it waits for" if home() is not None else START


def nothing_runs() -> Unreachable:
    """What to say where an exchange is needed and none runs."""
    if (DURABLE / "member.json").exists():
        return Unreachable(f"the exchange in {DURABLE} is stopped; `make up` starts it")
    return Unreachable(f"no exchange runs from this folder; {START}, in the project's folder")


# --- Profiles -----------------------------------------------------------------------------------------------


def find(name: str) -> Profile:
    """`member` or `operator`. Raises Unusable, Unreachable, with what to do."""
    return _read(file_of(name))


def file_of(name: str) -> Path:
    """Where that profile is. Raises Unusable, Unreachable."""
    if named := os.environ.get("HOURBOOK_PROFILE"):
        return Path(named)
    if (here := home()) is not None:
        if "HOURBOOK_HOME" in os.environ and not here.is_dir():
            raise Unusable(f"there is no folder {here}; HOURBOOK_HOME names it")
        return here / f"{name}.json"
    own = Path.home() / ".config" / "hourbook" / "profile.json"
    if not own.exists():
        raise nothing_runs()
    return own


def _read(file: Path) -> Profile:
    try:
        profile = msgspec.json.decode(file.read_bytes(), type=Profile)
        base64.b64decode(profile.key.secret, validate=True)
    except OSError as error:
        raise Unusable(f"profile {file} cannot be read: {error.strerror}; HOURBOOK_PROFILE names another") from None
    except (ValueError, *UNREADABLE):  # ValueError: a secret that is not base64
        raise Unusable(f"{file} is not a profile; HOURBOOK_PROFILE names another") from None
    if not profile.url.startswith(("http://", "https://")):
        raise Unusable(f"{file} says that the exchange is at {profile.url!r}, which is not an address")
    return profile
