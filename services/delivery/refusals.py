"""What this room answers instead of a result: a code of the public API and a sentence. The gateway makes problems of them."""

from __future__ import annotations

from typing import Final

STATUS: Final = {
    "malformed": 400,
    "not_ready": 503,
    "unknown_class": 404,
    "unknown_contract": 404,
    "unknown_launch": 404,
    "unknown_machine": 404,
    "machine_known": 409,
    "duplicate_client_id": 409,
    "agent_running": 409,
    "agent_superseded": 409,
    "stale_heartbeat": 409,
    "too_many_launches": 422,
    "wrong_ssh_key": 422,
    "wrong_source": 422,
}


class Refused(Exception):
    """Nothing has changed."""

    def __init__(self, code: str, detail: str) -> None:
        assert code in STATUS, code
        super().__init__(detail)
        self.code = code
