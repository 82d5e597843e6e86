"""The issuer's own tokens: fetched once for all who wait, kept until they are old, believed only if they make sense."""

import asyncio
from base64 import b64encode
from urllib.parse import parse_qs

import msgspec
import pytest

from cardtrail.platform.answer import Answer, failed
from cardtrail.platform.endpoint import OAuth
from cardtrail.platform.oauth import MAX_SECONDS, TokenSource
from cardtrail.protocol.failure import Failure

SECRET = "s3cret"
Headers = list[tuple[str, str]]


def answered(body: object, status: int = 200) -> Answer:
    """Return what an egress gives for this answer of a token endpoint."""
    raw = body if isinstance(body, bytes) else msgspec.json.encode(body)
    return Answer(status, None, f"HTTP {status}", raw, None, 0.1)


class Issuer:
    """A token endpoint without a socket: remembers who asked, gives what it is told to."""

    def __init__(self, *answers: Answer) -> None:
        self.answers = list(answers)
        self.asked: list[tuple[str, Headers, bytes]] = []
        self.now = 0.0
        self.gate = asyncio.Event()
        self.gate.set()

    async def post(self, url: str, headers: Headers, body: bytes) -> Answer:
        self.asked.append((url, headers, body))
        await self.gate.wait()
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]

    def source(self, client_id: str = "cardtrail", secret: str = SECRET, scope: str = "") -> TokenSource:
        oauth = OAuth("https://issuer.example/token", client_id, scope)
        return TokenSource(self.post, oauth, secret, lambda: self.now)


@pytest.mark.parametrize("expires_in", [300, "300", 300.0, "300.0", None], ids=repr)
def test_a_token_is_kept_for_most_of_its_life_however_that_is_written(expires_in: object) -> None:
    issuer = Issuer(answered({"access_token": "t1", "expires_in": expires_in}), answered({"access_token": "t2"}))
    tokens = issuer.source()

    async def run() -> None:
        assert await tokens.fetch() is None
        issuer.now = 269.0
        assert await tokens.fetch() is None
        assert tokens.token == "t1"
        issuer.now = 271.0
        assert await tokens.fetch() is None
        assert tokens.token == "t2"

    asyncio.run(run())
    assert len(issuer.asked) == 2


def test_a_token_is_kept_for_a_day_at_most() -> None:
    issuer = Issuer(answered({"access_token": "t1", "expires_in": 10**9}), answered({"access_token": "t2"}))
    tokens = issuer.source()

    async def run() -> None:
        await tokens.fetch()
        issuer.now = MAX_SECONDS
        await tokens.fetch()

    asyncio.run(run())
    assert tokens.token == "t2"


def test_the_client_is_named_by_basic_auth_with_both_halves_escaped() -> None:
    issuer = Issuer(answered({"access_token": "t1"}))
    tokens = issuer.source(client_id="a:b", secret="s/e c+r€t", scope="cards read")
    asyncio.run(tokens.fetch())
    [(url, headers, body)] = issuer.asked
    assert url == "https://issuer.example/token"
    pair = b64encode(b"a%3Ab:s%2Fe%20c%2Br%E2%82%ACt").decode()
    assert dict(headers)["authorization"] == f"Basic {pair}"
    assert dict(headers)["content-type"] == "application/x-www-form-urlencoded"
    assert parse_qs(body.decode()) == {"grant_type": ["client_credentials"], "scope": ["cards read"]}


def test_no_scope_is_asked_for_where_none_is_configured() -> None:
    issuer = Issuer(answered({"access_token": "t1"}))
    asyncio.run(issuer.source().fetch())
    assert issuer.asked[0][2] == b"grant_type=client_credentials"


