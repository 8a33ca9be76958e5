"""Mistakes of every kind: one line that says what to do, an exit code of its kind, and nothing on standard output."""

import json
import re
import shlex
import socket
import sys
from importlib.abc import MetaPathFinder

import pytest

from services.cli import start
from tests.cli.conftest import Sandbox, typed, wait_for_asks

CLASS = "L40S.48.US"
H100 = "H100.SXM.80.X8.US"

WORDS = [
    ("cancle", 2, r"No such command 'cancle'.*Did you mean.*cancel.*; see `hourbook --help`"),
    ("admin acount", 2, r"No such command 'acount'.*; see `hourbook admin --help`"),
    ("orders --foo", 2, r"No such option '--foo'; see `hourbook orders --help`"),
    ("balance --json", 2, r"--json goes before the command: hourbook --json balance"),
    ("cancel", 2, r"name an order, or say --all, or narrow it down with --class, --hour, --side"),
    ("cancel 0-1-1-1 --all", 2, r"name an order, or say --all, or narrow it down"),
    ("amend 0-1-1-1", 2, r"say what is to change: --qty, --price or both"),
    (f"buy 1 {CLASS} --price 1 --now --hour 14:00", 2, r"--now is the running hour: leave --hour and --hours out"),
    (f"buy 1 {CLASS} --price 1 --hours 14:00", 2, r"--hours and --for go together: --hours 'tomorrow 20:00' --for 24"),
    (f"buy 1 {CLASS} --price 1 --for 3", 2, r"--hours and --for go together"),
    (f"buy 1 {CLASS} --price 1 --block", 2, r"a block is several hours: --block goes with --hours and --for"),
    (f"buy 1 {CLASS} --price 1 --hours next --for 2 --min 1", 2, r"a block is several hours: .*--min with --block"),
    (f"buy 1 {CLASS} --price 1 --hours next --for 2 --block --post-only", 2, r"a block knows neither --post-only nor"),
    (f"buy 1 {CLASS} --price 1 --hours next --for 2 --hour next", 2, r"say --hour for one hour, or --hours and --for"),
    (
        f"buy 1 {CLASS}.20261126T12-USD --price 1 --hours next --for 2",
        2,
        r".* names one hour: with --hours name the class only",
    ),
    (f"buy 1 {CLASS}.20261126T12-USD --price 1 --now", 2, r".* names its hour already: --now goes with a class"),
    (f"buy 1 {CLASS} --price 1 --until gibberish --hour 2031-01-01T00", 2, r"'gibberish' is not a time"),
    (
        f"buy 1 {CLASS} --price 1 --until 2016-01-01T00:00 --hour 2031-01-01T00",
        2,
        r"'2016-01-01T00:00' is .* which is over",
    ),
    (f"buy 1 {CLASS} --price 1 --until 18:30 --tif ioc --hour 2031-01-01T00", 2, r"--until says when an order ends"),
    (f"quote {CLASS}", 2, r"say --bid, --ask or both, e\.g\. --bid 2\.00x8 --ask 2\.20x8; or --away"),
    (
        f"quote {CLASS} --bid 2.00",
        2,
        r"Invalid value for '--bid': '2\.00' is not a price with a quantity: write it like 2\.00x8",
    ),
    (f"quote {CLASS} --bid 2x1 --away", 2, r"say --bid, --ask or both"),
    (f"buy 2 {CLASS}", 2, r"Missing option '--price'; see `hourbook buy --help`"),
    (f"buy two {CLASS} --price 1", 2, r"Invalid value for 'QTY': 'two' is not a valid integer"),
    (f"buy 0 {CLASS} --price 1", 2, r"Invalid value for 'QTY': 0 is not in the range x>=1; see `hourbook buy --help`"),
    (f"buy -1 {CLASS} --price 1", 2, r"No such option '-1'; see `hourbook buy --help`"),
    (
        f"buy 1 {CLASS} --price 1 --tif day",
        2,
        r"Invalid value for '--tif': 'day' is not one of 'gtc', 'gtd', 'ioc', 'fok'",
    ),
    (
        f"buy 1 {CLASS} --price 1 --tif gtd --hour 2031-01-01T00",
        2,
        r"--until says when an order ends; it goes with no --tif",
    ),
    ("ledger --limit 0", 2, r"Invalid value for '--limit': 0 is not in the range 1<=x<=500"),
    ("book --hour 14:00", 2, r"--hour goes with a class: hourbook book CLASS --hour"),
    (f"book {CLASS} --hours -3", 2, r"Invalid value for '--hours': -3 is not in the range x>=1"),
    ("run nothing", 2, r"Invalid value for 'SERVICE': 'nothing' is not one of 'settlement', 'matching'"),
    ("replay --shard 256", 2, r"Invalid value for '--shard': 256 is not in the range 0<=x<=255"),
    ("admin halt X", 2, r"Missing option '--reason'"),
    (
        f"buy 1 {CLASS} --price 1 --hour gibberish",
        2,
        r"'gibberish' is not a time; say 'now', '14:00', 'tomorrow 14:00'",
    ),
    (
        f"buy 1 {CLASS} --price 1 --hour tomorrow",
        2,
        r"'tomorrow' names no hour of the day; say it like 'tomorrow 14:00'",
    ),
    (f"buy 1 {CLASS}.20261126T12-USD --price 1 --hour now", 2, r".* names its hour already: leave --hour out"),
    (f"admin deliver {CLASS}", 2, rf"say which hour of {re.escape(CLASS)} was delivered, with --hour"),
    ("admin topics --kafka 127.0.0.1:1 --shards 2", 5, r"no broker answers at 127\.0\.0\.1:1 \(HOURBOOK_KAFKA\)"),
    ("admin topics --kafka nonsense --shards 2", 5, r"no broker answers at nonsense \(HOURBOOK_KAFKA\)"),
    ("admin first-key --kafka 127.0.0.1:1 --url http://x --profile x.json", 5, r"no broker answers at 127\.0\.0\.1:1"),
]
"""Wrong wherever they are typed: (words, exit code, line)."""

