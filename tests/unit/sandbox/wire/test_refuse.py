"""Answers in place of the other side are those that the other side itself would give."""

from typing import Any
from urllib.parse import urlencode

import msgspec
import pytest
from joserfc.jwk import ECKey

from cardtrail.platform.auth import Registry, wall_clock
from cardtrail.protocol.token import TOKEN_PATH, make_assertion
from cardtrail.sandbox.wire.call import Answer, Call
from cardtrail.sandbox.wire.refuse import expired, given_token, is_token_call, refused_at, token_of

KEY = ECKey.generate_key("P-256")
FORM = "application/x-www-form-urlencoded"
JSON = "application/json; charset=utf-8"


class Known(Registry):
    """A registry that knows one key."""

    def __init__(self) -> None:
        self.wall = wall_clock

    def find_key(self, party_id: str, kid: str) -> Any:
        return KEY if (party_id, kid) == ("ISSUER0001", "k1") else None


async def nothing() -> Any:
    raise AssertionError("nobody listens")


def call(body: bytes = b"", kind: str = JSON, path: str = TOKEN_PATH, **headers: str) -> Call:
    pairs = [(b"content-type", kind.encode()), *((name.encode(), value.encode()) for name, value in headers.items())]
    return Call(scope={"path": path, "headers": pairs}, body=body, receive=nothing)


def assertion() -> str:
    return make_assertion("ISSUER0001", "k1", KEY, wall_clock(), lifetime=300)


@pytest.mark.parametrize("kind", [FORM, JSON])
@pytest.mark.parametrize(("skew", "why"), [(299, ""), (301, "expired"), (-50, ""), (-61, "not valid yet")])
def test_an_assertion_is_judged_by_the_clock_that_is_wrong(kind: str, skew: float, why: str) -> None:
    members = {"assertion": assertion()}
    body = urlencode(members).encode() if kind is FORM else msgspec.json.encode(members)
    answer = refused_at(call(body, kind), Known(), skew)
    if not why:
        assert answer is None
        return
    assert answer is not None
    told = msgspec.json.decode(answer.body)
    assert (answer.status, told["error"], why in told["error_description"]) == (400, "invalid_grant", True)
    assert answer.header(b"date").endswith("GMT")


@pytest.mark.parametrize(
    "body", [b"", b"{", b"[]", b'{"assertion":5}', b"assertion", b"\xff=", b"&".join([b"a=b"] * 99)]
)
@pytest.mark.parametrize("kind", [FORM, JSON])
def test_what_holds_no_assertion_is_left_to_the_platform(body: bytes, kind: str) -> None:
    assert refused_at(call(body, kind), Known(), 600) is None


def test_only_calls_to_the_token_endpoint_are_about_assertions() -> None:
    body = msgspec.json.encode({"assertion": assertion()})
    assert refused_at(call(body, path="/banking/v1/x"), Known(), 600) is None
    assert [is_token_call(call(path=path)) for path in (TOKEN_PATH, TOKEN_PATH.upper(), "/x")] == [True, True, False]


def test_tokens_are_found_where_they_are_given_and_where_they_are_used() -> None:
    assert [token_of(call(authorization=text)) for text in ("Bearer t", "bearer  t ", "Basic t", "")] == [
        "t",
        "t",
        "",
        "",
    ]
    bodies = (b'{"access_token":"t"}', b'{"access_token":5}', b"{}", b"no")
    assert [given_token(Answer(200, [], body)) for body in bodies] == ["t", "", "", ""]


def test_an_expired_token_is_answered_as_the_platform_does() -> None:
    answer = expired()
    assert (answer.status, "invalid_token" in answer.header(b"www-authenticate")) == (401, True)
    assert msgspec.json.decode(answer.body)["errorCode"] == "AUTHORIZER_UNAUTHORIZED"
