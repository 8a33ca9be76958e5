"""An operator's commands: accounts, owners, keys, classes, deposits, halts, simulated deliveries, topics."""

from __future__ import annotations

import asyncio
import base64
import os
import uuid
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any, get_args

import click
import msgspec

from schemas import http
from schemas.edge import AccountRole, MarketState, iso_hour
from schemas.ids import format_symbol, parse_symbol
from schemas.keys import SCOPES
from schemas.specifications import published
from services.cli import output, profile, times
from services.cli.context import Context, pass_context
from services.cli.errors import Refused, Unusable
from services.cli.files import write_private
from services.cli.hours import CLASS, span_of, span_options, when
from services.cli.tools import check_broker


@click.group(invoke_without_command=True)
@click.pass_context
def admin(context: click.Context) -> None:
    """For operators: accounts, keys, classes, money, halts.

    The key is `operator.json` of the exchange's home, or HOURBOOK_PROFILE.
    """
    if context.invoked_subcommand is None:
        click.echo(context.get_help())


def _settle(context: Context, method: str, path: str, body: object, sentence: str, **more: object) -> None:
    """Ask settlement, and say the sentence with the outcome's words in it."""
    done = context.client("operator").settle(method, path, body)
    context.show(done, lambda: output.console.print(sentence.format(**{**done.outcome, **more})))


@admin.command()
@click.argument("name")
@click.option("--role", type=click.Choice(get_args(AccountRole)), default="member", show_default=True)
@click.option("--owner", default=0, help="The owner's number; default: a new owner.")
@click.option("--desk", is_flag=True, help="The aggregator's own: its fills say so.")
@pass_context
def account(context: Context, name: str, role: AccountRole, owner: int, desk: bool) -> None:
    """Open an account (a new owner, or one more of an --owner)."""
    body = http.AccountRequest(name=name, owner=owner, role=role, desk=desk)
    sentence = "account {account} of owner {owner} is open"
    _settle(context, "POST", "/v1/admin/accounts", body, sentence)


@admin.command()
@click.argument("account", type=int)
@click.argument("role", type=click.Choice(get_args(AccountRole)))
@pass_context
def role(context: Context, account: int, role: AccountRole) -> None:
    """Change an account's role."""
    body = http.RoleRequest(role=role)
    sentence = f"account {account} is a {role.replace('_', ' ')}"
    _settle(context, "PATCH", f"/v1/admin/accounts/{account}", body, sentence)


@admin.command()
@click.argument("account", type=int)
@click.option(
    "--scope",
    "scopes",
    multiple=True,
    type=click.Choice(SCOPES),
    default=("read", "trade"),
    show_default=True,
    help="May be given several times.",
)
@click.option("--label", default="", help="For whoever lists keys later.")
@click.option("--days", default=0, help="Expires after so many days; 0: never.")
@click.option(
    "--profile", "file", type=click.Path(path_type=Path), help="Write a profile here instead of showing the secret."
)
@pass_context
def key(context: Context, account: int, scopes: tuple[Any, ...], label: str, days: int, file: Path | None) -> None:
    """Issue a key for ACCOUNT; its secret is shown this once.

    ACCOUNT 0: an operator without an account.
    """
    client = context.client("operator")
    body = http.OperatorKeyRequest(account=account, scopes=scopes, label=label, expires_in_s=days * 86_400)
    issued = client.write("POST", "/v1/admin/keys", body, http.NewKeyAnswer)
    if file is not None:
        write_private(file, msgspec.json.encode(profile.Profile(client.url, issued)))
        _wrote(context, file)
        return
    context.show(
        issued,
        lambda: output.console.print(
            f"key {issued.key.key_id}\nsecret {issued.secret}\nbearer {issued.bearer}", soft_wrap=True
        ),
    )


