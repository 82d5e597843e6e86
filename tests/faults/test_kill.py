"""`kill -9` in the middle of ingest: what was acknowledged is there, once, and nothing has to be repaired by hand."""

import json
import random
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.desk import Desk, desk, dump, execute
from tests.faults.ingesting import CALLERS, CARDS, lives_of, tell_all

HOUSE = Path(__file__).parents[2]
KILLS = {"sqlite": 20, "postgres": 6}


def live_and_die(url: str, acknowledged: list[list[str]], answers: int) -> int:
    """Run a process that ingests what is not acknowledged yet; kill it after so many answers, return its exit code."""
    begins = ",".join(str(len(keys)) for keys in acknowledged)
    command = [sys.executable, "-m", "tests.faults.ingesting", url, begins]
    with subprocess.Popen(command, cwd=HOUSE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            answers -= 1
            if answers == 0:
                process.kill()
            if line.endswith("\n"):  # the last one may be cut
                caller, keys = json.loads(line)
                acknowledged[caller] += keys
        return process.wait()


def pictures(site: Desk) -> dict[str, bytes]:
    """Return every picture as it is sent, sequence included."""
    cards = [f"card-{caller}-{n}" for caller in range(CALLERS) for n in range(CARDS)]
    rows = site.run(site.db.read(lambda tx: tx.each("latest_picture", [("ISSUER0001", card) for card in cards])))
    return {row[1]: bytes(row[2]) for row in rows}


@pytest.mark.timeout(180)
def test_killed_again_and_again_in_the_middle_of_ingest_no_acknowledged_event_is_lost_or_doubled(
    engine: str, new_database: Callable[[], str], capsys: pytest.CaptureFixture[str]
) -> None:
    url, chance = new_database(), random.Random(2)
    with desk(url):
        pass
    acknowledged: list[list[str]] = [[] for _ in range(CALLERS)]
    unanswered = 0
    for _ in range(KILLS[engine]):
        assert live_and_die(url, acknowledged, chance.randrange(5, 25)) == -signal.SIGKILL
        stored = [row[0] for row in execute(url, "SELECT event_id FROM inbox")]
        known = {key for keys in acknowledged for key in keys}
        assert known <= set(stored)
        assert len(stored) == len(set(stored))
        unanswered += len(stored) - len(known)
    with desk(url) as site:
        for caller, keys in enumerate(acknowledged):
            events = lives_of(caller)
            assert [each["eventId"] for each in events[: len(keys)]] == keys
            assert set(site.tell(*events[: len(keys)])) == {"duplicate"}
        killed = sum(map(len, acknowledged))
        site.run(tell_all(site, [len(keys) for keys in acknowledged]))
        before = dump(url)
        site.run(tell_all(site, [0] * CALLERS))
        assert dump(url) == before
        ended = pictures(site)
    with desk(new_database()) as calm:
        calm.run(tell_all(calm, [0] * CALLERS))
        assert ended == pictures(calm)
    assert len(ended) == CALLERS * CARDS
    with capsys.disabled():
        sys.stdout.write(
            f"\n{engine}: {KILLS[engine]} kills, {killed} events acknowledged, {killed} found, 0 lost, 0 doubled;"
            f" {unanswered} more had been stored whose answers were cut off;"
            f" {len(before['inbox'])} events in the end, and sent again they changed nothing\n"
        )
