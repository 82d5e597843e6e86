"""What the client's calls send, and what they make of answers, with the other side played by hand."""

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import msgspec
import pytest

from cardtrail.errors import (
    BadAnswer,
    InputError,
    NotOffered,
    RemoteConflict,
    RemoteCursorExpired,
    RemoteError,
    RemoteForbidden,
    RemoteNotFound,
    RemoteRefused,
    Unreachable,
)
from cardtrail.issuer import flows, ledger, ordering
from cardtrail.issuer.answers import NotOrdered, Ordered
from tests.unit.issuer.playing import BASE, ISSUER, Play, Reply, answer, failed

ROOT = f"{BASE}/issuers/{ISSUER}"
CARD = "card-1"


def operation(card_id: str = CARD, operation_id: str = "op-1", hour: int = 8, **more: Any) -> dict[str, Any]:
    return {
        "operationId": operation_id, "operation": "PRODUCE", "status": "PENDING", "cardId": card_id,
        "startTime": f"2026-01-05T{hour:02}:00:00.000Z", "details": {"status": "DATA_PREPARED"}, **more,
    }  # fmt: skip


def told(*operations: object, **more: Any) -> Reply:
    return answer(200, {"operations": operations, **more})


def sent(play: Play) -> tuple[str, str]:
    """The one request that was sent: its method and what stands behind the issuer's path."""
    [request] = play.sent
    assert request.url.startswith(ROOT)
    return request.method, request.url.removeprefix(ROOT)


def body(play: Play) -> Any:
    return msgspec.json.decode(play.sent[-1].body or b"null")


# ── on demand ────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_card_is_asked_for_where_the_contract_has_it() -> None:
    play = Play(told(operation()))
    found = play.run(flows.production_status(play.session, CARD))
    assert sent(play) == ("GET", "/physicalCards/card-1/productionStatus")
    assert (found.operation_id, found.stage) == ("op-1", "DATA_PREPARED")


def test_unknown_members_and_the_bytes_of_an_operation_are_kept() -> None:
    play = Play(told(operation(mood="good")))
    found = play.run(flows.production_status(play.session, CARD))
    assert found.unknown == {"mood": "good"}
    assert msgspec.json.decode(found.raw) == operation(mood="good")


def test_of_several_orders_the_latest_counts_wherever_it_stands() -> None:
    orders = [
        operation(operation_id="old"),
        operation(operation_id="new", hour=9),
        operation(operation_id="older", hour=1),
    ]
    play = Play(told(*orders))
    assert play.run(flows.production_status(play.session, CARD)).operation_id == "new"
    history = play.run(flows.history(play.session, CARD))
    assert [each.operation_id for each in history] == ["new", "old", "older"]
    assert play.sent[-1].url.endswith("/productionStatus?history=true")


def test_a_card_without_an_order_is_not_found_whichever_way_that_is_said() -> None:
    for reply in (answer(404, {"errorCode": "NOT_FOUND"}), told()):
        play = Play(reply)
        assert isinstance(play.error(lambda: play.run(flows.production_status(play.session, CARD))), RemoteNotFound)  # noqa: B023 -- run at once


def test_an_answer_about_another_card_is_never_taken_for_this_ones() -> None:
    play = Play(told(operation("card-2")))
    for flow in (flows.production_status(play.session, CARD), flows.history(play.session, CARD)):
        error = play.error(lambda: play.run(flow))  # noqa: B023 -- run at once
        assert isinstance(error, BadAnswer)
        assert "another card" in str(error)


@pytest.mark.parametrize(
    "said",
    [b"", b"{", b"[]", b"\xff", b'{"operations":7}', b'{"operations":[7]}', b'{"operations":[{}]}', b"[" * 10_000],
)
def test_what_cannot_be_read_is_a_bad_answer_with_its_status_and_name(said: bytes) -> None:
    play = Play(msgspec.structs.replace(answer(), body=said))
    error = play.error(lambda: play.run(flows.production_status(play.session, CARD)))
    assert isinstance(error, BadAnswer)
    assert (error.status, error.correlation_id) == (200, play.sent[0].correlation_id)
    assert error.correlation_id in str(error)


def test_the_fast_call_gives_the_body_as_it_came_and_none_for_404() -> None:
    play = Play(told(operation()), answer(404))
    assert play.run(flows.ask(play.session, CARD)) == msgspec.json.encode({"operations": [operation()]})
    assert play.run(flows.ask(play.session, CARD)) is None


