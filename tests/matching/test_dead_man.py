"""Cancel-all-after: a member who falls silent has nothing left in any book."""

from __future__ import annotations

import pytest

from schemas import commands as cmd
from schemas import events as ev
from schemas.events import Code
from tests.matching.market import Market, clock, lines, rows


def full_house() -> Market:
    """Ana waits everywhere: two hours, a block on each side, a quote's side would be the same; Bert waits as well."""
    return Market.given(hours=3).when("""
        ana buys 2 at 1.90
        bert buys 1 at 1.90
        ana sells 3 at 2.20 in hour +1
        ana offers a block of 4 for 2 hours from +1 at 2.50
        ana bids a block of 5 for 3 hours from +0 at 1.50, at least 2
    """)


def test_when_it_runs_out_everything_of_the_account_is_cancelled_by_order_id() -> None:
    market = full_house().when("ana's switch is set to 5000 ms")
    assert market.said() == ["ana's switch goes off at 21:10 and 5000 ms"]

    assert market.wait(ms=4_999).said() == ["a tick"]
    market.wait(ms=1)

    assert market.said() == lines("""
        ana's switch goes off
        ana loses 2 of an order: dead_man
        ana loses 3 of an order: dead_man
        ana loses 4 of an order: dead_man
        ana loses 5 of an order: dead_man
        a tick
    """)
    assert market.books() == rows("""
        hour | bid    | price | ask
        +0   | 1 bert | 1.90  |
    """)
    assert market.blocks()[1:] == []
    assert market.balances("ana") == rows("""
        who | cash    | held | collateral | free
        ana | 1000.00 | 0.00 | 0.00       | 1000.00
    """)


def test_it_goes_off_once() -> None:
    """What is placed afterwards stays."""
    market = full_house().when("ana's switch is set to 5000 ms").wait(ms=5_000).when("ana buys 1 at 1.80")

    assert market.wait(to="21:40").said() == ["a tick"]
    assert market.book()[-1] == ("1 ana", "1.80", "")


def test_it_is_renewed_by_setting_it_again_and_the_one_before_means_nothing() -> None:
    market = full_house().when("ana's switch is set to 5000 ms").wait(ms=4_999).when("ana's switch is set to 9000 ms")

    assert market.wait(ms=8_999).said() == ["a tick"]
    assert market.wait(ms=1).said()[0] == "ana's switch goes off"


def test_it_may_be_set_to_an_earlier_moment_too() -> None:
    market = full_house().when("ana's switch is set to 9000 ms\nana's switch is set to 1000 ms")

    assert market.wait(ms=1_000).said()[0] == "ana's switch goes off"
    assert market.wait(ms=9_000).said() == ["a tick"]


def test_it_is_switched_off() -> None:
    """Also when it was not on."""
    market = full_house().when("ana's switch is off\nana's switch is set to 5000 ms\nana's switch is off")
    assert market.said() == lines("""
        ana's switch is off
        ana's switch goes off at 21:10 and 5000 ms
        ana's switch is off
    """)

    assert market.wait(to="21:40").said() == ["a tick"]


def test_with_nothing_in_the_books_it_says_only_that_it_went_off() -> None:
    market = Market.given().when("ana's switch is set to 1000 ms")

    assert market.wait(to="21:40").said() == ["ana's switch goes off", "a tick"]


def test_switches_of_one_moment_go_off_by_account_and_after_dates() -> None:
    """Bert's order expires at that very moment: it is told once, as expired."""
    market = Market.given(money={"ana": "9", "bert": "9"})
    market.when("""
        bert buys 1 at 1.90 until 21:11
        bert buys 2 at 1.90
        ana buys 3 at 1.90
        bert's switch is set to 60000 ms
        ana's switch is set to 60000 ms
    """)

    assert market.wait(to="21:11").said() == lines("""
        bert loses 1 of an order: expired
        ana's switch goes off
        ana loses 3 of an order: dead_man
        bert's switch goes off
        bert loses 2 of an order: dead_man
        a tick
    """)


def test_the_command_that_comes_with_the_record_of_its_moment_is_too_late_to_renew_it() -> None:
    """Time passes first: a renewal sets the next one."""
    market = full_house().when("ana's switch is set to 5000 ms")
    market.stamp_ms = market.engine.time_ms + 5_000

    market.when("ana's switch is set to 5000 ms")

    assert market.said()[0] == "ana's switch goes off"
    assert market.said()[-1] == "ana's switch goes off at 21:10 and 10000 ms"


def test_an_order_refused_or_a_cancel_does_not_renew_it() -> None:
    market = full_house().when("ana's switch is set to 5000 ms").wait(ms=4_000)
    market.when("ana buys 1 at 9.00\nana cancels bid 1.90\nana buys 1 at 1.70")

    assert market.wait(ms=1_000).said()[0] == "ana's switch goes off"


@pytest.mark.parametrize(
    ("after_ms", "answer"),
    [
        (1_000, None),
        (86_400_000, None),
        (999, 1_000),
        (1, 1_000),
        (-1, 1_000),
        (-(2**63), 1_000),
        (86_400_001, 86_400_000),
        (2**64 - 1, 86_400_000),
    ],
)
def test_from_a_second_to_a_day(after_ms: int, answer: int | None) -> None:
    """The refusal says which bound; what was set stays set."""
    market = Market.given().when("ana's switch is set to 2000 ms")
    ana = market.account("ana")

    said = market.tell(cmd.CancelAllAfter(ana, after_ms, market.engine.time_ms))

    if answer is None:
        assert said == [ev.CancelAllAfterSet(0, ana, market.engine.time_ms + after_ms)]
    else:
        assert said == [ev.Rejected(0, ana, Code.WRONG_EXPIRY, "", answer)]
        assert market.wait(ms=2_000).said() == ["ana's switch goes off", "a tick"]


def test_renewals_do_not_pile_up() -> None:
    """Of those renewed at one moment one remains; the others are looked through and dropped in time."""
    market = Market.given()
    ana = market.account("ana")
    moments = len(market.engine.due)
    market.tell(*[cmd.CancelAllAfter(ana, 60_000, market.engine.time_ms)] * 500)
    assert len(market.engine.due) == moments + 1

    for ms in range(1, 3_000):
        valid_until_ms = market.engine.time_ms + 1_000
        (said,) = market.engine.apply(
            market._offset, market.stamp_ms + ms, [cmd.CancelAllAfter(ana, 60_000, valid_until_ms)]
        )
        assert isinstance(said, ev.CancelAllAfterSet)
        market._offset += 1
    assert len(market.engine.due) < moments + 1_100
    assert market.wait(to="21:40").said() == ["ana's switch goes off", "a tick"]


def test_an_hour_that_ends_and_a_switch_that_goes_off_with_it() -> None:
    """At 22:55 the gate closes first: what it cancelled the switch does not find; a block of later hours it does."""
    market = Market.given(hours=3).when("""
        ana buys 1 at 1.90
        ana bids a block of 1 for 2 hours from +1 at 1.90
    """)
    market.wait(to="22:54")
    market.send(cmd.CancelAllAfter(market.account("ana"), clock("22:55") - clock("22:54"), clock("22:54")))

    market.wait(to="22:55")

    assert [said for said in market.said() if "ana" in said] == lines("""
        ana loses 1 of an order: gate_closed
        ana's switch goes off
        ana loses 1 of an order: dead_man
    """)
