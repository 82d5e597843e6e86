"""One event every so often, each for a card of its own; a process of its own, on the load generator's core.

Prints one line of JSON: for each card when its event was sent and when its answer was there (monotonic, s). The token
comes from BENCH_TOKEN.
"""

import argparse
import http.client
import json
import os
import sys
import time
from datetime import UTC, datetime

from bench.child import LOAD_CORE, VoidError, output_of, pinned
from bench.ingest_load import PATH
from bench.story import templates

ANSWER_WAIT = 15.0
"""Longest wait for an answer, seconds."""

Times = dict[str, tuple[float, float]]
"""Card id -> when its event was sent and when it was answered."""


def trickle(port: int, token: str, events: int, pause: float, tag: str) -> Times:
    """Send the events, `pause` seconds apart; return when each was. Raises VoidError for one that is not accepted."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=ANSWER_WAIT)
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
    requested, times = templates(datetime.now(UTC))[0], Times()
    begun = time.monotonic()
    for number in range(events):
        time.sleep(max(0.0, begun + number * pause - time.monotonic()))
        body = '{"events":[%s]}' % (requested % {"tag": tag, "card": number})
        sent = time.monotonic()
        connection.request("POST", PATH, body, headers)
        answer = connection.getresponse().read()
        times[f"{tag}-{number}"] = (sent, time.monotonic())
        if b'"accepted"' not in answer:
            raise VoidError(f"run void, answered {answer[:300]!r}")
    connection.close()
    return times


def trickled(port: int, token: str, events: int, pause: float, tag: str) -> Times:
    """Run `trickle` in a process of its own. Raises VoidError."""
    options = ["--port", str(port), "--events", str(events), "--pause", str(pause), "--tag", tag]
    command = pinned([sys.executable, "-m", "bench.trickle", *options], LOAD_CORE)
    printed = output_of(command, {"BENCH_TOKEN": token}, events * pause * 2 + 60)
    times: Times = json.loads(printed.splitlines()[-1])
    return times


if __name__ == "__main__":
    _parser = argparse.ArgumentParser(prog="python -m bench.trickle", description=__doc__)
    _parser.add_argument("--port", type=int, required=True)
    _parser.add_argument("--events", type=int, default=400)
    _parser.add_argument("--pause", type=float, default=0.05, help="seconds between two events")
    _parser.add_argument("--tag", default="t", help="makes ids unique")
    _given = _parser.parse_args()
    try:
        print(json.dumps(trickle(
            _given.port, os.environ.get("BENCH_TOKEN", "none"), _given.events, _given.pause, _given.tag
        )))  # fmt: skip
    except (VoidError, OSError) as reason:
        sys.exit(str(reason))
