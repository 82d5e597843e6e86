"""Both clients against the real platform, and against peers, proxies and certificates of every kind."""

import asyncio
import json
import ssl
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import Any

import pytest

from cardtrail import (
    AsyncClient,
    BadAnswer,
    Client,
    Conflict,
    Features,
    InputError,
    NotFound,
    NotOffered,
    NotOrdered,
    Operation,
    Ordered,
    RemoteCursorExpired,
    RemoteError,
    RemoteNotFound,
    RemoteUnauthorized,
    Unreachable,
)
from cardtrail.issuer.send import MAX_ANSWER
from tests.certificates import Authority
from tests.clients import Blocking
from tests.e2e.test_client_certificates import KEY, prepared
from tests.e2e.test_client_certificates import running as served
from tests.events import event
from tests.parties import KID
from tests.peer import PATIENCE, TOKENS, Asked, Line, Proxy, listening, talking
from tests.serving import ISSUER, STRICT_ISSUER, Service, key_of
from tests.strict.running import strict_on_thread
from tests.strict.server import Options
from tests.strict.trouble import Troubles

SHORT = 0.2
"""A time-out that a test waits for, seconds."""
Open = Callable[..., Any]


@pytest.fixture(params=["blocking", "async"])
def open_client(request: pytest.FixtureRequest) -> Iterator[Open]:
    """A function that opens a client; a test that asks for it runs with each of the two."""
    with ExitStack() as clients:

        def opened(origin: str, issuer_id: str = ISSUER, **options: Any) -> Any:
            given: dict[str, Any] = {"key": key_of(), "kid": "k1", **options}
            if request.param == "blocking":
                return clients.enter_context(Client(origin, issuer_id, **given))
            return clients.enter_context(Blocking(AsyncClient(origin, issuer_id, **given)))

        yield opened


def operation(card_id: str) -> dict[str, Any]:
    return {"operationId": f"op-{card_id}", "operation": "PRODUCE", "status": "PENDING", "cardId": card_id,
            "details": {"status": "DATA_PREPARED"}}  # fmt: skip


def card_of(asked: Asked) -> str:
    return asked.path.split("/")[-2]


def plain_server(asked: Asked, line: Line) -> None:
    """A server of the published contract and of nothing else: it knows every card but those of `unknown`."""
    if asked.method != "GET" or not asked.path.endswith("/productionStatus"):
        line.say(404)
    elif card_of(asked).startswith("unknown"):
        line.say(404, {"errorCode": "NOT_FOUND"})
    else:
        line.say(200, {"operations": [operation(card_of(asked))]})


# ── the platform ─────────────────────────────────────────────────────────────────────────────────────────────


def test_a_card_tells_where_it_stands(service: Service, open_client: Open) -> None:
    client = open_client(service.origin)
    found = client.production_status("card-0001")
    assert isinstance(found, Operation)
    assert (found.card_id, found.operation, found.sequence) == ("card-0001", "PRODUCE", 2)
    assert client.ask("card-0001") == service.status("card-0001").body
    assert client.ask("no-such-card") is None


def test_a_card_that_nobody_ordered_is_not_found_under_a_name_that_both_sides_log(
    service: Service, open_client: Open
) -> None:
    with pytest.raises(NotFound) as refusal:
        open_client(service.origin).production_status("no-such-card")
    error = refusal.value
    assert isinstance(error, RemoteNotFound)
    assert (error.status, error.error_code) == (404, "NOT_FOUND")
    assert error.correlation_id in str(error)


def test_many_cards_are_told_in_the_order_asked_for_whatever_the_server_offers(
    service: Service, open_client: Open
) -> None:
    service.ingest(*(event("requested", f"many-{number}") for number in range(30)))
    wanted = ["no-such-card", *(f"many-{number}" for number in range(30)), "no card", "many-0"]
    for issuer_id, kind in ((ISSUER, Operation), (STRICT_ISSUER, RemoteNotFound)):
        answers = list(open_client(service.origin, issuer_id, key=key_of(issuer_id)).production_status_many(wanted))
        assert [card_id for card_id, _ in answers] == wanted
        kinds = [type(found) for _, found in answers]
        assert kinds == [RemoteNotFound, *[kind] * 30, InputError, kind]


