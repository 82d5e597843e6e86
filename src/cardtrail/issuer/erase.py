"""Pictures without what they say of a person's parcel: only members that are known, and none of these that can be.

What another server puts in beside the contract may say anything of anybody, so what is kept is named, not what goes.
"""

from typing import Any

import msgspec

from cardtrail.protocol.codec import timestamp
from cardtrail.protocol.reading import Operation, operation_of

_encode = msgspec.json.Encoder(order="deterministic").encode


def erased(picture: bytes) -> bytes:
    """Return a stored picture without tracking numbers, links, places, free texts and all that nobody has published."""
    operation = operation_of(picture)
    shipment = operation.shipment
    details = {
        "status": operation.stage or None, "dueDate": operation.due_date, "productionSite": operation.production_site,
        "inputFileName": operation.input_file_name, "issuerRequestId": operation.issuer_request_id,
        "shipment": None if shipment is None else _told(carrier=shipment.carrier, status=shipment.status),
    }  # fmt: skip
    return _encode(_told(
        operationId=operation.operation_id, operation=operation.operation, status=operation.status,
        cardId=operation.card_id, startTime=_instant(operation.start_time), endTime=_instant(operation.end_time),
        errorCode=operation.error_code, details=_told(**details), cardtrail=_extension(operation),
    ))  # fmt: skip


def _extension(operation: Operation) -> dict[str, Any] | None:
    seen = [_told(time=_instant(each.at), status=each.status) for each in operation.checkpoints if each.at is not None]
    told = _told(
        sequence=operation.sequence, estimatedDelivery=operation.estimated_delivery, checkpoints=seen or None
    )  # fmt: skip
    return told or None


def _told(**members: Any) -> dict[str, Any]:
    return {name: value for name, value in members.items() if value is not None}


def _instant(at: int | None) -> str | None:
    return None if at is None else timestamp(at)
