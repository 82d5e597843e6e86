"""The record: every exchange in order, bounded, without a credential, and readable again."""

import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from cardtrail.errors import InputError
from cardtrail.sandbox.wire import record as module
from cardtrail.sandbox.wire.call import Answer, Call
from cardtrail.sandbox.wire.kinds import Hop, Kind
from cardtrail.sandbox.wire.record import MAX_BODY, MAX_PATH, Exchange, Recorder, exchanges_of, newest_of, older_of

ANSWER = Answer(200, [(b"content-type", b"application/json"), (b"set-cookie", b"x")], b'{"operations":[]}')


async def nothing() -> Any:
    raise AssertionError("nobody listens")


def call(body: bytes = b"", path: str = "/banking/v1/x", *, more: bool = False, **headers: str) -> Call:
    pairs = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    scope = {"type": "http", "method": "POST", "path": path, "query_string": b"a=b", "headers": pairs}
    return Call(scope=scope, body=body, receive=nothing, more=more)


@pytest.fixture
def recorder(tmp_path: Path) -> Iterator[Recorder]:
    """A recorder that writes to the test's folder; small files."""
    with closing(Recorder(tmp_path, most=8_000_000)) as opened:
        yield opened


def noted(recorder: Recorder, sent: Call, answer: Answer | None = ANSWER, **more: Any) -> None:
    recorder.note(Hop.ANSWERS, sent, answer, time.perf_counter(), arrived=True, **more)


def test_an_exchange_is_written_with_what_matters_of_both_halves(recorder: Recorder) -> None:
    noted(recorder, call(b'{"cardIds":["c"]}', content_type="application/json", x_secret="s"), faults=[Kind.SLOW])
    noted(recorder, call(), None)
    recorder.note_event({"eventId": "e"}, [Kind.DROP])
    first, second, third = exchanges_of(recorder.path)
    assert (first.number, first.hop, first.method, first.path, first.status) == (
        1, Hop.ANSWERS, "POST", "/banking/v1/x?a=b", 200
    )  # fmt: skip
    assert first.request.headers == {"content-type": "application/json"}
    assert (first.request.body, first.answer.body) == ('{"cardIds":["c"]}', '{"operations":[]}')
    assert (first.answer.headers, first.faults, first.arrived) == ({"content-type": "application/json"}, ["slow"], True)
    assert (second.status, second.answer.body) == (0, "")
    assert (third.hop, third.method, third.faults, third.arrived) == (Hop.EVENTS, "", ["drop"], False)
    assert recorder.path.stat().st_mode & 0o777 == 0o600
    assert first.at.endswith("Z")


def test_a_body_is_kept_to_a_limit_and_it_is_said_how_long_it_was(recorder: Recorder) -> None:
    for size in (MAX_BODY, MAX_BODY + 1, 3 * MAX_BODY):
        noted(recorder, call(b"x" * size))
    noted(recorder, call(b"half", more=True))
    noted(recorder, call("€".encode() * MAX_BODY, path="/" + "p" * 5_000))
    kept = [(each.request.size, len(each.request.body.encode())) for each in exchanges_of(recorder.path)]
    assert kept[:4] == [(None, MAX_BODY), (MAX_BODY + 1, MAX_BODY), (3 * MAX_BODY, MAX_BODY), (4, 4)]
    assert MAX_BODY - 3 < kept[4][1] <= MAX_BODY
    assert [len(each.path) for each in exchanges_of(recorder.path)][-1] == MAX_PATH


def test_the_longest_line_that_is_written_can_be_read(tmp_path: Path) -> None:
    with closing(Recorder(tmp_path)) as recorder:
        noted(recorder, call(b"\x00" * (2 * MAX_BODY)), Answer(200, [], b"\x01" * (2 * MAX_BODY)))
    [only] = exchanges_of(recorder.path)
    assert (len(only.request.body), len(only.answer.body)) == (MAX_BODY, MAX_BODY)


def test_the_file_is_bounded_and_the_older_half_is_kept_beside_it(tmp_path: Path) -> None:
    with closing(Recorder(tmp_path, most=10_000)) as recorder:
        for _ in range(100):
            noted(recorder, call(b"x" * 1_000))
    assert all(path.stat().st_size <= 10_000 for path in (recorder.path, older_of(recorder.path)))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["wire.jsonl", "wire.jsonl.1"]
    newest = newest_of(recorder.path, 8)
    assert [each.number for each in newest] == list(range(93, 101))


def test_a_new_run_begins_a_file_and_keeps_the_one_before(tmp_path: Path) -> None:
    for body in (b"one", b"two"):
        recorder = Recorder(tmp_path)
        noted(recorder, call(body))
        recorder.close()
        noted(recorder, call(b"too late"))
    assert [each.request.body for each in exchanges_of(tmp_path / "wire.jsonl")] == ["two"]
    assert [each.request.body for each in newest_of(tmp_path / "wire.jsonl", 10)] == ["one", "two"]


def test_a_disk_that_takes_no_more_ends_the_record_and_harms_nobody(tmp_path: Path, recorder: Recorder) -> None:
    noted(Recorder(tmp_path / "no-such-folder"), call())
    recorder._file.close()  # type: ignore[union-attr]  # it is open
    recorder._file = open("/dev/full", "wb", buffering=0)  # noqa: PTH123, SIM115 - the recorder closes it
    noted(recorder, call())
    noted(recorder, call())
    assert recorder._file is None


def test_a_line_that_is_no_exchange_is_named(tmp_path: Path, recorder: Recorder) -> None:
    path = recorder.path
    noted(recorder, call())
    for line, text in ((b"{}", "line 2"), (b'{"number":', "line 2"), (b"\xff", "line 2")):
        path.write_bytes(path.read_bytes().splitlines()[0] + b"\n" + line + b"\n")
        with pytest.raises(InputError, match=text):
            list(exchanges_of(path))
    with pytest.raises(InputError, match="No such file"):
        list(exchanges_of(tmp_path / "none"))


def test_a_line_without_end_is_not_read_for_ever(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_LINE", 100)
    path = tmp_path / "wire.jsonl"
    path.write_bytes(b"x" * 1_000)
    with pytest.raises(InputError, match="longer than 100 bytes"):
        list(exchanges_of(path))


def test_the_newest_are_found_from_the_end_and_a_line_that_is_being_written_is_left_out(
    tmp_path: Path, recorder: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MAX_TAIL", 2_000)
    for _ in range(50):
        noted(recorder, call())
    with recorder.path.open("ab") as file:
        file.write(b'{"number":51,"at":')
    numbers = [each.number for each in newest_of(recorder.path, 500)]
    assert 0 < len(numbers) < 20
    assert numbers == list(range(51 - len(numbers), 51))
    assert newest_of(tmp_path / "none.jsonl", 5) == []


def test_those_that_are_wanted_are_found_however_much_was_written_since(
    recorder: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only the newest 500 exchanges were looked through, which may hold none of a quiet card's."""
    monkeypatch.setattr(module, "MAX_TAIL", 2_000)
    for number in range(100):
        noted(recorder, call(path="/banking/v1/rare" if number in {1, 2, 3, 60} else "/banking/v1/often"))

    def is_rare(each: Exchange) -> bool:
        return "rare" in each.path

    assert [each.number for each in newest_of(recorder.path, 3, is_rare)] == [3, 4, 61]
    assert len(newest_of(recorder.path, 500)) < 20
