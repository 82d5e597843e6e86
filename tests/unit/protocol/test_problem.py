"""Error answers: status, code, headers, and what must not be said."""

import msgspec
import pytest

from cardtrail import errors
from cardtrail.protocol.problem import problem, problem_of


def body_of(error: errors.CardtrailError) -> dict[str, str]:
    return msgspec.json.decode(problem_of(error).body, type=dict[str, str])


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (errors.InputError("cardId", "is required"), 400, "FIELD_INVALID_FORMAT"),
        (errors.InputError("kind", "not one", "FIELD_INVALID_VALUE"), 400, "FIELD_INVALID_VALUE"),
        (errors.InputError("encryptedData", "no JWE", "CRYPTO_ERROR"), 400, "CRYPTO_ERROR"),
        (errors.ParsingError("no JSON"), 400, "PARSING_ERROR"),
        (errors.Unauthorized("no token"), 401, "AUTHORIZER_UNAUTHORIZED"),
        (errors.Forbidden("not yours"), 403, "FORBIDDEN"),
        (errors.NotFound("no such card"), 404, "NOT_FOUND"),
        (errors.Conflict("known with other content"), 409, "CONFLICT"),
        (errors.CursorExpired("restored"), 410, "CURSOR_EXPIRED"),
        (errors.TooMany("slow down"), 429, "TOO_MANY_REQUESTS"),
        (errors.StoreUnavailable("disk full"), 503, "STORE_UNAVAILABLE"),
        (errors.SchemaMismatch("newer"), 503, "STORE_UNAVAILABLE"),
    ],
)
def test_each_error_has_its_status_and_code(error: errors.CardtrailError, status: int, code: str) -> None:
    assert problem_of(error).status == status
    assert body_of(error)["errorCode"] == code


@pytest.mark.parametrize(
    "error", [errors.CardtrailError("secret"), errors.SettingError("/secret"), errors.Refused("secret")]
)
def test_what_is_our_fault_says_no_more_than_that(error: errors.CardtrailError) -> None:
    assert problem_of(error).status == 500
    assert body_of(error)["errorCode"] == "INTERNAL"
    assert b"secret" not in problem_of(error).body


def test_every_error_of_the_tree_is_answered() -> None:
    for kind in (kind for kind in vars(errors).values() if isinstance(kind, type)):
        error = kind("field", "text") if kind is errors.InputError else kind("text")
        answer = problem_of(error)
        assert 400 <= answer.status <= 503
        assert set(body_of(error)) == {"errorCode", "error"}


def test_an_input_error_names_its_field() -> None:
    assert body_of(errors.InputError("events[3].cardId", "is required"))["error"] == "events[3].cardId: is required"
    assert body_of(errors.InputError("", "an object is expected"))["error"] == "an object is expected"


def test_the_store_says_nothing_of_itself() -> None:
    assert b"/var/lib" not in problem_of(errors.StoreUnavailable("/var/lib/cards.db is full")).body


@pytest.mark.parametrize("kind", [errors.TooMany, errors.StoreUnavailable, errors.SchemaMismatch])
def test_who_shall_come_again_is_told_when(kind: type[errors.TooMany]) -> None:
    assert dict(problem_of(kind("later", 7)).headers) == {b"retry-after": b"7"}
    assert dict(problem_of(kind("later")).headers) == {b"retry-after": b"1"}


def test_who_is_not_known_is_told_how_to_be() -> None:
    (header,) = problem_of(errors.Unauthorized("expired")).headers
    assert header[0] == b"www-authenticate"
    assert header[1].startswith(b"Bearer")


def test_other_errors_need_no_header() -> None:
    assert problem_of(errors.Forbidden("not yours")).headers == ()


def test_a_text_of_any_letters_is_written_as_json() -> None:
    text = 'quote " backslash \\ line\n nul \x00 smile 😀 ünïcode'
    assert msgspec.json.decode(problem(400, "X", text).body) == {"errorCode": "X", "error": text}


def test_an_empty_text_is_left_out() -> None:
    assert problem(404, "NOT_FOUND", "").body == b'{"errorCode":"NOT_FOUND"}'
