"""The guard with real sockets: where it goes, where it does not, and what becomes of what peers do."""

import asyncio
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterable, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from email.utils import format_datetime
from ssl import SSLContext
from typing import Any

import pytest
from pyreqwest.client import ClientBuilder

from cardtrail.errors import InputError
from cardtrail.platform import egress as module
from cardtrail.platform.address import networks_of
from cardtrail.platform.answer import Answer
from cardtrail.platform.egress import KEPT_BODY, MAX_AGE, MAX_ANSWER, Egress, Tls, checked_tls
from cardtrail.platform.resolve import REMEMBERED, Resolver, system_resolver
from cardtrail.platform.tls import server_context
from cardtrail.protocol.failure import Failure
from tests.certificates import Authority

LOOPBACK = networks_of("127.0.0.0/8")
NO_CONTENT = b"HTTP/1.1 204 No Content\r\n\r\n"
HEADERS = (("content-type", "application/json"), ("x-key", "sesame"))
NAME = "receiver.example"
SHORT = 0.2
"""A time-out that a test waits for, seconds."""
PATIENCE = 30.0
"""Longest wait for something that must happen, seconds."""

Script = Callable[[asyncio.StreamWriter], Awaitable[None]]


class Peer:
    """A server that reads requests and does with each what its script says."""

    def __init__(self, script: Script) -> None:
        self._script = script
        self._tasks: set[asyncio.Task[None]] = set()
        self.requests: list[bytes] = []
        self.connections = 0
        self.ended: asyncio.Queue[int] = asyncio.Queue()
        """Numbers of the connections that have ended, in that order, the first being 1."""

    def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self._tasks.add(asyncio.create_task(self._answer(self.connections, reader, writer)))

    async def _answer(self, number: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while not writer.is_closing():
                head = await reader.readuntil(b"\r\n\r\n")
                length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0] or 0)
                self.requests.append(head + await reader.readexactly(length))
                await self._script(writer)
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            self.ended.put_nowait(number)
            writer.close()

    async def end(self, server: asyncio.Server) -> None:
        server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        async with asyncio.timeout(PATIENCE):
            while server._active_count:  # type: ignore[attr-defined]  # noqa: ASYNC110 -- there is no public way
                await asyncio.sleep(0.001)

    async def has_ended(self) -> int:
        return await asyncio.wait_for(self.ended.get(), PATIENCE)


@asynccontextmanager
async def peer(
    script: Script, host: str = "127.0.0.1", port: int = 0, tls: SSLContext | None = None
) -> AsyncIterator[tuple[Peer, int]]:
    """A peer and its port."""
    served = Peer(script)
    server = await asyncio.start_server(served.serve, host, port, ssl=tls)
    try:
        yield served, server.sockets[0].getsockname()[1]
    finally:
        await served.end(server)


def says(*parts: bytes, close: bool = False) -> Script:
    """Answer with these bytes, and perhaps hang up."""

    async def script(writer: asyncio.StreamWriter) -> None:
        writer.writelines(parts)
        await writer.drain()
        if close:
            writer.close()

    return script


def in_turn(*scripts: Script) -> Script:
    """Answer each request with the next script; the last one goes on."""
    left = list(scripts)

    async def script(writer: asyncio.StreamWriter) -> None:
        await (left.pop(0) if len(left) > 1 else left[0])(writer)

    return script


async def resets(writer: asyncio.StreamWriter) -> None:
    """Hang up without a goodbye."""
    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


async def hangs(_writer: asyncio.StreamWriter) -> None:
    """Say nothing."""
    await asyncio.Event().wait()


async def drips(writer: asyncio.StreamWriter) -> None:
    """Answer a byte at a time, for ever."""
    writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
    while True:
        writer.write(b"z")
        await writer.drain()
        await asyncio.sleep(SHORT / 20)


async def floods(writer: asyncio.StreamWriter) -> None:
    """Answer with as much as the other side takes."""
    writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\n\r\n")
    while True:
        writer.write(b"z" * 65_536)
        await writer.drain()


