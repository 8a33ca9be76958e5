"""Public keys of tenants: what is none is left out and named, and keeps nobody else out."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import asyncssh

KEY_VARIABLE = "HOURBOOK_KEY"
"""In the environment of a session: the fingerprint of the key that opened it."""
PROBE = "probe"


@lru_cache(maxsize=256)
def sort_out(ssh_keys: tuple[str, ...]) -> tuple[tuple[str, ...], str]:
    """Those that are keys, in OpenSSH's form and without whatever options stood before them; and a remark on the others."""
    good: list[str] = []
    bad: list[str] = []
    for number, text in enumerate(ssh_keys, start=1):
        try:
            key = asyncssh.import_public_key(text)
        except ValueError:
            bad.append(str(number))
            continue
        line = key.export_public_key("openssh").decode().strip()
        # The comment is the tenant's own text, and of no use here.
        good.append(" ".join(line.split()[:2]))
    if not bad:
        return tuple(good), ""
    return tuple(good), f"SSH key {', '.join(bad)} of {len(ssh_keys)} is none and was left out"


@lru_cache(maxsize=256)
def fingerprint(line: str) -> str:
    """`SHA256:...` of a line that `sort_out` has passed."""
    return str(asyncssh.import_public_key(line).get_fingerprint())


def authorized_keys(tenant: Sequence[str], probe: Sequence[str]) -> str:
    """The text of an authorized_keys file. The probe's login runs `true`, whatever it asks for, and forwards nothing."""
    lines = [f'environment="{KEY_VARIABLE}={fingerprint(line)}" {line}' for line in tenant]
    lines += [
        f'command="true",no-pty,no-port-forwarding,environment="{KEY_VARIABLE}={PROBE}" {line}'
        for line in probe
        if line not in tenant
    ]
    return "\n".join(lines)
