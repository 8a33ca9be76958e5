"""For whom, and about which exchange, a command speaks."""

import base64
import json
import multiprocessing
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from schemas.http import KeyAnswer, NewKeyAnswer
from services.cli import profile
from services.cli.errors import Unreachable, Unusable
from services.cli.profile import DURABLE, SANDBOX, Profile
from tests.cli.conftest import Place

SECRET = base64.b64encode(bytes(32)).decode()


def someone(url: str) -> Profile:
    key = KeyAnswer(key_id="hb_1", account=1, scopes=("read",), label="", expires_at="", networks=())
    return Profile(url, NewKeyAnswer(key=key, secret=SECRET, bearer="hb_1.x"))


def write(file: Path, url: str) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    profile.save(file, someone(url))


def hold(home: Path, told) -> None:
    """What runs an exchange holds the lock until it ends."""
    with profile.claimed(home):
        told.send(os.getpid())
        signal.pause()


@contextmanager
def running(home: Path) -> Iterator[int]:
    """Another process runs the exchange of `home`; killed like a crash."""
    ours, theirs = multiprocessing.Pipe()
    process = multiprocessing.get_context("spawn").Process(target=hold, args=(home, theirs))
    process.start()
    try:
        assert ours.poll(30)
        yield ours.recv()
    finally:
        process.kill()
        process.join(30)


def test_a_profile_is_for_its_owner_only(here: Place) -> None:
    write(here.folder / "ana.json", "http://127.0.0.1:1")

    assert (here.folder / "ana.json").stat().st_mode & 0o777 == 0o600


def test_without_an_exchange_the_answer_says_how_to_start_one(here: Place) -> None:
    with pytest.raises(
        Unreachable, match="no exchange runs from this folder; `make run` starts a sandbox, `make up` a"
    ):
        profile.find("member")
    write(here.folder / DURABLE / "member.json", "http://127.0.0.1:2")
    with pytest.raises(Unreachable, match="the exchange in var/exchange is stopped; `make up` starts it"):
        profile.find("member")


def test_an_exchange_is_one_as_long_as_its_process_lives(here: Place) -> None:
    """What a killed sandbox has left behind hides no exchange that runs."""
    write(here.folder / SANDBOX / "member.json", "http://127.0.0.1:1")
    write(here.folder / DURABLE / "member.json", "http://127.0.0.1:2")
    with running(here.folder / SANDBOX) as pid:
        assert profile.owner(SANDBOX) == pid
        assert profile.find("member").url == "http://127.0.0.1:1"
        with pytest.raises(Unusable, match=f"runs already, as process {pid}"), profile.claimed(SANDBOX):
            pass
        with running(here.folder / DURABLE):
            assert profile.find("member").url == "http://127.0.0.1:1", "the sandbox goes first"
    assert profile.owner(SANDBOX) == 0
    with running(here.folder / DURABLE):
        assert profile.find("member").url == "http://127.0.0.1:2"
    with profile.claimed(SANDBOX):
        assert profile.owner(SANDBOX) == os.getpid()


def test_whoever_starts_a_second_exchange_in_a_folder_is_told_whom_commands_speak_to(here: Place) -> None:
    """Else a member's positions are gone, as it seems: the sandbox goes first."""
    assert (profile.beside(SANDBOX), profile.beside(DURABLE)) == ("", "")
    with running(here.folder / DURABLE):
        assert profile.beside(SANDBOX) == (
            "var/exchange runs from here as well: commands speak to var/sandbox until it stops, "
            "and to var/exchange with HOURBOOK_HOME=var/exchange"
        )
        assert profile.beside(DURABLE) == ""
    with running(here.folder / SANDBOX):
        assert profile.beside(DURABLE).startswith("var/sandbox runs from here as well: commands speak to var/sandbox")


@pytest.mark.usefixtures("here")
def test_a_home_that_is_not_there_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOURBOOK_HOME", "nowhere")
    with pytest.raises(Unusable, match="there is no folder nowhere; HOURBOOK_HOME names it"):
        profile.find("member")


def test_what_is_named_is_taken(here: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """HOURBOOK_PROFILE before HOURBOOK_HOME before what runs before the user's own file."""
    write(here.folder / ".config/hourbook/profile.json", "http://own")
    assert profile.find("member").url == "http://own"
    write(here.folder / SANDBOX / "member.json", "http://sandbox")
    with running(here.folder / SANDBOX):
        assert profile.find("member").url == "http://sandbox"
        write(here.folder / "elsewhere/member.json", "http://home")
        monkeypatch.setenv("HOURBOOK_HOME", "elsewhere")
        assert profile.find("member").url == "http://home"
        write(here.folder / "ana.json", "https://ana")
        monkeypatch.setenv("HOURBOOK_PROFILE", "ana.json")
        assert profile.find("operator").url == "https://ana"


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (None, "profile ana.json cannot be read: No such file or directory; HOURBOOK_PROFILE names another"),
        (b"not json", "ana.json is not a profile; HOURBOOK_PROFILE names another"),
        (b"{}", "ana.json is not a profile"),
        (b'{"url": "ftp://x"}', "ana.json says that the exchange is at 'ftp://x', which is not an address"),
        (b'{"secret": "***"}', "ana.json is not a profile"),
        ('{"secret": "é"}'.encode(), "ana.json is not a profile"),
        (b"\xff", "ana.json is not a profile"),
        (b'{"url":' * 9_999, "ana.json is not a profile"),
    ],
)
def test_a_file_that_is_no_profile_is_named(
    here: Place, monkeypatch: pytest.MonkeyPatch, content: bytes | None, complaint: str
) -> None:
    monkeypatch.setenv("HOURBOOK_PROFILE", "ana.json")
    file = here.folder / "ana.json"
    if content is not None:
        write(file, "http://127.0.0.1:1")
        whole = json.loads(file.read_bytes())
        change = json.loads(content) if content.endswith(b"}") else None
        if change == {}:
            whole = {}
        elif change:
            whole["url"] = change.get("url", whole["url"])
            whole["key"]["secret"] = change.get("secret", whole["key"]["secret"])
        file.write_bytes(json.dumps(whole).encode() if change is not None else content)

    with pytest.raises(Unusable) as caught:
        profile.find("member")

    assert complaint in caught.value.message
