"""Runs an examination: one case after the other, so that what breaks is known to be the doing of the last."""

import asyncio
import secrets
import time
from collections.abc import Callable, Sequence

from cardtrail.errors import RemoteError, Unreachable
from cardtrail.sandbox.examine.answer import Answer, taken
from cardtrail.sandbox.examine.candidate import Candidate
from cardtrail.sandbox.examine.case import Case, Failed, Silent
from cardtrail.sandbox.examine.exam import Exam
from cardtrail.sandbox.examine.picture import picture
from cardtrail.sandbox.examine.result import Outcome, Report, Result

CASE_SECONDS = 60.0
"""Longest time for a case, whatever it waits for."""
MAX_SILENT = 3
"""After so many cases in a row without an answer the receiver is down, and the rest is skipped."""
RUN_ID_BYTES = 5

_DOWN = f"the receiver has not answered {MAX_SILENT} cases in a row"
_ADVICE = {
    401: "it asks for a proof: give --secret, --token or both",
    403: "it asks for a proof: give --secret, --token or both",
    404: "nothing is there: the URL is what stands before /notifications/d1/v2/…, and --issuer-id must be one it knows",
    405: "it takes no POST there: the URL is what stands before /notifications/d1/v2/…",
}
"""What to do where even a plain notification is not taken, by HTTP status."""


async def examine(candidate: Candidate, cases: Sequence[Case], heard: Callable[[Result], None]) -> Report:
    """Try all cases, telling each result as it comes. Raises RemoteError where there is nothing to examine."""
    run_id = secrets.token_hex(RUN_ID_BYTES)
    results: list[Result] = []
    silent = 0
    async with Exam(candidate, run_id) as exam:
        await _look(exam)
        for case in cases:
            if silent >= MAX_SILENT:
                result = Result(case, Outcome.SKIPPED, _DOWN)
            else:
                result, is_silent = await _tried(exam, case)
                silent = silent + 1 if is_silent else silent * (result.outcome is Outcome.SKIPPED)
            results.append(result)
            heard(result)
    return Report(candidate.url, run_id, results)


async def _look(exam: Exam) -> None:
    """Send a plain notification, without which no refusal would prove anything. Raises RemoteError."""
    try:
        answer = await exam.send(picture(exam.card()))
        if exam.candidate.state:
            await exam.orders(exam.card())
    except Silent as silent:
        raise Unreachable(f"{exam.candidate.url} cannot be examined: {silent}") from None
    except Failed as failed:
        raise RemoteError(f"{exam.candidate.url} cannot be examined: {exam.candidate.hide(str(failed))}") from None
    if not answer.is_taken:
        raise RemoteError(_unfit(exam.candidate, answer), status=answer.status)


def _unfit(candidate: Candidate, answer: Answer) -> str:
    advice = _ADVICE.get(answer.status, "until it is taken, nothing else would tell anything")
    said = f"a plain notification is answered {answer}" + (" (a redirect)" if 300 <= answer.status < 400 else "")  # noqa: PLR2004 -- HTTP statuses
    return candidate.hide(f"{candidate.url} cannot be examined: {said}; {advice}")


async def _tried(exam: Exam, case: Case) -> tuple[Result, bool]:
    """Return what becomes of a case, and whether the receiver was silent."""
    missing = exam.candidate.missing(case.needs)
    if missing is not None:
        return Result(case, Outcome.SKIPPED, f"no {missing} was given"), False
    begun, is_silent = time.monotonic(), False
    outcome, seen = Outcome.PASSED, ""
    try:
        async with asyncio.timeout(CASE_SECONDS):
            await case.act(exam)
            if case.damaging:
                await _is_alive(exam)
    except Failed as failed:
        outcome, seen, is_silent = Outcome.FAILED, str(failed), isinstance(failed, Silent)
    except TimeoutError:
        outcome, seen, is_silent = Outcome.FAILED, f"it was not over within {CASE_SECONDS:.0f} seconds", True
    return Result(case, outcome, exam.candidate.hide(seen), time.monotonic() - begun), is_silent


async def _is_alive(exam: Exam) -> None:
    try:
        taken(await exam.send(picture(exam.card())))
    except Failed as failed:
        kind = Silent if isinstance(failed, Silent) else Failed
        raise kind(f"a plain notification behind it: {failed}") from None
