"""Hours as people say them: local, to come, on the hour; and shown local first with UTC beside."""

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

import pytest

from schemas.ids import parse_symbol
from services.cli.context import Context
from services.cli.errors import Unusable
from services.cli.hours import Span, contract_of, span_of
from services.cli.times import EXAMPLES, moment, parse_any_hour, parse_hour, shown, shown_iso, shown_moment
from tests.cli.test_client import Answer, server

THURSDAY = "2026-11-26T10:59:30Z"


@contextmanager
def living_in(zone: str) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TZ", zone)
        time.tzset()
        yield
    time.tzset()


def said(text: str, now: str = THURSDAY, *, zone: str = "UTC") -> str:
    """The hour that is meant, or the complaint."""
    with living_in(zone):
        try:
            return shown(parse_hour(text, datetime.fromisoformat(now).astimezone()))
        except Unusable as error:
            return error.message


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("now", "Thu 26 Nov 11:00"),
        ("next", "Thu 26 Nov 11:00"),
        ("in 3 hours", "Thu 26 Nov 14:00"),
        ("in 3h", "Thu 26 Nov 14:00"),
        ("in 90 minutes", "Thu 26 Nov 13:00"),
        ("an hour from now", "Thu 26 Nov 12:00"),
        ("14:00", "Thu 26 Nov 14:00"),
        ("9pm", "Thu 26 Nov 21:00"),
        ("9am", "Fri 27 Nov 09:00"),
        ("noon", "Thu 26 Nov 12:00"),
        ("midnight", "Fri 27 Nov 00:00"),
        ("tomorrow 14:00", "Fri 27 Nov 14:00"),
        ("tomorrow at 9am", "Fri 27 Nov 09:00"),
        ("in 2 days at 9am", "Sat 28 Nov 09:00"),
        ("sat 9am", "Sat 28 Nov 09:00"),
        ("saturday at 9 am", "Sat 28 Nov 09:00"),
        ("thu 15:00", "Thu 26 Nov 15:00"),
        ("thu 9am", "Thu 03 Dec 09:00"),
        ("28 nov 14:00", "Sat 28 Nov 14:00"),
        ("2026-11-28T14", "Sat 28 Nov 14:00"),
        ("2026-11-28 14:00", "Sat 28 Nov 14:00"),
        ("2026-11-28T14:00Z", "Sat 28 Nov 14:00"),
        ("2026-11-28T14:00+02:00", "Sat 28 Nov 12:00"),
    ],
)
def test_said_on_a_thursday_at_one_minute_to_eleven(text: str, meant: str) -> None:
    """A length of time from now is the first hour that begins then or later; a weekday may be today."""
    assert said(text) == f"{meant} ({meant[-5:]} UTC)"


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("gibberish", "'gibberish' is not a time; say 'now', '14:00', 'tomorrow 14:00'"),
        ("", "'' is not a time"),
        ("tomorrow", "'tomorrow' names no hour of the day; say it like 'tomorrow 14:00'"),
        ("in 2 days", "'in 2 days' names no hour of the day"),
        ("14", "'14' names no hour of the day"),
        ("2026-11-28", "'2026-11-28' is a whole day: say which hour of it, 2026-11-28T14"),
        (
            "14:30",
            "'14:30' is within an hour: hours begin Thu 26 Nov 14:00 (14:00 UTC) and Thu 26 Nov 15:00 (15:00 UTC)",
        ),
        ("yesterday 14:00", "'yesterday 14:00' is Wed 25 Nov 14:00 (14:00 UTC), which is over or has begun"),
        ("2 hours ago", "'2 hours ago' is Thu 26 Nov 09:00 (09:00 UTC), which is over or has begun"),
        ("2026-11-26T10:00", "which is over or has begun"),
    ],
)
def test_what_is_no_hour_to_come_is_refused_with_what_to_say(text: str, complaint: str) -> None:
    assert complaint in said(text)


