"""Answers as errors: by blame, with what both sides need to find the call again, and without secrets."""

import pickle

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cardtrail import errors
from cardtrail.issuer.refusal import MAX_CODE, bad_answer, refusal_of, unreachable
from cardtrail.issuer.steps import Failed, Request, Response
from cardtrail.protocol.failure import MAX_TEXT, Failure

TOKEN = "opaque-token-of-another-server"
ASSERTION = "eyJhbGciOiJFUzI1NiJ9.eyJpc3MiOiJJU1NVRVIwMDAxIn0.c2lnbmF0dXJl"
REQUEST = Request("GET", "https://d1.example/cards/card-1?since=abc", "c0ffee", f"Bearer {TOKEN}", ASSERTION.encode())


def said(status: int, content: object = b"", **more: object) -> errors.RemoteError:
    body = content if isinstance(content, bytes) else msgspec.json.encode(content)
    return refusal_of(REQUEST, msgspec.structs.replace(Response(status, body), **more), TOKEN)


@pytest.mark.parametrize(
    ("status", "kind", "also"),
    [
        (400, errors.RemoteRefused, errors.Refused),
        (401, errors.RemoteUnauthorized, errors.Unauthorized),
        (403, errors.RemoteForbidden, errors.Forbidden),
        (404, errors.RemoteNotFound, errors.NotFound),
        (409, errors.RemoteConflict, errors.Conflict),
        (410, errors.RemoteCursorExpired, errors.CursorExpired),
        (413, errors.RemoteRefused, errors.Refused),
        (429, errors.RemoteTooMany, errors.TooMany),
        (500, errors.RemoteError, errors.RemoteError),
        (503, errors.RemoteError, errors.RemoteError),
        (302, errors.BadAnswer, errors.RemoteError),
    ],
)
def test_each_status_is_an_error_of_its_meaning(status: int, kind: type, also: type) -> None:
    error = said(status)
    assert type(error) is kind
    assert isinstance(error, also)
    assert isinstance(error, errors.RemoteError)
    assert error.status == status


def test_an_error_tells_status_code_words_and_correlation_id() -> None:
    error = said(409, {"errorCode": "CONFLICT", "error": "used before", "more": 1}, retry_after=7)
    assert str(error) == ("GET https://d1.example/cards/card-1: HTTP 409 CONFLICT: used before (correlation id c0ffee)")
    assert (error.error_code, error.correlation_id, error.retry_after) == ("CONFLICT", "c0ffee", 7)


def test_the_other_sides_own_correlation_id_counts() -> None:
    error = said(500, {}, correlation_id="theirs")
    assert error.correlation_id == "theirs"
    assert "theirs" in str(error)


def test_a_token_endpoints_words_are_those_of_rfc_6749() -> None:
    error = said(400, {"error": "invalid_grant", "error_description": "the key is unknown"})
    assert error.error_code == "invalid_grant"
    assert "HTTP 400 invalid_grant: the key is unknown (" in str(error)
    assert said(400, {"error": "invalid_client"}).error_code == "invalid_client"


@pytest.mark.parametrize(
    "body",
    [b"", b"<html>", b"[]", b"7", b"\xff", b"[" * 100_000, {"errorCode": 7, "error": []}, {"errorCode": "a b"},
     {"errorCode": "x" * (MAX_CODE + 1)}, {"errorCode": "a\nb"}, {"error": None}],
)  # fmt: skip
def test_a_body_that_says_nothing_is_still_an_error_with_its_status(body: object) -> None:
    error = said(503, body)
    assert str(error) == "GET https://d1.example/cards/card-1: HTTP 503 (correlation id c0ffee)"
    assert error.error_code == ""


@pytest.mark.parametrize("echo", [TOKEN, f"Bearer {TOKEN}", ASSERTION, f"bad assertion {ASSERTION}", "eyJxx..a.b.c"])
@pytest.mark.parametrize("member", ["errorCode", "error", "error_description"])
def test_a_secret_that_the_other_side_repeats_is_hidden(member: str, echo: str) -> None:
    error = said(400, {member: echo})
    for shown in (str(error), repr(error), error.error_code):
        assert TOKEN not in shown
        assert "eyJ" not in shown


def test_the_words_of_another_are_one_short_line() -> None:
    error = said(500, {"error": "a\nb\x1b[31m" + "x" * 10_000})
    assert "\n" not in str(error)
    assert "\x1b" not in str(error)
    assert len(str(error)) < MAX_TEXT + 200


@given(st.binary(max_size=200), st.integers(100, 999))
def test_no_body_makes_the_reader_fail(body: bytes, status: int) -> None:
    assert isinstance(said(status, body), errors.RemoteError)


def test_no_answer_says_why_there_is_none() -> None:
    error = unreachable(REQUEST, Failed(Failure.CONNECT, "no connection: refused"))
    assert str(error) == "GET https://d1.example/cards/card-1: no connection: refused (correlation id c0ffee)"
    assert (error.status, error.correlation_id) == (0, "c0ffee")


def test_a_bad_answer_says_why_it_is_bad() -> None:
    error = bad_answer(REQUEST, Response(200, b""), f"no JSON near {ASSERTION}\n")
    assert "HTTP 200, but no JSON near (hidden)" in str(error)
    assert "eyJ" not in str(error)
    assert error.correlation_id == "c0ffee"


def test_steps_never_show_what_they_carry() -> None:
    shown = repr(REQUEST) + repr(Response(200, b'{"access_token":"x"}'))
    assert TOKEN not in shown
    assert "eyJ" not in shown
    assert "access_token" not in shown


def test_errors_go_through_a_process_boundary_whole() -> None:
    error = said(429, {"errorCode": "TOO_MANY_REQUESTS"}, retry_after=7)
    copy = pickle.loads(pickle.dumps(error))  # noqa: S301 -- our own
    assert type(copy) is errors.RemoteTooMany
    assert (str(copy), copy.__dict__) == (str(error), error.__dict__)
