"""`--json` before any command: exactly one document, which is what schemas.http says; also where it fails."""

import json
import re
import shlex
from typing import Any

import msgspec
import pytest

from schemas import feeds, http, rental
from services.cli import status
from services.cli.__main__ import hourbook
from services.cli.admin import Promises, admin
from services.cli.desk import Desk
from tests.cli.conftest import Sandbox, typed, wait_for_asks

CLASS = "RTX4090.24.EU.COMM"

ANSWERS: list[tuple[str, Any]] = [
    ("book", list[feeds.GridRow]),
    (f"book {CLASS}", list[feeds.GridRow]),
    (f"book {CLASS} --hour now", feeds.MarketBook),
    ("classes", list[http.ClassAnswer]),
    (f"classes {CLASS}", http.ClassAnswer),
    ("supply", http.SupplyAnswer),
    (f"supply {CLASS}", http.SupplyAnswer),
    (f"buy 2 {CLASS} --price 0.50 --hour 'in 3 hours' --id json-1", http.OrderAnswer),
    (f"buy 2 {CLASS} --price 0.50 --hour 'in 3 hours' --id json-1", http.OrderAnswer),
    (f"sell 1 {CLASS} --price 0.60 --hour 'in 3 hours' --post-only --id json-2", http.OrderAnswer),
    (f"buy 1 {CLASS} --price 0.20 --until 'in 2 hours' --id json-3", http.OrderAnswer),
    (f"buy 1 {CLASS} --price 0.20 --preview", http.PreviewAnswer),
    (f"buy 1 {CLASS} --price 0.20 --hours 'in 3 hours' --for 3 --preview", http.RangePreviewAnswer),
    (f"buy 1 {CLASS} --price 0.20 --hours 'in 3 hours' --for 3 --id json-4", http.RangeAnswer),
    (f"buy 1 {CLASS} --price 0.20 --hours 'in 3 hours' --for 3 --block --preview", http.BlockPreviewAnswer),
    (f"buy 1 {CLASS} --price 0.20 --hours 'in 3 hours' --for 3 --block --id json-5", http.BlockAnswer),
    ("blocks", list[http.BlockAnswer]),
    (f"blocks {CLASS}", feeds.BlockBook),
    ("amend json-3 --price 0.21", http.AmendAnswer),
    ("cancel json-4", http.CancelAnswer),
    (f"cancel --class {CLASS} --side buy", http.MassCancelAnswer),
    ("desk", Desk),
    ("volume", http.VolumeAnswer),
    ("pid supply", dict[str, Any]),
    ("orders", list[http.OrderAnswer]),
    ("orders --all", list[http.OrderAnswer]),
    ("cancel json-2", http.CancelAnswer),
    ("fills", list[http.FillAnswer]),
    ("positions", list[http.PositionAnswer]),
    ("balance", http.BalanceAnswer),
    ("ledger --limit 5", list[http.LineAnswer]),
    ("withdraw 1.00 --to bank", http.RequestAnswer),
    ("status", status.Status),
    ("audit --young", dict[str, Any]),
    ("replay --shard 0", dict[str, Any]),
    ("snapshot --shard 0", dict[str, Any]),
    ("archive --shard 0", dict[str, Any]),
    ("admin account Ana --role provider", http.RequestAnswer),
    ("admin role 1 member", http.RequestAnswer),
    ("admin deposit 3 5 --reference json", http.RequestAnswer),
    ("admin key 3 --label json", http.NewKeyAnswer),
    ("admin key 3 --profile ana.json", dict[str, str]),
    ("admin list-class L40S.48.US --shard 0", http.RequestAnswer),
    ("admin halt B200.SXM.180.X8.US --reason test", http.StateAnswer),
    ("admin engine-version 2 --shard 0", http.EngineVersionAnswer),
    ("admin cancel-only B200.SXM.180.X8.US --reason test", http.StateAnswer),
    ("admin post-only B200.SXM.180.X8.US --reason test", http.StateAnswer),
    ("admin open B200.SXM.180.X8.US --reason test", http.StateAnswer),
    (f"admin deliver {CLASS} --hour 'in 2 hours'", http.DeliveryAnswer),
    (f"admin procure 2 1 {CLASS} --hours 'in 5 hours' --for 2 --cost 1.00", http.RequestAnswer),
    ("admin promises", Promises),
    ("leases", list[rental.LeaseAnswer]),
    ("machines", list[rental.MachineAnswer]),
    ("rent --class CPU.X86.LOCAL.UNV --now --preview", rental.RentalPreviewAnswer),
    ("rent --class CPU.X86.LOCAL.UNV --from 'in 3 hours' --hours 2 --yes", rental.RentalAnswer),
    ("rentals", list[rental.RentalAnswer]),
    ("rentals 1", rental.RentalAnswer),
    ("change --max-price 0.08", rental.RentalAnswer),
    ("stop --sell", rental.RentalAnswer),
    ("capacity", list[http.CapacityAnswer]),
    ("income --before now", list[http.IncomeAnswer]),
    ("launch --port 8080", list[rental.LaunchAnswer]),
    ("launch", list[rental.LaunchAnswer]),
    ("down", dict[str, Any]),
]
"""In the order in which they are typed, and what each answers."""

