"""A call: its turn, its token, its repetitions and its deadline, with the other side played by hand."""

import base64
from contextlib import suppress
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cardtrail.errors import (
    BadAnswer,
    RemoteError,
    RemoteTooMany,
    RemoteUnauthorized,
    Unreachable,
)
from cardtrail.issuer.access import EARLY_HOLD_OFF, GONE_AFTER, HOLD_OFF, RENEW_AFTER
from cardtrail.issuer.retry import FIRST_WAIT, LONGEST_WAIT, SPREAD
from cardtrail.issuer.steps import Renew, Request, Wait
from cardtrail.protocol.failure import Failure
from cardtrail.protocol.token import MAX_ASSERTION, verify_assertion
from tests.unit.issuer.playing import BASE, KEY, Play, Reply, answer, failed, token

WAITS = [FIRST_WAIT / 2, FIRST_WAIT, FIRST_WAIT * 2]
"""Between the tries of a call, without chance."""


def sent_tokens(play: Play) -> list[str]:
    return [request.authorization for request in play.sent]


# ── tokens ───────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_first_call_fetches_a_token_and_the_next_one_uses_it() -> None:
    play = Play(answer())
    play.call()
    play.call()
    assert len(play.assertions) == 1
    assert sent_tokens(play) == ["Bearer t1", "Bearer t1"]


def test_the_assertion_is_what_the_contract_asks_for() -> None:
    play = Play(answer(), party_id="aggregator", audience="https://d1.example", scope="d1-api:physical-card:read")
    play.call()
    [request] = play.assertions
    members = dict(part.split("=") for part in (request.body or b"").decode().split("&"))
    assert members["grant_type"] == "urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Ajwt-bearer"
    assert members["scope"] == "d1-api%3Aphysical-card%3Aread"
    assert request.content_type == "application/x-www-form-urlencoded"
    assert request.authorization == ""
    assert len(members["assertion"]) < MAX_ASSERTION
    said = verify_assertion(
        members["assertion"],
        lambda party, kid: KEY if (party, kid) == ("aggregator", "k1") else None,
        round(play.now * 1e6),
        lambda name: name == "https://d1.example",
    )
    assert said.jti


def test_each_try_signs_an_assertion_of_its_own() -> None:
    play = Play(answer(), tokens=[answer(503), token()])
    play.call()
    names = {base64.urlsafe_b64decode((request.body or b"").split(b".")[1] + b"==") for request in play.assertions}
    assert len({msgspec.json.decode(name)["jti"] for name in names}) == 2


def test_a_token_is_renewed_before_it_ends_while_the_old_one_still_works() -> None:
    play = Play(answer())
    play.call()
    play.now += 900 * RENEW_AFTER - 1
    play.call()
    assert len(play.renewals) == 1
    play.now += 2
    play.call()
    assert [each.is_early for each in play.renewals] == [False, True]
    assert sent_tokens(play) == ["Bearer t1", "Bearer t1", "Bearer t2"]


def test_an_early_renewal_that_fails_costs_nothing_and_is_not_tried_at_once_again() -> None:
    play = Play(answer(), tokens=[token(), answer(400, {"error": "invalid_grant"})])
    play.call()
    play.now += 900 * RENEW_AFTER + 1
    play.call()
    play.call()
    assert len(play.assertions) == 2
    play.now += EARLY_HOLD_OFF
    play.call()
    assert len(play.assertions) == 3
    assert sent_tokens(play) == ["Bearer t1"] * 4


def test_an_early_renewal_leaves_the_work_to_whoever_is_at_it() -> None:
    play = Play(answer())
    play.call()
    play.now += 900 * RENEW_AFTER + 1
    flow = play.session.call("GET", f"{BASE}/x")
    step = next(flow)
    assert isinstance(step, Renew)
    request = next(flow)  # the driver saw that another caller is at it
    assert isinstance(request, Request)
    assert request.authorization == "Bearer t1"