NOTHING_RUNS = [
    (words, 5, r"no exchange runs from this folder; `make run` starts a sandbox, `make up` a durable exchange")
    for words in (
        "book",
        f"buy 1 {CLASS} --price 1",
        "positions",
        "admin account Ana",
        "status",
        "audit",
        "replay --shard 0",
        "snapshot --shard 0",
        "archive --shard 0",
        "quarantine --shard 1 --offset 1 --hash 00 --reason r --operator o",
    )
]

REFUSED = [
    ("buy 1 H100.SXM.80.UK --price 3", 3, r"There is no such class \(unknown_class\).*`hourbook book`"),
    ("book NOPE", 3, r"There is no such class \(unknown_class\).*`hourbook book`"),
    (f"buy 1 {CLASS} --price abc", 3, r"This is not a decimal amount \(wrong_decimal\): 'abc'"),
    (f"buy 1 {CLASS} --price -1", 3, r"This is not a decimal amount \(wrong_decimal\): '-1'"),
    (f"buy 1 {CLASS} --price 1.0001", 3, r"The price is not on the tick \(wrong_price\).*0\.002"),
    (f"buy 1 {CLASS} --price 9.99", 3, r"The price is outside the collar \(outside_collar\): its bound is 1\.\d+ USD"),
    (f"buy 1 {CLASS} --price 0.10", 3, r"The price is outside the collar \(outside_collar\): its bound is 0\.\d+ USD"),
    (f"buy 3 {H100} --price 3", 3, r"The quantity is not tradable \(wrong_qty\).*8"),
    (f"buy 100000 {CLASS} --price 1", 3, r"The account cannot cover this \(insufficient_funds\).*needs 100000"),
    (f"sell 999 {CLASS} --price 1", 3, r"More than may be sold \(insufficient_backing\).*999"),
    (
        f"buy 1 {CLASS} --price 1.40 --post-only --hour 'in 9 hours'",
        3,
        r"Post-only, and it would trade at once \(would_trade\)",
    ),
    (f"buy 900 {CLASS} --price 1.40 --tif fok", 3, r"Fill-or-kill, and the book cannot fill it \(cannot_fill\)"),
    (
        f"buy 1 {CLASS} --price 1 --hour 2031-01-01T00",
        3,
        r"This hour is not listed \(unknown_contract\).*`hourbook book CLASS`",
    ),
    (f"buy 1 {CLASS} --price 1 --id ÄÖ", 3, r"The client order id is not usable \(wrong_client_id\)"),
    (
        f"buy 1 {CLASS} --price 1 --launch nope",
        3,
        r"There is no such launch specification of yours \(unknown_launch\).*`hourbook launch nope`",
    ),
    ("cancel 0-1-1-1", 3, r"No open order has this id \(unknown_order\): `hourbook orders` shows the open ones"),
    ("cancel nonsense", 3, r"No open order has this id \(unknown_order\)"),
    ("withdraw 1000000 --to bank", 3, r"The account cannot cover this \(insufficient_funds\)"),
    ("admin deposit 999 5", 3, r"There is no such account \(unknown_account\)"),
    ("admin deposit 1 5 --reference start-member", 3, r"This deposit was booked before \(deposit_known\)"),
    ("admin key 999", 3, r"There is no such account \(unknown_account\)"),
    ("admin revoke nope", 3, r"There is nothing at this address \(not_found\): there is no such key of yours"),
    ("admin list-class NOPE", 2, r"NOPE is neither a file nor one of: A100\.SXM\.80\.US, B200"),
    ("admin halt NOPE --reason x", 3, r"There is no such class \(unknown_class\)"),
    ("admin engine-version 1 --shard 0", 3, r"This engine version is not possible \(wrong_version\)"),
    ("admin engine-version 2 --shard 7", 3, r"The request does not decode \(malformed\): shard is 0 to 1"),
    ("sandbox", 2, r"the exchange of .*var/sandbox runs already, as process \d+"),
    ("replay --shard 9", 78, r"settings: HOURBOOK_SHARD is 9, of 2 shards"),
    (
        "quarantine --shard 1 --offset 1 --hash 00 --reason r --operator o",
        65,
        r"commands/1 offset 1 has hash \w+, not 00",
    ),
]
"""What a running exchange answers."""


