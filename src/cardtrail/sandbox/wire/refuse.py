"""Answers that a fault gives in place of the other side: 500, 429, an expired token, an assertion of another time."""

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from math import ceil
from urllib.parse import parse_qs

from cardtrail.errors import TooMany, Unauthorized
from cardtrail.platform.auth import Registry
from cardtrail.platform.tokens import MAX_FIELDS, GrantRefused
from cardtrail.protocol.problem import problem, problem_of
from cardtrail.protocol.token import SECOND, TOKEN_PATH, TokenExpired, verify_assertion
from cardtrail.sandbox.wire.call import Answer, Call, answer_of
from cardtrail.sandbox.wire.content import document_of
from cardtrail.sandbox.wire.faults import Fault
from cardtrail.sandbox.wire.kinds import Kind

_JSON = ((b"content-type", b"application/json"), (b"cache-control", b"no-store"))


def refusal_of(struck: dict[Kind, Fault]) -> Answer | None:
    """Return the 500 or 429 that is answered; None where neither strikes."""
    if Kind.SERVER_ERROR in struck:
        return answer_of(problem(500, "INTERNAL", "something went wrong here; it is logged"))
    if Kind.TOO_MANY in struck:
        return answer_of(problem_of(TooMany("more calls than agreed", ceil(struck[Kind.TOO_MANY].seconds))))
    return None


# ── tokens ──


def token_of(call: Call) -> str:
    """Return the bearer token of a call, empty where there is none."""
    scheme, _, token = call.header(b"authorization").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else ""


def is_token_call(call: Call) -> bool:
    """Tell whether a call fetches a token."""
    path: str = call.scope["path"]
    return path.lower() == TOKEN_PATH


def given_token(answer: Answer) -> str:
    """Return the token that an answer gives, empty where it gives none."""
    token = (document_of(answer.body) or {}).get("access_token")
    return token if isinstance(token, str) else ""


def expired() -> Answer:
    """Return the answer to a token that has expired."""
    return answer_of(problem_of(TokenExpired("the access token has expired")))


# ── clocks ──


def refused_at(call: Call, registry: Registry, skew: float) -> Answer | None:
    """Return the refusal of a token call by a platform whose clock is `skew` seconds ahead; None where it takes it."""
    assertion = _assertion_of(call) if is_token_call(call) else ""
    if not assertion:
        return None
    try:
        verify_assertion(assertion, registry.find_key, registry.wall() + int(skew * SECOND), lambda _: True)
    except Unauthorized as error:
        body = GrantRefused("invalid_grant", str(error)).body
        return dated(Answer(400, [*_JSON, (b"content-length", b"%d" % len(body))], body), skew)
    return None


def dated(answer: Answer, skew: float) -> Answer:
    """Return an answer with the `Date` of a clock that is `skew` seconds ahead."""
    date = format_datetime(datetime.now(UTC) + timedelta(seconds=skew), usegmt=True)
    return answer.with_header(b"date", date.encode())


def _assertion_of(call: Call) -> str:
    if call.header(b"content-type").partition(";")[0].strip().lower() == "application/json":
        told = (document_of(call.body) or {}).get("assertion")
        return told if isinstance(told, str) else ""
    try:
        return parse_qs(call.body.decode(), max_num_fields=MAX_FIELDS).get("assertion", [""])[0]
    except ValueError:
        return ""
