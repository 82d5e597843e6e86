"""The strict server on the wire: the published paths and nothing else, and each fault as a caller sees it."""

import http.client
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from standardwebhooks import Webhook

from tests.background import receiving
from tests.strict.asking import Asker, Reply, assertion_of, call, exchange, path_of
from tests.strict.notify import Target
from tests.strict.running import OnThread, strict_in_process, strict_on_thread
from tests.strict.server import Options
from tests.strict.stream import Losses

CARDS = 20
OURS = [
    ("POST", "/banking/v1/issuers/ISSUER0001/physicalCards/productionStatus:batchGet"),
    ("GET", "/banking/v1/issuers/ISSUER0001/physicalCards/operations"),
    ("GET", "/banking/v1/issuers/ISSUER0001/notifications"),
    ("POST", "/banking/v1/issuers/ISSUER0001/notifications:replay"),
    ("POST", "/ingest/v1/events"),
    ("GET", "/.well-known/jwks.json"),
    ("GET", "/openapi.yaml"),
    ("GET", "/"),
]
SECRET = "whsec_" + "c2VjcmV0IG9mIDI0IGJ5dGVzIQ=="


@pytest.fixture
def server() -> Iterator[OnThread]:
    with strict_on_thread(Options(cards=CARDS, seed=2, never=0.2)) as running:
        running.advance(CARDS * 6)
        yield running


def statuses(asker: Asker, calls: int, card_id: str) -> list[int]:
    """The statuses of some calls in a row."""
    return [asker.ask(card_id).status for _ in range(calls)]


def ordered(server: OnThread) -> str:
    """A card that was ordered."""
    return next(card_id for card_id, operation in server.truth().items() if operation)


# ── the published contract ──


def test_every_answer_is_the_truth(server: OnThread) -> None:
    asker, truth = Asker(server), server.truth()
    for card_id, operation in truth.items():
        answer = asker.ask(card_id)
        if operation is None:
            assert (answer.status, answer.json["errorCode"]) == (404, "NOT_FOUND")
        else:
            assert (answer.status, answer.json) == (200, {"operations": [operation]})
            assert answer.headers["content-type"] == "application/json"
    assert None in truth.values()
    assert len(list(filter(None, truth.values()))) > CARDS / 2


def test_the_words_of_the_path_may_have_any_letter_case_and_ids_may_not(server: OnThread) -> None:
    asker, card_id = Asker(server), ordered(server)
    path = path_of(server.issuer_id, card_id)
    lower = path.replace("physicalCards", "physicalcards").replace("productionStatus", "productionstatus")
    assert asker.get(lower).body == asker.get(path).body
    assert asker.get(path.replace(card_id, card_id.upper())).status == 404
    assert asker.get(path.replace(server.issuer_id, server.issuer_id.lower())).status == 403


def test_unknown_parameters_are_ignored_and_validators_are_unknown(server: OnThread) -> None:
    asker, card_id = Asker(server), ordered(server)
    plain = asker.ask(card_id)
    odd = asker.get(path_of(server.issuer_id, card_id) + "?history=true", **{"if-none-match": "*"})
    assert (odd.status, odd.body) == (200, plain.body)
    assert "etag" not in odd.headers


def test_the_correlation_id_comes_back(server: OnThread) -> None:
    answer = Asker(server).ask(ordered(server), **{"x-correlation-id": "abc-1"})
    assert answer.headers["x-correlation-id"] == "abc-1"


@pytest.mark.parametrize(("method", "path"), OURS)
def test_what_is_not_published_is_not_found(server: OnThread, method: str, path: str) -> None:
    assert Asker(server).get(path, method).status == 404


@pytest.mark.parametrize("status", [403, 405])
def test_a_gateway_may_answer_otherwise_what_is_not_published(status: int) -> None:
    with strict_on_thread(Options(cards=1, unknown=status)) as server:
        assert Asker(server).get(OURS[0][1], "POST").status == status


def test_calls_without_a_good_token_or_with_bad_ids_are_refused(server: OnThread) -> None:
    asker, card_id = Asker(server), ordered(server)
    path = path_of(server.issuer_id, card_id)
    without = call(server.origin, path)
    assert (without.status, without.headers["www-authenticate"]) == (401, "Bearer")
    assert call(server.origin, path, headers={"authorization": "Bearer x.y.z"}).status == 401
    assert asker.get(path, "POST").status == 405
    assert asker.ask("x" * 49).status == 400
    assert asker.ask(card_id, **{"x-correlation-id": "no spaces"}).status == 400
    assert asker.get(path_of("OTHER00001", card_id)).status == 403


