"""Receivers that are right in their own way pass, and faults that only a patient look finds are found."""

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, make_server

import msgspec
import pytest

from cardtrail.errors import RemoteError
from cardtrail.issuer.asgi import Asgi, Receive, Scope, Send
from cardtrail.sandbox.examine import exam
from cardtrail.sandbox.examine.answer import MAX_SHOWN, Answer
from cardtrail.sandbox.examine.candidate import Candidate
from cardtrail.sandbox.examine.catalogue import chosen
from cardtrail.sandbox.examine.result import Outcome, Report
from cardtrail.sandbox.examine.run import examine
from tests.certificates import Authority
from tests.hosting import hosting
from tests.serving import ISSUER, PATIENCE
from tests.unit.sandbox.examine.playing import always, answer, examined
from tests.unit.sandbox.examine.serving import serving_bytes


class Keeping:
    """A receiver that keeps the last picture of each card, by a way of its own."""

    def __init__(self, *, late: float = 0.0, hasty: bool = False) -> None:
        self.cards: dict[str, Any] = {}
        self._late = late
        self._hasty = hasty
        self._tasks: set[asyncio.Task[None]] = set()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["method"] == "GET":
            found = self.cards.get(scope["path"].rpartition("/")[2])
            await answer(send, 404 if found is None else 200, msgspec.json.encode({"operations": [found]}))
            return
        body, more = b"", True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                return
            body += message.get("body", b"")
            more = message.get("more_body", False)
            if self._hasty:
                self._keep(body)
        task = asyncio.create_task(self._later(body))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        await answer(send, 204, b"")

    async def _later(self, body: bytes) -> None:
        await asyncio.sleep(self._late)
        self._keep(body)

    def _keep(self, body: bytes) -> None:
        with suppress(msgspec.DecodeError):
            for each in msgspec.json.decode(body)["operations"]:
                self.cards[each["cardId"]] = each


def failed(report: Report) -> dict[str, str]:
    return {each.case.name: each.seen for each in report.of(Outcome.FAILED)}


def test_a_receiver_that_answers_before_it_stores_is_waited_for() -> None:
    cases = chosen(["plain-is-kept", "whole-life", "bulk-of-1000-is-kept", "half-body"])
    assert failed(examined(Keeping(late=0.2), cases)) == {}
    report = examined(Keeping(late=0.2), chosen(["swapped-stages"]))
    assert failed(report) == {"swapped-stages": "it shows CARD_PROD_READY; CARD_SHIPPED expected"}


def test_who_believes_what_came_last_fails_the_disorder_and_passes_the_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exam, "GRACE_SECONDS", 0.05)  # what was not believed will not be
    report = examined(Keeping(), chosen(["order"]))
    assert failed(report).keys() == {
        "swapped-with-sequence", "swapped-shipment-with-sequence", "rework-with-sequence", "swapped-stages",
        "swapped-shipment", "late-after-cancel", "returned", "late-news-of-old-order", "concurrent-steps",
    } - passed_by_chance(report)  # fmt: skip


def passed_by_chance(report: Report) -> set[str]:
    """Steps that are sent at the same time may arrive in their order."""
    return {"concurrent-steps"} - failed(report).keys()


def test_who_parses_what_has_come_so_far_stores_half_a_call() -> None:
    report = examined(Keeping(hasty=True), chosen(["half-body"]))
    assert failed(report) == {"half-body": "it was stored nevertheless"}
    assert failed(examined(Keeping(), chosen(["half-body"]))) == {}


def test_a_read_hook_that_is_not_utf8_is_said_to_be_wrong() -> None:
    """It ended the examination with a traceback."""
    with pytest.raises(RemoteError, match="the read hook answered HTTP 200"):
        examined(always(204, shown=b'{"operations": [{"a": "\xff"}]}'), chosen(["plain-is-kept"]))


