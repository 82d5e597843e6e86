"""The changes feed as issuers meet it: over HTTP, from several processes, with calls that wait."""

import json
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest

from cardtrail.protocol.cursor import Cursor, decode_cursor, encode_cursor
from tests.events import event
from tests.serving import ISSUER, OTHER_ISSUER, PATIENCE, Answer, Service, register_parties, serving

READ = "d1-api:physical-card:read"
SOON = 15.0
"""Half of the longest wait, seconds: what ends sooner has not waited for the time to be up."""


def changes(service: Service, issuer: str = ISSUER, party: str | None = None, **asked: object) -> Answer:
    path = f"/banking/v1/issuers/{issuer}/physicalCards/operations?{urlencode(asked)}"
    return service.call("GET", path, token=service.token(READ, party or issuer))


def cards(answer: Answer) -> list[str]:
    assert answer.status == 200, answer
    return [operation["cardId"] for operation in answer.json["operations"]]


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service with three cards of one issuer and one of another, which nobody else changes."""
    folder = tmp_path_factory.mktemp("feed")
    url = f"sqlite:///{folder}/cardtrail.db"
    register_parties(url)
    with serving(url, folder) as running:
        for card, issuer in (("a", ISSUER), ("x", OTHER_ISSUER), ("b", ISSUER), ("c", ISSUER)):
            running.ingest(event("requested", card) | {"issuerId": issuer})
        yield running


# ── what is answered


def test_an_issuer_reads_its_changes_page_by_page(service: Service) -> None:
    read: list[str] = []
    asked: dict[str, Any] = {"limit": 2}
    while True:
        answer = changes(service, **asked)
        read += cards(answer)
        asked["since"] = answer.json["cursor"]
        if not answer.json["more"]:
            break
    assert read == ["a", "b", "c"]
    last = changes(service, **asked)
    assert last.json == {"operations": [], "cursor": asked["since"], "more": False}
    assert last.headers["cache-control"] == "private, no-cache"
    whole = changes(service)
    assert cards(whole) == read
    assert whole.json["operations"] == [service.status(card).json["operations"][0] for card in read]
    shouted = f"/BANKING/V1/ISSUERS/{ISSUER}/PHYSICALCARDS/OPERATIONS"
    assert service.call("GET", shouted, token=service.token(READ)).body == whole.body


@pytest.mark.parametrize(
    ("asked", "field"),
    [
        ({"limit": 0}, "limit"),
        ({"limit": 1001}, "limit"),
        ({"limit": "ten"}, "limit"),
        ({"limit": "٣"}, "limit"),
        ({"limit": "9" * 5000}, "limit"),
        ({"wait": 31}, "wait"),
        ({"wait": -1}, "wait"),
        ({"wait": "1.5"}, "wait"),
        ({"since": ""}, "since"),
        ({"since": "now"}, "since"),
        ({"since": encode_cursor(Cursor("0" * 16, OTHER_ISSUER, 0))}, "since"),
    ],
)
def test_what_cannot_be_read_is_refused_by_its_name(service: Service, asked: dict[str, Any], field: str) -> None:
    answer = changes(service, **asked)
    assert answer.status == 400
    assert answer.json["errorCode"].startswith("FIELD_INVALID_")
    assert answer.json["error"].startswith(f"{field}: ")


def test_a_parameter_that_is_given_twice_is_refused(service: Service) -> None:
    path = f"/banking/v1/issuers/{ISSUER}/physicalCards/operations?limit=1&limit=2"
    answer = service.call("GET", path, token=service.token(READ))
    assert (answer.status, answer.json["errorCode"]) == (400, "FIELD_INVALID_VALUE")


def test_a_cursor_of_another_epoch_or_ahead_of_all_changes_is_gone(service: Service) -> None:
    here = decode_cursor(changes(service).json["cursor"])
    for wrong in (Cursor("0" * 16, ISSUER, 0), Cursor(here.epoch, ISSUER, here.number + 1)):
        answer = changes(service, since=encode_cursor(wrong), wait=30)
        assert (answer.status, answer.json["errorCode"]) == (410, "CURSOR_EXPIRED")


def test_nobody_reads_the_feed_of_another_issuer(service: Service) -> None:
    assert changes(service, ISSUER, party=OTHER_ISSUER).status == 403
    assert changes(service, "NOBODY0000", party=OTHER_ISSUER).status == 403
    assert changes(service, OTHER_ISSUER, party=OTHER_ISSUER, wait=0).json["operations"][0]["cardId"] == "x"
    path = f"/banking/v1/issuers/{ISSUER}/physicalCards/operations"
    assert service.call("GET", path, token=service.token("cardtrail:ingest")).status == 403
    assert service.call("GET", path).status == 401


def test_a_strict_party_has_no_feed(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/cardtrail.db"
    register_parties(url, strict=True)
    with serving(url, tmp_path) as service:
        answer = changes(service)
        assert (answer.status, answer.json["errorCode"]) == (404, "NOT_FOUND")


# ── calls that wait


def test_a_waiting_call_is_answered_as_soon_as_another_process_commits(database_url: str, tmp_path: Path) -> None:
    register_parties(database_url)
    with ExitStack() as stack:
        asked, told = (stack.enter_context(serving(database_url, tmp_path)) for _ in range(2))
        pool = stack.enter_context(ThreadPoolExecutor(1))
        cursor = changes(asked).json["cursor"]
        for number in range(6):
            began = time.monotonic()
            waiting = pool.submit(changes, asked, since=cursor, wait=30)
            site = (told, asked)[number % 2]  # its own commits it must notice, too
            site.ingest(event("requested", f"other-{number}") | {"issuerId": OTHER_ISSUER})
            site.ingest(event("requested", f"card-{number}"))
            answer = waiting.result(PATIENCE)
            assert cards(answer) == [f"card-{number}"]
            assert time.monotonic() - began < SOON
            cursor = answer.json["cursor"]
        nothing = changes(asked, since=cursor, wait=1)
        assert nothing.json == {"operations": [], "cursor": cursor, "more": False}


def test_a_service_that_is_told_to_stop_keeps_nobody_waiting(database_url: str, tmp_path: Path) -> None:
    register_parties(database_url)
    with serving(database_url, tmp_path) as service, ThreadPoolExecutor(4) as pool:
        service.token(READ)
        lines = [_waiting_call(service) for _ in range(4)]
        answers = [pool.submit(_read_answer, line) for line in lines]
        _until_they_wait(service)
        began = time.monotonic()
        assert service.stop() == 0
        assert time.monotonic() - began < SOON
        for answer in answers:
            head, _, body = answer.result(PATIENCE).partition(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 200 ")
            assert json.loads(body)["operations"] == []


def _waiting_call(service: Service) -> socket.socket:
    """Send a call that waits for half a minute, and do not read its answer."""
    line = socket.create_connection(("127.0.0.1", service.port), PATIENCE)
    path = f"/banking/v1/issuers/{ISSUER}/physicalCards/operations?wait=30"
    token = service.token(READ)
    line.sendall(f"GET {path} HTTP/1.1\r\nHost: here\r\nAuthorization: Bearer {token}\r\n\r\n".encode())
    return line


def _read_answer(line: socket.socket) -> bytes:
    with line:
        parts = []
        while part := line.recv(65_536):
            parts.append(part)
        return b"".join(parts)


def _until_they_wait(service: Service) -> None:
    """A call on a line of its own, sent after theirs and answered, shows that the service has theirs in hand."""
    for _ in range(3):
        assert changes(service).status == 200
