"""Who may do what with which topic: the one list, and how a broker is made to keep it.

    await raise_walls(cluster)      # as an administrator; whatever is not on the list is refused from then on

A login is a service's name. `operator` is the tools' (audit, replay, snapshot, archive, quarantine). An `administrator`, who
creates topics and keeps the lists, is on none of them: the broker's own settings say who may do everything. The simulated
cloud and demo members are not here, because they have no connection to the broker at all.

A service reads `shards` and `probe`, and writes `probe`, where it checks how shards began and how the broker stamps (`topics`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping
from typing import Final, NamedTuple

from services.runtime.errors import Halt
from services.runtime.kafka import Cluster
from services.runtime.kafka_acls import Grant, Operation
from services.runtime.log import LogError

ADMINISTRATOR: Final = "administrator"
OPERATOR: Final = "operator"
_VISIBLE_TRIES: Final = 100


class Access(NamedTuple):
    """Topics, by what a login may do with them. Of a topic on none of them it is not even told."""

    reads: Collection[str] = ()
    writes: Collection[str] = ()
    cuts: Collection[str] = ()
    """Deletes the oldest records of."""

    def grants(self, user: str) -> set[Grant]:
        """What the broker is told."""
        may = {Operation.READ: self.reads, Operation.WRITE: self.writes, Operation.DELETE: self.cuts}
        told = {*self.reads, *self.writes, *self.cuts}
        return {Grant(topic, user, operation) for operation, topics in may.items() for topic in topics} | {
            Grant(topic, user, Operation.DESCRIBE_CONFIGS) for topic in told
        }


ACCESS: Final[Mapping[str, Access]] = {
    "gateway": Access(
        reads=("commands", "events", "keys", "offers", "shards", "probe"),
        writes=("commands", "requests", "delivery", "keys", "probe"),
    ),
    "settlement": Access(
        reads=("commands", "events", "requests", "delivery", "shards", "probe"),
        writes=("commands", "requests", "probe"),
    ),
    "matching": Access(
        reads=("commands", "events", "references", "quarantine", "shards", "probe"),
        writes=("commands", "events", "probe"),
    ),
    "market_data": Access(reads=("events", "rentals", "offers"), writes=("references",)),
    "delivery": Access(
        reads=("commands", "events", "leases", "delivery", "shards", "probe"),
        writes=("leases", "delivery", "probe"),
    ),
    "router": Access(
        reads=("commands", "events", "rentals", "shards", "probe"),
        writes=("rentals", "probe"),
    ),
    "supply": Access(reads=("offers",), writes=("offers",)),
    "market_maker": Access(reads=("offers",)),
    OPERATOR: Access(
        reads=(
            "commands",
            "events",
            "requests",
            "delivery",
            "leases",
            "rentals",
            "references",
            "quarantine",
            "shards",
            "probe",
        ),
        writes=("quarantine", "probe"),
        cuts=("commands", "events"),
    ),
}
USERS: Final = (*ACCESS, ADMINISTRATOR)
"""All logins of an exchange."""


async def raise_walls(cluster: Cluster, topics: Collection[str]) -> None:
    """The lists of `topics` say what `ACCESS` says, and what older builds have granted our logins beyond it is taken back.

    Grants of other logins are their own operators'. Raises Halt where the broker keeps no lists: a login alone is no wall.
    """
    wanted = {grant for user, access in ACCESS.items() for grant in access.grants(user)}
    try:
        for _ in range(_VISIBLE_TRIES):
            found = {grant for grant in await cluster.grants(topics) if grant.user in USERS}
            if found == wanted:
                return
            await cluster.change_grants(wanted - found, found - wanted)
            # A broker obeys a moment after it has acknowledged.
            await asyncio.sleep(0.05)
    except LogError as error:
        raise Halt(f"the broker takes logins, and its lists of who may do what cannot be written: {error}") from error
    raise Halt("the broker does not show the access lists that were written")
