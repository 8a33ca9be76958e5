"""The exchange's own login: the only word on whether a machine was delivered."""

from __future__ import annotations

import asyncio
from typing import Final

import asyncssh
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

CHECK_S: Final = 5.0
"""For connection, login and answer together."""


class Probe:
    """Logs in with a key of its own, and runs `true`."""

    def __init__(self, seed: bytes) -> None:
        """`seed`: 32 bytes, of the Ed25519 key."""
        pem = Ed25519PrivateKey.from_private_bytes(seed).private_bytes(
            Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption()
        )
        self._key = asyncssh.import_private_key(pem)
        self.public_key: str = self._key.export_public_key().decode().strip()

    async def fault(self, host: str, port: int, user: str, host_key: str) -> str:
        """Why one cannot log in there; empty: one can. `host_key`: as the agent reported it; another one is a fault."""
        try:
            known = asyncssh.import_known_hosts(f"{_known(host, port)} {host_key}\n")
        except (ValueError, asyncssh.Error):
            return "the agent reported no host key that is one"
        try:
            async with (
                asyncio.timeout(CHECK_S),
                asyncssh.connect(
                    host, port, username=user, client_keys=[self._key], known_hosts=known, agent_path=None, config=None
                ) as connection,
            ):
                done = await connection.run("true", stdin=asyncssh.DEVNULL)
        except TimeoutError:
            return f"no answer within {CHECK_S:g} s"
        except (OSError, asyncssh.Error) as error:
            return f"{type(error).__name__}: {error}"
        return "" if done.exit_status == 0 else f"`true` ended with {done.exit_status}"


def _known(host: str, port: int) -> str:
    return f"[{host}]:{port}" if port != 22 else host
