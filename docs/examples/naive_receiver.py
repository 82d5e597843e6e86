"""A receiver that is wrong on purpose: see what `cardtrail examine` says of it. Run it: `uvicorn naive_receiver:app`.

It looks right, and takes what comes on a good day. It believes that an `operationId` names a message, so that all but
the first of an order is a repetition to it; that the order heard of last is the newest; that nobody ever adds a status,
a kind or a member; that a call has one operation; and that nobody sends more than fits. Only its signatures are right.
"""

import os
import time
from typing import Any

import msgspec
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from cardtrail.core.status import OperationStatus, ProductionStatus, ShipmentStatus
from cardtrail.errors import Unauthorized
from cardtrail.protocol.signature import Verifier

verifier = Verifier([os.environ["WEBHOOK_SECRET"]])
seen: set[str] = set()
cards: dict[str, Any] = {}


class Shipment(msgspec.Struct, forbid_unknown_fields=True, rename="camel"):
    carrier: str | None = None
    tracking_number: str | None = None
    status: ShipmentStatus | None = None
    message: str | None = None


class Details(msgspec.Struct, forbid_unknown_fields=True, rename="camel"):
    status: ProductionStatus
    reason: str | None = None
    due_date: str | None = None
    production_site: str | None = None
    shipment: Shipment | None = None


class Operation(msgspec.Struct, forbid_unknown_fields=True, rename="camel", kw_only=True):
    operation_id: str
    operation: str
    status: OperationStatus
    start_time: str
    end_time: str | None = None
    card_id: str
    details: Details
    error_code: str | None = None
    error: str | None = None
    input_file_name: str | None = None
    issuer_request_id: str | None = None
    cardtrail: dict[str, Any] | None = None


async def notified(request: Request) -> Response:
    body = await request.body()
    try:
        verifier.verify(request.headers, body, int(time.time()))
    except Unauthorized:
        return Response(status_code=401)
    if request.path_params["issuer_id"] != os.environ["ISSUER_ID"]:
        return Response(status_code=404)
    element = msgspec.json.decode(body)["operations"][0]
    operation = msgspec.convert(element, Operation)
    if operation.operation_id not in seen:
        seen.add(operation.operation_id)
        cards[operation.card_id] = element
    return Response(status_code=204)


async def shown(request: Request) -> Response:
    found = cards.get(request.path_params["card_id"])
    return Response(status_code=404) if found is None else JSONResponse({"operations": [found]})


app = Starlette(routes=[
    Route("/notifications/d1/v2/issuers/{issuer_id}/cards", notified, methods=["POST"]),
    Route("/examination/{card_id}", shown),
])  # fmt: skip
