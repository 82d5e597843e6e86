"""The read hook of an examination shows the examination's own cards, and of others not even whether they are there."""

import asyncio
from pathlib import Path
from typing import Any

import msgspec
import pytest

from cardtrail.issuer.asgi import Receive, Scope, Send
from cardtrail.issuer.examination import examinable
from cardtrail.issuer.mirror import AsyncMirror
from cardtrail.issuer.standing import Observed
from cardtrail.protocol.reading import operation_of
from tests.hosting import Answer, call, hosting
from tests.serving import ISSUER
from tests.signed import operation


async def behind(_scope: Scope, _receive: Receive, send: Send) -> None:
    """The receiver behind the hook; it answers what no hook answers."""
    await send({"type": "http.response.start", "status": 299, "headers": [(b"content-length", b"0")]})
    await send({"type": "http.response.body", "body": b""})


def asked(folder: Path, path: str, *operations: dict[str, Any], method: str = "GET", closed: bool = False) -> Answer:
    """Take operations into a mirror and call the hook in front of it."""

    async def run() -> Answer:
        mirror = AsyncMirror.open(f"sqlite:///{folder}/mirror.db")
        try:
            observed = [Observed(operation_of(msgspec.json.encode(each)), "notification", 1) for each in operations]
            await mirror.apply(ISSUER, observed)
            if closed:
                mirror.close()
            async with hosting(examinable(behind, mirror, ISSUER)) as port:
                return await call(port, path, b"", {}, method)
        finally:
            mirror.close()

    return asyncio.run(run())


def test_a_card_of_an_examination_is_shown_with_its_orders_newest_first(tmp_path: Path) -> None:
    old = operation("exam-1", operationId="op-1")
    new = operation("exam-1", operationId="op-2", startTime="2026-02-01T00:00:00.000Z")
    answer = asked(tmp_path, "/bank/examination/exam-1", old, new, operation("exam-2"))
    assert (answer.status, answer.headers["content-type"]) == (200, "application/json")
    assert msgspec.json.decode(answer.body) == {"operations": [new, old]}


@pytest.mark.parametrize(
    "card_id", ["card-1", "exam", "EXAM-1", "xexam-1", "card-1/exam-9", "exam-9/../card-1", "exam-%", "card-1%2Fexam-"]
)
def test_a_real_card_is_never_shown_and_looks_like_one_that_is_not_there(tmp_path: Path, card_id: str) -> None:
    known = [operation(each) for each in ("card-1", "exam", "EXAM-1", "xexam-1", "exam-1")]
    answer = asked(tmp_path, f"/examination/{card_id}", *known)
    nothing = asked(tmp_path, "/examination/exam-nobody")
    assert answer.status == 404
    assert (answer.status, answer.body) == (nothing.status, nothing.body)


def test_a_mirror_that_cannot_be_read_is_answered_so(tmp_path: Path) -> None:
    assert asked(tmp_path, "/examination/exam-1", closed=True).status == 503


@pytest.mark.parametrize(("method", "path"), [("POST", "/examination/exam-1"), ("GET", "/healthz"), ("GET", "/exam-1")])
def test_all_else_goes_to_the_receiver(tmp_path: Path, method: str, path: str) -> None:
    assert asked(tmp_path, path, method=method).status == 299