def test_extensions_are_found_out_and_not_configured(service: Service, open_client: Open) -> None:
    assert open_client(service.origin).features() == Features(feed=True, batch=True)
    strict = open_client(service.origin, STRICT_ISSUER, key=key_of(STRICT_ISSUER))
    assert strict.features() == Features(feed=False, batch=False)
    with pytest.raises(NotOffered):
        strict.changes()
    with pytest.raises(NotOffered):
        strict.ask_many(["card-0001"])


def test_the_feed_leads_from_page_to_page_and_waits_for_news(service: Service, open_client: Open) -> None:
    client = open_client(service.origin)
    service.ingest(event("requested", "feed-1"), event("requested", "feed-2"))
    page = client.changes(limit=1)
    assert (len(page.operations), page.more) == (1, True)
    while page.more:
        page = client.changes(page.cursor)
    assert client.changes(page.cursor, wait=1).operations == []
    card_id = f"news-{page.cursor[-6:]}"
    with ThreadPoolExecutor(1) as other:
        waiting = other.submit(client.changes, page.cursor, wait=30)
        service.ingest(event("requested", card_id))
        [news] = waiting.result(PATIENCE).operations
    assert news.card_id == card_id


def test_a_cursor_of_another_epoch_has_expired(service: Service, open_client: Open) -> None:
    client = open_client(service.origin)
    cursor = client.changes(limit=1).cursor
    foreign = cursor[:2] + ("B" if cursor[2] != "B" else "C") + cursor[3:]
    with pytest.raises(RemoteCursorExpired):
        client.changes(foreign)


def test_an_order_is_taken_once_however_often_it_is_sent(service: Service, open_client: Open) -> None:
    client = open_client(service.origin)
    card_id = f"order-{id(client)}"
    order = {"distributionChannel": "CENTRAL", "issuerRequestId": card_id}
    first = client.order_card(card_id, order)
    assert client.order_card(card_id, order) == first == Ordered(card_id, first.operation_id)
    with pytest.raises(Conflict):
        client.order_card(card_id, {**order, "distributionChannel": "INSTANT"})
    taken, refused = client.order_cards([{"cardId": card_id, **order}, {"cardId": card_id}])
    assert taken == first
    assert isinstance(refused, NotOrdered)
    assert refused.error_code == "FIELD_INVALID_FORMAT"
    assert client.production_status(card_id).operation_id == first.operation_id
    assert len(client.production_history(card_id)) == 1


def test_the_ledger_can_be_read_and_replayed(service: Service, open_client: Open) -> None:
    client = open_client(service.origin)
    assert client.notifications(state="dead").notifications == ()
    assert client.replay(state="dead", dry_run=True).matched == 0


def test_a_party_that_is_not_known_is_told_once(service: Service, open_client: Open) -> None:
    client = open_client(service.origin, kid="another")
    for _ in range(3):
        with pytest.raises(RemoteUnauthorized) as refusal:
            client.ask("card-0001")
        assert refusal.value.error_code == "invalid_grant"


# ── a server of the published contract alone ─────────────────────────────────────────────────────────────────


def known(answers: dict[str, Any]) -> dict[str, Any]:
    """What was answered of each card, None where there is no order; other errors stay what they are."""
    return {
        card_id: json.loads(found.raw)
        if isinstance(found, Operation)
        else None
        if isinstance(found, NotFound)
        else found
        for card_id, found in answers.items()
    }


@pytest.mark.parametrize("unknown", [404, 403, 405])
def test_a_strict_server_is_asked_card_by_card_however_it_says_that_it_has_no_more(
    unknown: int, open_client: Open
) -> None:
    with strict_on_thread(Options(cards=40, never=0.2, unknown=unknown)) as server:
        server.advance(100)
        client = open_client(server.origin, server.issuer_id, key=server.private_pem, kid=server.kid)
        assert client.features() == Features(feed=False, batch=False)
        truth = server.truth()
        answers = dict(client.production_status_many(sorted(truth)))
        assert known(answers) == truth