@pytest.mark.usefixtures("inside")
@pytest.mark.parametrize(("words", "code", "line"), WORDS, ids=[row[0] for row in WORDS])
def test_words_that_cannot_be_used(words: str, code: int, line: str) -> None:
    assert_one_line(words, code, line)


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize(("words", "code", "line"), NOTHING_RUNS, ids=[row[0] for row in NOTHING_RUNS])
def test_where_nothing_runs(words: str, code: int, line: str) -> None:
    assert_one_line(words, code, line)


@pytest.mark.usefixtures("inside")
@pytest.mark.parametrize(("words", "code", "line"), REFUSED, ids=[row[0] for row in REFUSED])
def test_what_the_exchange_refuses(words: str, code: int, line: str) -> None:
    if "--hour 'in 9 hours'" in words:
        wait_for_asks(CLASS)
    assert_one_line(words, code, line)


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize(
    ("words", "code", "line"),
    [
        ("replay --shard 0", 5, r"no broker answers at 127\.0\.0\.1:1 \(HOURBOOK_KAFKA\)"),
        (
            "archive --shard 0",
            5,
            r"Postgres does not say how far settlement is, and nothing is cut without that: .*Connect call failed",
        ),
    ],
)
def test_a_tool_whose_servers_are_away(words: str, code: int, line: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A command is not a service: it does not wait for ever."""
    monkeypatch.setenv("HOURBOOK_KAFKA", "127.0.0.1:1")
    monkeypatch.setenv("HOURBOOK_POSTGRES", "postgresql://x:y@127.0.0.1:1/z")
    assert_one_line(words, code, line)


def test_the_first_key_wants_the_master_key(inside: Sandbox) -> None:
    """Checked before anything is written to the log."""
    environment = json.loads((inside.folder / "var/sandbox/environment.json").read_bytes())
    done = typed(
        "admin", "first-key", "--kafka", environment["HOURBOOK_KAFKA"], "--url", "http://x", "--profile", "x.json"
    )

    assert (done.code, done.err) == (2, "hourbook: HOURBOOK_MASTER_KEY is not set\n")
    assert not (inside.folder / "x.json").exists()


def assert_one_line(words: str, code: int, line: str) -> None:
    done = typed(*shlex.split(words))

    assert (done.code, done.out) == (code, "")
    assert re.fullmatch(rf"hourbook: {line}.*\n", done.err), done.err


@pytest.mark.parametrize("group", [[], ["admin"]])
def test_help_is_what_is_shown_without_a_command(group: list[str]) -> None:
    """Each command with a whole sentence."""
    done = typed(*group)

    assert done == typed(*group, "--help")
    assert (done.code, done.err) == (0, "")
    assert "..." not in done.out.partition("Commands:")[2]


@pytest.mark.usefixtures("here")
def test_a_port_that_another_has_is_refused_before_anything_is_started() -> None:
    """Not after a minute of a gateway that begins anew."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        assert_one_line(f"sandbox --port {port}", 2, rf"port {port} cannot be had on this machine: choose another")


def test_ctrl_c_while_it_is_still_being_read_ends_without_a_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a busy machine the imports take seconds, and whoever has mistyped does not wait for them."""

    class Interrupted(MetaPathFinder):
        def find_spec(self, name: str, path: object, target: object = None) -> None:  # noqa: ARG002 # the interface
            if name == "services.cli.__main__":
                raise KeyboardInterrupt

    monkeypatch.delitem(sys.modules, "services.cli.__main__")
    monkeypatch.setattr(sys, "meta_path", [Interrupted(), *sys.meta_path])
    with pytest.raises(SystemExit) as ended:
        start.main()

    assert ended.value.code == 130


@pytest.mark.usefixtures("inside")
def test_ctrl_c_ends_without_a_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("services.cli.client.Client.get", interrupted)
    done = typed("balance")

    assert done.code == 130
    assert "Traceback" not in done.err
