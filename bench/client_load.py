"""The HTTP client alone, without a store: 64 tasks that post one body again and again. A process of its own.

`bare` is pyreqwest as its manual shows it, `egress` is our way out around it. Prints calls a second, and the CPU time
of a call in µs.
"""

import argparse
import asyncio
import sys
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack

import uvloop
from pyreqwest.client import ClientBuilder

from bench.child import SERVER_CORE, VoidError, output_of, pinned
from bench.load import CONNECTIONS
from cardtrail.platform.address import networks_of
from cardtrail.platform.egress import Egress

PATH = "/notifications/d1/v2/issuers/BENCHBANK1/cards"
_HEADERS = [
    ("content-type", "application/json"), ("x-cardtrail-cursor", "x" * 36), ("webhook-id", "x" * 27),
    ("webhook-timestamp", "1767225600"), ("webhook-signature", "v1," + "x" * 44),
]  # fmt: skip

Post = Callable[[], Awaitable[int | None]]
"""Makes one call; returns its status."""


async def calls_a_second(post: Post, seconds: float) -> tuple[float, float]:
    """Return calls a second of all tasks together, and CPU µs of a call. Raises VoidError for any status but 204."""
    worked = time.process_time()
    end = time.perf_counter() + seconds

    async def work() -> int:
        count = 0
        while time.perf_counter() < end:
            status = await post()
            if status != 204:
                raise VoidError(f"run void, answered {status}")
            count += 1
        return count

    calls = sum(await asyncio.gather(*(work() for _ in range(CONNECTIONS))))
    return calls / seconds, (time.process_time() - worked) * 1e6 / max(calls, 1)


async def _measure(client: str, url: str, body: bytes, seconds: float) -> tuple[float, float]:
    async with AsyncExitStack() as stack:
        if client == "egress":
            egress = Egress(allow=networks_of("127.0.0.0/8"), allow_http=True)
            stack.push_async_callback(egress.close)
            return await calls_a_second(lambda: _through(egress, url, body), seconds)
        made = await stack.enter_async_context(ClientBuilder().http1_only().no_proxy().build())

        async def bare() -> int:
            response = await made.post(url).headers(_HEADERS).body_bytes(body).build().send()
            return response.status

        return await calls_a_second(bare, seconds)


async def _through(egress: Egress, url: str, body: bytes) -> int | None:
    return (await egress.post("bench", url, _HEADERS, body)).status


def client_load(client: str, port: int, size: int, seconds: float) -> tuple[float, float]:
    """Return calls a second and CPU µs of a call, of a client on the server's core. Raises VoidError."""
    options = ["--client", client, "--port", str(port), "--size", str(size), "--seconds", str(seconds)]
    command = pinned([sys.executable, "-m", "bench.client_load", *options], SERVER_CORE)
    rate, cpu = output_of(command, {}, seconds + 30).split()[-2:]
    return float(rate), float(cpu)


if __name__ == "__main__":
    _parser = argparse.ArgumentParser(prog="python -m bench.client_load", description=__doc__)
    _parser.add_argument("--client", choices=("bare", "egress"), required=True)
    _parser.add_argument("--port", type=int, required=True)
    _parser.add_argument("--size", type=int, default=700, help="bytes of a body")
    _parser.add_argument("--seconds", type=float, default=5)
    _given = _parser.parse_args()
    try:
        _url = f"http://127.0.0.1:{_given.port}{PATH}"
        print(*uvloop.run(_measure(_given.client, _url, b"x" * _given.size, _given.seconds)))
    except (VoidError, OSError) as reason:
        sys.exit(str(reason))