@pytest.mark.parametrize(
    ("zone", "now", "text", "meant"),
    [
        # Seven in the evening in Tokyo is ten in the morning in UTC.
        ("Asia/Tokyo", THURSDAY, "14:00 UTC", "Thu 26 Nov 23:00 (14:00 UTC)"),
        ("Asia/Tokyo", THURSDAY, "09:00 UTC", "Fri 27 Nov 18:00 (09:00 UTC)"),
        ("Asia/Tokyo", THURSDAY, "tomorrow 08:00", "Fri 27 Nov 08:00 (Thu 23:00 UTC)"),
        ("Asia/Tokyo", THURSDAY, "2026-11-28T14", "Sat 28 Nov 14:00 (05:00 UTC)"),
        # Hours of the market begin at half past in India.
        ("Asia/Kolkata", THURSDAY, "tomorrow 14:30", "Fri 27 Nov 14:30 (09:00 UTC)"),
        ("Asia/Kolkata", THURSDAY, "in 3 hours", "Thu 26 Nov 19:30 (14:00 UTC)"),
        (
            "Asia/Kolkata",
            THURSDAY,
            "tomorrow 14:00",
            "'tomorrow 14:00' is within an hour: hours begin Fri 27 Nov 13:30 (08:00 UTC) and Fri 27 Nov 14:30 (09:00 UTC)",
        ),
        # The night in which Berlin puts its clocks forward, and the one in which it puts them back.
        ("Europe/Berlin", "2026-03-28T22:10:00Z", "tomorrow 03:00", "Sun 29 Mar 03:00 (01:00 UTC)"),
        ("Europe/Berlin", "2026-03-28T22:10:00Z", "in 3 hours", "Sun 29 Mar 04:00 (02:00 UTC)"),
        (
            "Europe/Berlin",
            "2026-03-28T22:10:00Z",
            "tomorrow 02:00",
            "'tomorrow 02:00' does not exist: the clocks are put forward then; say it in UTC",
        ),
        ("Europe/Berlin", "2026-10-24T20:10:00Z", "in 3 hours", "Sun 25 Oct 02:00 (00:00 UTC)"),
        ("Europe/Berlin", "2026-10-24T20:10:00Z", "in 4 hours", "Sun 25 Oct 02:00 (01:00 UTC)"),
        (
            "Europe/Berlin",
            "2026-10-24T20:10:00Z",
            "tomorrow 02:00",
            "'tomorrow 02:00' is twice: the clocks are put back then; say '2026-10-25T00:00Z' or '2026-10-25T01:00Z'",
        ),
    ],
)
def test_elsewhere_and_when_clocks_are_changed(zone: str, now: str, text: str, meant: str) -> None:
    """Never a neighbouring hour in silence: it would be money for another hour."""
    assert said(text, now, zone=zone) == meant


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("now", "Thu 26 Nov 10:00 (10:00 UTC)"),
        ("09:00", "Thu 26 Nov 09:00 (09:00 UTC)"),
        ("yesterday 14:00", "Wed 25 Nov 14:00 (14:00 UTC)"),
        ("2026-11-24T14", "Tue 24 Nov 14:00 (14:00 UTC)"),
        ("tomorrow 14:00", "Fri 27 Nov 14:00 (14:00 UTC)"),
    ],
)
def test_a_delivered_hour_may_be_over(text: str, meant: str) -> None:
    """`now` is then the running hour, and a bare clock time is today's."""
    with living_in("UTC"):
        assert shown(parse_any_hour(text, datetime.fromisoformat(THURSDAY).astimezone())) == meant


def test_what_is_shown_is_local_first_with_utc_beside() -> None:
    with living_in("Asia/Tokyo"):
        assert shown_iso("2026-11-24T14:00Z") == "Tue 24 Nov 23:00 (14:00 UTC)"
        assert shown_iso("2026-11-24T15:00Z") == "Wed 25 Nov 00:00 (Tue 15:00 UTC)"
        assert shown_moment("2026-11-24T14:03:20.512Z") == "Tue 24 Nov 23:03:20 (14:03 UTC)"
        assert shown_moment("2026-11-24T15:03:20.512Z") == "Wed 25 Nov 00:03:20 (Tue 15:03 UTC)"


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("in 90 minutes", "2026-11-26T12:29:30Z"),
        ("in 2 hours", "2026-11-26T12:59:30Z"),
        ("18:30", "2026-11-26T17:30:00Z"),
        ("tomorrow 9am", "2026-11-27T08:00:00Z"),
        ("2026-11-26T18:30:15", "2026-11-26T17:30:15Z"),
        ("2026-11-26T18:30Z", "2026-11-26T18:30:00Z"),
        ("2026-11-26T11:00", "'2026-11-26T11:00' is Thu 26 Nov 11:00, which is over"),
        ("tomorrow", "'tomorrow' names no hour of the day; say it like 'tomorrow 14:00' or 'sat 9am'"),
        ("whenever", f"'whenever' is not a time; say {EXAMPLES}"),
    ],
)
def test_a_moment_is_to_the_second_and_to_come(text: str, meant: str) -> None:
    """Local time, told in UTC, as orders with a date need it: it need not be a whole hour."""
    with living_in("Europe/Berlin"):
        try:
            found = moment(text, datetime.fromisoformat(THURSDAY).astimezone())
        except Unusable as error:
            found = error.message
    assert found == meant


def test_the_market_s_now_counts_and_is_asked_for_once() -> None:
    """A sandbox whose time runs faster is hours ahead of this machine; nor has any machine's clock to be right."""
    told = json.dumps({"now": "2026-11-26T10:59:30Z", "market": "2027-03-01T04:20:00Z", "rate": 20}).encode()
    with living_in("UTC"), server(Answer(200, told)) as (caller, asked):
        context = Context(as_json=False, make_client=lambda _: caller)
        _, one = parse_symbol(contract_of(context, "L40S.48.US", "in 3 hours"))
        several = span_of(context, "tomorrow 09:00", 4)
        until = moment("in 2 hours", context.now())

    assert shown_in_utc(one) == "2027-03-01 08:00"
    assert several is not None
    assert (shown_in_utc(several.first), several) == ("2027-03-02 09:00", Span(several.first, 4))
    assert until == "2027-03-01T06:20:00Z"
    assert [each.path for each in asked] == ["/v1/time"]


def shown_in_utc(hour: int) -> str:
    return f"{datetime.fromtimestamp(hour * 3600, UTC):%Y-%m-%d %H:%M}"