def _wrote(context: Context, file: Path) -> None:
    context.show(
        {"profile": str(file)},
        lambda: output.console.print(f"profile written to {file}; HOURBOOK_PROFILE={file} speaks with this key"),
    )


@admin.command("revoke")
@click.argument("key_id")
@pass_context
def revoke(context: Context, key_id: str) -> None:
    """End a key."""
    done = context.client("operator").write("DELETE", f"/v1/keys/{key_id}", None, dict[str, str])
    context.show(done, lambda: output.console.print(f"key {key_id} has ended"))


@admin.command("list-class")
@click.argument("class_or_file")
@click.option("--shard", default=0, show_default=True)
@pass_context
def list_class(context: Context, class_or_file: str, shard: int) -> None:
    """List a published class by its id, or a specification file."""
    text = published().get(class_or_file)
    if text is None:
        file = Path(class_or_file)
        if not file.is_file():
            raise Unusable(f"{class_or_file} is neither a file nor one of: {', '.join(published())}")
        text = file.read_bytes()
    body = http.ClassRequest(shard=shard, specification=text.decode())
    _settle(
        context, "POST", "/v1/admin/classes", body, "listed in shard {shard} as class number {class_no}", shard=shard
    )


@admin.command()
@click.argument("account", type=int)
@click.argument("amount")
@click.option("--provider", default="simulated-faucet", show_default=True)
@click.option("--reference", help="The provider's own id of the payment; default: a new one.")
@pass_context
def deposit(context: Context, account: int, amount: str, provider: str, reference: str | None) -> None:
    """Book money that has arrived.

    The default provider is a faucet: simulated money.
    """
    body = http.DepositRequest(
        account=account, amount=amount, provider=provider, provider_ref=reference or uuid.uuid4().hex
    )
    sentence = "{usd} USD into the wallet of account {account} from {provider}"
    _settle(context, "POST", "/v1/admin/deposits", body, sentence, usd=amount, account=account, provider=provider)


def _state(name: str, state: MarketState, sentence: str) -> click.Command:
    @admin.command(name, help=sentence)
    @click.argument("class_id", metavar="CLASS", type=CLASS)
    @click.option("--hour", help="One hour of it only; it may run: 'now', '14:00', 'tomorrow 14:00'.")
    @click.option("--reason", required=True, help="Kept in the log.")
    @pass_context
    def command(context: Context, class_id: str, hour: str | None, reason: str) -> None:
        begins = iso_hour(times.parse_any_hour(hour, datetime.now().astimezone())) if hour else ""
        body = http.StateRequest(class_id=class_id, state=state, reason=reason, hour=begins)
        done = context.client("operator").write("POST", "/v1/admin/states", body, http.StateAnswer)
        what = f"{done.class_id}, {times.shown_iso(done.hour)}," if done.hour else done.class_id
        steps = "; it opens by itself: post-only in a minute, open half a minute later"
        opens = steps if state == "open" and done.state == "cancel_only" else ""
        context.show(done, lambda: output.console.print(f"{what} is {done.state}{opens}"))

    return command


_state("halt", "halted", "Stop trading in a class. Time, gates and delivery go on, cancels pass.")
_state("cancel-only", "cancel_only", "Take cancels only. The first step of opening again after a halt.")
_state("post-only", "post_only", "Take orders that do not trade at once. The second step.")
_state("open", "open", "Open a class again. After a halt it opens in steps: cancel-only, post-only, open.")


@admin.command("engine-version")
@click.argument("version", type=click.IntRange(min=1))
@click.option("--shard", type=click.IntRange(min=0), required=True, help="Its number; each shard goes on by itself.")
@pass_context
def engine_version(context: Context, version: int, shard: int) -> None:
    """Let a shard go on as engine VERSION.

    By its rules, from the shard's next record on. There is no way back.
    """
    body = http.EngineVersionRequest(shard=shard, version=version)
    done = context.client("operator").write("POST", "/v1/admin/engine-version", body, http.EngineVersionAnswer)
    context.show(done, lambda: output.console.print(f"shard {done.shard} goes on as engine version {done.version}"))