@pytest.mark.parametrize("card_id", ["", "a/b", "a" * 49, "é", "a\n", "..", "a?b", 7, None])
def test_no_card_id_reaches_a_url_that_the_contract_does_not_know(card_id: Any) -> None:
    play = Play(told())
    for flow in (
        flows.ask(play.session, card_id),
        flows.ask_many(play.session, [card_id]),
        ordering.order_card(play.session, card_id, {}),
        ordering.order_cards(play.session, [{"cardId": card_id}]),
    ):
        assert type(play.error(lambda: play.run(flow))) is InputError  # noqa: B023 -- run at once
    assert play.sent == []


# ── many cards ───────────────────────────────────────────────────────────────────────────────────────────────


def test_many_cards_are_asked_for_by_one_call() -> None:
    play = Play(told(operation("a"), unknown=["b"]))
    envelope = play.run(flows.ask_many(play.session, ["a", "b"]))
    assert sent(play) == ("POST", "/physicalCards/productionStatus:batchGet")
    assert body(play) == {"cardIds": ["a", "b"]}
    assert [msgspec.json.decode(each) for each in envelope.elements] == [operation("a")]


def test_each_card_of_many_gets_its_answer_or_its_error() -> None:
    play = Play(told(operation("a"), {"cardId": "c"}, {"nobodys": 1}, 7, operation("e"), unknown=["b"]))
    answers = play.run(flows.status_of_each(play.session, ["e", "b", "a", "c", "d", "a"]))
    assert [card_id for card_id, _ in answers] == ["e", "b", "a", "c", "d", "a"]
    kinds = [type(found).__name__ for _, found in answers]
    assert kinds == ["Operation", "RemoteNotFound", "Operation", "BadAnswer", "BadAnswer", "Operation"]


def test_what_goes_wrong_with_a_whole_batch_is_each_cards_error() -> None:
    for reply, kind in ((answer(503), RemoteError), (failed(), Unreachable), (answer(200, {}), BadAnswer)):
        play = Play(reply)
        answers = play.run(flows.status_of_each(play.session, ["a", "b"]))
        assert [(card_id, type(found)) for card_id, found in answers] == [("a", kind), ("b", kind)]


def test_where_batches_are_no_longer_offered_cards_are_asked_for_one_by_one() -> None:
    play = Play(answer(404), told(operation("a")), answer(404))
    play.session.features["batch"] = True
    [(_, first), (_, second)] = play.run(flows.status_of_each(play.session, ["a", "b"]))
    assert (type(first).__name__, type(second)) == ("Operation", RemoteNotFound)
    assert "batch" not in play.session.features


@pytest.mark.parametrize("ids", [[], ["a"] * 1_001])
def test_a_batch_has_1_to_1000_cards(ids: list[str]) -> None:
    play = Play(told(unknown=[]))
    assert isinstance(play.error(lambda: play.run(flows.ask_many(play.session, ids))), InputError)
    play.run(flows.ask_many(play.session, ["a"] * 1_000))


# ── what the other side has ──────────────────────────────────────────────────────────────────────────────────


def test_extensions_are_found_out_once_by_asking() -> None:
    play = Play(told(cursor="c1", more=True), told(unknown=["probe"]))
    for _ in range(2):
        found = play.run(flows.features(play.session))
        assert (found.feed, found.batch) == (True, True)
    assert [(each.method, each.url.removeprefix(ROOT)) for each in play.sent] == [
        ("GET", "/physicalCards/operations?limit=1"),
        ("POST", "/physicalCards/productionStatus:batchGet"),
    ]


@pytest.mark.parametrize(
    "reply",
    [*(answer(status) for status in (400, 403, 404, 405, 501)), told(), answer(200, {"ok": True}), answer(200, "hello"),
     answer(302)],
)  # fmt: skip
def test_a_server_without_extensions_says_so_in_many_ways(reply: Reply) -> None:
    play = Play(reply, reply)
    found = play.run(flows.features(play.session))
    assert found.feed is False
    assert found.batch is False


