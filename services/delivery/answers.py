"""What members and providers are told of their leases and machines. Pure."""

from __future__ import annotations

from schemas import rental
from schemas.edge import iso, iso_hour
from schemas.ids import class_no_of, format_symbol, hour_of
from schemas.rental import DEFAULT_LAUNCH
from schemas.units import MS_PER_HOUR, Millis
from services.delivery.market import Market
from services.delivery.renting import rental_of
from services.delivery.sessions import ALIVE_MS, Session, Sessions
from services.delivery.state import Lease, State


def launches(state: State, account: int) -> list[rental.LaunchAnswer]:
    """By name."""
    return [
        rental.LaunchAnswer(
            name=name, ssh_keys=put.ssh_keys, image=put.image, start_script=put.start_script, ports=put.ports
        )
        for (of, name), put in sorted(state.launches.items())
        if of == account
    ]


def leases(state: State, market: Market, sessions: Sessions, account: int, now_ms: Millis) -> list[rental.LeaseAnswer]:
    """Of a tenant, newest first: those that run or are to begin, and those of hours that are not counted yet."""
    return [
        _lease(state, market, sessions.of.get(lease.machine), lease, now_ms)
        for _, lease in sorted(state.leases.items(), reverse=True)
        if lease.holder == account
    ]


def _lease(state: State, market: Market, session: Session | None, lease: Lease, now_ms: Millis) -> rental.LeaseAnswer:
    machine = state.machines[lease.machine]
    report = session.reports.get(lease.lease) if session is not None else None
    where: dict[str, str | int] = {}
    if report is not None and report.state == "open" and not lease.ended_ms:
        where = {"host": machine.host, "port": report.port, "user": report.user, "host_key": report.host_key}
    contracts = sorted({part.contract for part in lease.parts}, key=hour_of)
    return rental.LeaseAnswer(
        lease=str(lease.lease),
        class_id=market.class_ids.get(machine.class_no, ""),
        state=_word(lease, now_ms),
        gpus=len(lease.seats),
        starts_at=iso(lease.from_ms),
        ends_at=iso(lease.until_ms),
        contracts=tuple(format_symbol(market.class_ids[class_no_of(each)], hour_of(each)) for each in contracts),
        provider_machine=machine.machine,
        source=machine.source,
        driver=machine.driver,
        rental=_rental(market, lease),
        launch=lease.launch_name or DEFAULT_LAUNCH,
        script=report.script if report is not None else "",
        detail=lease.detail or (report.detail if report is not None else ""),
        **where,  # type: ignore[arg-type]  # each has its field's type
    )


def _rental(market: Market, lease: Lease) -> str:
    contract = lease.parts[-1].contract
    return str(rental_of(lease, contract, market.titles.of.get(contract, {})) or "")


def _word(lease: Lease, now_ms: Millis) -> rental.LeaseWord:
    if lease.ended_ms:
        return "over"
    if now_ms < lease.from_ms:
        return "waiting"
    if lease.works:
        return "open"
    return "unreachable" if any(check.works for check in lease.checks) else "opening"


def machines(
    state: State, market: Market, sessions: Sessions, account: int, now_ms: Millis, elapsed_ms: Millis
) -> list[rental.MachineAnswer]:
    """Of a provider, by name. `now_ms`: market time; `elapsed_ms`: of the clock of `sessions`."""
    return [
        rental.MachineAnswer(
            machine=machine.machine,
            class_id=market.class_ids.get(machine.class_no, ""),
            source=machine.source,
            driver=machine.driver,
            host=machine.host,
            alive=(session := sessions.of.get(key)) is not None and elapsed_ms - session.seen_ms < ALIVE_MS,
            heard_s_ago=-1 if session is None else (elapsed_ms - session.seen_ms) // 1_000,
            clock_off_ms=0 if session is None else session.clock_off_ms,
            retired=key in state.retired,
            seats=tuple(
                rental.SeatAnswer(
                    uuid=uuid, usable=number not in machine.unusable, lease=_lease_of(state, key, number, now_ms)
                )
                for number, uuid in enumerate(machine.uuids)
            ),
            maintenance=tuple(
                rental.MaintenanceWindow(from_hour=iso_hour(begin), until=iso_hour(end))
                for begin, end in state.maintenance.get(key, ())
                if end * MS_PER_HOUR > now_ms
            ),
        )
        for key, machine in sorted(state.machines.items())
        if key[0] == account
    ]


def _lease_of(state: State, machine: tuple[int, str], seat: int, now_ms: Millis) -> str:
    for number in sorted(state.on.get(machine, ())):
        lease = state.leases[number]
        if lease.from_ms <= now_ms and seat in lease.seats:
            return str(number)
    return ""
