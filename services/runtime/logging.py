"""Logs for operators: one JSON object a line on stderr.

    log = logging.getLogger("hourbook.settlement")
    log.info("caught up", extra={"fields": {"seq": 812}})

{"time": "2026-11-23T08:00:00.123Z", "level": "INFO", "service": "settlement-0", "what": "caught up", "seq": 812}
A fact that programs need is an event or a status, never a log line. Secrets: settings do not show them in `repr`, and the
values of `secrets` are cut out of every line, tracebacks included.
"""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Collection
from datetime import UTC, datetime
from typing import Any


class LineFormatter(logging.Formatter):
    """A log record → one line of JSON without secrets."""

    def __init__(self, service: str, secrets: Collection[str] = ()) -> None:
        super().__init__()
        self.service = service
        # A line is JSON, in which quotation marks and the like are written in another way.
        self.secrets = [
            spelt for secret in secrets if secret for spelt in {secret, json.dumps(secret, ensure_ascii=False)[1:-1]}
        ]

    def format(self, record: logging.LogRecord) -> str:
        """One line."""
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC)
            .isoformat(timespec="milliseconds")
            .replace("+00:00", "Z"),
            "level": record.levelname,
            "service": self.service,
            "what": record.getMessage(),
        }
        if not record.name.startswith("hourbook"):
            line["from"] = record.name
        line.update(getattr(record, "fields", {}))
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        text = json.dumps(line, default=str, ensure_ascii=False)
        for secret in self.secrets:
            text = text.replace(secret, "***")
        return text


def configure(service: str, secrets: Collection[str] = ()) -> None:
    """Every logger of the process writes such lines: ours from INFO on, libraries from WARNING on."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(LineFormatter(service, secrets))
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    logging.getLogger("hourbook").setLevel(logging.INFO)


def silence_libraries() -> None:
    """Of a command: its failure is one line on standard error, its own; what a library remarks on the way there is not said."""
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL + 1)
