"""What a provider's agent says ends up in a tenant's commands: it is one word of the right kind, or is refused."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Any

import msgspec
import pytest

from schemas.agents import Enrolment, LeaseReport
from schemas.rental import LeaseAnswer
from services.cli.leases import login_of

REPORT = {"lease": "7", "state": "open", "port": 22, "user": "tenant_1", "host_key": "ssh-ed25519 AAAA/+= a comment"}
ENROLMENT = {
    "machine": "a", "class_id": "ONE.X", "instance": "i", "boot_id": "b", "agent_version": "1", "source": "declared",
    "driver": "open", "host": "gpu-1.example.com", "inventory": [{"uuid": "u", "name": "n"}],
}  # fmt: skip


@pytest.mark.parametrize(
    "said",
    [
        {"user": "-oProxyCommand=touch /tmp/x;"},
        {"user": "a b"},
        {"user": "a@elsewhere"},
        {"user": "a\nb"},
        {"host_key": "ssh-ed25519 AAAA\n@cert-authority * ssh-ed25519 BBBB"},
        {"host_key": "ssh-ed25519 AAAA\x1b[2J"},
    ],
)
def test_a_report_that_does_not_belong_into_a_command_is_refused(said: dict[str, Any]) -> None:
    msgspec.convert(REPORT, LeaseReport)
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert(REPORT | said, LeaseReport)


@pytest.mark.parametrize("host", ["-oProxyCommand=x", "a b", "a;b", "$(x)", "a\nb", "a/b", "a@b"])
def test_a_host_that_is_none_is_refused(host: str) -> None:
    for good in ("127.0.0.1", "2001:db8::7", "::1", "simulated", "gpu-1.example.com"):
        msgspec.convert(ENROLMENT | {"host": good}, Enrolment)
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert(ENROLMENT | {"host": host}, Enrolment)


def test_no_word_of_a_provider_s_is_an_option_of_ssh(tmp_path: Path) -> None:
    """A lease of an older log may have any."""
    done = tmp_path / "done"
    lease = LeaseAnswer(
        lease="7", state="open", gpus=1, starts_at="", ends_at="", contracts=(), provider_machine="a", source="declared",
        driver="user", host="h", port=1, user=f"-oProxyCommand=touch {done};",
    )  # fmt: skip
    program = shutil.which("ssh")
    login = login_of(program or "ssh", tmp_path / "key", tmp_path / "hosts", lease)
    assert login[-2:] == ["--", f"{lease.user}@{lease.host}"]
    if program is not None:
        subprocess.run([*login, "127.0.0.1"], stdin=subprocess.DEVNULL, capture_output=True, check=False)
        assert not done.exists()
