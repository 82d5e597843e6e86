"""A small program as an issuer may write it; type checkers look at it, nobody runs it."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import cardtrail
from cardtrail import AsyncClient, Client, NotFound, NotOrdered, Operation, Ordered, RemoteError, Shipment

BASE_URL = "https://api.d1.thalescloud.io/banking/v1"


def stage_of(client: Client, card_id: str) -> str:
    """Return where a card stands, in a word."""
    try:
        found: Operation = client.production_status(card_id)
    except NotFound:
        return "unknown"
    except RemoteError as error:
        status: int = error.status
        later: int = error.retry_after
        return f"{status} {error.error_code} {error.correlation_id} {later}"
    shipment: Shipment | None = found.shipment
    return shipment.status or "" if shipment is not None else found.stage


def order(client: Client) -> list[str]:
    """Order some cards; return what was not taken."""
    results = client.order_cards([{"cardId": "card-1", "distributionChannel": "CENTRAL"}])
    taken: list[Ordered] = [each for each in results if isinstance(each, Ordered)]
    refused = [each for each in results if isinstance(each, NotOrdered)]
    operation: str = client.order_card("card-2", {"distributionChannel": "INSTANT"}).operation_id
    return [operation, *(each.operation_id for each in taken), *(each.error for each in refused)]


async def cards() -> AsyncIterator[str]:
    """Yield ids from wherever they are kept."""
    for number in range(10):
        yield f"card-{number}"


async def follow(key: str) -> int:
    """Read all changes, and ask for many cards."""
    count = 0
    async with AsyncClient(BASE_URL, "ISSUER0001", key=key, kid="k1", rate=50, ca_pem=b"", timeout=10) as client:
        if (await client.features()).feed:
            page = await client.changes()
            while page.more:
                count += len(page.operations)
                page = await client.changes(page.cursor, wait=30)
        async for card_id, found in client.production_status_many(cards()):
            if isinstance(found, Operation):
                count += len(found.unknown) + (found.sequence or 0)
            else:
                message: str = f"{card_id}: {found}"
                print(message)  # noqa: T201 -- for a person
        body: bytes | None = await client.ask("card-1")
        count += len(body or b"")
        for entry in (await client.notifications(state="dead")).notifications:
            count += entry.attempts
    return count


def main() -> None:
    """Do it all."""
    key = Path("issuer.pem").read_text("utf-8")
    with Client(BASE_URL, "ISSUER0001", key=key, kid="k1") as client:
        for card_id, found in client.production_status_many(["card-1"]):
            print(card_id, found, stage_of(client, card_id), order(client))  # noqa: T201 -- for a person
    print(asyncio.run(follow(key)), cardtrail.__version__)  # noqa: T201 -- for a person
