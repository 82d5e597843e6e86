"""An examination from its first call to its grade: when there is none, what is skipped, what is hidden."""

import asyncio
from typing import Any

import pytest

from cardtrail.errors import RemoteError, Unreachable
from cardtrail.issuer.asgi import Asgi, Receive, Scope, Send
from cardtrail.sandbox.examine import run as module
from cardtrail.sandbox.examine.candidate import Candidate
from cardtrail.sandbox.examine.case import Case, Failed, Need, Silent, Theme
from cardtrail.sandbox.examine.catalogue import CASES, chosen
from cardtrail.sandbox.examine.exam import PREFIX, Exam
from cardtrail.sandbox.examine.result import Outcome, Result
from tests.serving import ISSUER, free_port
from tests.unit.sandbox.examine.playing import PROOFS, always, answer, examined

PLAIN = chosen(["plain"])[:1]


def test_a_url_where_nobody_listens_cannot_be_examined() -> None:
    url = f"http://127.0.0.1:{free_port()}"
    with pytest.raises(Unreachable, match=rf"^{url} cannot be examined: no answer: no connection: "):
        asyncio.run(module.examine(Candidate(url=url, issuer_id=ISSUER), PLAIN, lambda _: None))


@pytest.mark.parametrize(
    ("status", "advice"),
    [
        (401, "give --secret, --token or both"), (404, "--issuer-id must be one it knows"), (405, "takes no POST"),
        (500, "nothing else would tell anything"), (307, r"\(a redirect\)"),
    ],
)  # fmt: skip
def test_a_receiver_that_takes_no_plain_notification_is_not_examined_and_told_why(status: int, advice: str) -> None:
    heard: list[Result] = []
    with pytest.raises(RemoteError, match=advice) as refused:
        examined(always(204, first=status), CASES, heard)
    assert refused.value.status == status
    assert heard == []


def test_a_read_hook_that_is_none_is_named_before_anything_is_tried() -> None:
    with pytest.raises(RemoteError, match=r'the read hook answered HTTP 200: \[\]; 404, or 200 with {"operations"'):
        examined(always(204, shown=b"[]"), CASES)


def test_what_was_not_given_is_skipped_and_said_never_passed() -> None:
    report = examined(always(204), CASES, state="", secret="", second_secret="", token="")
    skipped = {each.case.name: each.seen for each in report.of(Outcome.SKIPPED)}
    assert skipped.keys() == {case.name for case in CASES if case.needs}
    assert skipped["plain-is-kept"] == "no state was given"
    assert skipped["wrong-secret"] == "no secret was given"
    assert f"{len(skipped)} skipped" in report.grade
    report = examined(always(204), chosen(["second-secret"]), second_secret="")
    assert {each.seen for each in report.results} == {"no second secret was given"}


def case_of(act: Any, *needs: Need, damaging: bool = False) -> Case:
    """Return a case of one's own."""
    theme = Theme("own", "of one's own")
    theme.case("own", "something", *needs, why="Why.", fix="Fix.", damaging=damaging)(act)
    return theme.cases[0]


def test_a_receiver_that_is_down_is_not_waited_for_again_and_again() -> None:
    async def silent(_: Exam) -> None:
        raise Silent("no answer")

    cases = [case_of(silent), case_of(silent, Need.TOKEN), *[case_of(silent)] * 4]
    report = examined(always(204), cases, token="")
    outcomes = [each.outcome.value for each in report.results]
    assert outcomes == ["failed", "skipped", "failed", "failed", "skipped", "skipped"]
    assert report.results[-1].seen == "the receiver has not answered 3 cases in a row"
    assert not report.is_passed


def test_a_case_that_does_not_end_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    async def endless(_: Exam) -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr(module, "CASE_SECONDS", 0.05)
    [result] = examined(always(204), [case_of(endless)]).results
    assert (result.outcome, result.seen) == (Outcome.FAILED, "it was not over within 0 seconds")


def test_after_a_damaging_case_a_plain_notification_must_be_taken() -> None:
    async def harm(_: Exam) -> None:
        return

    [result] = examined(always(503), [case_of(harm, damaging=True)]).results
    assert result.seen == "a plain notification behind it: answered HTTP 503; 204 expected"
    [result] = examined(always(503), [case_of(harm)]).results
    assert result.outcome is Outcome.PASSED


def test_no_secret_is_shown_even_where_the_receiver_says_it() -> None:
    async def tell(_: Exam) -> None:
        raise Failed(" ".join(PROOFS.values()))

    [result] = examined(always(204), [case_of(tell)]).results
    assert result.seen == "(hidden) (hidden) (hidden)"


def test_each_result_is_told_as_it_comes_and_cards_have_the_run_in_their_names() -> None:
    seen: list[str] = []

    async def look(exam: Exam) -> None:
        seen.append(exam.card())

    heard: list[Result] = []
    report = examined(always(204), [case_of(look)] * 2, heard)
    assert heard == report.results
    assert len(set(seen)) == 2
    assert all(card.startswith(f"{PREFIX}{report.run_id}-") for card in seen)


def one_call_a_connection() -> Asgi:
    """Return a receiver whose server closes each connection behind an answer, without saying so."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        while (await receive()).get("more_body"):
            pass
        del scope
        await answer(send, 204, b"")
        raise RuntimeError("uvicorn closes the connection of an application that fails")

    return app


def test_a_connection_that_the_receiver_has_closed_meanwhile_is_no_failure_of_the_next_case() -> None:
    report = examined(one_call_a_connection(), chosen(["duplicate", "due-dates", "unknown-c"]), state="")
    assert report.of(Outcome.FAILED) == []
