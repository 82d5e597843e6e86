"""Fills the database of `fastapi_stack` with orders and makes a key and a token: `fill_stack ORDERS FOLDER`.

Runs with the packages of bench/requirements.txt and the environment of `fastapi_stack`.
"""

import sqlite3
import sys
import time
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from bench import cards

_EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001 -- the column holds UTC without a zone, as SQLAlchemy writes it
_SHIPPED = {
    "issuer_id": cards.ISSUER_ID,
    "operation": "PRODUCE",
    "status": "SUCCESSFUL",
    "production_status": "CARD_SHIPPED",
    "due_date": cards.DUE_DATE,
    "production_site": cards.PRODUCTION_SITE,
    "input_file_name": cards.INPUT_FILE_NAME,
    "carrier": cards.CARRIER,
    "shipment_status": "InTransit",
    "shipment_message": cards.MESSAGE,
    "estimated_delivery": cards.ESTIMATED_DELIVERY,
    "sequence": 7,
}
_OWN = ("operation_id", "card_id", "start_time", "end_time", "tracking_number", "tracking_url")


def make_token(public_key: Path, token: Path) -> None:
    """Write a fresh public key and an access token good for a day."""
    key = ec.generate_private_key(ec.SECP256R1())
    public_key.write_bytes(
        key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    )
    now = int(time.time())
    claims = {
        "iss": "bench",
        "aud": "bench",
        "sub": cards.ISSUER_ID,
        "scope": "d1-api:physical-card:read d1-api:physical-card:write",
        "iat": now,
        "exp": now + 86_400,
    }
    token.write_text(jwt.encode(claims, key, algorithm="ES256", headers={"kid": "bench"}), encoding="ascii")


def orders_of(count: int) -> Iterator[tuple[object, ...]]:
    """Yield what differs between the orders, in the order of `_OWN`, then what they share."""
    shared = tuple(_SHIPPED.values())
    for number in range(count):
        yield (
            cards.operation_id(number),
            cards.card_id(number),
            _as_stored(cards.requested_at(number)),
            _as_stored(cards.shipped_at(number)),
            cards.tracking_number(number),
            cards.tracking_url(number),
            *shared,
        )


def _as_stored(instant: int) -> str:
    """Return µs as SQLAlchemy stores a DateTime in SQLite."""
    return (_EPOCH + timedelta(microseconds=instant)).isoformat(" ", "microseconds")


def fill(database: Path, orders: int) -> None:
    """Create the tables as the models say, and insert the orders past the ORM, which would take minutes."""
    from bench.peers import fastapi_stack as stack  # noqa: PLC0415 -- reads the key made just before

    stack.Base.metadata.create_all(stack.engine)
    stack.engine.dispose()
    columns = (*_OWN, *_SHIPPED)
    marks = ", ".join("?" * len(columns))
    statement = f"INSERT INTO orders ({', '.join(columns)}) VALUES ({marks})"  # noqa: S608 - our own names
    connection = sqlite3.connect(database)
    with connection:
        connection.execute("PRAGMA cache_size=-1000000")
        connection.executemany(statement, orders_of(orders))
    connection.execute("ANALYZE")
    connection.execute("PRAGMA journal_mode=WAL")
    connection.close()


if __name__ == "__main__":
    _orders, _folder = int(sys.argv[1]), Path(sys.argv[2])
    make_token(_folder / "stack.pem", _folder / "stack.token")
    fill(_folder / "stack.sqlite", _orders)