ELSEWHERE = {
    "admin feed-key": "tests/cli/test_production.py",
    "admin delivery-key": "tests/cli/test_production.py",
    "admin router-key": "tests/cli/test_production.py",
    "admin first-key": "tests/cli/test_production.py",
    "admin approve": "tests/cli/test_newcomer.py",
    "admin correct": "tests/cli/test_newcomer.py",
    "quote": "tests/cli/test_newcomer.py",
    "admin payout": "below, as a failure: the sandbox's payments pay by themselves",
    "admin revoke": "below",
    "admin topics": "tests/cli/test_production.py",
    "agent": "tests/agent",
    "ssh": "tests/cli/test_rental.py",
    "quarantine": "tests/cli/test_durable.py",
    "run": "it becomes the service, which prints logs",
    "sandbox": "below",
    "up": "tests/cli/test_durable.py",
}


def test_no_command_is_forgotten() -> None:
    typed_here = {" ".join(words.split()[: 2 if words.startswith("admin") else 1]) for words, _ in ANSWERS}
    there = {name for name in hourbook.commands if name != "admin"} | {f"admin {name}" for name in admin.commands}

    assert typed_here | set(ELSEWHERE) == there


@pytest.mark.usefixtures("before_the_gate")
def test_every_answer_is_one_document_of_its_schema(inside: Sandbox) -> None:
    """Nothing beside it: neither on standard output nor, where all went well, on standard error."""
    wait_for_asks(CLASS)
    wrong = {}
    for words, kind in ANSWERS:
        done = typed("--json", *shlex.split(words)) if not words.startswith("audit") else _process(inside, words)
        try:
            document = msgspec.json.decode(done.out, type=kind)
        except msgspec.DecodeError as error:
            document = error
        if done.code or isinstance(document, Exception) or done.err:
            wrong[words] = (done, document)

    assert wrong == {}


def _process(sandbox: Sandbox, words: str) -> Any:
    """The auditor writes to the process's own output."""
    return sandbox.hourbook("--json", *words.split())


@pytest.mark.usefixtures("inside")
def test_a_repeat_is_the_same_order() -> None:
    words = ("--json", "buy", "1", CLASS, "--price", "0.20", "--id", "json-again")
    first, second = (json.loads(typed(*words).out) for _ in range(2))

    assert (first.pop("repeated"), second.pop("repeated")) == (False, True)
    assert first == second


@pytest.mark.usefixtures("inside")
def test_for_people_a_sandbox_says_that_no_money_moves() -> None:
    done = typed("withdraw", "1.00", "--to", "bank")
    assert re.fullmatch(r"payout \d+ of 1\.00 USD is requested, simulated: no money moves\n", done.out), done


def test_a_key_ends_when_it_is_revoked(inside: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    """From the profile that was written for it on."""
    assert typed("admin", "key", "1", "--profile", "second.json").code == 0
    monkeypatch.setenv("HOURBOOK_PROFILE", "second.json")
    assert typed("balance").code == 0
    key_id = json.loads((inside.folder / "second.json").read_bytes())["key"]["key"]["key_id"]
    monkeypatch.delenv("HOURBOOK_PROFILE")
    assert json.loads(typed("--json", "admin", "revoke", key_id).out) == {"revoked": key_id}
    monkeypatch.setenv("HOURBOOK_PROFILE", "second.json")
    done = typed("--json", "balance")

    assert done.code == 3
    assert msgspec.json.decode(done.out, type=http.Problem).code == "unauthenticated"


@pytest.mark.usefixtures("inside")
@pytest.mark.parametrize(
    ("words", "code", "problem"),
    [
        ("cancle", 2, "wrong_words"),
        ("buy 0 L40S.48.US --price 1", 2, "wrong_words"),
        ("buy 1 L40S.48.US --price 1 --hour gibberish", 2, "wrong_words"),
        ("buy 1 L40S.48.US --price 100", 3, "outside_collar"),
        ("buy 100000 L40S.48.US --price 1", 3, "insufficient_funds"),
        ("cancel nonsense", 3, "unknown_order"),
        ("admin payout 999 paid --provider x", 3, "unknown_payout"),
        ("quarantine --shard 0 --offset 1 --hash 00 --reason r --operator o", 65, "tool_ended"),
        ("", 2, "wrong_words"),
    ],
)
def test_a_failure_is_one_document_too(words: str, code: int, problem: str) -> None:
    """The API's own problem where it has answered one; nothing on standard error."""
    done = typed("--json", *words.split())
    found = msgspec.json.decode(done.out, type=http.Problem)

    assert (done.code, found.code, done.err) == (code, problem, "")
    assert found.detail
    assert (found.status == 0) == (problem in ("wrong_words", "tool_ended"))


def test_a_second_sandbox_says_so_in_a_document(sandbox: Sandbox) -> None:
    done = sandbox.hourbook("--json", "sandbox")

    assert done.code == 2
    assert f"runs already, as process {sandbox.process.pid}" in json.loads(done.out)["detail"]