GARBAGE = [
    b"", b"<html>", b"\xff\xfe", b"[]", b"null", b"{}", b'{"access_token":7}', b'{"access_token":null}',
    b'{"access_token":""}', b'{"access_token":"a\\nb"}', b'{"access_token":"a\\u0000b"}',
    b'{"access_token":"t","expires_in":"soon"}', b'{"access_token":"t","expires_in":"nan"}',
    b'{"access_token":"t","expires_in":-1}', b'{"access_token":"t","expires_in":0}',
    b'{"access_token":"t","expires_in":[1]}', b'{"access_token":"' + b"t" * 20_000 + b'"}',
    b"[" * 5_000, b'{"x":' + b"[" * 60_000,
]  # fmt: skip


@pytest.mark.parametrize("body", GARBAGE, ids=[repr(body[:44]) for body in GARBAGE])
def test_an_answer_without_a_token_that_makes_sense_is_a_failure_and_stays_out_of_it(body: bytes) -> None:
    issuer = Issuer(answered(body))
    tokens = issuer.source()
    wrong = asyncio.run(tokens.fetch())
    assert wrong is not None
    assert (wrong.status, wrong.failure, wrong.body) == (None, "token", b"")
    assert wrong.text == "the token endpoint answered 200 without a token"
    assert tokens.token == ""


@pytest.mark.parametrize("status", [201, 204, 302, 400, 401, 410, 413, 503])
def test_no_other_answer_of_the_token_endpoint_counts_as_one_of_the_endpoint_itself(status: int) -> None:
    """A 410 there would disable it, a 413 would refuse a notification."""
    wrong = asyncio.run(Issuer(answered({"access_token": "t"}, status)).source().fetch())
    assert wrong is not None
    assert (wrong.status, wrong.failure) == (None, "token")


@pytest.mark.parametrize("failure", [Failure.CONNECT, Failure.TIMEOUT, Failure.TOO_LONG, Failure.REFUSED_ADDRESS])
def test_a_token_endpoint_that_cannot_be_asked_is_named_as_that(failure: Failure) -> None:
    answer = msgspec.structs.replace(failed(failure, "no luck", 0.2), status=200, body=b"secret")
    wrong = asyncio.run(Issuer(answer).source().fetch())
    assert wrong is not None
    assert (wrong.status, wrong.failure, wrong.text, wrong.body) == (None, failure, "token: no luck", b"")


def test_many_who_wait_cost_one_call() -> None:
    issuer = Issuer(answered({"access_token": "t1"}))
    tokens = issuer.source()

    async def run() -> None:
        issuer.gate.clear()
        waiting = [asyncio.create_task(tokens.fetch()) for _ in range(50)]
        await asyncio.sleep(0)
        issuer.gate.set()
        assert await asyncio.gather(*waiting) == [None] * 50

    asyncio.run(run())
    assert len(issuer.asked) == 1


def test_many_who_wait_cost_one_call_that_fails() -> None:
    """Was a bug: each asked again when its turn came, one after the other, for far longer than any lease."""
    issuer = Issuer(failed(Failure.TIMEOUT, "out of time", 15.0))
    tokens = issuer.source()

    async def run() -> None:
        issuer.gate.clear()
        waiting = [asyncio.create_task(tokens.fetch()) for _ in range(50)]
        await asyncio.sleep(0)
        issuer.gate.set()
        assert {wrong.failure for wrong in await asyncio.gather(*waiting) if wrong is not None} == {Failure.TIMEOUT}
        assert len(issuer.asked) == 1
        assert await tokens.fetch() is not None
        assert len(issuer.asked) == 2, "whoever comes later asks for itself"

    asyncio.run(run())


def test_a_token_that_was_replaced_meanwhile_is_not_forgotten_with_the_old_one() -> None:
    issuer = Issuer(answered({"access_token": "t1"}), answered({"access_token": "t2"}))
    tokens = issuer.source()

    async def run() -> None:
        await tokens.fetch()
        tokens.forget("t1")
        await tokens.fetch()
        tokens.forget("t1")
        await tokens.fetch()

    asyncio.run(run())
    assert (tokens.token, len(issuer.asked)) == ("t2", 2)