@pytest.mark.parametrize("reply", [answer(503), answer(429), failed(), answer(401)])
def test_a_server_in_trouble_is_not_taken_for_one_without_extensions(reply: Reply) -> None:
    play = Play(reply)
    assert isinstance(play.error(lambda: play.run(flows.features(play.session))), RemoteError)
    assert play.session.features == {}


def test_extensions_can_be_asked_for_again() -> None:
    play = Play(answer(404), answer(404), told(cursor="c"), told(unknown=[]))
    assert not play.run(flows.features(play.session)).feed
    assert not play.run(flows.features(play.session)).feed
    assert play.run(flows.features(play.session, again=True)).feed


# ── the feed ─────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_page_of_changes_is_asked_for_by_cursor_and_wait() -> None:
    play = Play(told(operation(), cursor="c2", more=True))
    page = play.run(flows.changes(play.session, "c/1", 500, 30))
    assert sent(play) == ("GET", "/physicalCards/operations?limit=500&since=c%2F1&wait=30")
    assert (page.cursor, page.more, len(page.elements)) == ("c2", True, 1)
    assert play.sent[0].timeout == 45


def test_a_bad_element_of_a_page_costs_only_itself() -> None:
    play = Play(told({"bad": 1}, operation(), cursor="c2"))
    assert len(play.run(flows.changes(play.session, None, 100, 0)).elements) == 2


def test_the_feeds_own_refusals_keep_their_meaning() -> None:
    for status, kind in ((410, RemoteCursorExpired), (403, RemoteForbidden), (400, RemoteRefused), (404, NotOffered)):
        play = Play(answer(status, {"errorCode": "X"}))
        error = play.error(lambda: play.run(flows.changes(play.session, "c", 1, 0)))  # noqa: B023 -- run at once
        assert type(error) is kind
        assert isinstance(error, RemoteError)
        assert (error.status, error.error_code) == (status, "X")


@pytest.mark.parametrize(
    ("since", "limit", "wait", "field"),
    [("", 1, 0, "since"), ("c" * 1_025, 1, 0, "since"), ("a\nb", 1, 0, "since"), (None, 0, 0, "limit"),
     (None, 1_001, 0, "limit"), (None, 1, -1, "wait"), (None, 1, 31, "wait")],
)  # fmt: skip
def test_what_is_wrong_with_a_page_is_named(since: str | None, limit: int, wait: int, field: str) -> None:
    play = Play(told(cursor="c"))
    error = play.error(lambda: play.run(flows.changes(play.session, since, limit, wait)))
    assert isinstance(error, InputError)
    assert error.field == field


# ── orders ───────────────────────────────────────────────────────────────────────────────────────────────────


def test_an_order_is_sent_as_it_was_given() -> None:
    play = Play(answer(202, {"operationId": "op-9", "eta": "soon"}))
    order = {"distributionChannel": "CENTRAL", "issuerRequestId": "r-1", "anything": [1]}
    taken = play.run(ordering.order_card(play.session, CARD, order))
    assert sent(play) == ("POST", "/physicalCards/card-1/operations:production")
    assert body(play) == order
    assert taken == Ordered(CARD, "op-9", {"eta": "soon"})


def test_an_order_is_repeated_only_if_its_request_id_makes_that_safe() -> None:
    for order, tries in (({"issuerRequestId": "r-1"}, 4), ({"issuerRequestId": ""}, 1), ({}, 1)):
        play = Play(answer(503))
        assert isinstance(play.error(lambda: play.run(ordering.order_card(play.session, CARD, order))), RemoteError)  # noqa: B023 -- run at once
        assert len(play.sent) == tries


def test_several_orders_are_repeated_only_if_that_is_safe_for_each() -> None:
    one, other = {"cardId": "a", "issuerRequestId": "r-1"}, {"cardId": "b"}
    for orders, tries in (([one], 4), ([one, other], 1)):
        play = Play(failed())
        assert isinstance(play.error(lambda: play.run(ordering.order_cards(play.session, orders))), Unreachable)  # noqa: B023 -- run at once
        assert len(play.sent) == tries


def test_a_conflict_is_one() -> None:
    play = Play(answer(409, {"errorCode": "CONFLICT"}))
    assert isinstance(play.error(lambda: play.run(ordering.order_card(play.session, CARD, {}))), RemoteConflict)