def test_a_token_that_has_ended_is_not_used() -> None:
    play = Play(answer())
    play.call()
    play.now += 900 * GONE_AFTER + 1
    play.call()
    assert [each.is_early for each in play.renewals] == [False, False]
    assert sent_tokens(play) == ["Bearer t1", "Bearer t2"]


@pytest.mark.parametrize(
    ("expires_in", "lives"), [(60, 60), ("90", 90), (60.5, 60.5), (None, 300), (10**9, 86_400), (" 70 ", 70)]
)
def test_a_tokens_life_is_a_number_or_a_text(expires_in: object, lives: float) -> None:
    play = Play(answer(), tokens=[token("t", expires_in), answer(400)])
    play.call()
    play.now += lives * GONE_AFTER - 0.1
    assert play.call().status == 200  # the early renewal fails
    play.now += 0.2
    assert isinstance(play.error(play.call), RemoteUnauthorized)


@pytest.mark.parametrize(
    "given",
    [
        {"access_token": ""}, {"access_token": "a b"}, {"access_token": "a\nb"}, {"access_token": "é"}, {},
        {"access_token": "x" * 20_000}, {"access_token": 7}, {"access_token": "t", "expires_in": "soon"},
        {"access_token": "t", "expires_in": -1}, {"access_token": "t", "expires_in": "nan"}, [],
    ],
)  # fmt: skip
def test_what_is_no_token_is_a_bad_answer_of_the_token_endpoint(given: object) -> None:
    play = Play(answer(), tokens=[answer(200, given)])
    error = play.error(play.call)
    assert isinstance(error, BadAnswer)
    assert error.status == 200
    assert "oauth2/token" in str(error)
    assert play.sent == []


@pytest.mark.parametrize("status", [400, 401, 403, 404, 405, 410, 422])
def test_a_token_endpoint_that_refuses_never_looks_like_an_unknown_card(status: int) -> None:
    play = Play(answer(), tokens=[answer(status, {"error": "invalid_grant", "error_description": "unknown key"})])
    error = play.error(play.call)
    assert type(error) is RemoteUnauthorized
    assert (error.status, error.error_code) == (status, "invalid_grant")
    assert "unknown key" in str(error)
    assert len(play.assertions) == 1


def test_a_refused_token_is_replaced_once_and_the_call_made_again() -> None:
    play = Play(answer(401), answer(200))
    assert play.call().status == 200
    assert sent_tokens(play) == ["Bearer t1", "Bearer t2"]
    assert play.waits == []


def test_a_fresh_token_that_is_refused_too_is_the_end() -> None:
    play = Play(answer(401, {"errorCode": "AUTHORIZER_UNAUTHORIZED"}))
    error = play.error(play.call)
    assert type(error) is RemoteUnauthorized
    assert len(play.sent) == 2
    assert len(play.assertions) == 2


def test_a_refusal_of_an_old_token_does_not_void_the_one_that_has_replaced_it() -> None:
    play = Play(answer(200))
    play.call()
    slow = play.session.call("GET", f"{BASE}/slow")
    assert isinstance(next(slow), Request)
    play.session._access.refuse("Bearer t1")
    play.call()  # somebody else has renewed it meanwhile
    again = slow.send(answer(401))
    assert isinstance(again, Request)
    assert again.authorization == "Bearer t2"
    assert len(play.assertions) == 2


def test_whoever_waited_for_a_renewal_takes_what_came_of_it() -> None:
    play = Play(answer())
    first, second = (play.session.call("GET", f"{BASE}/{name}") for name in "ab")
    steps = [next(first), next(second)]
    assert all(isinstance(step, Renew) and step.round == 0 for step in steps)
    play.run(play.session.renewal(0))
    play.run(play.session.renewal(0))
    assert len(play.assertions) == 1
    for flow in (first, second):
        request = next(flow)
        assert isinstance(request, Request)
        assert request.authorization == "Bearer t1"


def test_the_failure_of_a_renewal_is_everybodys_and_each_has_an_error_of_its_own() -> None:
    play = Play(answer(), tokens=[answer(400)])
    errors = [play.error(lambda: play.run(play.session.renewal(0))) for _ in range(3)]
    assert len(play.assertions) == 1
    assert {type(error) for error in errors} == {RemoteUnauthorized}
    assert len({id(error) for error in errors}) == 3
    assert len({str(error) for error in errors}) == 1


