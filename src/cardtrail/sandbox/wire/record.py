"""The recorder: every exchange that crossed the wire, in order, as JSON Lines. Credentials are not in it.

An exchange is one hand-over of a message to the other side, or a call that was kept from it. The bodies are those that
arrived: what a fault has changed is there as it was changed.
"""

import os
import time
from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO

import msgspec
import structlog

from cardtrail.errors import InputError
from cardtrail.sandbox.wire.call import Answer, Call
from cardtrail.sandbox.wire.kinds import Hop, Kind
from cardtrail.sandbox.wire.mask import masked_body, masked_header, masked_text

NAME = "wire.jsonl"
"""The record's file in the sandbox's folder; the older half stands in the same with `.1` behind it."""
MAX_FILE = 32 * 1_048_576
"""Largest file, bytes; then it becomes the older half, and the older half before goes."""
MAX_BODY = 1_048_576
"""Most of a body that is kept, bytes: whatever the platform sends or takes is kept whole."""
MAX_LINE = 16 * 1_048_576
"""Longest line of a record that is read, bytes: two bodies, each byte of them written as six."""
MAX_TAIL = 16 * 1_048_576
"""How far from the end of a file its newest exchanges are looked for, bytes."""
MAX_PATH = 2_048
"""Most of a path that is kept, characters."""
HEADERS = frozenset({
    "accept", "authorization", "cache-control", "connection", "content-length", "content-type", "date", "etag",
    "idempotency-key", "if-none-match", "location", "retry-after", "webhook-id", "webhook-signature",
    "webhook-timestamp", "www-authenticate", "x-cardtrail-cursor", "x-correlation-id",
})  # fmt: skip
"""Headers that are kept."""

_log = structlog.get_logger()


class Message(msgspec.Struct, frozen=True, omit_defaults=True):
    """One half of an exchange. `size` is the body's length in bytes where `body` holds only its beginning."""

    headers: dict[str, str]
    body: str = ""
    size: int | None = None

    @property
    def whole(self) -> bool:
        """Whether the body is here as it was."""
        return self.size is None


class Exchange(msgspec.Struct, frozen=True, omit_defaults=True):
    """What crossed the wire once.

    `at` is the wall time of its beginning, `ms` how long it took. `arrived` tells whether the other side got the
    message; `status` is 0 where nobody was answered. `answer` is what came back. `faults` are those that struck it.
    """

    number: int
    at: str
    hop: Hop
    method: str
    path: str
    request: Message
    answer: Message
    status: int
    ms: float
    arrived: bool
    faults: list[str] = []


class Recorder:
    """Writes exchanges to a file in `folder`. What cannot be written is told once and ends the record, nothing else."""

    def __init__(self, folder: Path, *, most: int = MAX_FILE) -> None:
        self.path = folder / NAME
        self.number = 0
        """Exchanges so far."""
        self._most = most
        self._older = older_of(self.path)
        self._size = 0
        self._file: BinaryIO | None = None
        self._rotate()

    def note(  # noqa: PLR0913 -- both halves of an exchange, and what became of it
        self, hop: Hop, call: Call, answer: Answer | None, began: float, *, arrived: bool, faults: Collection[Kind] = ()
    ) -> None:
        """Write down one exchange that began at a moment of `time.perf_counter`."""
        if self._file is None:
            return
        took = time.perf_counter() - began
        self.number += 1
        self._append(Exchange(
            number=self.number, at=_wall(time.time() - took), hop=hop, method=call.scope["method"], path=path_of(call),
            request=_request_of(call), answer=_answer_of(answer), status=0 if answer is None else answer.status,
            ms=round(took * 1000, 1), arrived=arrived, faults=[str(kind) for kind in faults],
        ))  # fmt: skip

    def note_event(self, event: object, faults: Collection[Kind]) -> None:
        """Write down an event that a fault keeps from being sent as it is; what is sent after all is a call."""
        if self._file is None:
            return
        self.number += 1
        text = masked_body("application/json", msgspec.json.encode(event).decode())
        self._append(Exchange(
            number=self.number, at=_wall(time.time()), hop=Hop.EVENTS, method="", path="",
            request=Message({}, *_cut(text)), answer=Message({}), status=0, ms=0.0, arrived=False,
            faults=[str(kind) for kind in faults],
        ))  # fmt: skip

    def _append(self, exchange: Exchange) -> None:
        data = msgspec.json.encode(exchange) + b"\n"
        try:
            if self._size + len(data) > self._most:
                self._rotate()
            if self._file is not None:
                self._file.write(data)
                self._size += len(data)
        except OSError as error:
            self._give_up(error)

    def _rotate(self) -> None:
        """Begin a file; the one before becomes the older half. Only the owner reads either."""
        self.close()
        try:
            if self.path.exists():
                self.path.replace(self._older)
            descriptor = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            self._file, self._size = open(descriptor, "wb", buffering=0), 0  # noqa: PTH123, SIM115 -- a descriptor, closed by `close`
        except OSError as error:
            self._give_up(error)

    def _give_up(self, error: OSError) -> None:
        _log.error("record_ended", error=str(error))
        self.close()

    def close(self) -> None:
        """End the record; what comes later is not written."""
        if self._file is not None:
            with suppress(OSError):
                self._file.close()
            self._file = None


