"""Fills cardtrail's own databases: orders with pictures by its codec, and the two parties that call.

`python -m bench.prepare URL ORDERS FOLDER`; the parties' keys are kept in FOLDER. With `--endpoint` the issuer is
notified there.
The orders go in past ingest, which would take minutes, and come without their events, like orders that were sealed.
"""

import argparse
import asyncio
import sqlite3
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import psycopg
from joserfc.jwk import ECKey
from psycopg import sql

from bench import cards
from bench.story import CARRIER_SOURCE, SITE
from cardtrail.core.operation import Details, Operation, PictureOfShipment
from cardtrail.core.status import OperationStatus, ProductionStatus, ShipmentStatus
from cardtrail.db import Database, Row
from cardtrail.files.box import box_of
from cardtrail.platform.endpoint import MAX_RATE as ENDPOINT_RATE
from cardtrail.platform.endpoint import Config, Endpoint, Secrets
from cardtrail.platform.endpoints import Endpoints
from cardtrail.platform.parties import MAX_RATE, Parties, PartyKind, Rights, new_party
from cardtrail.platform.store import open_store
from cardtrail.protocol.codec import answer_of, etag_of, picture_of

PRODUCER_ID = "bench-site"
COLUMNS = (
    "issuer_id", "card_id", "requested_at", "operation_id", "sequence",
    "change_no", "ended_at", "changed_at", "picture", "strict_length", "etag", "place", "since", "watched", "carrier",
)  # fmt: skip
UNDER_WAY = 20
"""One order in so many is still on its way."""
STUCK_DAYS = 30
"""How long those that are stuck have been so."""
SEQUENCE = 7
"""Visible changes that brought a prepared order to where it is."""


def operation_of(number: int) -> Operation:
    """Return the operation of a card that was shipped and is on its way."""
    shipment = PictureOfShipment(
        cards.CARRIER,
        cards.tracking_number(number),
        ShipmentStatus.IN_TRANSIT,
        cards.MESSAGE,
        cards.tracking_url(number),
    )
    return Operation(
        operation_id=cards.operation_id(number),
        status=OperationStatus.SUCCESSFUL,
        start_time=cards.requested_at(number),
        end_time=cards.shipped_at(number),
        card_id=cards.card_id(number),
        details=Details(ProductionStatus.SHIPPED, None, cards.DUE_DATE, cards.PRODUCTION_SITE, shipment=shipment),
        input_file_name=cards.INPUT_FILE_NAME,
        estimated_delivery=cards.ESTIMATED_DELIVERY,
    )


def rows(orders: int) -> Iterator[Row]:
    """Yield one row of `operation` for every order, in the order of COLUMNS."""
    now = time.time_ns() // 1_000
    for number in range(orders):
        operation = operation_of(number)
        picture = picture_of(operation)
        full = picture.sealed(SEQUENCE)
        yield (
            cards.ISSUER_ID, operation.card_id, operation.start_time, operation.operation_id, SEQUENCE,
            number + 1, operation.end_time, now, full, picture.strict_length, etag_of(answer_of([full])),
            *where(number, now),
        )  # fmt: skip


def where(number: int, now: int) -> Row:
    """Return the columns that say where an order is: nearly all have arrived, one in 5,000 is stuck."""
    if number % UNDER_WAY:
        return ShipmentStatus.DELIVERED.value, now, 0, cards.CARRIER
    longest = STUCK_DAYS if number % (250 * UNDER_WAY) == 0 else 1
    return ShipmentStatus.IN_TRANSIT.value, now - longest * 24 * cards.HOUR, 1, cards.CARRIER


def tallies(orders: int) -> Iterator[Row]:
    """Yield what is counted of these orders."""
    empty, hour = ("", "", ""), time.time_ns() // 1_000 // cards.HOUR
    under_way = orders // UNDER_WAY
    counts = {ShipmentStatus.IN_TRANSIT.value: under_way, ShipmentStatus.DELIVERED.value: orders - under_way}
    for place, count in counts.items():
        yield cards.ISSUER_ID, "standing", 0, place, *empty, 0, count
        for back in range(365 * 24):
            yield cards.ISSUER_ID, "passage", hour - back, place, *empty, 0, count // (365 * 24)
    for quarters in range(1, 20):
        yield cards.ISSUER_ID, "dwell", 0, ShipmentStatus.IN_TRANSIT.value, "", "", cards.CARRIER, quarters, 1_000


@dataclass(frozen=True)
class Filling:
    """Rows that go into a table past everything of ours."""

    table: str
    columns: tuple[str, ...]
    rows: Iterable[Row]


