"""Tests in this folder that ask for `bootstrap` run twice: on Apache Kafka, and on the sandbox's broker."""

from collections.abc import AsyncIterator

import pytest

from services.runtime.kafka import Cluster


@pytest.fixture(params=[pytest.param("kafka", marks=pytest.mark.kafka), "broker"])
def bootstrap(request: pytest.FixtureRequest) -> str:
    """Address of a broker, `127.0.0.1:<port>`."""
    return request.getfixturevalue(request.param).bootstrap


@pytest.fixture
async def cluster(bootstrap: str, topic_prefix: str) -> AsyncIterator[Cluster]:
    """Both brokers in turn, with topic names of the test's own."""
    async with Cluster(bootstrap, prefix=topic_prefix) as opened:
        yield opened


@pytest.fixture
async def kafka_cluster(kafka, topic_prefix: str) -> AsyncIterator[Cluster]:
    """Apache Kafka only."""
    async with Cluster(kafka.bootstrap, prefix=topic_prefix) as opened:
        yield opened