def leads_to(*answers: Iterable[str]) -> Resolver:
    """A resolver that gives these answers one after the other; the last one goes on."""
    left = [list(answer) for answer in answers]

    async def resolve(_host: str) -> Sequence[str]:
        return left.pop(0) if len(left) > 1 else left[0]

    return resolve


class Clock:
    """A monotonic clock that stands still unless it is moved."""

    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


@asynccontextmanager
async def guard(**given: Any) -> AsyncIterator[Egress]:
    """A guard that may call this machine over plain HTTP."""
    egress = Egress(**{"allow": LOOPBACK, "allow_http": True, "resolve": leads_to(["127.0.0.1"]), **given})
    try:
        yield egress
    finally:
        await egress.close()


async def post(egress: Egress, port: int, *, host: str = NAME, name: str = "ep-1", **given: Any) -> Answer:
    return await egress.post(name, f"http://{host}:{port}/hook", HEADERS, b'{"operations":[]}', **given)


def run(test: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(test, 60.0))


# ── what is sent ─────────────────────────────────────────────────────────────────────────────────────────────


def test_a_post_carries_its_headers_and_body_and_our_name() -> None:
    async def test() -> None:
        async with peer(says(NO_CONTENT)) as (receiver, port), guard() as egress:
            answer = await post(egress, port)
        assert (answer.status, answer.failure, answer.text, answer.body) == (204, None, "HTTP 204", b"")
        [request] = receiver.requests
        head, _, body = request.partition(b"\r\n\r\n")
        line, *headers = head.lower().split(b"\r\n")
        assert line == b"post /hook http/1.1"
        assert body == b'{"operations":[]}'
        assert {b"x-key: sesame", f"host: {NAME}:{port}".encode(), b"user-agent: cardtrail/0.1.0"} <= set(headers)
        assert not [header for header in headers if header.startswith((b"accept-encoding", b"cookie", b"referer"))]

    run(test())


def test_a_header_that_cannot_be_sent_is_a_failure_that_does_not_repeat_it() -> None:
    async def test() -> None:
        async with peer(says(NO_CONTENT)) as (receiver, port), guard() as egress:
            for header in (("x-key", "sesame\r\nx: y"), ("x key", "sesame"), ("", "sesame"), ("x-key", "sesame\0")):
                answer = await egress.post("ep-1", f"http://{NAME}:{port}/", [header], b"")
                assert (answer.status, answer.failure) == (None, Failure.REQUEST)
                assert "sesame" not in repr(answer)
        assert receiver.connections == 0

    run(test())


def test_calls_of_one_endpoint_share_connections_and_those_of_two_do_not() -> None:
    async def test() -> None:
        async with peer(says(NO_CONTENT)) as (receiver, port), guard() as egress:
            for _ in range(3):
                await post(egress, port)
            assert receiver.connections == 1
            await post(egress, port, name="ep-2")
            assert receiver.connections == 2

    run(test())


# ── where it does not go ─────────────────────────────────────────────────────────────────────────────────────

NOWHERE = (
    "127.0.0.1", "127.0.0.2", "0.0.0.1", "10.0.0.1", "100.100.100.200", "168.63.129.16", "169.254.169.254",
    "172.16.0.1", "192.0.0.192", "192.168.1.1", "198.18.0.1", "203.0.113.7", "224.0.0.1", "240.0.0.1",
    "255.255.255.255", "[::]", "[::1]", "[::7f00:1]", "[::ffff:7f00:1]", "[::ffff:808:808]", "[64:ff9b::7f00:1]",
    "[2001::1]", "[2001:db8::1]", "[2002:7f00:1::]", "[fc00::1]", "[fd00:ec2::254]", "[fe80::1]", "[fec0::1]",
    "[ff02::1]",
)  # fmt: skip


@pytest.mark.parametrize("host", NOWHERE)
def test_an_address_in_the_url_is_vetted_and_nobody_is_asked_for_it(host: str) -> None:
    async def unasked(host: str) -> Sequence[str]:
        raise AssertionError(host)

    async def test() -> None:
        async with guard(allow=(), resolve=unasked) as egress:
            answer = await post(egress, 8443, host=host)
        assert (answer.status, answer.failure) == (None, Failure.REFUSED_ADDRESS)
        assert host.strip("[]") in answer.text

    run(test())


