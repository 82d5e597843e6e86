"""The floor of ingest: append records of about 250 bytes to a file and fdatasync, in groups."""

import json
import os
import time
from pathlib import Path

_RECORD = {
    "eventId": "bench-0000000000-00", "source": "carrier:dhl", "kind": "scanned",
    "occurredAt": "2026-01-05T10:00:00.000Z", "carrier": "dhl", "trackingNumber": "JJD00000000000000001",
    "code": "PO", "status": "InTransit", "message": "Processed at the parcel centre", "location": "Lille, FR",
}  # fmt: skip


def append_floor(folder: Path, group: int, seconds: float) -> float:
    """Return events a second that reach the disk of `folder`, `group` of them with each fdatasync."""
    chunk = (json.dumps(_RECORD, separators=(",", ":")).encode() + b"\n") * group
    file = folder / "append.floor"
    handle = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_TRUNC, 0o600)
    try:
        return group * _syncs(handle, chunk, seconds)
    finally:
        os.close(handle)
        file.unlink()


def _syncs(handle: int, chunk: bytes, seconds: float) -> float:
    """Return groups a second."""
    begun = time.perf_counter()
    groups, passed = 0, 0.0
    while passed < seconds:
        os.write(handle, chunk)
        os.fdatasync(handle)
        groups += 1
        passed = time.perf_counter() - begun
    return groups / passed
