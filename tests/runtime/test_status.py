"""What `/status` and `/metrics` say of the same things."""

from prometheus_client import CollectorRegistry, generate_latest

from services.runtime.status import Status


def metrics(status: Status) -> list[str]:
    registry = CollectorRegistry()
    registry.register(status)
    return [line for line in generate_latest(registry).decode().splitlines() if not line.startswith("# HELP")]


def test_a_number_is_a_gauge_a_total_a_counter_and_that_of_a_shard_has_a_label() -> None:
    status = Status("settlement")
    status.set(role="active", lag=3, caught_up=True, seen_total=7)
    status.set_of(0, seq=17)
    status.set_of(1, seq=4)
    status.set_of(0, seq=18)

    document = status.document()

    assert {key: document[key] for key in ("role", "lag", "caught_up", "seen_total", "seq_0", "seq_1")} == {
        "role": "active", "lag": 3, "caught_up": True, "seen_total": 7, "seq_0": 18, "seq_1": 4,
    }  # fmt: skip
    assert metrics(status) == [
        "# TYPE hourbook_lag gauge",
        "hourbook_lag 3.0",
        "# TYPE hourbook_caught_up gauge",
        "hourbook_caught_up 1.0",
        "# TYPE hourbook_seen_total counter",
        "hourbook_seen_total 7.0",
        "# TYPE hourbook_seq gauge",
        'hourbook_seq{shard="0"} 18.0',
        'hourbook_seq{shard="1"} 4.0',
        "# TYPE hourbook_waiting gauge",
    ]


def test_what_is_waited_for_is_a_metric_while_it_is() -> None:
    status = Status("gateway")
    status.wait("postgres", "refused")
    status.wait("shard 0")
    assert metrics(status)[-2:] == ['hourbook_waiting{what="postgres"} 1.0', 'hourbook_waiting{what="shard 0"} 1.0']

    status.go_on("postgres")
    status.go_on("shard 0")

    assert metrics(status)[-1] == "# TYPE hourbook_waiting gauge"
