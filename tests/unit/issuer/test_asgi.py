"""The ASGI application on a real server: paths, methods, bodies that are large, slow or broken off, and proxies."""

import asyncio
import time
from base64 import b64encode
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest

from cardtrail.issuer import asgi as module
from cardtrail.issuer.asgi import Asgi, asgi_app
from cardtrail.issuer.mirror import AsyncMirror
from cardtrail.issuer.receive import AsyncReceiver
from cardtrail.issuer.trust import Trust
from cardtrail.issuer.way import MAX_BODY
from tests.hosting import Answer, call, connected, head_of, hosting
from tests.serving import ISSUER
from tests.signed import PATH, SECRET, body_of, operation, signed

PASSWORD = "a-secret-of-24-characters-or-more"
SIGNED = {ISSUER: Trust(secrets=[SECRET])}
WITH_TOKEN = {ISSUER: Trust(client_id="cardtrail", client_secrets=[PASSWORD])}
BASIC = {
    "authorization": "Basic " + b64encode(f"cardtrail:{PASSWORD}".encode()).decode(),
    "content-type": "application/x-www-form-urlencoded",
}  # fmt: skip


class Site:
    """A receiver that listens."""

    def __init__(self, mirror: AsyncMirror, receiver: AsyncReceiver, app: Asgi, port: int) -> None:
        self.mirror = mirror
        self.receiver = receiver
        self.app = app
        self.port = port

    async def send(self, body: bytes, path: str = PATH, method: str = "POST", **headers: str) -> Answer:
        return await call(self.port, path, body, {**signed(body, time.time()), **headers}, method)

    async def knows(self, card_id: str = "card-1") -> bool:
        return bool(await self.mirror.card(ISSUER, card_id))


Play = Callable[[Site], Coroutine[Any, Any, None]]


@pytest.fixture
def play(tmp_path: Path) -> Callable[..., None]:
    """A function that lets a coroutine play with a receiver that listens."""

    @asynccontextmanager
    async def opened(trusts: dict[str, Trust], config: dict[str, Any], options: dict[str, Any]) -> AsyncIterator[Site]:
        async with AsyncMirror.open(f"sqlite:///{tmp_path}/mirror.db") as mirror:
            receiver = AsyncReceiver(mirror, trusts, **options)
            app = asgi_app(receiver)
            async with hosting(app, **config) as port:
                yield Site(mirror, receiver, app, port)

    def run(
        scene: Play, trusts: dict[str, Trust] = SIGNED, config: dict[str, Any] | None = None, **options: Any
    ) -> None:
        async def main() -> None:
            async with opened(trusts, config or {}, options) as site:
                await scene(site)

        asyncio.run(main())

    return run


# ── paths and methods ──


@pytest.mark.parametrize(
    "path",
    [
        PATH,
        PATH + "/",
        "/hooks/v1" + PATH,
        PATH.upper(),
        "/%6eotifications" + PATH[14:],
    ],
)
@pytest.mark.parametrize("http", ["httptools", "h11"])
def test_a_notification_is_taken_below_any_prefix_and_in_any_letter_case(
    play: Callable[..., None], path: str, http: str
) -> None:
    async def scene(site: Site) -> None:
        answer = await site.send(body_of(operation()), path)
        assert (answer.status, answer.body) == (204, b"")
        assert "content-length" not in answer.headers
        assert await site.knows()

    play(scene, config={"http": http})


@pytest.mark.parametrize(
    "path",
    ["/", "/notifications", PATH + "/x", "/x" + PATH[1:], PATH.replace("issu", "i%C5%BFsu"), "/oauth2/token"],
)
def test_nothing_else_is_here(play: Callable[..., None], path: str) -> None:
    async def scene(site: Site) -> None:
        answer = await site.send(body_of(operation()), path)
        assert (answer.status, msgspec.json.decode(answer.body)["errorCode"]) == (404, "NOT_FOUND")

    play(scene)


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE", "OPTIONS", "BREW"])
def test_only_post_is_taken(play: Callable[..., None], method: str) -> None:
    async def scene(site: Site) -> None:
        async with connected(site.port) as line:
            await line.send(head_of(method, PATH, {"connection": "close"}, 0))
            head = await line.reader.read()
        assert head.startswith(b"HTTP/1.1 405 ")
        assert b"\r\nallow: POST\r\n" in head

    play(scene, config={"http": "h11"})


