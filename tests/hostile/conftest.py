"""exchange   Exchange   one for this folder and for nobody else: what is asked here halts classes, ends keys and floods

Its processes log in at the broker, as in production: so all secrets are there for which a stranger might look.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from services.runtime.infra import ApacheKafka
from tests.gateway.exchange import Exchange, open_exchange


@pytest.fixture(scope="package")
def exchange(walled_kafka: ApacheKafka) -> Iterator[Exchange]:
    with open_exchange(walled_kafka, "hostile") as running:
        yield running