@pytest.mark.parametrize(
    "host",
    ["2130706433", "0177.0.0.1", "0x7f.1", "127.1", "127.0.0.1.", "\uff11\uff12\uff17.0.0.1", "127。0。0。1",
     "127.0.0.1\\", "%31%32%37.0.0.1", "[::ffff:127.0.0.1]", "[::1%25lo]", "localhost.", "x@127.0.0.1", "127.0.0.1\t"],
)  # fmt: skip
def test_an_odd_spelling_is_refused_although_the_address_is_allowed(host: str) -> None:
    async def test() -> None:
        async with peer(says(NO_CONTENT)) as (receiver, port), guard() as egress:
            answer = await post(egress, port, host=host)
            assert (answer.status, answer.failure) == (None, Failure.URL)
        assert receiver.connections == 0

    run(test())


def test_localhost_is_refused_in_any_case_unless_allowed() -> None:
    async def test() -> None:
        async with peer(says(NO_CONTENT)) as (receiver, port):
            for host in ("localhost", "LOCALHOST", "LocalHost"):
                async with guard(allow=(), resolve=system_resolver) as egress:
                    assert (await post(egress, port, host=host)).failure == Failure.REFUSED_ADDRESS
            assert receiver.connections == 0
            async with guard(allow=networks_of("127.0.0.0/8, ::1"), resolve=system_resolver) as egress:
                answers = [await post(egress, port, host="LOCALHOST") for _ in range(2)]
            assert 204 in [answer.status for answer in answers]  # it may be ::1 first, where nobody listens

    run(test())


def test_plain_http_is_refused_unless_allowed() -> None:
    async def test() -> None:
        async with peer(says(NO_CONTENT)) as (receiver, port), guard(allow_http=False) as egress:
            answer = await post(egress, port)
            assert (answer.status, answer.failure, "https://" in answer.text) == (None, Failure.URL, True)
        assert receiver.connections == 0

    run(test())


def test_a_name_that_leads_elsewhere_the_second_time_is_refused() -> None:
    async def test() -> None:
        clock = Clock()
        given = {"allow": networks_of("127.0.0.2"), "clock": clock}
        async with (
            peer(says(NO_CONTENT), "127.0.0.2") as (public, port),
            peer(says(NO_CONTENT), "127.0.0.1", port) as (private, _),
            guard(resolve=leads_to(["127.0.0.2"], ["127.0.0.1"]), **given) as egress,
        ):
            assert (await post(egress, port)).status == 204
            clock.now += REMEMBERED
            answer = await post(egress, port)
            assert (answer.status, answer.failure) == (None, Failure.REFUSED_ADDRESS)
            assert "127.0.0.1 (loopback)" in answer.text
            assert (public.connections, private.connections) == (1, 0)

    run(test())


def test_a_name_that_moves_is_called_at_its_new_place_and_never_over_an_old_connection() -> None:
    async def test() -> None:
        clock = Clock()
        async with (
            peer(says(NO_CONTENT), "127.0.0.2") as (old, port),
            peer(says(NO_CONTENT), "127.0.0.3", port) as (new, _),
            guard(resolve=leads_to(["127.0.0.2"], ["127.0.0.3"]), clock=clock) as egress,
        ):
            await post(egress, port)
            clock.now += REMEMBERED
            await post(egress, port)
            assert (len(old.requests), len(new.requests)) == (1, 1)

    run(test())


@pytest.mark.parametrize(
    "addresses",
    [
        ["127.0.0.2", "127.0.0.1"],
        ["127.0.0.1", "127.0.0.2"],
        ["127.0.0.2", "8.8.8.8", "fd00::1"],
        ["127.0.0.2", "::ffff:127.0.0.2"],
        ["127.0.0.2", "fe80::1%lo"],
        ["127.0.0.2", "junk"],
    ],
)
def test_a_name_with_one_address_that_is_not_allowed_is_refused_as_a_whole(addresses: list[str]) -> None:
    async def test() -> None:
        async with (
            peer(says(NO_CONTENT), "127.0.0.2") as (receiver, port),
            guard(allow=networks_of("127.0.0.2"), resolve=leads_to(addresses)) as egress,
        ):
            assert (await post(egress, port)).failure == Failure.REFUSED_ADDRESS
        assert receiver.connections == 0

    run(test())


