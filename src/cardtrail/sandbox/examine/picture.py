"""Operations and bodies as the platform sends them, for cases to bend. Contract sections 2 to 4 and 7."""

from typing import Any

import msgspec

START = "2026-01-05T08:00:00.000Z"
LATER = "2026-03-02T09:30:00.000Z"
"""When an order began, and one that was placed after it."""
SHIPPED, DELIVERED = "CARD_SHIPPED", "Delivered"
ENDED = {
    "DATA_EXCEPTION": "FAILED", "CARD_PROD_CANCELED": "FAILED", SHIPPED: "SUCCESSFUL", "CARD_RETURNED": "SUCCESSFUL",
}  # fmt: skip
"""Stages that end the operation, and its state then."""


def picture(
    card_id: str, stage: str = "CARD_PROD_READY", *, shipment: str | dict[str, Any] | None = None,
    sequence: int | None = None, details: dict[str, Any] | None = None, **members: Any,
) -> dict[str, Any]:  # fmt: skip
    """Return an operation; `members` add to it or replace, `details` and `shipment` likewise.

    A `shipment` that is a text is its status. With a `sequence` it has our extension.
    """
    told: dict[str, Any] = {"status": stage, "productionSite": "Examination"}
    if shipment is not None:
        told["shipment"] = {"carrier": "deutsch-post", "trackingNumber": f"EX{card_id[-12:]}"} | (
            {"status": shipment} if isinstance(shipment, str) else shipment
        )
    state = ENDED.get(stage, "PENDING")
    operation = {
        "operationId": operation_id_of(card_id), "operation": "PRODUCE", "status": state, "startTime": START,
        **({} if state == "PENDING" else {"endTime": "2026-01-09T16:00:00.000Z"}),
        "cardId": card_id, "details": told | (details or {}),
    }  # fmt: skip
    return operation | members | ({} if sequence is None else {"cardtrail": {"sequence": sequence}})


def operation_id_of(card_id: str) -> str:
    """Return the id of a card's order, the same through all that becomes of it."""
    return f"op-{card_id}"


def body_of(*operations: object, **members: object) -> bytes:
    """Return the body of a notification; `members` stand beside the operations."""
    return msgspec.json.encode({"operations": operations, **members})


def padded(body: bytes, size: int) -> bytes:
    """Return a body with spaces behind it, which mean nothing to JSON."""
    return body.ljust(size)