def test_a_key_that_is_refused_is_not_tried_again_by_every_call() -> None:
    play = Play(answer(), tokens=[answer(400)])
    for _ in range(10):
        assert isinstance(play.error(play.call), RemoteUnauthorized)
    assert len(play.assertions) == 1
    play.now += HOLD_OFF
    assert isinstance(play.error(play.call), RemoteUnauthorized)
    assert len(play.assertions) == 2


def test_a_token_after_a_failure_ends_it() -> None:
    play = Play(answer(), tokens=[answer(400), token()])
    assert isinstance(play.error(play.call), RemoteUnauthorized)
    play.now += HOLD_OFF
    assert play.call().status == 200
    assert play.call().status == 200
    assert len(play.assertions) == 2


# ── repetitions ──────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503, 504])
def test_what_may_pass_is_tried_again_after_longer_and_longer_waits(status: int) -> None:
    play = Play(answer(status))
    error = play.error(play.call)
    assert isinstance(error, RemoteError)
    assert error.status == status
    assert len(play.sent) == 4
    assert play.waits == WAITS


@pytest.mark.parametrize("failure", [Failure.CONNECT, Failure.DNS, Failure.TIMEOUT, Failure.RESET, Failure.PROTOCOL])
def test_a_network_that_may_heal_is_tried_again(failure: Failure) -> None:
    play = Play(failed(failure), failed(failure), answer())
    assert play.call().status == 200
    assert play.waits == WAITS[:2]


@pytest.mark.parametrize(
    "reply",
    [*(answer(status) for status in (301, 400, 403, 404, 405, 409, 410, 413, 501)),
     *(failed(failure) for failure in (Failure.TLS, Failure.TOO_LONG, Failure.CLOSED, Failure.REQUEST))],
)  # fmt: skip
def test_what_does_not_pass_is_not_tried_again(reply: Reply) -> None:
    play = Play(reply)
    assert isinstance(play.error(play.call), RemoteError)
    assert len(play.sent) == 1


@pytest.mark.parametrize("reply", [answer(503), answer(500), failed(Failure.RESET), failed(Failure.TIMEOUT)])
def test_what_must_not_be_done_twice_is_not_repeated_where_it_may_have_been_done(reply: Reply) -> None:
    play = Play(reply)
    assert isinstance(play.error(lambda: play.call(is_safe=False)), RemoteError)
    assert len(play.sent) == 1


@pytest.mark.parametrize("reply", [answer(429), failed(Failure.CONNECT), failed(Failure.DNS), answer(401)])
def test_what_must_not_be_done_twice_is_repeated_where_it_cannot_have_been_begun(reply: Reply) -> None:
    play = Play(reply, answer())
    assert play.call(is_safe=False).status == 200
    assert len(play.sent) == 2


def test_a_client_can_be_told_never_to_repeat() -> None:
    play = Play(answer(503), retries=0)
    assert isinstance(play.error(play.call), RemoteError)
    assert len(play.sent) == 1


def test_one_call_has_one_correlation_id_and_the_next_has_another() -> None:
    play = Play(answer(503), answer(), answer())
    play.call()
    play.call()
    names = [request.correlation_id for request in play.sent]
    assert names[0] == names[1] != names[2]
    assert all(len(name) == 16 for name in names)


# ── Retry-After, rate and deadline ───────────────────────────────────────────────────────────────────────────


def test_the_other_side_is_left_alone_for_as_long_as_it_asks() -> None:
    play = Play(answer(503, retry_after=7), answer())
    play.chance = 1.0
    play.call()
    assert play.waits == [7 * (1 + SPREAD)]


def test_a_wait_that_does_not_fit_the_deadline_is_not_begun() -> None:
    play = Play(answer(503, retry_after=120), answer(), deadline=60)
    error = play.error(play.call)
    assert isinstance(error, RemoteError)
    assert (error.status, error.retry_after) == (503, 120)
    assert play.waits == []


