"""A newcomer's day: what is foretold, the running hour, a night as a block, a part of it sold again; a bot with a promise."""

import json
import re
import shlex
import time
from typing import Any

import pytest

from tests.cli.conftest import Done, Sandbox, closing, typed, wait_for_asks
from tests.cli.documents import commands, table, within_a_day

H100 = "H100.SXM.80.US"
L40S = "L40S.48.US"
NIGHT = ("--hours", "in 100 hours", "--for", "24")
"""Not the one of the README: the desk sells no more than sixteen of an hour."""


def done(*words: str) -> str:
    """What a command says that must end well."""
    ended = typed(*words)
    assert (ended.code, ended.err) == (0, ""), ended
    return ended.out


def drawn(*words: str) -> list[str]:
    """The shape of each line that a command says."""
    return within_a_day(done(*words)).splitlines()


def told(*words: str) -> Any:
    """The document that it answers."""
    return json.loads(done("--json", *words))


@pytest.mark.usefixtures("inside")
def test_the_running_hour_is_bought_at_once_or_says_why_not() -> None:
    """From five minutes before an hour to ten before its end; the desk has machines on demand then."""
    late = closing()
    ended = typed("buy", "1", H100, "--now", "--price", "6.60")
    if late:
        assert ended.code in {0, 3}, ended
        return
    assert ended.code == 0, ended
    first, *others = within_a_day(ended.out).splitlines()
    assert first == "order N-N-N-N: buy N × HN.SXM.N.US at N, D N D N:N (N:N UTC)"
    whole = [
        line.replace(" for N minutes", "") for line in others
    ]  # five minutes before it begins all of the hour is left
    assert whole in (
        ["  bought N at N = N USD, fee N, from desk"],
        ["  bought N at N = N USD, fee N, from member"],
        ["  N cancelled (ioc): nobody asks N or less for it just now; who asks what: hourbook book HN.SXM.N.US"],
    )


@pytest.mark.usefixtures("inside")
def test_what_the_desk_sells_now_is_procured_within_seconds_and_the_desk_pays() -> None:
    """By the simulated cloud; after that nothing is left that an operator could buy a machine for."""

    def procured() -> tuple[int, list[Any]]:
        told("positions")  # a member's read waits until his fills are settled, an operator's does not
        processes = {each["name"]: each["details"] for each in told("status")["processes"]}
        return processes["simulated-cloud"].get("procured_gpu_minutes", 0), told("admin", "promises")["begun"]

    def all_procured(after: int) -> int:
        deadline = time.monotonic() + 30
        while (now := procured())[0] <= after or now[1]:
            assert time.monotonic() < deadline, now
            time.sleep(0.5)
        return now[0]

    before = all_procured(-1)
    if closing():
        return
    assert told("buy", "1", H100, "--now", "--price", "6.60")["filled"] == 1
    assert 1 <= all_procured(before) - before <= 60
    # Its machine comes within seconds, and says what it is.
    deadline = time.monotonic() + 60
    while not (mine := [each for each in told("leases") if each["class_id"] == H100 and each["state"] == "open"]):
        assert time.monotonic() < deadline, told("leases")
        time.sleep(0.5)
    assert {(each["source"], each["driver"], each["gpus"]) for each in mine} == {("simulated", "simulated", 1)}
    assert "SIMULATED: there is no machine" in typed("leases").out
    no_login = typed("ssh", mine[0]["lease"])
    assert (no_login.code, "is simulated: there is no machine to log in to" in no_login.err) == (3, True), no_login
    late = typed("admin", "procure", "2", "1", H100, "--title", "1", "--cost", "1.00")
    assert (late.code, "does not wait for a machine" in late.err) == (3, True), late


@pytest.mark.usefixtures("inside")
def test_a_night_is_previewed_bought_as_a_block_and_sold_in_part() -> None:
    wait_for_asks(H100)
    words = ("buy", "2", H100, *NIGHT, "--block", "--price", "6.00")
    foretold = drawn(*words, "--preview")
    assert foretold[0] == (
        "preview, nothing is placed: buy N × HN.SXM.N.US at N on average, N hours, D N D N:N (N:N UTC) to D N D N:N (N:N UTC)"
    )
    assert foretold[1].startswith(
        "  buys N in each hour at once, N on average; fees N, costs N USD; worst hour D N D N:N"
    )
    assert foretold[2].startswith("  hand-overs: an estimate of N, between N and N: ")

    bought = drawn(*words, "--id", "night")

    assert bought == [
        "block N-N-N-N: buy N × HN.SXM.N.US at N on average, N hours, D N D N:N (N:N UTC) to D N D N:N (N:N UTC)",
        "  bought N in each hour at N on average = N USD, fees N, N hand-overs",
    ] or bought[1].endswith("N hand-over"), bought
    (block,) = [each for each in told("blocks", "--all") if each["client_order_id"] == "night"]
    assert [block[name] for name in ("state", "hours", "filled")] == ["filled", 24, 2]
    assert told(*words, "--id", "night")["repeated"] is True

    sold = ("sell", "2", H100, "--hours", "in 100 hours", "--for", "4", "--price", "6.50", "--id", "part")
    assert drawn(*sold) == [
        "sell N × HN.SXM.N.US at N, N hours, D N D N:N (N:N UTC) to D N D N:N (N:N UTC)",
        "  N GPU-hours wait in N hours; cancel with: hourbook cancel part",
    ]
    assert drawn("amend", told("orders")[0]["order_id"], "--qty", "1") == ["order N-N-N-N: N at N, in its place"]
    assert drawn("cancel", "part") == ["order N-N-N-N: N GPUs of HN.SXM.N.US, D N D N:N (N:N UTC) cancelled in N hours"]


