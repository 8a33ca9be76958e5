"""Rentals, machines, leases and launch specifications as members and providers see them: bodies of the public API.

Instants are ISO 8601 in UTC; market time, which outside a sandbox is everybody's.
"""

from __future__ import annotations

from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta, Struct

from schemas.agents import KEYS_MAX, SCRIPT_MAX, Driver, MachineName, Source
from schemas.edge import iso_hour
from schemas.http import LAUNCH, ClassId, HandoversPreview, HourOrNone, HourText, Usd, UsdOrNone
from schemas.ids import LEGS_MAX
from schemas.rentals_log import Terms
from schemas.units import format_usd

LAUNCH_NAME: Final = LAUNCH
LaunchName = Annotated[str, Meta(pattern=LAUNCH_NAME)]
DEFAULT_LAUNCH: Final = "default"
"""The specification of whoever names none."""


class LaunchRequest(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """PUT /v1/launches/{name}: what the account wants to find on its machines.

    Keys apply at once, also where a lease runs; the rest from the next lease on.
    """

    ssh_keys: Annotated[tuple[Annotated[str, Meta(min_length=1, max_length=4_000)], ...], Meta(max_length=KEYS_MAX)]
    """Public keys, a line each, as in authorized_keys."""
    image: Annotated[str, Meta(max_length=300)] = ""
    """Of a container, where the machine's driver has containers; empty: the driver's own."""
    start_script: Annotated[str, Meta(max_length=SCRIPT_MAX)] = ""
    """Run by /bin/sh as the tenant when the lease opens."""
    ports: Annotated[tuple[Annotated[int, Meta(ge=1, le=65_535)], ...], Meta(max_length=32)] = ()
    """To be reachable beside SSH, where the driver has containers."""


class LaunchAnswer(Struct, frozen=True, kw_only=True):
    """A launch specification."""

    name: str
    ssh_keys: tuple[str, ...]
    image: str
    start_script: str
    ports: tuple[int, ...]


class LaunchNaming(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Gateway → delivery, before an order is sent: what it buys begins with this launch specification."""

    client_order_id: str
    launch: str
    hour: int
    """The last one that the order may buy, in hours since the epoch."""


class Foresight(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Gateway → delivery: which hand-overs a purchase would bring, were it made now."""

    class_id: str
    hours: Annotated[tuple[tuple[int, int], ...], Meta(max_length=LEGS_MAX)]
    """(hour since the epoch, GPUs), of each hour once."""


class ForesightAnswer(Struct, frozen=True, kw_only=True):
    """The answer."""

    handovers: HandoversPreview | None
    """None: nobody knows."""


LeaseWord = Literal["waiting", "opening", "open", "unreachable", "over"]
"""Its time has not come; the machine is being prepared; one can log in; one could, and cannot now; it has ended."""


class LeaseAnswer(Struct, frozen=True, kw_only=True):
    """One machine, one tenant, without a break."""

    lease: str
    class_id: str = ""
    state: LeaseWord
    gpus: int
    """Now, or when it begins."""
    starts_at: str
    ends_at: str
    """Of what is bought; the lease goes on where the next hour is bought in time and stays on this machine."""
    contracts: tuple[str, ...]
    provider_machine: str
    """The provider's word for the machine; who he is stays between him and the exchange."""
    source: Source
    """`simulated`: there is no machine. `declared`: nobody has looked at its hardware."""
    driver: Driver
    rental: str = ""
    """The rental that it is for; empty: hours that were bought by hand, or resold."""
    launch: str = "default"
    """The launch specification that it has begun with, whose keys are let in."""
    host: str = ""
    port: int = 0
    user: str = ""
    host_key: str = ""
    """As a line of known_hosts without the host."""
    script: str = ""
    """How the start script is: running, done, failed, cut_off."""
    detail: str = ""
    """Why one cannot log in."""


# --- Rentals --------------------------------------------------------------------------------------------------

OnStop = Literal["sell", "keep"]
LookAhead = Annotated[int, Meta(ge=1, le=24)]
RentalHours = Annotated[int, Meta(ge=0, le=8_760)]
Webhook = Annotated[str, Meta(max_length=500)]
RENTAL: Final = r"^[1-9][0-9]{0,17}$"


class RentalRequest(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """POST /v1/rentals, and /v1/rentals/preview: a standing instruction, kept until it is stopped or its hours are over."""

    classes: Annotated[tuple[ClassId, ...], Meta(min_length=1, max_length=8)]
    """Any of them serves; all GPUs of one hour are of one."""
    gpus: Annotated[int, Meta(ge=1, le=1_000_000)]
    """In every hour; that many or none."""
    max_price: Usd
    """USD per GPU-hour, the most for any hour."""
    max_spend: UsdOrNone = ""
    """USD for the hours of one day (UTC) of delivery; empty: no other limit than `max_price`."""
    from_hour: HourOrNone = msgspec.field(name="from", default="")
    """Its first hour; empty: the one that runs, as far as it can be had still."""
    hours: RentalHours = 0
    """So many hours of the clock, the first one included however little is left of it; 0: until it is stopped."""
    look_ahead: LookAhead = 6
    """So many hours are always kept bought, the one that runs included."""
    on_stop: OnStop = "sell"
    """What becomes of later hours when it is stopped."""
    launch: LaunchName = "default"
    """The specification that its machines begin with."""
    webhook: Webhook = ""
    """An https address that is told what the rental's owner must know; empty: none."""


def request_of(terms: Terms) -> RentalRequest:
    """What was recorded, as its owner would write it."""
    on_stop: OnStop = "sell" if terms.on_stop == "sell" else "keep"
    return RentalRequest(
        classes=terms.classes,
        gpus=terms.gpus,
        max_price=format_usd(terms.max_price),
        max_spend=format_usd(terms.max_spend) if terms.max_spend else "",
        from_hour=iso_hour(terms.from_hour),
        hours=terms.hours,
        look_ahead=terms.look_ahead,
        on_stop=on_stop,
        launch=terms.launch,
        webhook=terms.webhook,
    )


class RentalChange(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """PATCH /v1/rentals/{rental}: what is left out stays. What is bought stays bought."""

    max_price: UsdOrNone = ""
    max_spend: UsdOrNone | None = None
    """Empty: no limit any more."""
    look_ahead: LookAhead | None = None
    hours: RentalHours | None = None
    """Of the clock, from its first hour on; not fewer than have begun or are bought. 0: until it is stopped."""
    on_stop: OnStop | None = None
    webhook: Webhook | None = None


class RentalStop(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """POST /v1/rentals/{rental}/stop."""

    on_stop: OnStop | None = None
    """None: as the rental says."""


RentalWord = Literal["waiting", "running", "short", "stopping", "over"]
"""Nothing is bought yet; what it wants is bought, or an order for it is under way; something could not be bought; stopped, with
hours left to sell or to run out; nothing is left."""
RentalHourWord = Literal["bought", "missing", "selling", "sold", "over"]


class RentalHourAnswer(Struct, frozen=True, kw_only=True):
    """One hour of a rental."""

    contract: str
    """Of the class that was bought, or would be next."""
    starts_at: str
    state: RentalHourWord
    gpus: int
    """Held for it now."""
    minutes: int
    """Of each GPU: less than 60 where a running hour was bought."""
    price: str
    """USD per GPU-hour, the average of what was bought; empty: nothing was."""
    cost: str
    """USD, fees included."""
    returned: str
    """USD that selling it again has brought, fees taken off."""
    why: str = ""
    """What keeps a missing hour from being bought."""


class RentalAnswer(Struct, frozen=True, kw_only=True):
    """A rental as it stands."""

    rental: str
    state: RentalWord
    made_at: str
    stopped_at: str = ""
    request: RentalRequest
    """As it is now, changes included."""
    hours: tuple[RentalHourAnswer, ...]
    """Those that are not over, by time; then at most the last 24 that are."""
    bought_until: str = ""
    """Bought without a break from now (or from its first hour) until then; empty: nothing is bought."""
    cost: str
    """USD of all its hours so far, bought less returned."""
    cost_per_day_most: str
    """USD: the worst case of a whole day under its limits."""
    notice: str = ""
    """What its owner must know; empty: nothing."""
    webhook_key: str = ""
    """With it what the webhook is told is signed: header `Hourbook-Signature`, hex HMAC-SHA256 of the body."""


class RentalOption(Struct, frozen=True, kw_only=True):
    """One class of a preview, as its books are."""

    class_id: str = msgspec.field(name="class")
    first_hour: str
    """USD for its first hour, fees included, or for what is left of it; empty: it cannot be had."""
    window: str
    """USD for the hours of `look_ahead` that can be had."""
    hours_found: int
    hours_wanted: int
    cloud_price: str = ""
    """USD per GPU-hour, the cheapest firm offer of a cloud for the same class; empty: none is known."""
    cloud_provider: str = ""
    region: str = ""
    tier: str = ""
    minutes_to_ssh: int = 0
    """At most, the class's setup allowance."""


class RentalPreviewAnswer(Struct, frozen=True, kw_only=True):
    """POST /v1/rentals/preview: as the books are now; nothing changes."""

    options: tuple[RentalOption, ...]
    """By price, best first: what would be taken first is first."""
    first_hour: str
    """Of the first option."""
    window: str
    per_day_most: str
    """USD: the worst case of a whole day under the limits."""
    stopping_now: str
    """USD: what would be lost by stopping at once, after selling the later hours at the bids that there are."""
    starts_at: str
    ends_at: str
    """Empty: when it is stopped."""
    handovers: HandoversPreview | None = None
    """Changes of machine that its buyer did not cause, in the hours of the window."""
    refusal: str = ""
    """Why nothing would be bought now; empty: something would."""


# --- Machines -------------------------------------------------------------------------------------------------


class SeatAnswer(Struct, frozen=True, kw_only=True):
    """A GPU of a machine."""

    uuid: str
    usable: bool
    lease: str
    """That has it now; empty: it is idle."""


WINDOWS_MAX: Final = 16
"""Of a machine, at one time."""


class MaintenanceWindow(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Hours in which a machine is given to nobody."""

    from_hour: HourText = msgspec.field(name="from")
    until: HourText
    """The first hour in which it is there again."""


class MaintenanceRequest(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """PUT /v1/machines/{machine}/maintenance: all of its windows to come, and the one that has begun; an empty list removes them.

    Whoever has the machine then has it until the window begins; what is owed stays owed, and goes to other machines of the
    provider where they have room.
    """

    windows: Annotated[tuple[MaintenanceWindow, ...], Meta(max_length=WINDOWS_MAX)]


class MachineAnswer(Struct, frozen=True, kw_only=True):
    """A provider's machine."""

    machine: MachineName
    class_id: str
    source: Source
    driver: Driver
    host: str
    alive: bool
    """An agent was heard a moment ago."""
    heard_s_ago: int
    """-1: not since the exchange's delivery room began."""
    clock_off_ms: int
    """Its clock less the exchange's, by the last heartbeat; nothing is made of it."""
    retired: bool
    seats: tuple[SeatAnswer, ...]
    maintenance: tuple[MaintenanceWindow, ...] = ()
    """Windows that are not over, by time."""


class DeliveredAnswer(Struct, frozen=True, kw_only=True):
    """What was counted of a title: sold = delivered + allowance + undelivered, minutes of each GPU."""

    contract: str
    title: int
    delivered: int
    allowance: int
    undelivered: int