def test_proxies_of_the_environment_are_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    async def test() -> None:
        async with peer(says(NO_CONTENT)) as (proxy, proxy_port), peer(says(NO_CONTENT)) as (receiver, port):
            for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
                for spelling in (name, name.lower()):
                    monkeypatch.setenv(spelling, f"http://127.0.0.1:{proxy_port}")
            for spelling in ("NO_PROXY", "no_proxy"):
                monkeypatch.delenv(spelling, raising=False)
            async with guard() as egress:
                assert (await post(egress, port)).status == 204
            assert (proxy.connections, receiver.connections) == (0, 1)
            async with ClientBuilder().build() as obedient:  # the premise: a client that is told nothing obeys
                await obedient.get(f"http://127.0.0.1:{port}/").build().send()
            assert (proxy.connections, receiver.connections) == (1, 1)

    run(test())


def test_a_redirect_is_an_answer_and_is_not_followed() -> None:
    async def test() -> None:
        async with peer(says(NO_CONTENT)) as (other, other_port):
            for status in (301, 302, 303, 307, 308):
                location = f"http://127.0.0.1:{other_port}/"
                text = f"HTTP/1.1 {status} Go\r\nlocation: {location}\r\ncontent-length: 0\r\n\r\n"
                async with peer(says(text.encode())) as (_, port), guard() as egress:
                    answer = await post(egress, port)
                assert (answer.status, answer.failure) == (status, None)
            assert other.connections == 0

    run(test())


# ── names ────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_name_is_asked_for_once_a_second_however_many_calls_there_are() -> None:
    async def test() -> None:
        clock, asked = Clock(), []

        async def resolve(host: str) -> Sequence[str]:
            asked.append(host)
            await asyncio.sleep(0)
            return ["127.0.0.1"]

        async with peer(says(NO_CONTENT)) as (_, port), guard(resolve=resolve, clock=clock) as egress:
            answers = await asyncio.gather(*(post(egress, port) for _ in range(20)))
            assert [answer.status for answer in answers] == [204] * 20
            clock.now += REMEMBERED - 0.01
            await post(egress, port)
            assert asked == [NAME]
            clock.now += 0.01
            await post(egress, port)
            assert asked == [NAME, NAME]

    run(test())


@pytest.mark.parametrize("error", [OSError("no such name"), UnicodeError("label too long"), TimeoutError()])
def test_a_name_that_is_not_found_is_a_failure_and_is_asked_for_again(error: Exception) -> None:
    async def test() -> None:
        clock, left = Clock(), [error]

        async def resolve(_host: str) -> Sequence[str]:
            if left:
                raise left.pop()
            return ["127.0.0.1"]

        async with peer(says(NO_CONTENT)) as (_, port), guard(resolve=resolve, clock=clock) as egress:
            for _ in range(2):
                assert (await post(egress, port)).failure == Failure.DNS
            clock.now += REMEMBERED
            assert (await post(egress, port)).status == 204

    run(test())


@pytest.mark.parametrize("addresses", [[], ["127.0.0.1"] * 65])
def test_a_name_has_at_least_one_address_and_not_too_many(addresses: list[str]) -> None:
    async def test() -> None:
        async with guard(resolve=leads_to(addresses)) as egress:
            assert (await post(egress, 9)).failure == Failure.DNS

    run(test())


def test_a_silent_resolver_is_not_waited_for() -> None:
    async def silent(_host: str) -> Sequence[str]:
        await asyncio.Event().wait()
        return []

    async def test() -> None:
        async with guard(resolve=silent, connect_timeout=SHORT) as egress:
            answer = await post(egress, 9)
        assert (answer.failure, "in time" in answer.text) == (Failure.DNS, True)

    run(test())