def test_a_token_that_is_answered_is_shown_in_no_part() -> None:
    """Of the wrong token all but two letters were right, and what was cut off in the middle was not hidden."""
    token = "".join(f"<{number}>" for number in range(60))
    padding = b"." * (MAX_SHOWN - 40)

    async def echo(scope: Scope, receive: Receive, send: Send) -> None:
        given = dict(scope["headers"]).get(b"authorization", b"")
        while (await receive()).get("more_body"):
            pass
        if given == f"Bearer {token}".encode():
            await answer(send, 204, b"")
        else:
            await answer(send, 200, padding + given)

    report = examined(echo, chosen(["wrong-token"]), token=token, state="")
    assert set(failed(report)) == {"wrong-token"}
    assert "<7><8>" not in failed(report)["wrong-token"]
    shown = Answer(200, {}, padding + token.encode(), Candidate(url="", issuer_id=ISSUER, token=token).hide)
    assert str(shown).endswith("(hidden)")


def test_an_examination_goes_by_tls_where_the_url_says_so(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    certificate = authority.certificate("bank")
    cases = chosen(["plain", "keep-alive", "chunked", "half-body", "hang-ups"])

    async def run(ca_pem: bytes) -> Report:
        async with hosting(Keeping(), ssl_certfile=str(certificate)) as port:
            url = f"https://127.0.0.1:{port}"
            candidate = Candidate(url=url, issuer_id=ISSUER, state=f"{url}/state", ca_pem=ca_pem)
            candidate.check()
            return await examine(candidate, cases, lambda _: None)

    commented = "# die Behörde für Prüfungen\n".encode() + authority.file.read_bytes()
    report = asyncio.run(run(commented))  # it ended with a traceback
    assert (failed(report), len(report.of(Outcome.PASSED))) == ({}, len(cases))
    with pytest.raises(Exception, match="cannot be examined: no answer: no agreement on TLS"):
        asyncio.run(run(b""))


# ── servers that are wrong ──


@contextmanager
def one_at_a_time() -> Iterator[int]:
    """Run a server that reads a call to its end before it looks at the next; yield its port."""

    class Quiet(WSGIRequestHandler):
        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 -- as its parent names it
            del format, args

    def app(environ: dict[str, Any], start: Callable[..., Any]) -> list[bytes]:
        environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        start("204 No Content", [])
        return []

    server = make_server("127.0.0.1", 0, app, handler_class=Quiet)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        thread.join(PATIENCE)
        server.server_close()


def test_a_server_that_reads_one_call_at_a_time_is_blocked_by_a_slow_sender() -> None:
    with one_at_a_time() as port:
        candidate = Candidate(url=f"http://127.0.0.1:{port}", issuer_id=ISSUER)
        report = asyncio.run(examine(candidate, chosen(["slow-sender"]), lambda _: None))
    assert failed(report) == {"slow-sender": "meanwhile another caller is not answered within 2 seconds"}


async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer each call by a 204 that has a body."""
    while head := (await reader.readuntil(b"\r\n\r\n")).lower():
        await reader.readexactly(int(head.partition(b"content-length:")[2].split()[0]))
        writer.write(b"HTTP/1.1 204 No Content\r\n\r\nok")


def test_a_204_with_a_body_breaks_the_next_call_of_the_connection() -> None:
    async def run() -> Report:
        async with serving_bytes(talk) as port:
            candidate = Candidate(url=f"http://127.0.0.1:{port}", issuer_id=ISSUER)
            return await examine(candidate, chosen(["keep-alive"])[:1], lambda _: None)

    assert failed(asyncio.run(run())) == {"keep-alive": "the answer is not HTTP"}


def test_a_limit_on_content_length_alone_is_not_enough() -> None:
    def limited() -> Asgi:
        inner = Keeping()

        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            length = dict(scope["headers"]).get(b"content-length", b"0")
            if int(length) > 2_000_000:
                await answer(send, 413, b"")
            else:
                await inner(scope, receive, send)

        return app

    report = examined(limited(), chosen(["huge-body"]))
    assert failed(report) == {"huge-body-in-chunks": "answered HTTP 204; 413 or another 4xx expected"}
