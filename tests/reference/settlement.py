"""What settlement tells the shard: an intent's choices → the body of a command."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from msgspec.structs import replace

from schemas import commands as cmd
from schemas.commands import Command, Ground, Role, SetBacking, SetClass
from schemas.units import Price
from tests.reference.faults import BACKING_FAULTS, BAD_BODIES, BOUNDS, OTHER_VALUES, UNSOUND_CLASSES
from tests.reference.memory import Memory
from tests.reference.world import CLASSES, MEMBERS, NEW_CLASS, Member, cap_of, rules_of


def account(memory: Memory, outbox: str, account: int, role: str | int, fault: str) -> cmd.SetAccount:
    """An account as it is, with another role, or wrong."""
    member = MEMBERS.get(account, Member("", account, Role.MEMBER, 0))
    own = member.role if isinstance(role, str) else role
    body = cmd.SetAccount(memory.next_outbox(outbox), account, member.owner, own, 0)
    faults: dict[str, dict[str, int]] = {
        "owner": {"owner": member.owner + 1}, "owner 0": {"owner": 0}, "fee plan": {"fee_plan": 1},
        "account 0": {"account": 0}, "account -1": {"account": -1},
    }  # fmt: skip
    if not fault and outbox == "next" and own in {0, 1, 2}:
        memory.roles[account] = Role(own)
    return replace(body, **faults.get(fault, {}))


def credit(memory: Memory, outbox: str, account: int, amount: int) -> cmd.Credit:
    """Money comes."""
    return cmd.Credit(memory.next_outbox(outbox), account, amount)


def sweep(memory: Memory, outbox: str, account: int, amount: int) -> cmd.Sweep:
    """Money goes."""
    return cmd.Sweep(memory.next_outbox(outbox), account, amount)


def backing(
    memory: Memory, outbox: str, account: int, class_no: int, hour: int, hours: int, ground: str | int, lots: int,
    price: str | int, version: str | int, fault: str,
) -> SetBacking:  # fmt: skip
    """What stands behind asks; collateral where the account's role demands it."""
    rules, role = rules_of(class_no), memory.roles.get(account)
    if isinstance(ground, str):
        ground = Ground.PROMISED if role == Role.MARKET_MAKER else Ground.DECLARED
    free = ground == Ground.DECLARED or (ground == Ground.READY and role == Role.PROVIDER)
    amount = 0 if free and price != -1 else _collateral_price(cap_of(rules), price)
    key = (account, class_no, ground)
    last = memory.versions.get(key, 0)
    number = {"next": last + 1, "same": last, "skip": last + 3}.get(str(version), version)
    assert isinstance(number, int)
    first = memory.open_hour(class_no, hour)
    listed = tuple(range(first, first + hours))
    body = SetBacking(memory.next_outbox(outbox), account, class_no, listed, ground, lots * rules.lot, amount, number)
    if fault:
        return replace(body, **BACKING_FAULTS[fault](body))
    if outbox == "next":
        memory.versions[key] = max(last, number)
        memory.backed.append(body)
    return body


def _collateral_price(cap: Price, price: str | int) -> Price:
    named = {"cap": cap, "cap + 1": cap + 1, "cap - 1": cap - 1, "cap × 2": cap * 2, "cap / 2": cap // 2}
    return price if isinstance(price, int) else named[price]


def backing_again(memory: Memory, outbox: str, back: int) -> SetBacking | list[int]:
    """A message of before under a new number."""
    if not memory.backed:
        return BAD_BODIES["unknown tag"]
    return replace(memory.backed[-min(back, len(memory.backed))], outbox=memory.next_outbox(outbox))


def ready(
    memory: Memory, outbox: str, account: int, class_no: int, hour: int, hours: int, lots: int, price: str
) -> SetBacking:
    """Machines that are there at once, or promised to be, in the hour that runs or will."""
    return backing(memory, outbox, account, class_no, hour, hours, Ground.READY, lots, price, "next", "")


def cover(memory: Memory, account: int, class_no: int, hour: int, lots: int) -> Command:
    """A market maker declares machines; in engine version 1 his account is a provider's for as long as that takes."""
    if memory.setting.version == 1 and memory.roles[account] != Role.PROVIDER:
        return _as(memory, account, Role.PROVIDER)
    return backing(memory, "next", account, class_no, hour, 1, Ground.DECLARED, lots, 0, "next", "")


def _as(memory: Memory, number: int, role: Role) -> cmd.SetAccount:
    return account(memory, "next", number, role, "")


def set_class(memory: Memory, outbox: str, class_no: int, fault: str, which: int) -> SetClass:
    """A class again, a new one, or one that cannot be."""
    known = CLASSES[class_no]
    unsound = replace(NEW_CLASS, class_no=6, class_id="SIX")
    unsound = replace(unsound, **UNSOUND_CLASSES[which % len(UNSOUND_CLASSES)])
    body = {
        "": known,
        "new": NEW_CLASS,
        "other values": replace(known, **OTHER_VALUES[which % len(OTHER_VALUES)]),
        "id of another": replace(NEW_CLASS, class_no=5, class_id=known.class_id),
        "out of range": unsound,
        "at the bounds": replace(NEW_CLASS, **BOUNDS),
    }[fault]  # fmt: skip
    return replace(body, outbox=memory.next_outbox(outbox))


MAKERS: dict[str, Callable[..., Any]] = {
    "account": account,
    "credit": credit,
    "sweep": sweep,
    "backing": backing,
    "backing again": backing_again,
    "ready": ready,
    "cover": cover,
    "class": set_class,
}
