"""What a purchase would bring its buyer, by books and titles as they are: whose hours, and how often he would move. Pure.

Of each hour the asks are gone through as the engine would. Who sells what he holds passes on another's title; who sells what he
has not owes it himself. Then `foresight` follows the buyer through his hours from host to host. Which of a host's machines he
would have is not looked at: each host is one machine here, as large as all of his.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from schemas.http import HandoversPreview
from schemas.ids import contract_of, hour_of
from schemas.units import Gpus, Hour
from services.delivery import fleet
from services.delivery.assignment import Assignment
from services.delivery.fleet import Fleet, Machine, Slot
from services.delivery.foresight import Foreseen, foresee
from services.delivery.hosting import NOBODY
from services.delivery.market import Market
from services.delivery.state import State
from services.delivery.titles import Titles

BASIS: Final = (
    "by whose machines asks stand for now, with what you hold already; others may buy first, machines may fail or be planned "
    "away; an exchange may spare a hand-over or put it off; each is credited, a quarter of the hour's cost, no more than its fees"
)


def handovers(
    state: State, market: Market, account: int, class_no: int, wanted: Mapping[Hour, Gpus]
) -> HandoversPreview | None:
    """Of so many GPUs in each hour, bought at whatever they cost. None: nobody knows, or there are not so many."""
    hours = sorted(wanted)
    lot = market.lots[class_no]
    if not hours or any(qty <= 0 or qty % lot for qty in wanted.values()):
        return None
    titles: list[fleet.Title] = []
    for hour in hours:
        contract = contract_of(class_no, hour)
        bought = _bought(market, contract, account, wanted[hour]) if state.serves(contract) else None
        if bought is None:
            return None
        titles += [fleet.Title(hour, NOBODY, obligor, account, qty, 0) for obligor, qty in bought.items()]
    around = sorted({hour + step for hour in hours for step in (-1, 0, 1)})
    hosts = _hosts(state, class_no, lot)
    hosted = _hosted(hosts, state, market.titles, account, [contract_of(class_no, hour) for hour in around])
    return _told(foresee(hosts, hosted, titles), hosted, hours)


def _bought(market: Market, contract: int, account: int, qty: Gpus) -> dict[int, Gpus] | None:
    """Obligor → GPUs. None: others do not offer so many, or nobody knows."""
    asks = market.asks.best_first(contract)
    held = _held(market.titles, contract)
    found: defaultdict[int, Gpus] = defaultdict(int)
    for ask in asks if asks is not None else ():
        if not qty:
            break
        if ask.account != account:
            taken = min(ask.left, qty)
            qty -= taken
            for obligor, part in _sold(held[ask.account], ask.account, taken):
                found[obligor] += part
    return None if qty else found


def _held(titles: Titles, contract: int) -> defaultdict[int, list[list[int]]]:
    """Holder → [obligor, GPUs] of his titles, the oldest first."""
    held: defaultdict[int, list[list[int]]] = defaultdict(list)
    for _, title in sorted(titles.of.get(contract, {}).items()):
        if title.obligor:
            held[title.holder].append([title.obligor, title.qty])
    return held


def _sold(held: list[list[int]], seller: int, qty: Gpus) -> Iterator[tuple[int, Gpus]]:
    """(obligor, GPUs) of what somebody sells; what of `held` he sells is gone from it."""
    while qty and held:
        obligor, there = held[0]
        part = min(there, qty)
        qty -= part
        held[0][1] -= part
        if not held[0][1]:
            held.pop(0)
        yield obligor, part
    if qty:
        yield seller, qty


def _hosts(state: State, class_no: int, lot: Gpus) -> Fleet:
    """Machines as planned, with numbers below zero; and of each host one without seats, by his account: who sits there."""
    machines: list[Machine] = []
    hosts: set[int] = set()
    for machine, enrolled in sorted(state.machines.items()):
        if enrolled.class_no == class_no:
            hosts.add(enrolled.account)
            if machine not in state.retired:
                qty, out = len(state.usable(enrolled)), state.maintenance.get(machine, ())
                machines.append(Machine(-1 - len(machines), enrolled.account, qty, out))
    return Fleet(lot, (*machines, *(Machine(account, account, 0) for account in sorted(hosts))))


def _hosted(hosts: Fleet, state: State, titles: Titles, account: int, contracts: Sequence[int]) -> Assignment:
    """Of each host what he owes in all, under his number; and where the buyer sits.

    That is where his leases say, once the hour is placed, as machines may have been exchanged; until then with whoever owes him
    what he holds.
    """
    there = {machine.number for machine in hosts.machines}
    sits = _sits(state, account)
    slots: dict[Hour, tuple[Slot, ...]] = {}
    owed: dict[Hour, dict[int, fleet.Title]] = {}
    for contract in contracts:
        hour = hour_of(contract)
        in_all: defaultdict[int, Gpus] = defaultdict(int)
        his: defaultdict[int, Gpus] = defaultdict(int)
        for title in titles.of.get(contract, {}).values():
            in_all[title.obligor] += title.qty
            if title.holder == account:
                his[title.obligor] += title.qty
        his = sits.get(contract, his)
        owed[hour] = {one: fleet.Title(hour, one, one, NOBODY, qty, 0) for one, qty in in_all.items() if one in there}
        slots[hour] = tuple(
            Slot(hour, one, account, one, (1 << qty // hosts.lot) - 1, one) for one, qty in his.items() if one in there
        )
    return Assignment(slots, (), owed)


def _sits(state: State, account: int) -> dict[int, defaultdict[int, Gpus]]:
    """Contract → host → GPUs that the buyer's leases have there."""
    found: dict[int, defaultdict[int, Gpus]] = {}
    for lease in state.leases.values():
        if lease.holder == account:
            for part in lease.parts:
                found.setdefault(part.contract, defaultdict(int))[lease.machine[0]] += len(lease.seats)
    return found


def _told(foreseen: Foreseen, hosted: Assignment, hours: Sequence[Hour]) -> HandoversPreview:
    has = {*hours, *(hour for hour, slots in hosted.slots.items() if slots)}
    boundaries = sum(hour in has and hour - 1 in has for hour in {hour + step for hour in hours for step in (0, 1)})
    basis = BASIS
    if lacking := sum(foreseen.lacking.values()):
        basis += f"; for {lacking} GPU-hours of it their sellers have no machine yet"
    return HandoversPreview(least=0, most=boundaries, likely=len(foreseen.handovers), basis=basis)
