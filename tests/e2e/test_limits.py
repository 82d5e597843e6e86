"""Every limit of the wire, tried from outside: over it there is a clear error, and the service goes on."""

import json
import socket
from collections.abc import Iterable

import pytest

from cardtrail.platform import connection
from cardtrail.platform.refuse import MAX_ORDERS
from cardtrail.protocol.codec import MAX_BATCH, MAX_BODY, MAX_DEPTH
from tests.events import event
from tests.serving import ISSUER, PATIENCE, Service

CARDS = f"/banking/v1/issuers/{ISSUER}/physicalCards"
READ, WRITE, INGEST = "d1-api:physical-card:read", "d1-api:physical-card:write", "cardtrail:ingest"


def refused(service: Service, path: str, body: object, scope: str, **headers: str) -> tuple[int, str]:
    """Post a body that must be refused; return status and error code."""
    answer = service.call("POST", path, body, token=service.token(scope), headers=headers)
    return answer.status, answer.json["errorCode"]


def test_a_body_over_one_mebibyte_is_refused(service: Service) -> None:
    body = b" " * (MAX_BODY + 1)
    assert refused(service, "/ingest/v1/events", body, INGEST) == (413, "TOO_LARGE")
    assert refused(service, f"{CARDS}/operations:production", body, WRITE) == (413, "TOO_LARGE")
    assert refused(service, "/ingest/v1/events", b" " * MAX_BODY, INGEST) == (400, "PARSING_ERROR")


def test_a_batch_over_1000_or_empty_is_refused_and_names_the_field(service: Service) -> None:
    for path, member, scope in (
        ("/ingest/v1/events", "events", INGEST),
        (f"{CARDS}/operations:production", "cards", WRITE),
        (f"{CARDS}/productionStatus:batchGet", "cardIds", READ),
    ):
        for elements in ([], ["x"] * (MAX_BATCH + 1)):
            answer = service.call("POST", path, {member: elements}, token=service.token(scope))
            assert (answer.status, answer.json["error"].partition(":")[0]) == (400, member)


def test_only_json_is_read(service: Service) -> None:
    kinds = {"content-type": "text/plain"}
    assert refused(service, "/ingest/v1/events", {"events": [{}]}, INGEST, **kinds) == (415, "UNSUPPORTED_MEDIA_TYPE")


@pytest.mark.parametrize("depth", [MAX_DEPTH + 1, 5_000, 200_000])
def test_json_that_is_too_deep_is_an_error_and_no_crash(service: Service, depth: int) -> None:
    body = b'{"distributionChannel":"CENTRAL","services":' + b"[" * depth + b"]" * depth + b"}"
    path = f"{CARDS}/card-deep/operations:production"
    assert refused(service, path, body, WRITE) == (400, "PARSING_ERROR")
    events = b'{"events":[' + b"[" * depth + b"]" * depth + b"]}"
    answer = service.call("POST", "/ingest/v1/events", events, token=service.token(INGEST))
    assert answer.status == 400 or answer.json["results"][0]["result"] == "rejected"


@pytest.mark.parametrize("body", [b"", b"null", b"[]", b"1", b'{"events":{}}', b"\xff\xfe", b'{"events":[', b"NaN"])
def test_a_body_that_is_no_batch_is_400(service: Service, body: bytes) -> None:
    assert refused(service, "/ingest/v1/events", body, INGEST)[0] == 400


def test_one_bad_element_never_voids_its_neighbours(service: Service) -> None:
    undated = {**event("prepared", "card-mixed"), "occurredAt": "yesterday"}
    bad = [{}, 1, None, undated, event("teleported", "card-mixed")]
    results = service.ingest(event("requested", "card-mixed"), *bad, event("prepared", "card-mixed", hours=1))
    assert [result["result"] for result in results] == ["accepted", *["rejected"] * len(bad), "accepted"]
    assert all(result["error"] for result in results[1:-1])
    assert results[4]["error"].startswith("occurredAt")


