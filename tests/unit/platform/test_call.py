"""One call to an endpoint: what goes out, what an answer means, and what of it may be kept."""

import asyncio
import json
from collections.abc import Callable
from typing import Any

import pytest

from cardtrail.platform.answer import Answer, failed
from cardtrail.platform.call import MAX_SHOWN, NOT_SENT, Caller, Message, Verdict, verdict_of
from cardtrail.platform.endpoint import Config, Endpoint, OAuth, Secret, Secrets, Signing
from cardtrail.protocol.failure import Failure
from cardtrail.protocol.signature import new_key, new_secret

SECOND = 1_000_000
OLD, NEW = new_secret(b"o" * 32), new_secret(b"n" * 32)
TOKEN_URL = "https://issuer.example/token"


class Way:
    """An egress without a socket."""

    def __init__(self, answer: Callable[[str, dict[str, str], bytes], Answer]) -> None:
        self.answer = answer
        self.sent: list[tuple[str, dict[str, str], bytes]] = []

    async def post(
        self, _peer: str, url: str, headers: list[tuple[str, str]], body: bytes, _tls: object, *, whole: bool = False
    ) -> Answer:
        assert whole == (url == TOKEN_URL)
        self.sent.append((url, dict(headers), body))
        await asyncio.sleep(0)
        return self.answer(url, dict(headers), body)


def said(status: int, body: bytes = b"") -> Answer:
    return Answer(status, None, f"HTTP {status}", body, None, 0.0)


def caller(way: Way, secrets: Secrets | None = None, **config: Any) -> Caller:
    endpoint = Endpoint(issuer_id="ISSUER0001", endpoint_id="one", config=Config(url="https://a.example/", **config))
    return Caller(way, endpoint, secrets or Secrets((Secret(NEW),)), 0, lambda: 0.0)  # type: ignore[arg-type]  # as far as it is asked


def message(number: int = 1, picture: bytes = b'{"cardId":"a","cardtrail":{"sequence":1}}') -> Message:
    return Message(f"n{number}", f"op{number}", 0, 0, 0, 0, picture, picture.index(b',"cardtrail"'))


@pytest.mark.parametrize(
    ("answer", "verdict"),
    [
        *((said(status), Verdict.DELIVERED) for status in (200, 201, 202, 204, 226, 299)),
        *((said(status), Verdict.REFUSED) for status in (400, 413)),
        (said(410), Verdict.GONE),
        *((said(status), Verdict.FAILED) for status in (100, 199, 300, 301, 304, 307, 401, 403, 404, 408, 409, 411)),
        *((said(status), Verdict.FAILED) for status in (412, 414, 415, 422, 429, 500, 502, 503, 504, 599)),
        *((failed(failure, "", 0.0), Verdict.FAILED) for failure in Failure),
    ],
)
def test_every_answer_means_one_of_four_things(answer: Answer, verdict: Verdict) -> None:
    assert verdict_of(answer) is verdict


def test_the_path_below_the_base_url_is_the_published_one() -> None:
    way = Way(lambda *_: said(204))
    asyncio.run(caller(way).send([message()], "c" * 36, 7))
    assert way.sent[0][0] == "https://a.example/notifications/d1/v2/issuers/ISSUER0001/cards"


def test_the_full_form_holds_the_pictures_and_the_cursor() -> None:
    way = Way(lambda *_: said(204))
    asyncio.run(caller(way).send([message(1), message(2)], "c" * 36, 7))
    [(_, headers, body)] = way.sent
    picture = b'{"cardId":"a","cardtrail":{"sequence":1}}'
    assert body == b'{"operations":[%b,%b],"cardtrail":{"cursor":"%b"}}' % (picture, picture, b"c" * 36)
    assert headers["x-cardtrail-cursor"] == "c" * 36
    assert headers["content-type"] == "application/json"


@pytest.mark.parametrize("signing", list(Signing))
def test_the_strict_form_holds_what_is_published_and_nothing_else(signing: Signing) -> None:
    way = Way(lambda *_: said(204))
    asyncio.run(caller(way, strict=True, signing=signing).send([message(1), message(2)], "c" * 36, 7))
    [(_, headers, body)] = way.sent
    assert body == b'{"operations":[{"cardId":"a"},{"cardId":"a"}]}'
    assert headers == {"content-type": "application/json"}


def test_an_old_secret_stops_signing_when_its_time_is_over_although_nothing_was_loaded_anew() -> None:
    """Was a bug: it went on for as long as the lane was busy."""
    way = Way(lambda *_: said(204))
    secrets = Secrets((Secret(NEW), Secret(OLD, 100 * SECOND)))
    calls = caller(way, secrets)
    for seconds in (99, 100):
        asyncio.run(calls.send([message()], "c" * 36, seconds))
    assert [len(headers["webhook-signature"].split(" ")) for _, headers, _ in way.sent] == [2, 1]


def test_an_endpoint_that_is_not_signed_for_gets_no_header_of_that() -> None:
    way = Way(lambda *_: said(204))
    asyncio.run(caller(way, Secrets(), signing=Signing.NONE).send([message()], "c" * 36, 7))
    assert not [name for name in way.sent[0][1] if name.startswith("webhook-")]


