"""Tests in this folder that ask for `bootstrap` run twice: on Apache Kafka, and on the sandbox's broker."""

import pytest


@pytest.fixture(params=[pytest.param("kafka", marks=pytest.mark.kafka), "broker"])
def bootstrap(request: pytest.FixtureRequest) -> str:
    """Address of a broker, `127.0.0.1:<port>`."""
    return request.getfixturevalue(request.param).bootstrap