# ── tokens ──


def test_a_token_is_traded_for_an_assertion_as_published(server: OnThread) -> None:
    answer = exchange(server, assertion_of(server, aud=f"https://host{'/authz/v1/oauth2/token'}", jti="one"))
    assert answer.status == 200
    assert (answer.json["expires_in"], answer.json["token_type"]) == (900, "Bearer")
    assert answer.json["access_token"].count(".") == 2


@pytest.mark.parametrize(
    "claims",
    [{"iss": "OTHER00001"}, {"sub": None}, {"exp": None}, {"exp": 1}, {"exp": 9_999_999_999}, {"aud": "https://else"}],
)
def test_a_bad_assertion_is_refused(server: OnThread, claims: dict[str, object]) -> None:
    answer = exchange(server, assertion_of(server, **claims))
    assert (answer.status, answer.json["error"]) == (400, "invalid_grant")


def test_an_assertion_with_a_name_works_once_and_another_key_never(server: OnThread) -> None:
    assertion = assertion_of(server, jti="once")
    assert [exchange(server, assertion).status for _ in range(2)] == [200, 400]
    with strict_on_thread(Options(cards=1)) as other:
        assert exchange(other, assertion_of(server)).status == 400
    assert exchange(server, "nonsense").status == 400
    assert exchange(server, assertion_of(server), "password").json["error"] == "unsupported_grant_type"


# ── faults of answers ──


def test_every_third_call_is_too_many(server: OnThread) -> None:
    asker, card_id = Asker(server), ordered(server)
    server.troubles(limited_every=3, retry_after=2)
    answers: list[Reply] = [asker.ask(card_id) for _ in range(6)]
    assert sorted(answer.status for answer in answers) == [200] * 4 + [429] * 2
    assert {answer.headers.get("retry-after") for answer in answers if answer.status == 429} == {"2"}


def test_unavailability_comes_in_bursts(server: OnThread) -> None:
    asker, card_id = Asker(server), ordered(server)
    server.troubles(unavailable_every=10, burst=3)
    found = "".join("x" if status == 503 else "." for status in statuses(asker, 25, card_id))
    assert found.strip(".").split(".......") == ["xxx", "xxx"]


@pytest.mark.parametrize(
    ("trouble", "broken"),
    [("reset_every", ConnectionResetError), ("torn_every", (ConnectionResetError, http.client.IncompleteRead))],
)
def test_a_connection_is_reset(
    server: OnThread, trouble: str, broken: type[Exception] | tuple[type[Exception], ...]
) -> None:
    asker, card_id = Asker(server), ordered(server)
    server.troubles(**{trouble: 2})
    seen = []
    for _ in range(4):
        try:
            seen.append(asker.ask(card_id).status)
        except broken:
            seen.append(0)
    assert sorted(seen) == [0, 0, 200, 200]


def test_an_answer_may_be_slow(server: OnThread) -> None:
    asker, card_id = Asker(server), ordered(server)
    server.troubles(slow_every=1, slow_seconds=60.0)
    asker.patience = 0.1
    with pytest.raises(TimeoutError):
        asker.ask(card_id)
    asker.patience = 30.0
    server.troubles(slow_seconds=0.001)
    assert asker.ask(card_id).status == 200


def test_a_gateway_answers_with_a_page_and_a_wall_with_403(server: OnThread) -> None:
    asker, card_id = Asker(server), ordered(server)
    server.troubles(gateway_every=1)
    answer = asker.ask(card_id)
    assert (answer.status, answer.headers["content-type"]) == (502, "text/html")
    server.troubles(gateway_every=0, forbidden_every=1)
    assert asker.ask(card_id).status == 403


def test_a_token_ends_early_or_when_it_was_said(server: OnThread) -> None:
    asker, card_id = Asker(server), ordered(server)
    server.troubles(revoked_every=4)
    assert 401 in statuses(asker, 4, card_id)
    server.troubles(revoked_every=0, token_seconds=0.0)
    asker.renew()
    assert asker.ask(card_id).status == 401
    server.troubles(token_seconds=60.0)
    asker.renew()
    assert asker.ask(card_id).status == 200


