"""One line for a call to an endpoint: always where it failed, for one of many where it was well."""

from typing import Any

import pytest
from structlog.testing import capture_logs

from cardtrail.platform import lane
from tests.delivering import delivering
from tests.receiver import OK
from tests.serving import ISSUER


def attempts(logs: list[Any]) -> list[dict[str, Any]]:
    return [line for line in logs if line["event"] == "attempt"]


def test_a_call_that_failed_is_told_with_what_it_carried_and_when_it_is_tried_again(database_url: str) -> None:
    with capture_logs() as logs, delivering(database_url) as site:
        receiver = site.listening(batch_size=10)
        receiver.reply = lambda _call: (503, {}, b"")
        site.order("a", "b")
        site.settle()
        [line] = attempts(logs)
        notes = site.notes()
    assert (line["issuer_id"], line["endpoint_id"], line["status"], line["failure"]) == (ISSUER, "one", 503, None)
    assert (line["carried"], sorted(line["notifications"])) == (2, sorted(note.notification_id for note in notes))
    assert line["retry_due"] > "20"
    assert len(line["attempt_id"]) == 27
    assert line["ms"] >= 0


def test_a_message_that_is_refused_is_told_and_not_tried_again(database_url: str) -> None:
    with capture_logs() as logs, delivering(database_url) as site:
        site.listening().reply = lambda _call: (400, {}, b"")
        site.order("a")
        site.settle()
    [line] = attempts(logs)
    assert (line["status"], line["retry_due"]) == (400, None)


@pytest.mark.parametrize(("sample", "lines"), [(1_000, 0), (3, 2)])
def test_of_calls_that_were_well_only_one_of_many_is_told(
    database_url: str, monkeypatch: pytest.MonkeyPatch, sample: int, lines: int
) -> None:
    monkeypatch.setattr(lane, "SAMPLE", sample)
    with capture_logs() as logs, delivering(database_url) as site:
        site.listening(batch_size=1).reply = lambda _call: OK
        site.order(*"abcdef")
        site.settle()
    assert len(attempts(logs)) == lines


def test_a_line_names_no_more_notifications_than_its_limit(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lane, "SHOWN_IDS", 2)
    with capture_logs() as logs, delivering(database_url) as site:
        site.listening(batch_size=10).reply = lambda _call: (503, {}, b"")
        site.order(*"abcd")
        site.settle()
    [line] = attempts(logs)
    assert (line["carried"], len(line["notifications"])) == (4, 2)