def test_who_gives_up_waiting_for_a_name_does_not_take_it_from_others() -> None:
    async def test() -> None:
        found = asyncio.Event()

        async def resolve(_host: str) -> Sequence[str]:
            await found.wait()
            return ["127.0.0.1"]

        async with peer(says(NO_CONTENT)) as (_, port), guard(resolve=resolve) as egress:
            first, second = (asyncio.create_task(post(egress, port)) for _ in range(2))
            await asyncio.sleep(0)
            first.cancel()
            await asyncio.wait([first])
            found.set()
            assert first.cancelled()
            assert (await second).status == 204

    run(test())


def test_after_a_failed_connection_the_next_address_has_its_turn() -> None:
    async def test() -> None:
        clock = Clock()
        async with (
            peer(says(NO_CONTENT), "127.0.0.4") as (receiver, port),
            guard(resolve=leads_to(["127.0.0.2", "127.0.0.3", "127.0.0.4"]), clock=clock) as egress,
        ):
            answers = []
            for _ in range(4):
                answers.append(await post(egress, port))
                clock.now += REMEMBERED
            assert [answer.failure for answer in answers] == [Failure.CONNECT, Failure.CONNECT, None, None]
            assert len(receiver.requests) == 2

    run(test())


# ── what peers do ────────────────────────────────────────────────────────────────────────────────────────────


def test_an_answer_keeps_the_beginning_of_its_body() -> None:
    async def test() -> None:
        body = b"a" * KEPT_BODY + b"b"
        length = f"HTTP/1.1 400 No\r\ncontent-length: {len(body)}\r\n\r\n".encode()
        chunks = b"HTTP/1.1 400 No\r\ntransfer-encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n" % (len(body), body)
        for parts in ([length, body], [chunks]):
            async with peer(says(*parts)) as (receiver, port), guard() as egress:
                for _ in range(2):
                    answer = await post(egress, port)
                    assert (answer.status, answer.failure, answer.text) == (400, None, "HTTP 400")
                    assert answer.body == b"a" * KEPT_BODY
                assert receiver.connections == 1

    run(test())


def test_the_whole_answer_is_there_if_it_is_asked_for() -> None:
    async def test() -> None:
        for length, whole in ((MAX_ANSWER, True), (MAX_ANSWER + 1, False)):
            head = f"HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n".encode()
            async with peer(says(head, b"a" * length)) as (_, port), guard() as egress:
                answer = await post(egress, port, whole=True)
            assert answer.status == 200
            assert answer.body == b"a" * MAX_ANSWER
            assert answer.failure == (None if whole else Failure.TOO_LONG)

    run(test())


def test_of_an_endless_answer_little_is_read_and_the_connection_is_dropped() -> None:
    async def test() -> None:
        async with peer(floods) as (receiver, port), guard() as egress:
            answer = await post(egress, port)
            assert await receiver.has_ended() == 1
            assert (answer.status, answer.failure, answer.body) == (200, None, b"z" * KEPT_BODY)
            assert "more than" in answer.text
            answer = await post(egress, port, whole=True)
            assert (answer.status, answer.failure) == (200, Failure.TOO_LONG)

    run(test())


BROKEN = b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nabc"


