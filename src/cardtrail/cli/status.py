"""`cardtrail status`: one card for a person: what happened when, and how we know."""

import asyncio
import sys
from typing import Annotated

import msgspec
from cyclopts import Parameter
from rich.console import Console, Group
from rich.table import Table
from rich.text import Text

from cardtrail.cli.show import plain, when
from cardtrail.core.order import Order, Projection, project
from cardtrail.core.status import Evidence
from cardtrail.core.why import MEANING, Account, account_of
from cardtrail.db import Row, Transaction
from cardtrail.errors import InputError
from cardtrail.platform.settings import settings_of
from cardtrail.platform.store import open_store
from cardtrail.protocol.codec import CARD_ID, ISSUER_ID, decode_events, timestamp

_STYLE = {Evidence.CLAIMED: "green", Evidence.SCANNED: "cyan", Evidence.INFERRED: "yellow"}


def status(
    issuer_id: Annotated[str, Parameter(help="Issuer, 10 characters.")],
    card_id: Annotated[str, Parameter(help="Card, 1 to 48 characters.")],
    *,
    database: Annotated[str | None, Parameter(help="Store to read, by default CARDTRAIL_DATABASE.")] = None,
    json: Annotated[bool, Parameter(negative=(), help="Print JSON instead of a page.")] = False,
) -> None:
    """Show where one card stands, what happened when, how we know, and why each value is what it is."""
    if not ISSUER_ID.fullmatch(issuer_id):
        raise InputError("ISSUER_ID", "exactly 10 of A-Z a-z 0-9 _ -")
    if not CARD_ID.fullmatch(card_id):
        raise InputError("CARD_ID", "1 to 48 of A-Z a-z 0-9 _ -")
    seen = asyncio.run(_read(settings_of({"database": database}).database, issuer_id, card_id))
    published, projection, accounts = seen
    if not published and not projection.waiting:
        print(f"cardtrail: {issuer_id} has no card {card_id}", file=sys.stderr)  # noqa: T201 -- for a person
        sys.exit(1)
    if json:
        print(_json(published, projection, accounts))  # noqa: T201 -- the command's answer
    else:
        Console().print(_page(card_id, published, projection, accounts))


Accounts = dict[str, Account]
"""Why each order says what it says, by its operation."""


async def _read(url: str, issuer_id: str, card_id: str) -> tuple[list[Row], Projection, Accounts]:
    def work(tx: Transaction) -> tuple[list[Row], list[Row]]:
        key = {"issuer_id": issuer_id, "card_id": card_id}
        return tx.all("pictures_of_card", **key), tx.all("events_of_card", **key)

    db = open_store(url)
    try:
        published, bodies = await db.read(work)
    finally:
        db.close()
    sealed = frozenset(row[0] for row in published if row[4] is not None)
    events = decode_events([bytes(row[0]) for row in bodies])
    accounts = {row[0]: account_of(events, row[0], sealed) for row in published if row[4] is None}
    known = {name: account for name, account in accounts.items() if account is not None}
    return published, project(events, sealed), known


def _json(published: list[Row], projection: Projection, accounts: Accounts) -> str:
    orders = {order.operation_id: order for order in projection.orders}
    shown = [
        {
            "operation": msgspec.Raw(bytes(row[5])), "changeNo": row[2], "changedAt": timestamp(row[3]),
            "sealed": row[4] is not None,
            "timeline": [
                {"status": step.status, "time": timestamp(step.at), "evidence": step.evidence,
                 "source": step.source, "eventId": step.event_id}
                for step in orders[row[0]].timeline
            ] if row[0] in orders else [],
            "anomalies": [
                {"code": anomaly.code, "text": anomaly.text, "time": timestamp(anomaly.at),
                 "source": anomaly.source, "eventId": anomaly.event_id}
                for anomaly in orders[row[0]].anomalies
            ] if row[0] in orders else [],
            "because": [
                {"member": each.member, "value": each.value, "reason": each.reason, "source": each.source,
                 "eventId": each.event_id, "happenedAt": timestamp(each.happened_at),
                 "receivedAt": timestamp(each.received_at)}
                for each in (accounts[row[0]].because if row[0] in accounts else ())
            ],
        }
        for row in published
    ]  # fmt: skip
    answer = msgspec.json.encode({"orders": shown, "waitingEvents": len(projection.waiting)})
    return msgspec.json.format(answer).decode()


def _page(card_id: str, published: list[Row], projection: Projection, accounts: Accounts) -> Group:
    orders = {order.operation_id: order for order in projection.orders}
    parts: list[Table | Text] = [Text(f"card {card_id}", style="bold")]
    for row in published:
        order = orders.get(row[0])
        parts += _order(row, order) if order else [Text(f"order {row[0]}: sealed, its events are gone")]
        parts += [_why(accounts[row[0]])] if row[0] in accounts else []
    if projection.waiting:
        parts.append(Text(f"{len(projection.waiting)} events wait for an order of this card", style="yellow"))
    return Group(*parts)


def _order(row: Row, order: Order) -> list[Table | Text]:
    sealed = ", sealed" if row[4] is not None else ""
    head = Text(f"\norder {order.operation_id}: {order.stage}, sequence {row[1]}{sealed}", style="bold")
    if order.hold is not None:
        head.append(f"  on hold: {plain(order.hold)}", style="yellow")
    shipment = order.shipment
    if shipment is not None:
        head.append(f"\nparcel {shipment.carrier} {shipment.tracking_number}: {shipment.status or 'no status known'}")
    table = Table(box=None, pad_edge=False)
    for title in ("when (UTC)", "what", "how we know"):
        table.add_column(title, no_wrap=True)
    table.add_column("from", overflow="fold", style="dim")
    for step in order.timeline:
        evidence = Text(step.evidence, style=_STYLE[step.evidence])
        table.add_row(when(step.at), step.status, evidence, f"{step.source} {step.event_id}")
    for anomaly in order.anomalies:
        told = Text(f"anomaly: {plain(anomaly.text)}", style="red")
        table.add_row(when(anomaly.at), told, anomaly.code, f"{anomaly.source} {anomaly.event_id}")
    return [head, table]


def _why(account: Account) -> Table:
    """Return why an order says what it says."""
    table = Table(box=None, pad_edge=False, title="why it says that", title_justify="left")
    table.add_column("value", no_wrap=True)
    table.add_column("says", overflow="fold")
    for title in ("because", "told by"):
        table.add_column(title, overflow="fold", style="dim")
    table.add_column("heard (UTC)", no_wrap=True)
    for each in account.because:
        value = each.value
        if value is None:
            continue  # it was there before, and is gone
        shown = when(int(value)) if each.member in ("startTime", "endTime") else plain(value)
        table.add_row(
            each.member, shown, MEANING[each.reason], f"{each.source} {each.event_id}", when(each.received_at)
        )
    return table