@admin.command()
@click.argument("account", type=int)
@click.argument("qty", type=click.IntRange(min=1))
@click.argument("class_id", metavar="CLASS", type=CLASS)
@span_options
@click.option("--cost", required=True, help="USD for all of it; the account's wallet pays.")
@click.option("--title", type=int, default=0, help="Only for this one, sold as ready in the running hour.")
@pass_context
def procure(
    context: Context, account: int, qty: int, class_id: str, first: str | None, count: int | None, cost: str, title: int
) -> None:
    """SIMULATED purchase of machines for an ACCOUNT.

    QTY in each of several hours. They cover what it has promised, oldest first; no cloud is asked. `admin promises` lists what
    waits for machines.
    """
    named: dict[str, object] = {"account": account, "class_id": class_id}
    if title:
        body = http.ProcureRequest(
            account=account, class_id=class_id, from_hour=_hour_of_title(context, account, class_id, title), hours=1,
            qty=qty, cost=cost, title=title,
        )  # fmt: skip
        sentence = "simulated: account {account} has a machine of {class_id} for title {title}; paid {cost} USD"
    else:
        span = span_of(first, count) or span_of("next", 1)
        assert span is not None
        named["hours"] = span.count
        body = http.ProcureRequest(
            account=account, class_id=class_id, from_hour=iso_hour(span.first), hours=span.count, qty=qty, cost=cost
        )
        each = "in one hour" if span.count == 1 else "in each of {hours} hours"
        sentence = f"simulated: account {{account}} has {{declared}} machines of {{class_id}} {each}; paid {{cost}} USD"
    _settle(context, "POST", "/v1/admin/procure", body, sentence, **named)


def _hour_of_title(context: Context, account: int, class_id: str, title: int) -> str:
    """Raises Refused."""
    for each in context.client("operator").get("/v1/admin/uncovered", list[http.UncoveredAnswer]):
        if (each.account, parse_symbol(each.contract)[0], each.title) == (account, class_id, title):
            return each.hour
    raise Refused(f"title {title} of account {account} does not wait for a machine; see `hourbook admin promises`")


class Promises(msgspec.Struct, frozen=True):
    """`hourbook --json admin promises`."""

    forward: list[http.PromisedAnswer]
    begun: list[http.UncoveredAnswer]


@admin.command()
@pass_context
def promises(context: Context) -> None:
    """What market makers have sold and has no machine yet.

    In hours to come, before their cover deadline; and title by title in hours that have begun. `admin procure` buys machines.
    """
    client = context.client("operator")
    found = Promises(
        client.get("/v1/admin/promises", list[http.PromisedAnswer]),
        client.get("/v1/admin/uncovered", list[http.UncoveredAnswer]),
    )
    context.show(found, lambda: _show_promises(found))


def _show_promises(found: Promises) -> None:
    output.table(
        "Promised in hours to come",
        ("class", "hour", ">account", ">owed", ">machines there"),
        ((*when(each.contract), str(each.account), str(each.owed), str(each.declared)) for each in found.forward),
        empty="nothing",
    )
    output.table(
        "In hours that have begun",
        ("class", "hour", ">account", ">title", ">GPUs", ">minutes", "what"),
        (
            (
                *when(each.contract),
                *map(str, (each.account, each.title, each.qty, each.minutes)),
                f"{each.ground}, {'over' if each.ended else 'runs'}",
            )
            for each in found.begun
        ),
        empty="nothing",
    )


# --- Corrections: two operators of different owners, each with an account -----------------------------------


def _correction_options(command: Callable[..., None]) -> Callable[..., None]:
    for option in reversed(
        (
            click.option("--trade", required=True, help="As `hourbook fills` shows it: 0-317."),
            click.option("--payer", type=int, required=True, help="The account that pays."),
            click.option("--payee", type=int, required=True, help="The account that is paid."),
            click.option("--amount", required=True, help="USD."),
            click.option("--reason", required=True, help="Public."),
        )
    ):
        command = option(command)
    return command


