"""The sandbox's broker as a server: `services.memory_broker`, Kafka's protocol in memory, in a process of its own."""

import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from services.runtime.infra.kafka_probe import answers
from services.runtime.infra.server import Server


class MemoryBroker(Server):
    """Each start begins empty."""

    name = "memory broker"
    start_s_max = 30.0

    @property
    def bootstrap(self) -> str:
        """Address for clients: `127.0.0.1:<port>`."""
        return f"127.0.0.1:{self.port}"

    def _prepare(self) -> None:
        """Nothing to prepare: it has no files."""

    def _environment(self) -> Mapping[str, str]:
        # It runs in its own folder: what we can import, it can.
        return {"PYTHONPATH": os.pathsep.join(str(Path(each).resolve()) for each in sys.path)}

    def _argv(self) -> Sequence[str | Path]:
        return [sys.executable, "-m", "services.memory_broker", str(self.port)]

    def _is_ready(self) -> bool:
        return answers(self.port)
