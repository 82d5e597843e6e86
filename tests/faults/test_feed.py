"""Law 5 at full speed: readers follow the feed of running services beside many writers, and skip nothing.

`CARDTRAIL_FEED_SECONDS=60` lets it run for a minute on each engine instead of some seconds.
"""

import json
import os
import random
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from urllib.parse import urlencode

import msgspec
import pytest

from cardtrail.protocol.cursor import decode_cursor, encode_cursor
from tests.desk import connected
from tests.following import Follower, Verdict, judge, keep_log, published
from tests.serving import ISSUER, OTHER_ISSUER, Service, register_parties, serving

HOUSE = Path(__file__).parents[2]
SECONDS = float(os.environ.get("CARDTRAIL_FEED_SECONDS", "6"))
"""How long the writers write, on each engine."""
PROCESSES, WRITERS = 2, 4
"""Processes that write, and writers in each of them."""
PATIENCE = 120.0
"""Longest wait for the end of a process or a reader after the time is over, seconds."""


class Answer(msgspec.Struct):
    """A page as it comes over the wire; operations stay as they are."""

    operations: list[msgspec.Raw]
    cursor: str
    more: bool


@contextmanager
def writing(url: str) -> Iterator[list["subprocess.Popen[str]"]]:
    """Run the processes that write; what still runs when the block ends is killed."""
    commands = [
        [sys.executable, "-m", "tests.faults.writing", url, str(n), str(WRITERS), str(SECONDS)]
        for n in range(PROCESSES)
    ]
    processes = [subprocess.Popen(each, cwd=HOUSE, stdout=subprocess.PIPE, text=True) for each in commands]
    try:
        yield processes
    finally:
        for process in processes:
            process.kill()
            process.wait(PATIENCE)


def follow(url: str, service: Service, follower: Follower, largest: int, written: threading.Event) -> None:
    """Read pages of different sizes until nothing is written any more, then to the end."""
    chance = random.Random(largest)
    path = f"/banking/v1/issuers/{follower.issuer_id}/physicalCards/operations?"
    token = service.token("d1-api:physical-card:read", follower.issuer_id)
    counter = f"SELECT change_no FROM issuer_counter WHERE issuer_id = '{follower.issuer_id}'"  # noqa: S608 - our own
    with connected(url) as run:
        over = False
        while not over:
            ending = written.is_set()
            asked: dict[str, object] = {"limit": chance.randint(1, largest), "wait": 0 if ending else 1}
            if follower.cursor is not None:
                asked["since"] = encode_cursor(follower.cursor)
            answer = service.call("GET", path + urlencode(asked), token=token)
            assert answer.status == 200, answer
            page = msgspec.json.decode(answer.body, type=Answer)
            newest = run(counter)
            follower.take(map(bytes, page.operations), decode_cursor(page.cursor), newest[0][0] if newest else 0)
            over = ending and not page.more


@pytest.mark.timeout(180 + 4 * SECONDS)
def test_readers_beside_eight_writers_of_several_processes_skip_no_change(
    engine: str, database_url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    register_parties(database_url)
    keep_log(database_url)
    followers = [(Follower(ISSUER), 1_000), (Follower(ISSUER), 20), (Follower(OTHER_ISSUER), 100)]
    ends: Counter[str] = Counter()
    with ExitStack() as stack:
        services = [stack.enter_context(serving(database_url, tmp_path)) for _ in range(2)]
        pool = stack.enter_context(ThreadPoolExecutor(len(followers)))
        written = threading.Event()
        stack.callback(written.set)  # or a failure here would leave the readers reading
        readings = [
            pool.submit(follow, database_url, services[n % 2], follower, largest, written)
            for n, (follower, largest) in enumerate(followers)
        ]
        with writing(database_url) as processes:
            for process in processes:
                told, _ = process.communicate(timeout=SECONDS + PATIENCE)
                ends.update(json.loads(told))
        written.set()
        for reading in readings:
            reading.result(PATIENCE)
    verdicts = [judge(database_url, follower) for follower, _ in followers]
    with capsys.disabled():
        sys.stdout.write(_told(engine, ends, [follower for follower, _ in followers], verdicts))
    for (follower, _), verdict in zip(followers, verdicts, strict=True):
        assert (verdict.skipped, verdict.disordered) == (0, 0)
        assert follower.mirror == published(database_url, follower.issuer_id)
        assert verdict.changes > 10
        assert len(follower.readings) > 10
    assert ends["committed"] > 50
    assert ends["undone"] > 5


def _told(engine: str, ends: Counter[str], followers: list[Follower], verdicts: list[Verdict]) -> str:
    changes = verdicts[0].changes + verdicts[2].changes
    pages = sum(len(follower.readings) for follower in followers)
    read = sum(verdict.read for verdict in verdicts)
    return (
        f"\n{engine}: {SECONDS:.0f} s, {PROCESSES * WRITERS} writers in {PROCESSES} processes, {changes:,} changes in"
        f" {ends['committed']:,} transactions, {ends['undone']:,} more undone, {ends['refused']:,} refused;"
        f" {len(followers)} readers of 2 services, {pages:,} pages, {read:,} pictures read,"
        f" {sum(each.skipped for each in verdicts)} skipped, {sum(each.disordered for each in verdicts)} out of order;"
        " in the end every reader has what the platform has\n"
    )