@admin.command()
@_correction_options
@pass_context
def approve(context: Context, trade: str, payer: int, payee: int, amount: str, reason: str) -> None:
    """Approve a correction in cash: the first operator's part.

    Another one, of another owner, makes it with `admin correct`. Nothing happens yet. Trades themselves are final.
    """
    body = http.CorrectionRequest(trade=trade, payer=payer, payee=payee, amount=amount, reason=reason)
    done = context.client("operator").write("POST", "/v1/admin/corrections/approval", body, http.ApprovalAnswer)
    context.show(
        done,
        lambda: output.console.print(
            f"approved by account {done.operator} until {times.shown_moment(done.expires_at)}; an operator of another owner "
            f"makes it with the same words and --approval {done.approval}"
        ),
    )


@admin.command()
@_correction_options
@click.option("--approval", required=True, help="What the first operator was given.")
@pass_context
def correct(context: Context, trade: str, payer: int, payee: int, amount: str, reason: str, approval: str) -> None:
    """Make a correction in cash that another has approved.

    It is made once, and public with its reason.
    """
    body = http.ApprovedCorrectionRequest(
        trade=trade, payer=payer, payee=payee, amount=amount, reason=reason, approval=approval
    )
    done = context.client("operator").write("POST", "/v1/admin/corrections", body, http.CorrectionAnswer)
    context.show(
        done,
        lambda: output.console.print(f"account {payer} has paid {done.amount} USD to account {payee}: {done.reason}"),
    )


@admin.command()
@click.argument("class_id", metavar="CLASS|CONTRACT", type=CLASS)
@click.option("--hour", help="The hour of a CLASS; it may be over: 'now', '14:00' (today), '2026-11-24T14'.")
@click.option("--title", default=0, help="One title only; default: all of the contract without a record.")
@click.option("--undelivered", default=0, type=click.IntRange(0, 60), help="Minutes that were not delivered.")
@pass_context
def deliver(context: Context, class_id: str, hour: str | None, title: int, undelivered: int) -> None:
    """SIMULATED delivery record: no machine is looked at. Settlement pays when the hour has ended."""
    if class_id.endswith("-USD"):
        contract = class_id
    elif hour is None:
        raise Unusable(f"say which hour of {class_id} was delivered, with --hour")
    else:
        contract = format_symbol(class_id, times.parse_any_hour(hour, datetime.now().astimezone()))
    body = http.DeliveryRequest(contract=contract, simulated=True, title=title, undelivered_minutes=undelivered)
    done = context.client("operator").write("POST", "/v1/admin/deliveries", body, http.DeliveryAnswer)
    context.show(
        done,
        lambda: output.console.print(
            f"simulated delivery record for {done.contract}: {60 - undelivered} of 60 minutes delivered"
        ),
    )


@admin.command()
@click.argument("payout", type=int)
@click.argument("state", type=click.Choice(["sent", "paid", "returned"]))
@click.option("--provider", required=True)
@pass_context
def payout(context: Context, payout: int, state: http.PayoutReport, provider: str) -> None:
    """Report what happened to a payout."""
    body = http.PayoutRequest(state=state, provider=provider)
    _settle(
        context, "POST", f"/v1/admin/payouts/{payout}", body, "payout {payout} is {state}", payout=payout, state=state
    )


# --- Before there is a gateway: with the log itself ---------------------------------------------------------

_kafka = click.option("--kafka", required=True, envvar="HOURBOOK_KAFKA", help="host:port; default: $HOURBOOK_KAFKA")
_prefix = click.option("--prefix", default="", envvar="HOURBOOK_TOPIC_PREFIX", help="default: $HOURBOOK_TOPIC_PREFIX")