def test_an_issuer_that_is_unknown_and_a_bad_signature_are_told_apart(play: Callable[..., None]) -> None:
    async def scene(site: Site) -> None:
        body = body_of(operation())
        assert (await site.send(body, PATH.replace(ISSUER, "OTHER00001"))).status == 404
        refused = await site.send(body, **{"webhook-signature": "v1,x"})
        assert (refused.status, "www-authenticate" in refused.headers) == (401, True)
        assert not await site.knows()

    play(scene)


# ── bodies ──


def test_a_body_in_many_pieces_is_one_body(play: Callable[..., None]) -> None:
    async def scene(site: Site) -> None:
        body = body_of(operation())
        async with connected(site.port) as line:
            await line.send(head_of("POST", PATH, signed(body, time.time()), None).replace(
                b"\r\n\r\n", b"\r\ntransfer-encoding: chunked\r\n\r\n"
            ))  # fmt: skip
            for byte in body:
                await line.send(b"1\r\n%c\r\n" % byte)
            await line.send(b"0\r\n\r\n")
            assert (await line.answer()).status == 204
        assert await site.knows()

    play(scene)


def test_many_calls_go_over_one_connection(play: Callable[..., None]) -> None:
    async def scene(site: Site) -> None:
        async with connected(site.port) as line:
            for number, stage in enumerate(("DATA_PREPARED", "CARD_PROD_READY"), start=1):
                body = body_of(operation(stage=stage, sequence=number))
                await line.send(head_of("POST", PATH, signed(body, time.time()), len(body)) + body)
                assert (await line.answer()).status == 204
            large = b" " * (MAX_BODY + 1)
            await line.send(head_of("POST", PATH, signed(large, time.time()), len(large)) + large)
            assert (await line.answer()).status == 413
            await line.send(head_of("POST", PATH, {}, 0))
            assert (await line.answer()).status == 401

    play(scene)


def test_a_body_of_the_largest_size_is_read(play: Callable[..., None]) -> None:
    async def scene(site: Site) -> None:
        body = body_of(operation())
        assert (await site.send(body + b" " * (MAX_BODY - len(body)))).status == 204

    play(scene)