def test_an_outage_lasts_some_calls_and_stops_tokens_too(server: OnThread) -> None:
    asker, card_id = Asker(server), ordered(server)
    server.troubles(outage_calls=3)
    assert statuses(asker, 2, card_id) == [503, 503]
    assert exchange(server, assertion_of(server)).status == 503
    assert asker.ask(card_id).status == 200
    server.troubles(outage_from=server.counts()["calls"]["calls"] + 1, outage_resets=True)
    with pytest.raises(ConnectionResetError):
        asker.ask(card_id)


def test_calls_are_counted_by_kind_and_by_answer(server: OnThread) -> None:
    asker = Asker(server)
    asker.ask(ordered(server))
    asker.get("/elsewhere")
    counts = server.counts()["calls"]
    assert {name: counts[name] for name in ("calls", "token", "status", "other", "200", "404")} == {
        "calls": 3, "token": 1, "status": 1, "other": 1, "200": 2, "404": 1,
    }  # fmt: skip
    assert counts["most at once"] == 1
    assert 1 <= counts["most in a second"] <= 3


# ── notifications ──


def test_notifications_are_signed_and_tell_each_step() -> None:
    with receiving() as receiver:
        target = Target(receiver.url.partition("/notifications")[0], secret=SECRET, per_call=5)
        with strict_on_thread(Options(cards=10, seed=3, notify=target)) as server:
            server.advance(53)
            server.flush()
            told = [operation for received in receiver.calls for operation in received.operations]
            assert len(told) == 53
            assert [len(received.operations) for received in receiver.calls].count(5) == 10
            for received in receiver.calls:
                assert received.path == "/notifications/d1/v2/issuers/ISSUER0001/cards"
                Webhook(SECRET).verify(received.body, dict(received.headers))
            assert server.counts()["delivery"]["delivered"] == 11


def test_notifications_may_come_with_a_bearer_token() -> None:
    with receiving() as receiver:
        target = Target(receiver.url.partition("/notifications")[0], bearer="token-1")
        with strict_on_thread(Options(cards=1, notify=target)) as server:
            server.advance(1)
            server.flush()
            assert [received.headers["authorization"] for received in receiver.calls] == ["Bearer token-1"]


def test_what_is_not_taken_is_sent_again_and_then_given_up() -> None:
    with receiving() as receiver:
        receiver.reply = lambda _call: (503, {}, b"")
        target = Target(receiver.url.partition("/notifications")[0], attempts=3, pause=0.001, concurrency=1)
        with strict_on_thread(Options(cards=1, notify=target)) as server:
            server.advance(2)
            server.flush()
            assert len(receiver.calls) == 6
            assert server.counts()["delivery"] == {"attempts": 6, "503": 6, "given up": 2}


def test_lost_and_doubled_notifications_are_seen_on_the_wire() -> None:
    with receiving() as receiver:
        target = Target(receiver.url.partition("/notifications")[0], per_call=10)
        losses = Losses(lost=0.3, doubled=0.1, window=10)
        with strict_on_thread(Options(cards=20, seed=4, notify=target, losses=losses)) as server:
            server.advance(300)
            server.flush()
            stream = server.counts()["stream"]
            arrived = [operation for received in receiver.calls for operation in received.operations]
            assert len(arrived) == stream["arrived"] == 300 - stream["lost"] + stream["doubled"]
            assert 50 < stream["lost"] < 130
            assert stream["doubled"] > 5


def test_steps_can_go_untold() -> None:
    with receiving() as receiver:
        target = Target(receiver.url.partition("/notifications")[0])
        with strict_on_thread(Options(cards=5, notify=target)) as server:
            assert server.advance(10, tell=False) == 10
            server.flush()
            assert receiver.calls == []


# ── in a process ──


def test_the_server_runs_in_a_process_of_its_own(tmp_path: Path) -> None:
    with strict_in_process(tmp_path / "key.pem", "--cards", "300", "--seed", "5", "--untold", "600") as server:
        assert server.advance(300) == 300
        truth = dict(server.truth())
        assert len(truth) == 300
        assert any(operation and operation["cardId"] == card_id for card_id, operation in truth.items())
        server.write_cards(tmp_path / "cards.jsonl")
        told = [json.loads(line)["cardId"] for line in (tmp_path / "cards.jsonl").read_text().splitlines()]
        assert told == list(truth)
        server.troubles(unavailable_every=1)
        assert call(server.origin, path_of(server.issuer_id, "card-0000001")).status == 503
        assert server.counts()["calls"] == {
            "most at once": 1, "calls": 1, "status": 1, "most in a second": 1, "unavailable": 1, "503": 1,
        }  # fmt: skip
        assert (tmp_path / "key.pem").read_text().startswith("-----BEGIN")