def sent_raw(service: Service, parts: Iterable[bytes]) -> bytes:
    """Send bytes as they are and return the beginning of the answer."""
    with socket.create_connection(("127.0.0.1", service.port), PATIENCE) as peer:
        try:
            for part in parts:
                peer.sendall(part)
        except ConnectionError:
            pass
        return peer.recv(200)


HEAD = b"GET /healthz HTTP/1.1\r\nhost: x\r\n"


@pytest.mark.parametrize(
    "parts",
    [
        [HEAD, b"a: b\r\n" * connection.MAX_HEADERS, b"\r\n"],
        [HEAD, b"a: " + b"b" * connection.MAX_HEAD + b"\r\n\r\n"],
        [HEAD + b"a: ", *[b"b" * 8_192] * 5],
        [b"GET /" + b"b" * connection.MAX_HEAD + b" HTTP/1.1\r\nhost: x\r\n\r\n"],
    ],
)
def test_headers_over_the_limits_are_refused_even_unfinished(service: Service, parts: list[bytes]) -> None:
    assert sent_raw(service, parts).startswith(b"HTTP/1.1 431 ")


def test_headers_at_the_limits_are_read(service: Service) -> None:
    spare = connection.MAX_HEADERS - 1
    assert sent_raw(service, [HEAD, b"a: b\r\n" * spare, b"\r\n"]).startswith(b"HTTP/1.1 200 ")


def test_what_is_no_http_is_answered_and_closed(service: Service) -> None:
    assert sent_raw(service, [b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n"]).startswith(b"HTTP/1.1 400 ")


def test_an_unknown_path_and_a_wrong_method_answer_in_the_contracts_form(service: Service) -> None:
    assert service.call("GET", "/nowhere").json["errorCode"] == "NOT_FOUND"
    wrong = service.call("PUT", "/ingest/v1/events", {})
    assert (wrong.status, wrong.json["errorCode"], wrong.headers["allow"]) == (405, "METHOD_NOT_ALLOWED", "POST")


def test_card_numbers_and_secrets_reach_no_log(service: Service) -> None:
    pan, jwe = "4111111111111111", "c2VjcmV0.c2VjcmV0.c2VjcmV0.c2VjcmV0.c2VjcmV0"
    order = {"distributionChannel": "CENTRAL", "encryptedData": jwe}
    service.call("POST", f"{CARDS}/{pan}/operations:production", order, token=service.token(WRITE))
    service.call("POST", f"{CARDS}/{pan}/operations:production", {**order, "encryptedData": jwe + "."}, token="x")
    for _ in range(3):
        service.status(pan)
    log = service.log.read_text()
    assert "************1111" in log
    assert not [secret for secret in (pan, jwe, service.token(WRITE)) if secret in log]
    assert all(json.loads(line) for line in log.splitlines() if line.startswith("{"))


def test_a_card_takes_fifty_orders_and_a_batch_of_its_thousandfold_is_quick(service: Service) -> None:
    """Each order folds all orders of its card: without a limit a batch of a thousand held the writer for seconds."""
    order = {"cardId": "card-often", "distributionChannel": "CENTRAL"}
    path = f"{CARDS}/operations:production"
    answer = service.call("POST", path, {"cards": [order] * MAX_BATCH}, token=service.token(WRITE))
    codes = [result.get("errorCode", "") for result in answer.json["results"]]
    assert codes == [""] * MAX_ORDERS + ["CONFLICT"] * (MAX_BATCH - MAX_ORDERS)
    events = [event("requested", "card-again", hours=number) for number in range(MAX_BATCH)]
    results = service.ingest(*events)
    assert [result.get("errorCode") for result in results].count("ORDER_FULL") == MAX_BATCH - MAX_ORDERS
    assert len(service.status("card-again", "?history=true").json["operations"]) == MAX_ORDERS
