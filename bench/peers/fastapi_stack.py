"""The status endpoint as one would write it first: FastAPI, SQLAlchemy's ORM, PyJWT, pydantic models.

Written as their documentation suggests, with the index it needs, a connection for each thread, WAL and no
access log. PEER_DATABASE names the SQLite file, PEER_PUBLIC_KEY the file with the key that checks tokens.
"""

import os
from collections.abc import Iterator
from datetime import date, datetime
from pathlib import Path
from typing import Annotated

import jwt
from fastapi import Depends, FastAPI, HTTPException
from fastapi import Path as InPath
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from pydantic import BaseModel, ConfigDict, PlainSerializer
from pydantic.alias_generators import to_camel
from sqlalchemy import Index, create_engine, select
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column, sessionmaker

AUDIENCE = "bench"
SCOPE = "d1-api:physical-card:read"
_THREADS = 40  # of Starlette's thread pool

engine = create_engine(
    f"sqlite:///{os.environ['PEER_DATABASE']}", pool_size=_THREADS, connect_args={"check_same_thread": False}
)
new_session = sessionmaker(engine, expire_on_commit=False)
public_key = Path(os.environ["PEER_PUBLIC_KEY"]).read_text(encoding="ascii")


class Base(DeclarativeBase):
    """The tables."""


class Order(Base):
    """A card order and where it stands."""

    __tablename__ = "orders"
    __table_args__ = (Index("ix_orders_card", "issuer_id", "card_id", "start_time"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    operation_id: Mapped[str] = mapped_column(unique=True)
    issuer_id: Mapped[str]
    card_id: Mapped[str]
    operation: Mapped[str]
    status: Mapped[str]
    start_time: Mapped[datetime]
    end_time: Mapped[datetime | None]
    error_code: Mapped[str | None]
    error: Mapped[str | None]
    input_file_name: Mapped[str | None]
    issuer_request_id: Mapped[str | None]
    production_status: Mapped[str]
    reason: Mapped[str | None]
    due_date: Mapped[date | None]
    production_site: Mapped[str | None]
    carrier: Mapped[str | None]
    tracking_number: Mapped[str | None]
    shipment_status: Mapped[str | None]
    shipment_message: Mapped[str | None]
    tracking_url: Mapped[str | None]
    estimated_delivery: Mapped[date | None]
    sequence: Mapped[int]


def _milliseconds(moment: datetime) -> str:
    return f"{moment.isoformat(timespec='milliseconds')}Z"


Instant = Annotated[datetime, PlainSerializer(_milliseconds)]


class Wire(BaseModel):
    """Members in camelCase."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True)


class Shipment(Wire):
    """`details.shipment`."""

    carrier: str | None = None
    tracking_number: str | None = None
    status: str | None = None
    message: str | None = None
    tracking_url: str | None = None


class Details(Wire):
    """`details`."""

    status: str
    reason: str | None = None
    due_date: date | None = None
    production_site: str | None = None
    shipment: Shipment | None = None


class Extension(Wire):
    """`cardtrail`."""

    sequence: int
    estimated_delivery: date | None = None


class Operation(Wire):
    """The operation."""

    operation_id: str
    operation: str
    status: str
    start_time: Instant
    end_time: Instant | None = None
    card_id: str
    details: Details
    error_code: str | None = None
    error: str | None = None
    input_file_name: str | None = None
    issuer_request_id: str | None = None
    cardtrail: Extension


class Answer(Wire):
    """The body of a 200."""

    operations: list[Operation]


def session() -> Iterator[Session]:
    """Give one request its session."""
    with new_session() as opened:
        yield opened


def party(credentials: Annotated[HTTPAuthorizationCredentials, Depends(HTTPBearer())]) -> str:
    """Return the issuer that the token was made for."""
    try:
        claims = jwt.decode(credentials.credentials, public_key, algorithms=["ES256"], audience=AUDIENCE)
    except jwt.InvalidTokenError as error:
        raise HTTPException(401, "invalid token", {"WWW-Authenticate": "Bearer"}) from error
    if SCOPE not in claims["scope"].split():
        raise HTTPException(403, "scope missing")
    return str(claims["sub"])


app = FastAPI()


@app.get(
    "/banking/v1/issuers/{issuer_id}/physicalCards/{card_id}/productionStatus",
    response_model_exclude_none=True,
)
def production_status(
    issuer_id: Annotated[str, InPath(pattern=r"^[A-Za-z0-9_-]{10}$")],
    card_id: Annotated[str, InPath(pattern=r"^[A-Za-z0-9_-]{1,48}$")],
    caller: Annotated[str, Depends(party)],
    database: Annotated[Session, Depends(session)],
) -> Answer:
    """Return the latest order of a card."""
    if caller != issuer_id:
        raise HTTPException(403, "not your issuer")
    latest = (
        select(Order)
        .where(Order.issuer_id == issuer_id, Order.card_id == card_id)
        .order_by(Order.start_time.desc())
        .limit(1)
    )
    order = database.scalars(latest).first()
    if order is None:
        raise HTTPException(404, "unknown card")
    return Answer(operations=[_operation_of(order)])


def _operation_of(order: Order) -> Operation:
    shipment = Shipment(
        carrier=order.carrier, tracking_number=order.tracking_number, status=order.shipment_status,
        message=order.shipment_message, tracking_url=order.tracking_url,
    )  # fmt: skip
    return Operation(
        operation_id=order.operation_id, operation=order.operation, status=order.status,
        start_time=order.start_time, end_time=order.end_time, card_id=order.card_id,
        details=Details(
            status=order.production_status, reason=order.reason, due_date=order.due_date,
            production_site=order.production_site, shipment=shipment if order.carrier else None,
        ),
        error_code=order.error_code, error=order.error,
        input_file_name=order.input_file_name, issuer_request_id=order.issuer_request_id,
        cardtrail=Extension(sequence=order.sequence, estimated_delivery=order.estimated_delivery),
    )  # fmt: skip