@admin.command()
@_kafka
@click.option("--shards", required=True, type=click.IntRange(1, 256), envvar="HOURBOOK_SHARDS")
@_prefix
@pass_context
def topics(context: Context, kafka: str, shards: int, prefix: str) -> None:
    """Create the topics of a new exchange and start its shards."""
    from services.runtime.config import Settings
    from services.runtime.errors import BadSettings, ServiceEnd
    from services.runtime.kafka import Cluster
    from services.runtime.log import LogError
    from services.runtime.logging import silence_libraries
    from services.runtime.topics import create_topics

    check_broker(kafka)

    async def create() -> None:
        silence_libraries()
        login = Settings.from_environment(os.environ).login
        async with Cluster(kafka, prefix=prefix, login=login) as cluster:
            await create_topics(cluster, shards)

    try:
        asyncio.run(create())
    except BadSettings as error:
        raise Unusable(str(error)) from None
    except (ServiceEnd, LogError) as error:
        raise Refused(str(error)) from None
    context.show(
        {"kafka": kafka, "shards": shards, "prefix": prefix},
        lambda: output.console.print(f"topics of {output.plural(shards, 'shard')} are there on {kafka}"),
    )


@admin.command("first-key")
@_kafka
@_prefix
@click.option("--url", required=True, help="The gateway's address as this profile will use it: http://host:port.")
@click.option("--profile", "file", required=True, type=click.Path(path_type=Path), help="Where to write the profile.")
@pass_context
def first_key(context: Context, kafka: str, prefix: str, url: str, file: Path) -> None:
    """Write the first operator's key of a new exchange.

    It issues all others. Needs HOURBOOK_MASTER_KEY, and writes to the log itself.
    """
    from services.cli.stack import key_answer, write_operator_key
    from services.runtime.config import Settings
    from services.runtime.errors import BadSettings
    from services.runtime.log import LogError
    from services.runtime.logging import silence_libraries

    check_broker(kafka)
    silence_libraries()
    try:
        settings = Settings.from_environment(os.environ, needs=("master_key",))
        issued = asyncio.run(write_operator_key(kafka, prefix, settings.master_key, settings.login))
    except BadSettings as error:
        raise Unusable(str(error)) from None
    except LogError as error:
        raise Refused(str(error)) from None
    profile.save(file, profile.Profile(url, key_answer(issued)))
    _wrote(context, file)


@admin.command("feed-key")
@pass_context
def feed_key(context: Context) -> None:
    """Print HOURBOOK_FEED_KEY, the secret of market data.

    It is derived from HOURBOOK_MASTER_KEY.
    """
    from schemas.feed_token import derive_feed_key

    _show_derived(context, "feed_key", derive_feed_key)


@admin.command("delivery-key")
@pass_context
def delivery_key(context: Context) -> None:
    """Print HOURBOOK_DELIVERY_KEY, the secret of delivery.

    It is derived from HOURBOOK_MASTER_KEY.
    """
    from schemas.delivery_key import derive_delivery_key

    _show_derived(context, "delivery_key", derive_delivery_key)


@admin.command("router-key")
@pass_context
def router_key(context: Context) -> None:
    """Print HOURBOOK_ROUTER_KEY, the secret of the router.

    It is derived from HOURBOOK_MASTER_KEY.
    """
    from schemas.router_key import derive_router_key

    _show_derived(context, "router_key", derive_router_key)


def _show_derived(context: Context, name: str, derive: Callable[[bytes], bytes]) -> None:
    from services.runtime.config import Settings
    from services.runtime.errors import BadSettings

    try:
        master_key = Settings.from_environment(os.environ, needs=("master_key",)).master_key
    except BadSettings as error:
        raise Unusable(str(error)) from None
    key = base64.b64encode(derive(master_key)).decode()
    context.show({name: key}, lambda: click.echo(key))
