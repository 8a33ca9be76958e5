"""exchange   Exchange   one for this folder and for nobody else: what is asked here halts classes, ends keys and floods

Its processes log in at the broker, as in production: so all secrets are there for which a stranger might look.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator

import pytest

from services.runtime.infra import ApacheKafka, any_postgres, open_folder
from tests.gateway.exchange import Exchange


@pytest.fixture(scope="package")
def exchange(walled_kafka: ApacheKafka) -> Iterator[Exchange]:
    with open_folder() as home, any_postgres()(home / "postgres", fsync=False) as postgres:
        running = Exchange(walled_kafka, postgres, home, f"hostile{secrets.token_hex(4)}-")
        try:
            running.open()
            yield running
        except BaseException:
            for name, text in running.log_tails():
                print(f"--- {name}\n{text}")
            raise
        finally:
            running.close()