def test_each_of_several_orders_is_answered_at_its_place() -> None:
    results = [
        {"cardId": "a", "operationId": "op-1"},
        {"cardId": "b", "errorCode": "CONFLICT", "error": "no", "x": 1},
        {},
    ]
    play = Play(answer(202, {"results": results}))
    orders = [{"cardId": each} for each in "abc"]
    assert play.run(ordering.order_cards(play.session, orders)) == [
        Ordered("a", "op-1"), NotOrdered("b", "CONFLICT", "no", {"x": 1}), NotOrdered(),
    ]  # fmt: skip
    assert sent(play) == ("POST", "/physicalCards/operations:production")
    assert body(play) == {"cards": orders}


@pytest.mark.parametrize("results", [[], [{}, {}], 7, [7], [{"operationId": 7, "cardId": "a"}], [{"operationId": "x"}]])
def test_results_that_do_not_fit_the_orders_are_a_bad_answer(results: object) -> None:
    play = Play(answer(202, {"results": results}))
    assert isinstance(play.error(lambda: play.run(ordering.order_cards(play.session, [{"cardId": "a"}]))), BadAnswer)


def test_an_order_that_is_no_json_is_named_and_not_quoted() -> None:
    play = Play(answer(202))
    error = play.error(
        lambda: play.run(ordering.order_card(play.session, CARD, {"encryptedData": {"eyJsecret"}, "x": object()}))
    )
    assert isinstance(error, InputError)
    assert "secret" not in str(error)


# ── notifications ────────────────────────────────────────────────────────────────────────────────────────────


def test_notifications_are_selected_in_the_wires_words() -> None:
    play = Play(answer(200, {"notifications": [], "next": "n2"}))
    since = datetime(2026, 1, 5, 9, tzinfo=timezone(timedelta(hours=1)))
    selection = ledger.selection_of(state="dead", since=since, until=1_767_600_000_000_000, card_id=CARD, after="n1")
    page = play.run(ledger.notifications(play.session, selection, 10))
    assert (page.notifications, page.next) == ((), "n2")
    method, path = sent(play)
    assert method == "GET"
    assert path == (
        "/notifications?limit=10&state=DEAD&since=2026-01-05T08%3A00%3A00.000Z&until=2026-01-05T08%3A00%3A00.000Z"
        "&cardId=card-1&after=n1"
    )


def test_notifications_are_typed_and_keep_what_is_not_known() -> None:
    entry = {"notificationId": "n", "endpointId": "hook", "cardId": "c", "operationId": "o", "operation": "PRODUCE",
             "sequence": 4, "state": "DEAD", "round": 0, "attempts": 17, "createdAt": "2026-01-05T08:00:00.000Z",
             "colour": "red"}  # fmt: skip
    play = Play(answer(200, {"notifications": [entry]}))
    [found] = play.run(ledger.notifications(play.session, {}, 10)).notifications
    assert (found.notification_id, found.attempts, found.unknown) == ("n", 17, {"colour": "red"})


def test_a_replay_is_not_repeated_unless_it_only_counts() -> None:
    for selection, tries in (({"state": "DEAD"}, 1), ({"state": "DEAD", "dryRun": True}, 4)):
        play = Play(answer(503))
        assert isinstance(play.error(lambda: play.run(ledger.replay(play.session, selection))), RemoteError)  # noqa: B023 -- run at once
        assert len(play.sent) == tries


def test_a_replay_tells_what_came_of_it() -> None:
    play = Play(answer(200, {"matched": 3, "replayed": 2, "pending": 1, "withheld": 0, "more": True}))
    found = play.run(ledger.replay(play.session, ledger.selection_of(never_attempted=None, dryRun=True)))
    assert sent(play) == ("POST", "/notifications:replay")
    assert body(play) == {"dryRun": True}
    assert (found.matched, found.replayed, found.pending, found.more) == (3, 2, 1, True)


def test_a_time_without_a_zone_is_not_guessed_at() -> None:
    with pytest.raises(InputError) as wrong:
        ledger.selection_of(since=datetime(2026, 1, 5, tzinfo=UTC).replace(tzinfo=None))
    assert wrong.value.field == "since"


def test_a_server_without_a_ledger_does_not_offer_it() -> None:
    play = Play(answer(404))
    assert isinstance(play.error(lambda: play.run(ledger.notifications(play.session, {}, 10))), NotOffered)
    assert isinstance(play.error(lambda: play.run(ledger.replay(play.session, {}))), NotOffered)