# ── tokens


def issuer(accepted: set[str]) -> Callable[[str, dict[str, str], bytes], Answer]:
    """An issuer that gives out t1, t2, … and accepts some of them; it says what it was told."""
    given: list[str] = []

    def answer(url: str, headers: dict[str, str], _body: bytes) -> Answer:
        if url == TOKEN_URL:
            given.append(f"token-{len(given) + 1}")
            return said(200, json.dumps({"access_token": given[-1], "expires_in": "900"}).encode())
        bearer = headers["authorization"].removeprefix("Bearer ")
        return said(204 if bearer in accepted else 401, json.dumps(headers).encode())

    return answer


OAUTH: dict[str, Any] = {"oauth": OAuth(TOKEN_URL, "cardtrail")}
HIDDEN = Secrets((Secret(NEW),), client_secret="client/s3cret")


def asked(way: Way) -> list[str]:
    return ["token" if url == TOKEN_URL else headers["authorization"] for url, headers, _ in way.sent]


def test_a_token_that_is_refused_is_fetched_anew_once() -> None:
    way = Way(issuer({"token-2"}))
    calls = caller(way, HIDDEN, **OAUTH)
    assert asyncio.run(calls.send([message()], "c" * 36, 7)).status == 204
    assert asked(way) == ["token", "Bearer token-1", "token", "Bearer token-2"]
    asyncio.run(calls.send([message()], "c" * 36, 7))
    assert asked(way)[4:] == ["Bearer token-2"]


def test_an_issuer_that_refuses_every_token_is_asked_twice_and_not_more() -> None:
    way = Way(issuer(set()))
    assert asyncio.run(caller(way, HIDDEN, **OAUTH).send([message()], "c" * 36, 7)).status == 401
    assert asked(way) == ["token", "Bearer token-1", "token", "Bearer token-2"]


def test_many_calls_that_are_refused_at_once_fetch_one_new_token() -> None:
    way = Way(issuer({"token-2"}))
    calls = caller(way, HIDDEN, **OAUTH)

    async def run() -> list[Answer]:
        return await asyncio.gather(*(calls.send([message(n)], "c" * 36, 7) for n in range(20)))

    assert {answer.status for answer in asyncio.run(run())} == {204}
    assert asked(way).count("token") == 2


def test_nothing_is_sent_when_the_right_to_send_ended_while_the_token_came() -> None:
    """Was a bug: waiting for a token could outlive the lease, and the call went out after it."""
    way = Way(issuer({"token-1"}))
    answer = asyncio.run(caller(way, HIDDEN, **OAUTH).send([message()], "c" * 36, 7, lambda: not way.sent))
    assert answer is NOT_SENT
    assert asked(way) == ["token"]


# ── what may be kept


def test_nothing_secret_is_kept_of_an_answer_that_tells_all_it_was_told() -> None:
    """Was a bug: the token that was refused, and one that another call had replaced, stood in the ledger."""
    way = Way(issuer(set()))
    calls = caller(way, HIDDEN, **OAUTH)
    asyncio.run(calls.send([message()], "c" * 36, 7))
    pair = way.sent[0][1]["authorization"].removeprefix("Basic ")
    told = f"{pair} client/s3cret client%2Fs3cret client\\/s3cret token-1 token-2 {NEW} {NEW[6:]}"
    shown = calls.shown(said(500, told.encode()))
    for secret in (pair, "s3cret", "token-1", "token-2", NEW[6:]):
        assert secret not in shown
    assert "client" not in shown


def test_a_secret_or_a_card_number_that_is_cut_off_is_not_shown_either() -> None:
    """Was a bug: what stood across the end of the first KiB was kept up to there."""
    calls = caller(Way(lambda *_: said(204)))
    for secret, kept in ((NEW, 20), ("4111111111111111", 15), ("4111111111111111", 8)):
        body = b"x" * (1_024 - kept - 1) + b" " + secret[:kept].encode()
        shown = calls.shown(said(500, body))
        assert secret[:kept] not in shown
        assert secret[:7] not in shown


@pytest.mark.parametrize("number", ["4111111111111111", "5500005555555559", "6011111111111117"])
def test_card_numbers_are_masked(number: str) -> None:
    shown = caller(Way(lambda *_: said(204))).shown(said(500, f"no card {number} here".encode()))
    assert shown == f"no card ************{number[-4:]} here"


def test_an_answer_is_kept_as_text_that_any_store_takes_and_not_for_ever() -> None:
    calls = caller(Way(lambda *_: said(204)))
    assert calls.shown(said(500, b"a\x00b\xff\xfe")) == "a\ufffdb\ufffd\ufffd"
    assert len(calls.shown(said(500, b"\xff" * 1_024))) == MAX_SHOWN
    assert calls.shown(failed(Failure.TIMEOUT, "out of time", 1.0)) == "out of time"


def test_a_key_pairs_private_half_is_hidden_too() -> None:
    key = new_key(b"k" * 32)
    calls = caller(Way(lambda *_: said(204)), Secrets((Secret(key),)), signing=Signing.V1A)
    assert calls.shown(said(500, f"{key} {key[5:]}".encode())) == "*** ***"
