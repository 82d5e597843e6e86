"""Notifications as a platform of the published contract sends them, signed."""

from typing import Any

import msgspec

from cardtrail.protocol.signature import new_secret, sign
from tests.serving import ISSUER

SECRET = new_secret(bytes(range(32)))
PATH = f"/notifications/d1/v2/issuers/{ISSUER}/cards"
NOW = 1_795_600_000
"""Whole seconds since 1970."""


def operation(
    card_id: str = "card-1", stage: str = "CARD_PROD_READY", *, sequence: int | None = None, **members: Any
) -> dict[str, Any]:
    """Return an operation as published; of our platform where it has a sequence."""
    return {
        "operationId": f"op-{card_id}", "operation": "PRODUCE", "status": "PENDING", "cardId": card_id,
        "startTime": "2026-01-05T08:00:00.000Z", "details": {"status": stage},
    } | members | ({} if sequence is None else {"cardtrail": {"sequence": sequence}})  # fmt: skip


def body_of(*operations: object, mark: str | None = None) -> bytes:
    """Return the body of a notification."""
    extension = {} if mark is None else {"cardtrail": {"cursor": mark}}
    return msgspec.json.encode({"operations": operations, **extension})


def signed(body: bytes, at: float = NOW, *secrets: str, webhook_id: str = "msg-1") -> dict[str, str]:
    """Return the headers of a call, signed with each secret."""
    return {
        "content-type": "application/json", "webhook-id": webhook_id, "webhook-timestamp": str(int(at)),
        "webhook-signature": sign(secrets or (SECRET,), webhook_id, int(at), body),
    }  # fmt: skip