def fillings(orders: int) -> Iterator[Filling]:
    """Yield everything that stored orders without events consist of."""
    yield Filling("operation", COLUMNS, rows(orders))
    known = ((cards.ISSUER_ID, cards.operation_id(n), cards.card_id(n)) for n in range(orders))
    yield Filling("operation_ref", ("issuer_id", "operation_id", "card_id"), known)
    yield Filling("card", ("issuer_id", "card_id"), ((cards.ISSUER_ID, cards.card_id(n)) for n in range(orders)))
    members = ("issuer_id", "what", "hour", "place", "site", "channel", "carrier", "value", "count")
    yield Filling("tally", members, tallies(orders))
    yield Filling("issuer_counter", ("issuer_id", "change_no"), [(cards.ISSUER_ID, orders)])


def fill(url: str, coming: Iterable[Filling]) -> None:
    """Fill tables of the database at `url`."""
    if url.startswith("sqlite:///"):
        _fill_sqlite(Path(url.removeprefix("sqlite:///")), coming)
    else:
        _fill_postgres(url, coming)


def _fill_sqlite(file: Path, coming: Iterable[Filling]) -> None:
    """Insert all in one transaction, in memory as far as it goes, then write it all down."""
    connection = sqlite3.connect(file)
    connection.execute("PRAGMA cache_size=-2000000")
    with connection:
        for each in coming:
            marks = ", ".join("?" * len(each.columns))
            statement = f"INSERT INTO {each.table} ({', '.join(each.columns)}) VALUES ({marks})"  # noqa: S608 - our own names
            connection.executemany(statement, each.rows)
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()


def _fill_postgres(url: str, coming: Iterable[Filling]) -> None:
    """Copy all, then let the server settle."""
    with psycopg.connect(url) as connection, connection.cursor() as cursor:
        for each in coming:
            names = sql.SQL(", ").join(map(sql.Identifier, each.columns))
            statement = sql.SQL("COPY {} ({}) FROM STDIN").format(sql.Identifier(each.table), names)
            with cursor.copy(statement) as copy:
                for row in each.rows:
                    copy.write_row(row)
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("VACUUM ANALYZE")
        connection.execute("CHECKPOINT")


async def register(db: Database, folder: Path) -> None:
    """Register the issuer that reads and the producer that ingests; their keys go to `folder`.

    Their rate is the highest there is: the limit is kept on every call, but must not be what is measured.
    """
    parties = Parties(db, lambda: time.time_ns() // 1_000)
    issuer = new_party(PartyKind.ISSUER, cards.ISSUER_ID, Rights(rate=MAX_RATE))
    rights = Rights(issuers=frozenset({cards.ISSUER_ID}), sources=frozenset({SITE, CARRIER_SOURCE}), rate=MAX_RATE)
    for party in (issuer, new_party(PartyKind.PRODUCER, PRODUCER_ID, rights)):
        key = key_of(party.party_id, folder)
        await parties.add(party, "operator:bench")
        public = key.as_pem(private=False).decode()
        await parties.add_key(party.party_id, public, "operator:bench", kid="bench")


def key_of(party_id: str, folder: Path) -> ECKey:
    """Return the party's private key, made when first asked for."""
    file = folder / f"{party_id}.key"
    if not file.exists():
        file.write_bytes(ECKey.generate_key("P-256").as_pem(private=True))
    return ECKey.import_key(file.read_bytes())


def prepare(url: str, orders: int, folder: Path) -> None:
    """Make and fill the database at `url`, with the parties registered as an operator would."""
    db = open_store(url)
    try:
        asyncio.run(register(db, folder))
    finally:
        db.close()
    fill(url, fillings(orders))


def register_endpoint(url: str, secret_key_file: str, endpoint_id: str, config: Config) -> None:
    """Register an endpoint of the issuer, as an operator would."""
    db = open_store(url)
    try:
        endpoints = Endpoints(db, box_of(secret_key_file, url), lambda: time.time_ns() // 1_000)
        endpoint = Endpoint(issuer_id=cards.ISSUER_ID, endpoint_id=endpoint_id, config=config)
        asyncio.run(endpoints.add(endpoint, Secrets(), "operator:bench"))
    finally:
        db.close()


if __name__ == "__main__":
    _parser = argparse.ArgumentParser(prog="python -m bench.prepare", description=__doc__)
    _parser.add_argument("url")
    _parser.add_argument("orders", type=int)
    _parser.add_argument("folder", type=Path)
    _parser.add_argument("--endpoint", default="", help="base URL of a receiver")
    _parser.add_argument("--batch-size", type=int, default=1)
    _parser.add_argument("--secret-key-file", default="")
    _given = _parser.parse_args()
    prepare(_given.url, _given.orders, _given.folder)
    if _given.endpoint:
        _config = Config(url=_given.endpoint, batch_size=_given.batch_size, rate=ENDPOINT_RATE)
        register_endpoint(_given.url, _given.secret_key_file, "main", _config)