def test_a_strict_server_in_trouble_is_asked_again_until_all_is_known(open_client: Open) -> None:
    troubles = Troubles(unavailable_every=11, retry_after=0, gateway_every=7, reset_every=5, torn_every=9)
    with strict_on_thread(Options(cards=30, troubles=troubles)) as server:
        server.advance(60)
        client = open_client(server.origin, server.issuer_id, key=server.private_pem, kid=server.kid, retries=10)
        truth = server.truth()
        answers = dict(client.production_status_many(truth))
        assert known(answers) == truth


# ── certificates ─────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def secured(authority: Authority, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The origin of a platform that demands client certificates."""
    folder = tmp_path_factory.mktemp("secured")
    url = f"sqlite:///{folder}/cardtrail.db"
    certificate = str(authority.certificate("server"))
    with served(prepared(url, folder, tls_cert=certificate, client_ca=str(authority.file))) as server:
        yield f"https://127.0.0.1:{server._port}"


def test_a_client_shows_its_certificate_and_trusts_its_own_authority(
    secured: str, authority: Authority, open_client: Open
) -> None:
    pem = authority.certificate("client").read_bytes()
    client = open_client(secured, key=KEY, kid=KID, client_pem=pem, ca_pem=authority.file.read_bytes())
    assert client.ask("card-1") is None


def test_without_a_certificate_or_without_the_authority_there_is_no_connection(
    secured: str, authority: Authority, open_client: Open
) -> None:
    pem, ca = authority.certificate("client").read_bytes(), authority.file.read_bytes()
    for options in ({"ca_pem": ca}, {"client_pem": pem}):
        client = open_client(secured, key=KEY, kid=KID, **options)
        # The server may have closed before its refusal was read.
        with pytest.raises(Unreachable, match=r"TLS|ended too early"):
            client.ask("card-1")


def test_what_is_no_certificate_is_named_and_not_shown(authority: Authority, open_client: Open) -> None:
    whole = authority.certificate("client").read_bytes()
    alone = whole[: whole.index(b"-----BEGIN PRIVATE")]
    for field, pem in (
        ("client_pem", alone), ("client_pem", b"secret"), ("client_pem", b"secret" * 20_000), ("ca_pem", b"secret"),
    ):  # fmt: skip
        with pytest.raises(InputError) as wrong:
            open_client("https://d1.example", **{field: pem})
        assert wrong.value.field == field
        assert "secret" not in str(wrong.value)


# ── proxies ──────────────────────────────────────────────────────────────────────────────────────────────────


def test_calls_go_through_the_proxy_that_is_given(open_client: Open) -> None:
    proxy = Proxy()
    with talking(plain_server) as (_, origin), listening(proxy.answer) as place:
        client = open_client(origin, proxy=f"http://user:secret@{place}")
        assert client.production_status("card-1").card_id == "card-1"
    assert set(proxy.named) == {f"POST {origin}", f"GET {origin}"}
    assert all((said or "").startswith("Basic ") for said in proxy.users)
    assert "secret" not in repr(client)


def test_calls_with_tls_go_through_a_tunnel_that_the_proxy_cannot_read(authority: Authority, open_client: Open) -> None:
    proxy, context = Proxy(), ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(authority.certificate("server"))
    with talking(plain_server, context) as (_, origin), listening(proxy.answer) as place:
        client = open_client(origin, proxy=f"http://{place}", ca_pem=authority.file.read_bytes())
        assert client.production_status("card-1").card_id == "card-1"
    assert {each.partition(" ")[0] for each in proxy.named} == {"CONNECT"}


def test_a_proxy_of_the_environment_counts_only_if_asked_for(
    open_client: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    proxy = Proxy()
    with talking(plain_server) as (_, origin), listening(proxy.answer) as place:
        for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, f"http://{place}")
        for name in ("no_proxy", "NO_PROXY"):
            monkeypatch.delenv(name, raising=False)
        assert open_client(origin).ask("card-1") is not None
        assert proxy.named == []
        assert open_client(origin, trust_env=True).ask("card-1") is not None
        assert proxy.named != []


