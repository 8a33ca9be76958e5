"""A stranger's first shell: he buys what is left of the hour on this machine, and is in by one more command."""

import shutil
import subprocess
import time
from typing import Any

import pytest

from tests.cli.conftest import CHECKOUT, Sandbox, typed, typing_in
from tests.cli.test_newcomer import told
from tests.conftest import Skip

CPU = "CPU.X86.LOCAL.UNV"
BEFORE_CLOSE_S = 90
"""In the last minute of an hour nothing of it is sold."""


@pytest.fixture
def sold_now(inside: Sandbox) -> Sandbox:
    """An hour with some minutes left in it, and somebody who asks."""
    left_s = 3600 - time.time() % 3600
    if left_s < BEFORE_CLOSE_S:
        time.sleep(left_s + 1)
    deadline = time.monotonic() + 60
    while not any(row["ask"] for row in told("book", CPU)[:2]):
        assert time.monotonic() < deadline, "nobody asks"
        time.sleep(0.5)
    return inside


def over_ssh(place: Sandbox, *words: str) -> subprocess.CompletedProcess[str]:
    """`hourbook ssh`, which becomes ssh: in a process of its own."""
    return subprocess.run(
        [".venv/bin/hourbook", "ssh", *words], cwd=place.folder, env=place.environment, capture_output=True, text=True,
        timeout=90, check=False, stdin=subprocess.DEVNULL,
    )  # fmt: skip


def test_an_hour_becomes_a_shell_by_two_commands(sold_now: Sandbox) -> None:
    """A key is made for whoever has none, the machine is waited for, and what a command says and how it ends comes back."""
    if shutil.which("ssh") is None:
        pytest.skip(Skip.NO_SSH)
    began_s = time.monotonic()
    bought = told("buy", "1", CPU, "--now", "--price", "0.10")
    assert bought["filled"] == 1, bought

    inside = over_ssh(sold_now, "echo a shell; exit 3")

    assert (inside.stdout, inside.returncode) == ("a shell\n", 3), inside
    assert time.monotonic() - began_s < 60
    leases: list[dict[str, Any]] = told("leases")
    lease = next(each for each in leases if each["state"] == "open")
    assert (lease["driver"], lease["class_id"], lease["gpus"]) == ("open", CPU, 1)
    written = over_ssh(sold_now, lease["lease"], "pwd; touch mine; ls")
    assert written.stdout.endswith(f"/leases/{lease['lease']}/home\nmine\n")
    (launch,) = told("launch")
    assert len(launch["ssh_keys"]) == 1


def test_a_rental_is_a_shell_by_two_commands_and_ends_by_a_third(sold_now: Sandbox) -> None:
    """Its limit is a quarter more than what is asked; hours ahead are bought, and are sold again when it is stopped."""
    if shutil.which("ssh") is None:
        pytest.skip(Skip.NO_SSH)
    before = told("rentals")
    previewed = typed("rent", "--class", CPU, "--now", "--preview")
    assert previewed.code == 0, previewed
    assert "a quarter more than the dearest of what is asked now" in previewed.out
    assert "login within 2 minutes" in previewed.out
    refused = typed("rent", "--class", CPU, "--now")
    assert (refused.code, "rent it? [y/N]" in refused.out) == (130, True), refused
    assert len(told("rentals")) == len(before)

    made = told("rent", "--class", CPU, "--now", "--yes", "--id", "mine")
    inside = over_ssh(sold_now, "echo a shell; exit 3")

    assert (inside.stdout, inside.returncode) == ("a shell\n", 3), inside
    assert (
        told("rent", "--class", CPU, "--now", "--yes", "--id", "mine", "--max-price", made["request"]["max_price"])[
            "rental"
        ]
        == made["rental"]
    )
    changed = told("change", made["rental"], "--look-ahead", "2")
    assert changed["request"]["look_ahead"] == 2
    one, *_ = told("rentals")
    assert (one["rental"], one["state"]) == (made["rental"], "running")
    assert f"rental {one['rental']}: 1 GPU of {CPU}, running" in typed("rentals", one["rental"]).out
    stopped = typed("stop")
    assert stopped.code == 0, stopped
    assert f"rental {one['rental']}: 1 GPU of {CPU}, stopping" in stopped.out
    again = typed("stop")
    assert (again.code, "no rental of yours goes on" in again.err) == (3, True), again


def test_a_key_is_added_to_what_the_machine_has_begun_with_and_to_nothing_else(sold_now: Sandbox) -> None:
    if shutil.which("ssh") is None:
        pytest.skip(Skip.NO_SSH)
    for name in ("train", "serve"):
        assert typed("launch", name, "--port", "8080").code == 0
    before = {each["lease"] for each in told("leases")}
    bought = told("buy", "1", CPU, "--now", "--price", "0.10", "--launch", "train")
    assert bought["filled"] == 1, bought
    deadline = time.monotonic() + 45
    while not (new := [each for each in told("leases") if each["lease"] not in before]):
        assert time.monotonic() < deadline, "no lease"
        time.sleep(0.2)

    inside = over_ssh(sold_now, new[0]["lease"], "echo a shell")

    assert (new[0]["launch"], inside.stdout) == ("train", "a shell\n"), inside
    keys = {each["name"]: len(each["ssh_keys"]) for each in told("launch")}
    assert (keys["train"], keys["serve"]) == (1, 0)


@pytest.mark.usefixtures("inside")
def test_what_is_no_lease_and_what_is_no_key_is_said_in_a_sentence() -> None:
    no_lease = typed("ssh", "999")
    no_key = typed("launch", "--ssh-key", str(CHECKOUT / "README.md"))

    assert (no_lease.code, no_lease.err) == (
        3, "hourbook: you have no such lease; `hourbook leases` lists them\n",
    )  # fmt: skip
    assert no_key.code == 2
    assert "is not a public SSH key; name a .pub file" in no_key.err


def test_a_provider_sees_his_machine(inside: Sandbox) -> None:
    with typing_in(inside), pytest.MonkeyPatch.context() as patch:
        patch.setenv("HOURBOOK_PROFILE", str(inside.folder / "var/sandbox/host-a.json"))
        (machine,) = told("machines")

    assert (machine["machine"], machine["class_id"], machine["source"], machine["alive"]) == (
        "host-a", CPU, "declared", True,
    )  # fmt: skip
    assert len(machine["seats"]) == 4