def test_after_429_every_call_waits_and_not_only_the_one_that_was_refused() -> None:
    play = Play(answer(429, retry_after=10), answer(), retries=0)
    error = play.error(play.call)
    assert type(error) is RemoteTooMany
    assert error.retry_after == 10
    play.now += 4
    play.call()
    assert play.waits == [6]


def test_after_429_a_call_without_the_time_for_that_is_not_sent() -> None:
    play = Play(answer(429, retry_after=100), answer(), retries=0)
    play.error(play.call)
    error = play.error(play.call)
    assert type(error) is Unreachable
    assert "429" in str(error)
    assert len(play.sent) == 1


def test_a_rate_is_kept_after_a_seconds_burst() -> None:
    play = Play(answer(), rate=2)
    for _ in range(6):
        play.call()
    assert play.waits == pytest.approx([0.25, 0.5, 0.5, 0.5])


def test_turns_that_come_too_late_are_not_booked() -> None:
    play = Play(answer(), rate=1, deadline=2)
    flows = [play.session.call("GET", f"{BASE}/{number}") for number in range(50)]
    steps = [play.error(flow.__next__) if number > 2 else next(flow) for number, flow in enumerate(flows)]
    assert all(isinstance(step, Unreachable) for step in steps[3:])
    play.now += 1
    assert isinstance(next(play.session.call("GET", f"{BASE}/later")), Wait)


def test_a_call_ends_at_its_deadline_whatever_comes() -> None:
    play = Play(failed(Failure.TIMEOUT), timeout=15, deadline=20)
    play.seconds = 12
    error = play.error(play.call)
    assert type(error) is Unreachable
    assert [round(request.timeout) for request in play.sent] == [8]  # the token took 12 of the 20
    assert play.now <= 1_000 + 20 + 12


def test_a_call_that_the_other_side_may_keep_waiting_has_that_much_longer() -> None:
    play = Play(answer(), timeout=15)
    play.call(longer=30)
    assert [request.timeout for request in play.sent] == [45]


def test_the_time_for_the_token_is_the_calls_own() -> None:
    play = Play(answer(), tokens=[failed(Failure.TIMEOUT)], timeout=15, deadline=20)
    play.seconds = 15
    error = play.error(play.call)
    assert type(error) is Unreachable
    assert "oauth2/token" in str(error)
    assert play.sent == []


replies = st.one_of(
    st.builds(answer, st.sampled_from([200, 204, 301, 400, 401, 403, 404, 408, 429, 500, 503]),
              retry_after=st.sampled_from([0, 0, 0, 1, 30, 86_400])),
    st.builds(failed, st.sampled_from(list(Failure))),
)  # fmt: skip


@given(
    st.lists(replies, min_size=1, max_size=8), st.lists(st.one_of(replies, st.builds(token)), max_size=4),
    st.fixed_dictionaries({"retries": st.integers(0, 10)}, optional={"rate": st.sampled_from([0.1, 5.0])}),
    st.floats(0, 1), st.floats(0, 20), st.sampled_from([True, False]),
)  # fmt: skip
def test_no_other_side_makes_a_call_longer_or_more_often_than_it_may_be(  # noqa: PLR0913, PLR0917 -- all it can do
    come: list[Reply], tokens: list[Reply], options: dict[str, Any], chance: float, seconds: float, is_safe: object
) -> None:
    play = Play(*come, tokens=tokens, **options)
    play.chance, play.seconds = chance, seconds
    with suppress(RemoteError):
        assert play.call(is_safe=is_safe).status < 300
    assert len(play.sent) <= options["retries"] + 2
    assert play.now <= 1_000 + 60 + 2 * seconds + 1e-6
    assert all(wait >= 0 for wait in play.waits)
    assert all(0 < request.timeout <= 15 for request in play.sent)


def test_no_wait_of_our_own_is_longer_than_it_may_be() -> None:
    play = Play(answer(503), retries=10, deadline=3_600)
    play.chance = 1.0
    play.error(play.call)
    assert len(play.waits) == 10
    assert max(play.waits) == LONGEST_WAIT
