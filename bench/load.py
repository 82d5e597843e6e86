"""`wrk`, one thread and 64 connections on a core of its own: random reads of one server, or POSTs to a receiver."""

import json
import os
import re
import shutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from bench import cards
from bench.child import LOAD_CORE, SERVER_CORE, NotMeasuredError, VoidError, output_of, pinned

CONNECTIONS = 64
_SCRIPT = Path(__file__).with_name("cards.lua")
_POST = Path(__file__).with_name("post.lua")
_RESULT = re.compile(r"^RESULT (\{.*\})$", re.MULTILINE)


@dataclass(frozen=True)
class Reads:
    """One run: requests a second, latencies in milliseconds, bytes of an answer with its headers."""

    rate: float
    p50: float
    p99: float
    longest: float
    size: float


def need_wrk() -> None:
    """Raise NotMeasuredError with the way to get wrk where it is missing."""
    if shutil.which("wrk") is None:
        raise NotMeasuredError("wrk is not installed; on Debian and Ubuntu: apt-get install wrk")


def load(port: int, orders: int, seconds: int, token: str, seed: int = 1) -> Reads:
    """Return what `seconds` of random reads gave. Raises VoidError on any answer but a good one."""
    env = {
        "BENCH_ORDERS": str(orders), "BENCH_PREFIX": cards.PREFIX, "BENCH_SUFFIX": cards.SUFFIX,
        "BENCH_TOKEN": token, "BENCH_SEED": str(seed),
    }  # fmt: skip
    return _wrk(_SCRIPT, port, seconds, env, LOAD_CORE)


def posts(port: int, size: int, seconds: int) -> Reads:
    """Return how many bodies of `size` bytes a receiver on the load's core takes. Raises VoidError."""
    return _wrk(_POST, port, seconds, {"BENCH_BODY": str(size)}, SERVER_CORE)


def _wrk(script: Path, port: int, seconds: int, env: Mapping[str, str], core: int) -> Reads:
    options = f"-t1 -c{CONNECTIONS} -d{seconds}s --timeout 10s".split()
    command = pinned(["wrk", *options, "-s", str(script), f"http://127.0.0.1:{port}"], core)
    return reads_of(output_of(command, env, seconds + 30))


def reads_of(printed: str) -> Reads:
    """Return the figures in what wrk printed. Raises VoidError."""
    found = _RESULT.search(printed)
    if found is None:
        raise VoidError(f"wrk gave no result: {printed.strip()[-300:]}")
    result = json.loads(found[1])
    bad = {name: result[name] for name in ("status", "connect", "read", "write", "timeout") if result[name]}
    if bad or not result["requests"]:
        raise VoidError(f"run void, {result['requests']} requests with errors: {bad}")
    return Reads(
        result["requests"] / result["microseconds"] * 1e6,
        result["p50"] / 1e3, result["p99"] / 1e3, result["longest"] / 1e3,
        result["bytes"] / result["requests"],
    )  # fmt: skip


if __name__ == "__main__":
    need_wrk()
    _port, _orders, _seconds = map(int, sys.argv[1:4])
    print(load(_port, _orders, _seconds, os.environ.get("BENCH_TOKEN", "")))
