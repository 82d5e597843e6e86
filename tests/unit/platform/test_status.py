"""The hot route by itself: what it takes for its own, and how it answers."""

import asyncio
from collections.abc import Iterable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cardtrail.errors import StoreUnavailable, Unauthorized
from cardtrail.platform.auth import Principal
from cardtrail.platform.parties import READ, PartyKind
from cardtrail.platform.status import StatusRoute

PICTURE = b'{"operationId":"op-1","cardId":"card-1","cardtrail":{"sequence":1}}'
ROW = (PICTURE, PICTURE.index(b',"cardtrail"'), '"tag"')
PATH = "/banking/v1/issuers/ISSUER0001/physicalCards/card-1/productionStatus"
TOKEN = (b"authorization", b"Bearer good")


class Store:
    """A store with one row, or one that cannot answer."""

    def __init__(self, row: tuple[Any, ...] | None, error: Exception | None = None) -> None:
        self.row, self.error = row, error

    def lookup(self, _: str) -> Any:
        async def find(issuer_id: str, card_id: str) -> tuple[Any, ...] | None:
            if self.error is not None:
                raise self.error
            return self.row if (issuer_id, card_id) == ("ISSUER0001", "card-1") else None

        return find


def answer(  # noqa: PLR0913 - one argument a thing that tests vary
    path: str = PATH,
    *,
    headers: Iterable[tuple[bytes, bytes]] = (TOKEN,),
    query: bytes = b"",
    strict: bool = False,
    store: Store | None = None,
    method: str = "GET",
) -> tuple[int, dict[bytes, bytes], bytes]:
    """Ask the route; a status of 0 says that it handed the request on."""
    sent: list[Any] = []

    async def behind(_: Any, __: Any, send: Any) -> None:
        await send({"status": 0, "headers": []})
        await send({"body": b""})

    def check(authorization: bytes | None, _: str | None, __: str) -> Principal:
        if authorization != TOKEN[1]:
            raise Unauthorized("no")
        nothing: frozenset[str] = frozenset()
        return Principal("p", PartyKind.ISSUER, frozenset({READ}), frozenset({"ISSUER0001"}), nothing, nothing, strict)

    async def send(message: Any) -> None:
        sent.append(message)

    route = StatusRoute(behind, store or Store(ROW), check, lambda *_, **__: None)  # type: ignore[arg-type]  # all it needs of a store
    scope = {
        "type": "http", "method": method, "path": path, "headers": list(headers), "query_string": query,
        "client": ("127.0.0.1", 1),
    }  # fmt: skip
    asyncio.run(route(scope, None, send))  # type: ignore[arg-type]  # it never reads a body
    return sent[0]["status"], dict(sent[0]["headers"]), sent[1]["body"]


def test_the_stored_bytes_are_the_answer() -> None:
    status, headers, body = answer()
    assert (status, body) == (200, b'{"operations":[' + PICTURE + b"]}")
    assert headers[b"etag"] == b'"tag"'
    assert headers[b"content-length"] == b"%d" % len(body)


def test_a_strict_party_gets_the_published_form_and_no_validator() -> None:
    status, headers, body = answer(strict=True)
    assert (status, body) == (200, b'{"operations":[{"operationId":"op-1","cardId":"card-1"}]}')
    assert b"etag" not in headers


@pytest.mark.parametrize("value", [b'"tag"', b'W/"tag"', b'"other", "tag"', b"*"])
def test_a_known_validator_is_answered_with_304_and_no_body(value: bytes) -> None:
    status, headers, body = answer(headers=[TOKEN, (b"if-none-match", value)])
    assert (status, body, headers[b"etag"]) == (304, b"", b'"tag"')


def test_another_validator_gets_the_body() -> None:
    assert answer(headers=[TOKEN, (b"if-none-match", b'"tag2", tag')])[0] == 200


@pytest.mark.parametrize(
    "path",
    [
        PATH.lower().replace("issuer0001", "ISSUER0001"), PATH.upper().replace("CARD-1", "card-1"),
        PATH.replace("physicalCards", "PhysicalCARDS"),
    ],
)  # fmt: skip
def test_words_match_in_any_letter_case(path: str) -> None:
    assert answer(path)[0] == 200


@pytest.mark.parametrize(("old", "new"), [("card-1", "CARD-1"), ("ISSUER0001", "issuer0001")])
def test_ids_match_exactly(old: str, new: str) -> None:
    assert answer(PATH.replace(old, new))[0] in {403, 404}


@pytest.mark.parametrize(
    "path",
    [
        PATH.replace("nS", "n\u017f"), PATH.replace("banking", "ban\u212aing"), PATH + "/",
        PATH + "\n", PATH.replace("card-1", "card.1"), PATH.replace("ISSUER0001", "ISSUER001"), "/" + PATH,
    ],
)  # fmt: skip
def test_what_only_looks_like_the_path_is_handed_on(path: str) -> None:
    """The long s and the Kelvin sign are letters s and k to a pattern that ignores case."""
    assert answer(path)[0] == 0


def test_refusals_come_in_order_caller_then_issuer_then_input_then_card() -> None:
    odd = (b"x-correlation-id", b"a b")
    elsewhere = PATH.replace("ISSUER0001", "ISSUER0002")
    assert answer(elsewhere, headers=[odd])[0] == 401
    assert answer(elsewhere, headers=[TOKEN, odd])[0] == 403
    assert answer(PATH.replace("card-1", "card-2"), headers=[TOKEN, odd])[0] == 400
    assert answer(PATH.replace("card-1", "card-2"), query=b"history=maybe")[0] == 400
    assert answer(PATH.replace("card-1", "card-2"))[0] == 404


def test_a_store_that_cannot_answer_is_503_with_retry_after() -> None:
    status, headers, body = answer(store=Store(None, StoreUnavailable("disk /dev/secret is full", 7)))
    assert (status, headers[b"retry-after"]) == (503, b"7")
    assert b"secret" not in body


@given(st.binary(max_size=80))
def test_no_correlation_id_and_no_validator_breaks_the_route(value: bytes) -> None:
    status, headers, _ = answer(headers=[TOKEN, (b"x-correlation-id", value), (b"if-none-match", value)])
    assert status in {200, 304, 400}
    assert headers.get(b"x-correlation-id", value) == value


def test_head_is_answered_like_get() -> None:
    assert answer(method="HEAD")[:2] == answer()[:2]