@pytest.mark.usefixtures("inside")
def test_an_order_ends_when_it_is_told_to_and_a_side_is_cancelled_as_a_whole() -> None:
    waits = done("buy", "1", L40S, "--price", "0.50", "--hour", "in 5 hours", "--until", "in 90 minutes")
    assert re.search(r"1 waits in the book until \w{3} \d\d \w{3} \d\d:\d\d:\d\d \((\w{3} )?\d\d:\d\d UTC\)", waits), (
        waits
    )
    refused = done("buy", "1", L40S, "--price", "0.50", "--hours", "in 165 hours", "--for", "8")
    assert "would be refused" not in refused
    assert re.search(r"  refused .* more: This hour is not listed \(unknown_contract\)", refused), refused
    count = int(done("cancel", "--class", L40S, "--side", "buy").split()[0])
    assert count >= 2
    assert [order for order in told("orders") if order["contract"].startswith(L40S) and order["side"] == "buy"] == []


@pytest.fixture
def bot(inside: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    """A market maker of its own; its profile is the one that speaks."""
    assert inside.process.exit_code() is None
    opened = told("admin", "account", "bot", "--role", "market_maker")["outcome"]["account"]
    done("admin", "deposit", str(opened), "10000")
    done(
        "admin",
        "key",
        str(opened),
        *(f"--scope={scope}" for scope in ("read", "trade", "supply")),
        "--profile",
        "bot.json",
    )
    monkeypatch.setenv("HOURBOOK_PROFILE", "bot.json")
    deadline = time.monotonic() + 10
    while typed("balance").code:
        assert time.monotonic() < deadline, typed("balance")


@pytest.mark.usefixtures("bot")
def test_each_command_of_the_readmes_table_works(monkeypatch: pytest.MonkeyPatch) -> None:
    """In its order, as it stands; what is sold is what was bought before. Those that name an order are told above."""
    wait_for_asks(H100)
    wait_for_asks(L40S)
    shown = [word for row in table("README.md", "what you want") for word in re.findall(r"`(hourbook [^`]+)`", row[1])]
    assert len(shown) >= 10
    for command in shown:
        if "ORDER" in command or ("--now" in command and closing()):
            continue
        with monkeypatch.context() as patch:
            if " quote " not in command:
                patch.delenv("HOURBOOK_PROFILE")
            ended = typed(*shlex.split(command)[1:])
        assert (ended.code, ended.err) == (0, ""), (command, ended)
        assert "refused" not in ended.out, (command, ended)
    monkeypatch.delenv("HOURBOOK_PROFILE")
    for rental in told("rentals"):  # others find none that goes on
        if not rental["stopped_at"]:
            done("stop", rental["rental"])


@pytest.mark.usefixtures("bot")
def test_a_bot_quotes_both_sides_with_a_promise() -> None:
    """One command: the promise, its collateral out of the wallet, both sides in three hours; and away with it."""
    span = ("--hours", "in 20 hours", "--for", "3")
    shown = done("quote", H100, "--bid", "2.00x2", "--ask", "6.50x2", *span, "--promise")
    rows = within_a_day(shown).splitlines()
    assert rows[0] == "Quotes of HN.SXM.N.US, number N"
    assert [" ".join(row.split()) for row in rows[2:]] == ["D N D N:N (N:N UTC) N N N N"] * 3
    assert [
        (each["ground"], each["qty"]) for each in told("quote", H100, "--away", *span)["outcomes"] if "ground" in each
    ] == []
    again = told("quote", H100, "--ask", "6.55x1", *span, "--promise")
    assert [(each["bid_qty"], each["ask"], each["ask_qty"], each["refusal"]) for each in again["outcomes"]] == [
        (0, "6.55", 1, None)
    ] * 3
    gone = told("quote", H100, "--away", *span)
    assert [(each["bid_qty"], each["ask_qty"]) for each in gone["outcomes"]] == [(0, 0)] * 3
    refused = typed("quote", H100, "--ask", "6.60x9", *span)
    assert "More than may be sold (insufficient_backing)" in refused.out


@pytest.mark.usefixtures("inside")
def test_the_desk_says_what_it_quotes_and_what_stops_it() -> None:
    wait_for_asks(H100)
    shown = done("desk")
    assert re.match(r"The desk: runs\n  worth [\d.]+ USD", shown), shown
    assert re.search(rf"^{re.escape(H100)} +\S", shown, re.MULTILINE), shown
    assert "limits reached: " in shown
    share = r"[\d.]+ % of [\d,.]+ GPU-hours in the last"
    assert re.search(rf"^  its share of volume: {share} 24 hours; {share} 168 hours$", shown, re.MULTILINE), shown
    found = told("desk")
    assert found["counts"]["quoted"] > 0
    limits = {each["name"]: each for each in found["limits"]}
    assert len(limits) == 7
    assert limits["loss_per_day_micros"]["bound"] == 20_000_000_000
    assert 0 < limits["capital_micros"]["stands"] <= limits["capital_micros"]["bound"]
    assert [each["why"] for each in found["limits"] if each["reached"]] == found["reached"]
    assert {bool(each["since"]) == each["reached"] for each in found["limits"]} == {True}
    assert re.search(r"^loss since the day began \(UTC\) +[\d.]+ USD +20000\.00 USD ", shown, re.MULTILINE), shown


@pytest.mark.usefixtures("inside")
def test_everybody_sees_what_was_traded_and_the_desk_s_part_of_it() -> None:
    wait_for_asks(H100)
    done("buy", "1", H100, "--hour", "in 7 hours", "--price", "6.60", "--tif", "ioc")
    deadline = time.monotonic() + 30
    while not (day := told("volume")["periods"][0])["classes"]:
        assert time.monotonic() < deadline, day
        time.sleep(0.5)
    rows = [row for row in done("volume").splitlines() if row.startswith(("all ", H100))]
    assert [row.split()[0] for row in rows] == [H100, "all"] * 2
    assert re.fullmatch(rf"{re.escape(H100)} +[\d,.]+ +[\d.]+ +[\d,.]+ +[\d.]+ +[\d.]+ %", rows[0]), rows


def test_stopped_catalogues_take_the_desk_s_quotes_with_them_and_bring_them_back(inside: Sandbox) -> None:
    """As the screen and the README say it: `kill -STOP`, look, `kill -CONT`."""
    wait_for_asks(H100)
    stop, look, go_on = (
        next(line for line in commands("README.md") if what in line)
        for what in ("kill -STOP", "hourbook desk", "kill -CONT")
    )
    assert inside.run(stop) == Done(0, "", "")
    try:
        deadline = time.monotonic() + 60
        while told("desk")["counts"]["quoted"] or told("desk")["counts"]["asks"]:
            assert time.monotonic() < deadline, done("desk")
            time.sleep(0.5)
        (stale,) = [each for each in told("desk")["limits"] if each["name"] == "stale_after_ms"]
        assert (stale["reached"], stale["stands"] >= stale["bound"]) == (True, True)
        shown = inside.run(look).out
        assert re.search(rf"^limits reached: stale sources: .*{re.escape(H100)}.* not quoted$", shown, re.MULTILINE), (
            shown
        )
    finally:
        assert inside.run(go_on).code == 0
    wait_for_asks(H100)
    assert told("desk")["reached"] == []


def _operator(name: str) -> str:
    """A profile of an operator with an account."""
    account = str(told("admin", "account", name)["outcome"]["account"])
    done("admin", "key", account, "--scope=read", "--scope=operator", "--profile", f"{name}.json")
    return f"{name}.json"


@pytest.mark.usefixtures("inside")
def test_two_operators_put_an_error_right(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each with a profile of its own; the first alone cannot."""
    first, second = _operator("olga"), _operator("otto")
    done("buy", "1", H100, "--hour", "in 6 hours", "--price", "6.60", "--tif", "ioc")
    me = told("balance")["account"]
    fill = told("fills")[0]
    words = ["--trade", fill["trade"], "--payer", str(me), "--payee", "2", "--amount", "0.01", "--reason", "a slip"]

    def speak(profile: str, *more: str) -> Done:
        monkeypatch.setenv("HOURBOOK_PROFILE", profile)
        deadline = time.monotonic() + 10
        while "unauthenticated" in (ended := typed("--json", "admin", *more)).out:
            assert time.monotonic() < deadline, ended
        return ended

    approval = json.loads(speak(first, "approve", *words).out)["approval"]
    assert "wrong_owner" in speak(first, "correct", *words, "--approval", approval).out
    made = json.loads(speak(second, "correct", *words, "--approval", approval).out)
    assert [made[name] for name in ("trade", "amount")] == [fill["trade"], "0.01"]
    assert made["reason"].startswith("a slip (approval ")