def older_of(path: Path) -> Path:
    """Return the file of the older half."""
    return path.with_name(path.name + ".1")


def path_of(call: Call) -> str:
    """Return the path of a call with its query, without what has the shape of a token."""
    query = call.scope.get("query_string", b"").decode("latin-1")
    return masked_text(call.scope["path"] + (f"?{query}" if query else ""))[:MAX_PATH]


def _wall(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _request_of(call: Call) -> Message:
    return _message(call.scope["headers"], call.header(b"content-type"), call.body, whole=call.whole)


def _answer_of(answer: Answer | None) -> Message:
    return Message({}) if answer is None else _message(answer.headers, answer.header(b"content-type"), answer.body)


def _message(headers: Iterable[tuple[bytes, bytes]], kind: str, body: bytes, *, whole: bool = True) -> Message:
    pairs = ((name.decode("latin-1").lower(), value.decode("latin-1")) for name, value in headers)
    kept = {name: masked_header(name, value) for name, value in pairs if name in HEADERS}
    text = masked_body(kind, body[: 2 * MAX_BODY].decode("utf-8", "replace"))
    text, size = _cut(text, len(body) if len(body) > 2 * MAX_BODY or not whole else None)
    return Message(kept, text, size)


def _cut(text: str, size: int | None = None) -> tuple[str, int | None]:
    """Return as much of a text as is kept, and its length where that is not all."""
    data = text.encode()
    if len(data) <= MAX_BODY:
        return text, size
    return data[:MAX_BODY].decode("utf-8", "ignore"), size or len(data)


# ── reading ──


def exchanges_of(path: Path) -> Iterator[Exchange]:
    """Yield the exchanges of a record. Raises InputError naming the line that is none, or the file."""
    try:
        with path.open("rb") as file:
            for number, line in enumerate(iter(lambda: file.readline(MAX_LINE + 1), b""), 1):
                if len(line) > MAX_LINE:
                    raise InputError(f"line {number}", f"longer than {MAX_LINE} bytes")
                if line.strip():
                    yield _exchange(line, number)
    except OSError as error:
        raise InputError("file", f"{error.strerror}: {path}") from None


def _exchange(line: bytes, number: int) -> Exchange:
    try:
        return msgspec.json.decode(line, type=Exchange)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise InputError(f"line {number}", f"not an exchange: {error}") from None


def newest_of(path: Path, most: int, wanted: Callable[[Exchange], bool] | None = None) -> list[Exchange]:
    """Return the newest exchanges of a record, in order; the older half is looked at, too.

    Those that are `wanted` are looked for in all of it, others only near its end.
    """
    found: deque[Exchange] = deque(maxlen=most)
    for file in (older_of(path), path):
        if file.exists():
            found.extend(_tail_of(file, MAX_TAIL) if wanted is None else filter(wanted, _tail_of(file)))
    return list(found)


def _tail_of(path: Path, far: int | None = None) -> Iterator[Exchange]:
    """Yield what is readable within so many bytes of a file's end, or in all of it: it may be written to."""
    with path.open("rb") as file:
        size = path.stat().st_size
        start = 0 if far is None else max(0, size - far)
        file.seek(start)
        if start:
            file.readline(MAX_LINE)  # a part of one
        while file.tell() < size and (line := file.readline(MAX_LINE)):
            with suppress(msgspec.DecodeError, UnicodeDecodeError):
                yield msgspec.json.decode(line, type=Exchange)