@pytest.mark.parametrize(
    "script",
    [
        says(BROKEN, close=True),
        says(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nab", close=True),
        says(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\nab"),
    ],
    ids=["length", "chunks", "no chunk"],
)
def test_who_says_yes_and_breaks_off_is_believed_the_second_time(script: Script) -> None:
    async def test() -> None:
        async with peer(script) as (_, port), guard() as egress:
            answer = await post(egress, port)
            assert (answer.status, answer.failure) == (None, Failure.RESET)
            answer = await post(egress, port)
            assert (answer.status, answer.failure) == (200, None)
            assert answer.text.startswith("HTTP 200; the connection ended too early")
            answer = await post(egress, port, whole=True)
            assert (answer.status, answer.failure) == (200, Failure.RESET)

    run(test())


def test_an_answer_that_drips_ends_with_the_total_time() -> None:
    async def test() -> None:
        async with peer(drips) as (receiver, port), guard(timeout=5 * SHORT) as egress:
            answer = await post(egress, port)
            assert (answer.status, answer.failure) == (None, Failure.TIMEOUT)
            assert await receiver.has_ended() == 1
            answer = await post(egress, port)
            assert (answer.status, answer.failure, answer.text) == (200, None, "HTTP 200; out of time")
            assert set(answer.body) == set(b"z")

    run(test())


def test_more_than_the_length_said_is_no_answer_to_the_next_call() -> None:
    async def test() -> None:
        smuggled = b"HTTP/1.1 500 Smuggled\r\ncontent-length: 0\r\n\r\n"
        lie = says(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok" + smuggled)
        async with peer(lie) as (receiver, port), guard() as egress:
            for _ in range(3):
                answer = await post(egress, port)
                assert (answer.status, answer.body) == (200, b"ok")
            assert receiver.connections == 3

    run(test())


@pytest.mark.parametrize(
    ("script", "failure"),
    [
        (hangs, Failure.TIMEOUT),
        (says(b"HTTP/1.1 200 OK\r\nx: "), Failure.TIMEOUT),
        (resets, Failure.RESET),
        (says(close=True), Failure.RESET),
        (says(b"HTTP/1.1 200 O", close=True), Failure.RESET),
        (says(b"SSH-2.0-OpenSSH\r\n\r\n", close=True), Failure.PROTOCOL),
        (says(b"HTTP/1.1 1000 OK\r\n\r\n", close=True), Failure.PROTOCOL),
        (says(b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nab", close=True), Failure.PROTOCOL),
        (says(b"HTTP/1.1 200 OK\r\nx: " + b"y" * 1_000_000 + b"\r\n\r\n"), Failure.PROTOCOL),
        (says(b"HTTP/1.1 200 OK\r\n" + b"x: y\r\n" * 10_000 + b"\r\n"), Failure.PROTOCOL),
    ],
    ids=["hang", "half a head", "reset", "nothing", "half a line", "ssh", "status", "two lengths", "long", "many"],
)
def test_what_is_no_answer_is_a_failure_with_its_class(script: Script, failure: Failure) -> None:
    async def test() -> None:
        patience = SHORT if failure is Failure.TIMEOUT else PATIENCE
        async with peer(script) as (_, port), guard(timeout=patience) as egress:
            answer = await post(egress, port)
        assert (answer.status, answer.failure, answer.body) == (None, failure, b"")
        assert NAME not in answer.text
        assert answer.text.isprintable()
        assert answer.seconds > 0.0

    run(test())


def test_a_port_where_nobody_listens_is_a_failure_to_connect() -> None:
    async def test() -> None:
        with socket.socket() as bound:
            bound.bind(("127.0.0.1", 0))
            async with guard() as egress:
                answer = await post(egress, bound.getsockname()[1])
        assert (answer.status, answer.failure) == (None, Failure.CONNECT)
        assert "Connection refused" in answer.text

    run(test())


def test_a_server_that_does_not_accept_is_not_waited_for() -> None:
    async def test() -> None:
        with socket.create_server(("127.0.0.1", 0)) as silent:
            async with guard(allow_http=False, connect_timeout=SHORT) as egress:
                url = f"https://127.0.0.1:{silent.getsockname()[1]}/"
                answer = await egress.post("ep-1", url, HEADERS, b"")  # the handshake is part of connecting
        assert (answer.status, answer.failure, answer.text) == (None, Failure.TIMEOUT, "out of time while connecting")

    run(test())


def test_retry_after_is_told_in_seconds_for_refusals_only() -> None:
    noon = datetime(2026, 10, 19, 12, 0, tzinfo=UTC)
    later = format_datetime(noon.replace(minute=2), usegmt=True)
    table = [
        (503, "7", 7),
        (429, later, 120),
        (302, "5", 5),
        (503, "soon", None),
        (503, "\xff", None),
        (200, "7", None),
    ]

    async def test() -> None:
        for status, value, seconds in table:
            head = f"HTTP/1.1 {status} X\r\nretry-after: {value}\r\ncontent-length: 0\r\n\r\n".encode("latin-1")
            async with (
                peer(says(head)) as (_, port),
                guard(wall=lambda: int(noon.timestamp()) * 1_000_000) as egress,
            ):
                answer = await post(egress, port)
            assert (answer.status, answer.retry_after) == (status, seconds)

    run(test())


def test_the_time_spent_on_the_name_is_part_of_the_total() -> None:
    async def test() -> None:
        clock = Clock()

        async def slow(_host: str) -> Sequence[str]:
            clock.now += PATIENCE
            return ["127.0.0.1"]

        async with peer(hangs) as (_, port), guard(resolve=slow, clock=clock, timeout=PATIENCE) as egress:
            async with asyncio.timeout(PATIENCE / 2):  # nothing is left of the total, so it ends at once
                assert (await post(egress, port)).failure == Failure.TIMEOUT

    run(test())


# ── clients ──────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_client_is_replaced_after_a_minute_and_its_connection_closed() -> None:
    async def test() -> None:
        clock = Clock()
        async with peer(says(NO_CONTENT)) as (receiver, port), guard(clock=clock) as egress:
            await post(egress, port)
            clock.now += MAX_AGE - 1.0
            await post(egress, port)
            assert receiver.connections == 1
            clock.now += 1.0
            await post(egress, port)
            assert receiver.connections == 2
            assert await receiver.has_ended() == 1

    run(test())


def test_a_call_in_flight_outlives_the_replacement_of_its_client() -> None:
    async def test() -> None:
        clock, came, go = Clock(), asyncio.Event(), asyncio.Event()

        async def waits(writer: asyncio.StreamWriter) -> None:
            came.set()
            await go.wait()
            await says(NO_CONTENT)(writer)

        script = in_turn(waits, says(NO_CONTENT))
        async with peer(script) as (receiver, port), guard(clock=clock) as egress:
            slow = asyncio.create_task(post(egress, port))
            await came.wait()
            clock.now += MAX_AGE
            assert (await post(egress, port)).status == 204
            assert receiver.ended.empty()
            go.set()
            assert (await slow).status == 204
            del slow
            assert await receiver.has_ended() == 1

    run(test())


def test_there_are_only_so_many_clients_and_the_one_unused_longest_goes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_CLIENTS", 2)

    async def test() -> None:
        async with peer(says(NO_CONTENT)) as (receiver, port), guard() as egress:
            for name in ("ep-1", "ep-2", "ep-1", "ep-3"):
                await post(egress, port, name=name)
            assert await receiver.has_ended() == 2
            assert len(egress._clients) == 2
            await post(egress, port, name="ep-1")
            assert receiver.connections == 3

    run(test())


def test_an_unused_connection_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "IDLE", SHORT)

    async def test() -> None:
        async with peer(says(NO_CONTENT)) as (receiver, port), guard() as egress:
            await post(egress, port)
            assert await receiver.has_ended() == 1

    run(test())


def test_closing_ends_calls_and_look_ups_and_refuses_new_ones() -> None:
    async def test() -> None:
        came = asyncio.Event()

        async def waits(_writer: asyncio.StreamWriter) -> None:
            came.set()
            await asyncio.Event().wait()

        async def resolve(host: str) -> Sequence[str]:
            if host != NAME:
                await asyncio.Event().wait()
            return ["127.0.0.1"]

        async with peer(waits) as (_, port), guard(resolve=resolve) as egress:
            calls = [asyncio.create_task(post(egress, port, host=host)) for host in (NAME, "silent.example")]
            await came.wait()
            await egress.close()
            answers = [*await asyncio.gather(*calls), await post(egress, port)]
            assert [answer.failure for answer in answers] == [Failure.CLOSED] * 3

    run(test())


def test_a_call_that_is_cancelled_ends_at_once_and_its_connection_with_the_total_time() -> None:
    async def test() -> None:
        came = asyncio.Event()

        async def waits(_writer: asyncio.StreamWriter) -> None:
            came.set()

        async with peer(waits) as (receiver, port), guard(timeout=5 * SHORT) as egress:
            call = asyncio.create_task(post(egress, port))
            await came.wait()
            call.cancel()
            await asyncio.wait([call])
            assert call.cancelled()
            assert await receiver.has_ended() == 1

    run(test())


# ── TLS ──────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def stranger(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("stranger"), "stranger")


def call_with(tls: Tls, context: SSLContext, *, host: str = "127.0.0.1") -> Answer:
    """Post to a server with TLS and return the answer."""

    async def call() -> Answer:
        async with peer(says(NO_CONTENT), tls=context) as (_, port), guard(allow_http=False) as egress:
            return await egress.post("ep-1", f"https://{host}:{port}/", HEADERS, b"{}", tls)

    return asyncio.run(call())


def context_of(authority: Authority, *, clients: str = "") -> SSLContext:
    return server_context(str(authority.certificate("server")), "", clients)


def test_an_authority_of_its_own_makes_a_server_trusted(authority: Authority) -> None:
    answer = call_with(Tls(ca_pem=authority.file.read_bytes()), context_of(authority))
    assert (answer.status, answer.failure) == (204, None)


def test_a_server_that_nobody_vouches_for_is_not_called(authority: Authority, stranger: Authority) -> None:
    for tls in (Tls(), Tls(ca_pem=stranger.file.read_bytes())):
        answer = call_with(tls, context_of(authority))
        assert (answer.status, answer.failure) == (None, Failure.TLS)
        assert "UnknownIssuer" in answer.text


def test_a_certificate_for_another_name_is_not_taken(authority: Authority) -> None:
    answer = call_with(Tls(ca_pem=authority.file.read_bytes()), context_of(authority), host=NAME)
    assert (answer.failure, "not valid for name" in answer.text) == (Failure.TLS, True)


def test_a_client_certificate_is_shown_to_who_asks_for_it(authority: Authority, stranger: Authority) -> None:
    context = context_of(authority, clients=str(authority.file))
    own, other = (one.certificate("client").read_bytes() for one in (authority, stranger))
    ca = authority.file.read_bytes()
    assert call_with(Tls(own, ca), context).status == 204
    for refused in (Tls(b"", ca), Tls(other, ca)):
        answer = call_with(refused, context)
        assert answer.status is None
        assert answer.failure in (Failure.TLS, Failure.RESET)


def test_with_another_certificate_another_connection_is_made(authority: Authority) -> None:
    async def test() -> None:
        context = context_of(authority, clients=str(authority.file))
        ca, own = authority.file.read_bytes(), authority.certificate("client").read_bytes()
        async with peer(says(NO_CONTENT), tls=context) as (_, port), guard() as egress:
            url = f"https://127.0.0.1:{port}/"
            assert (await egress.post("ep-1", url, HEADERS, b"", Tls(own, ca))).status == 204
            assert (await egress.post("ep-1", url, HEADERS, b"", Tls(b"", ca))).status is None

    run(test())


def test_a_server_without_tls_is_a_failure_of_tls() -> None:
    async def test() -> None:
        async def greets(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.read(100)
            writer.write(b"HTTP/1.1 400 Bad\r\n\r\n")
            writer.close()

        server = await asyncio.start_server(greets, "127.0.0.1", 0)
        async with server, guard() as egress:
            url = f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
            assert (await egress.post("ep-1", url, HEADERS, b"")).failure == Failure.TLS

    run(test())


def test_a_certificate_that_cannot_be_used_is_a_failure_and_is_not_shown(authority: Authority) -> None:
    own, other = (authority.certificate(name).read_bytes() for name in ("own", "other"))
    crossed = own.partition(b"-----BEGIN PRIVATE")[0] + b"".join(other.partition(b"-----BEGIN PRIVATE")[1:])
    for client_pem in (b"sesame", crossed, own.partition(b"-----BEGIN PRIVATE")[0]):
        with pytest.raises(InputError, match="client_pem"):
            checked_tls(Tls(client_pem))
        answer = call_with(Tls(client_pem), context_of(authority))
        assert (answer.status, answer.failure) == (None, Failure.TLS)
        assert "sesame" not in answer.text
    assert "sesame" not in repr(Tls(b"sesame"))


def test_pem_is_checked_before_it_is_kept(authority: Authority) -> None:
    good = Tls(authority.certificate("own").read_bytes(), authority.file.read_bytes())
    assert checked_tls(good) == good
    assert checked_tls(Tls()) == Tls()
    for ca_pem in (b"junk", authority.file.read_bytes()[:100], b"x" * 100_000):
        with pytest.raises(InputError, match="ca_pem"):
            checked_tls(Tls(ca_pem=ca_pem))
