"""An operator's commands: accounts, owners, keys, classes, deposits, halts, simulated deliveries, topics."""

from __future__ import annotations

import asyncio
import uuid
from pathlib import Path
from typing import Any

import click
import msgspec

from schemas import http
from schemas.specifications import published
from services.cli import output, profile
from services.cli.errors import Refused, Unusable
from services.cli.member import Context, contract_of, pass_context
from services.cli.stack import write_private
from services.runtime.errors import ServiceEnd
from services.runtime.kafka import Cluster
from services.runtime.log import LogError
from services.runtime.topics import create_topics


@click.group()
def admin() -> None:
    """For operators: the key is `operator.json` of the exchange's home, or HOURBOOK_PROFILE."""


def _say(context: Context, done: dict[str, Any], sentence: str) -> None:
    context.show(done, lambda: output.console.print(sentence.format(**done)))


@admin.command()
@click.argument("name")
@click.option("--role", type=click.Choice(["member", "provider", "market_maker"]), default="member", show_default=True)
@click.option("--owner", default=0, help="The owner's number; default: a new owner.")
@click.option("--desk", is_flag=True, help="The aggregator's own: its fills say so.")
@pass_context
def account(context: Context, name: str, role: http.AccountRole, owner: int, desk: bool) -> None:
    """Open an account (a new owner, or one more of an --owner)."""
    body = http.AccountRequest(name=name, owner=owner, role=role, desk=desk)
    done = context.client("operator").settle("POST", "/v1/admin/accounts", body)
    _say(context, done, "account {account} of owner {owner} is open")


@admin.command()
@click.argument("account", type=int)
@click.argument("role", type=click.Choice(["member", "provider", "market_maker"]))
@pass_context
def role(context: Context, account: int, role: http.AccountRole) -> None:
    """Change an account's role."""
    done = context.client("operator").settle("PATCH", f"/v1/admin/accounts/{account}", http.RoleRequest(role=role))
    _say(context, done, "account {account} has its role")


@admin.command()
@click.argument("account", type=int)
@click.option(
    "--scope",
    "scopes",
    multiple=True,
    type=click.Choice(["read", "trade", "supply", "operator"]),
    default=("read", "trade"),
)
@click.option("--label", default="")
@click.option("--days", default=0, help="Expires after so many days; 0: never.")
@click.option(
    "--profile", "file", type=click.Path(path_type=Path), help="Write a profile here instead of showing the secret."
)
@pass_context
def key(context: Context, account: int, scopes: tuple[Any, ...], label: str, days: int, file: Path | None) -> None:
    """Issue a key for ACCOUNT (0: an operator without an account). Its secret is shown this once."""
    client = context.client("operator")
    body = http.OperatorKeyRequest(account=account, scopes=scopes, label=label, expires_in_s=days * 86_400)
    issued = client.write("POST", "/v1/admin/keys", body, http.NewKeyAnswer)
    if file is not None:
        write_private(file, msgspec.json.encode(profile.Profile(client.url, issued)))
        _say(context, {"file": str(file)}, "profile written to {file}; use it with HOURBOOK_PROFILE")
        return
    context.show(
        issued,
        lambda: output.console.print(
            f"key {issued.key.key_id}\nsecret {issued.secret}\nbearer {issued.bearer}", soft_wrap=True
        ),
    )


@admin.command("revoke")
@click.argument("key_id")
@pass_context
def revoke(context: Context, key_id: str) -> None:
    """End a key."""
    done = context.client("operator").write("DELETE", f"/v1/keys/{key_id}", None, dict[str, str])
    _say(context, done, "key {revoked} has ended")


@admin.command("list-class")
@click.argument("class_or_file")
@click.option("--shard", default=0, show_default=True)
@pass_context
def list_class(context: Context, class_or_file: str, shard: int) -> None:
    """List a class: a published one by its id, or a specification file."""
    text = published().get(class_or_file)
    if text is None:
        file = Path(class_or_file)
        if not file.is_file():
            raise Unusable(f"{class_or_file} is neither a file nor one of: {', '.join(published())}")
        text = file.read_bytes()
    body = http.ClassRequest(shard=shard, specification=text.decode())
    done = context.client("operator").settle("POST", "/v1/admin/classes", body)
    _say(context, done, "listed as class number {class_no}")


@admin.command()
@click.argument("account", type=int)
@click.argument("amount")
@click.option("--provider", default="simulated-faucet", show_default=True)
@click.option("--reference", help="The provider's own id of the payment; default: a new one.")
@pass_context
def deposit(context: Context, account: int, amount: str, provider: str, reference: str | None) -> None:
    """Book money that has arrived. The default provider is a faucet: simulated money."""
    body = http.DepositRequest(
        account=account, amount=amount, provider=provider, provider_ref=reference or uuid.uuid4().hex
    )
    done = context.client("operator").settle("POST", "/v1/admin/deposits", body)
    _say(
        context,
        {**done, "provider": provider, "account": account, "usd": amount},
        "{usd} USD into the wallet of account {account} from {provider}",
    )


def _state(name: str, state: http.MarketState, sentence: str) -> click.Command:
    @admin.command(name, help=sentence)
    @click.argument("class_id", metavar="CLASS")
    @click.option("--reason", required=True)
    @pass_context
    def command(context: Context, class_id: str, reason: str) -> None:
        body = http.StateRequest(class_id=class_id, state=state, reason=reason)
        done = context.client("operator").write("POST", "/v1/admin/states", body, http.StateAnswer)
        context.show(done, lambda: output.console.print(f"{done.class_id} is {done.state}"))

    return command


_state("halt", "halted", "Stop trading in a class; time, gates and delivery go on, cancels pass.")
_state("open", "open", "Open a class again.")


@admin.command()
@click.argument("class_id", metavar="CLASS|CONTRACT")
@click.argument("hour", required=False)
@click.option("--title", default=0, help="One title only; default: all of the contract without a record.")
@click.option("--undelivered", default=0, type=click.IntRange(0, 60), help="Minutes that were not delivered.")
@pass_context
def deliver(context: Context, class_id: str, hour: str | None, title: int, undelivered: int) -> None:
    """SIMULATED delivery record: no machine is looked at. Settlement pays when the hour has ended."""
    body = http.DeliveryRequest(
        contract=contract_of(context, class_id, hour), simulated=True, title=title, undelivered_minutes=undelivered
    )
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
    done = context.client("operator").settle("POST", f"/v1/admin/payouts/{payout}", body)
    _say(context, done, "payout {payout} is {state}")


@admin.command()
@click.option("--kafka", required=True, envvar="HOURBOOK_KAFKA", help="host:port; default: $HOURBOOK_KAFKA")
@click.option("--shards", required=True, type=click.IntRange(1, 256), envvar="HOURBOOK_SHARDS")
@click.option("--prefix", default="", envvar="HOURBOOK_TOPIC_PREFIX")
@pass_context
def topics(context: Context, kafka: str, shards: int, prefix: str) -> None:
    """Create the topics of a new exchange and start its shards."""

    async def create() -> None:
        async with Cluster(kafka, prefix=prefix) as cluster:
            await create_topics(cluster, shards)

    try:
        asyncio.run(create())
    except (ServiceEnd, LogError) as error:
        raise Refused(str(error)) from None
    _say(context, {"shards": shards, "kafka": kafka}, "topics of {shards} shards are there on {kafka}")