# ── peers that are slow, broken or hostile ───────────────────────────────────────────────────────────────────


def hangs(_asked: Asked, line: Line) -> None:
    line.connection.recv(1)  # until the client goes


def drips(_asked: Asked, line: Line) -> None:
    line.raw(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n")
    line.connection.recv(1)


def breaks_off(_asked: Asked, line: Line) -> None:
    line.raw(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{")
    line.hang_up()


def floods(_asked: Asked, line: Line) -> None:
    line.raw(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
    while True:  # until the client has had enough
        line.raw(b"100000\r\n" + b" " * 0x100000 + b"\r\n")


def babbles(_asked: Asked, line: Line) -> None:
    line.raw(b"SMTP ready\r\n\r\n")
    line.hang_up()


@pytest.mark.parametrize(
    ("script", "said"),
    [(hangs, "out of time"), (drips, "out of time"), (breaks_off, "ended too early"), (babbles, "not HTTP"),
     (floods, f"more than {MAX_ANSWER}")],
)  # fmt: skip
def test_a_peer_that_gives_no_answer_is_unreachable(script: Any, said: str, open_client: Open) -> None:
    with talking(script) as (peer, origin):
        client = open_client(origin, retries=0, timeout=SHORT if "time" in said else PATIENCE)
        with pytest.raises(Unreachable, match=said):
            client.ask("card-1")
        assert len(peer.requests) == 1


def test_nobody_there_is_unreachable_after_the_repetitions(open_client: Open) -> None:
    with talking(plain_server) as (_, origin):
        pass
    with pytest.raises(Unreachable, match="no connection") as error:
        open_client(origin, retries=1).ask("card-1")
    assert error.value.status == 0


def test_a_peer_that_recovers_is_asked_again(open_client: Open) -> None:
    seen = threading.Event()

    def script(asked: Asked, line: Line) -> None:
        if seen.is_set():
            plain_server(asked, line)
        else:
            seen.set()
            breaks_off(asked, line)

    with talking(script) as (peer, origin):
        assert open_client(origin).ask("card-1") is not None
        first, second = peer.requests
    assert first.headers["x-correlation-id"] == second.headers["x-correlation-id"]


def test_a_redirect_is_not_followed(open_client: Open) -> None:
    with talking(plain_server) as (other, elsewhere):
        with talking(lambda _, line: line.say(302, location=elsewhere)) as (_, origin), pytest.raises(BadAnswer):
            open_client(origin).ask("card-1")
        assert other.requests == []
        assert other.tokens == 0


def test_a_refused_token_is_replaced_over_the_wire(open_client: Open) -> None:
    def script(asked: Asked, line: Line) -> None:
        if asked.headers["authorization"] == "Bearer t1":
            line.say(401, {"errorCode": "AUTHORIZER_UNAUTHORIZED"}, www_authenticate="Bearer")
        else:
            plain_server(asked, line)

    with talking(script) as (peer, origin):
        client = open_client(origin)
        assert client.ask("card-1") is not None
        assert client.ask("card-1") is not None
    assert peer.tokens == 2
    assert len(peer.requests) == 3


def test_a_peer_that_repeats_our_secrets_does_not_bring_them_into_errors(open_client: Open) -> None:
    def script(asked: Asked, line: Line) -> None:
        line.say(500, {"error": asked.headers["authorization"], "errorCode": asked.headers["authorization"][7:]})

    with talking(script) as (_, origin), pytest.raises(RemoteError) as error:
        open_client(origin, retries=0).ask("card-1")
    assert "t1" not in str(error.value)


def test_every_call_says_who_calls_what_is_read_and_its_own_name(open_client: Open) -> None:
    with talking(plain_server) as (peer, origin):
        client = open_client(origin)
        client.ask("card-1")
        client.ask("card-1")
    first, second = peer.requests
    assert first.headers["accept"] == "application/json"
    assert first.headers["user-agent"].startswith("cardtrail/")
    assert "accept-encoding" not in first.headers
    assert first.headers["x-correlation-id"] != second.headers["x-correlation-id"]


def test_a_client_that_is_closed_says_so(open_client: Open) -> None:
    with talking(plain_server) as (_, origin):
        client = open_client(origin)
        client.ask("card-1")
        client.close()
        with pytest.raises(Unreachable, match="closed"):
            client.ask("card-1")


# ── many at once ─────────────────────────────────────────────────────────────────────────────────────────────


def test_threads_that_need_a_token_fetch_one() -> None:
    with talking(plain_server) as (peer, origin), Client(origin, ISSUER, key=key_of(), kid="k1") as client:
        with ThreadPoolExecutor(32) as threads:
            bodies = list(threads.map(client.ask, [f"card-{number}" for number in range(64)]))
        assert all(bodies)
    assert peer.tokens == 1


def test_tasks_that_need_a_token_fetch_one_also_where_the_one_at_it_gives_up() -> None:
    is_first = threading.Event()

    def tokens(asked: Asked, line: Line) -> None:
        if asked.path != TOKENS:
            plain_server(asked, line)
        elif is_first.is_set():
            line.say(200, {"access_token": "t", "expires_in": 900})
        else:
            is_first.set()
            hangs(asked, line)

    async def run(origin: str) -> None:
        async with AsyncClient(origin, ISSUER, key=key_of(), kid="k1") as client:
            tasks = [asyncio.create_task(client.ask(f"card-{number}")) for number in range(64)]
            await asyncio.to_thread(is_first.wait, PATIENCE)
            tasks[0].cancel()
            bodies = await asyncio.gather(*tasks[1:])
            assert all(bodies)

    asked: list[Asked] = []

    def script(request: Asked, line: Line) -> None:
        asked.append(request)
        tokens(request, line)

    with listening(script) as place:
        asyncio.run(run(f"http://{place}"))
    assert sum(each.path == TOKENS for each in asked) == 2


def test_no_more_calls_are_made_at_once_than_may_be(open_client: Open) -> None:
    with talking(plain_server) as (peer, origin):
        client = open_client(origin, concurrency=4)
        answers = list(client.production_status_many(f"card-{number}" for number in range(200)))
        assert [card_id for card_id, _ in answers] == [f"card-{number}" for number in range(200)]
    assert 2 <= peer.most_under_way <= 4


def test_a_stream_that_is_left_early_ends_its_calls() -> None:
    with talking(plain_server) as (peer, origin):

        async def run() -> None:
            async with AsyncClient(origin, ISSUER, key=key_of(), kid="k1", concurrency=2) as client:
                cards = client.production_status_many(f"card-{number}" for number in range(1_000_000))
                async for card_id, _ in cards:
                    assert card_id == "card-0"
                    break
                await cards.aclose()
                assert [task for task in asyncio.all_tasks() if task is not asyncio.current_task()] == []

        asyncio.run(run())
        with Client(origin, ISSUER, key=key_of(), kid="k1", concurrency=2) as client:
            for card_id, _ in client.production_status_many(f"card-{number}" for number in range(1_000_000)):
                assert card_id == "card-0"
                break
    assert len(peer.requests) < 50


def test_a_short_program_ends_well() -> None:
    """pyreqwest's thread met an interpreter that was half taken apart: one program in ten ended with SIGABRT."""
    program = (
        "import asyncio, sys, cardtrail\n"
        "async def main():\n"
        "    async with cardtrail.AsyncClient(sys.argv[1], 'ISSUER0001', key=sys.argv[2], kid='k1') as client:\n"
        "        await asyncio.gather(*(client.ask(f'card-{n}') for n in range(20)))\n"
        "asyncio.run(main())\n"
    )
    pem = key_of().as_pem(private=True).decode()
    with talking(plain_server) as (_, origin):
        programs = [subprocess.Popen([sys.executable, "-c", program, origin, pem]) for _ in range(12)]
        assert [each.wait(PATIENCE) for each in programs] == [0] * 12