def test_who_sends_without_end_is_cut_off(play: Callable[..., None], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_THROWN_AWAY", MAX_BODY + 1)

    async def scene(site: Site) -> None:
        async with connected(site.port) as line:
            await line.send(head_of("POST", PATH, {}, 10**12))
            await line.send(b" " * (MAX_BODY + 2))
            answer = await line.answer()
        assert (answer.status, answer.closed) == (413, True)

    play(scene)


def test_who_is_too_slow_is_cut_off(play: Callable[..., None], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "BODY_SECONDS", 0.02)

    async def scene(site: Site) -> None:
        async with connected(site.port) as line:
            await line.send(head_of("POST", PATH, {}, 10) + b"{")
            answer = await line.answer()
        assert (answer.status, answer.closed) == (408, True)

    play(scene)


def test_unfinished_bodies_together_hold_a_limited_memory(
    play: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MAX_HELD", 1_000)

    async def scene(site: Site) -> None:
        async with connected(site.port) as first, connected(site.port) as second:
            await first.send(head_of("POST", PATH, {}, 1_000) + b" " * 600)
            await second.send(head_of("POST", PATH, {}, 1_000) + b" " * 600)
            waiting = {asyncio.create_task(line.answer()) for line in (first, second)}
            [done], [other] = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            other.cancel()
            answer = done.result()
            assert (answer.status, answer.closed, answer.headers["retry-after"]) == (503, True, "1")
        assert (await site.send(body_of(operation()))).status == 204

    play(scene)


def test_who_hangs_up_in_the_middle_harms_nobody(play: Callable[..., None], caplog: pytest.LogCaptureFixture) -> None:
    async def scene(site: Site) -> None:
        for _ in range(3):
            async with connected(site.port) as line:
                await line.send(head_of("POST", PATH, {}, 100) + b"{")
        body = body_of(operation())
        async with connected(site.port) as line:
            await line.send(head_of("POST", PATH, signed(body, time.time()), len(body)) + body)
        assert (await site.send(body_of(operation("card-2")))).status == 204
        assert site.receiver.answers[401] == 0

    play(scene)
    assert caplog.text == ""


# ── tokens ──


def test_a_client_trades_its_secret_for_a_token_that_lets_its_calls_in(play: Callable[..., None]) -> None:
    async def scene(site: Site) -> None:
        body = body_of(operation())
        assert (await site.send(body)).status == 401
        given = await call(site.port, "/oauth2/token", b"grant_type=client_credentials", BASIC)
        token = msgspec.json.decode(given.body)["access_token"]
        assert (await site.send(body, authorization=f"Bearer {token}")).status == 204
        assert (await call(site.port, "/OAuth2/Token/", b"grant_type=client_credentials", BASIC)).status == 200
        assert (await call(site.port, "/oauth2/token", b"", BASIC, "GET")).status == 405
        assert (await call(site.port, "/oauth2/token", b"a" * 10_000, BASIC)).status == 413

    play(scene, WITH_TOKEN)


# ── proxies ──


@pytest.mark.parametrize(("proxies", "status"), [(["127.0.0.1"], 204), (["192.0.2.1"], 401)])
def test_a_certificate_is_heard_from_a_trusted_proxys_address_only(
    play: Callable[..., None], proxies: list[str], status: int
) -> None:
    async def scene(site: Site) -> None:
        answer = await site.send(body_of(operation()), **{"x-client-cert-sha256": "ab" * 32})
        assert answer.status == status

    play(scene, {ISSUER: Trust(certificates=["ab" * 32])}, trusted_proxies=proxies)


# ── the store ──


def test_while_the_store_is_down_the_sender_is_told_to_come_again(play: Callable[..., None]) -> None:
    async def scene(site: Site) -> None:
        site.mirror.close()
        answer = await site.send(body_of(operation()))
        assert (answer.status, answer.headers["retry-after"]) == (503, "1")

    play(scene)


def test_a_fault_of_ours_is_answered_without_a_word_and_logged(
    play: Callable[..., None], caplog: pytest.LogCaptureFixture
) -> None:
    async def scene(site: Site) -> None:
        await site.mirror.db.transact(lambda tx: tx.script("ALTER TABLE operation RENAME TO lost"))
        answer = await site.send(body_of(operation()))
        assert (answer.status, msgspec.json.decode(answer.body)["errorCode"]) == (500, "INTERNAL")
        assert b"lost" not in answer.body

    play(scene)
    assert "a call could not be answered" in caplog.text


# ── the server's other words ──


def test_it_starts_and_stops_with_the_server(play: Callable[..., None]) -> None:
    async def scene(site: Site) -> None:
        assert (await site.send(body_of(operation()))).status == 204

    play(scene, config={"lifespan": "on"})


def test_a_web_socket_is_refused(play: Callable[..., None]) -> None:
    async def scene(site: Site) -> None:
        told: list[Any] = []

        async def receive() -> dict[str, Any]:
            return {"type": "websocket.connect"}

        async def send(event: Any) -> None:
            told.append(event)

        await site.app({"type": "websocket", "path": PATH}, receive, send)
        assert told == [{"type": "websocket.close"}]

    play(scene)


def test_a_server_that_raises_where_nobody_listens_any_more_is_no_failure(play: Callable[..., None]) -> None:
    async def scene(site: Site) -> None:
        body = body_of(operation())

        async def receive() -> dict[str, Any]:
            return {"type": "http.request", "body": body}

        async def send(_: Any) -> None:
            raise OSError("the client has gone")

        headers = [(name.encode(), value.encode()) for name, value in signed(body, time.time()).items()]
        await site.app({"type": "http", "method": "POST", "path": PATH, "headers": headers}, receive, send)
        assert await site.knows()

    play(scene)
