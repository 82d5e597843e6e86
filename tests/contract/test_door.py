"""The door of the pages: who comes in, how sessions end, and what strangers' pages cannot do. On both engines."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from cardtrail.pages.door import login, sessions
from cardtrail.pages.door.account import Role
from cardtrail.pages.door.headers import POLICY
from cardtrail.platform.app import Platform
from tests.desk import dump, execute
from tests.people import FORM, PASSWORD, Person, csrf_in, house
from tests.serving import ISSUER

Play = Callable[[Platform, int], Awaitable[None]]
HOME = "/ui/"


def played(url: str, folder: Path, play: Play, **settings: str) -> None:
    async def run() -> None:
        async with asyncio.timeout(60), house(url, folder, None, **settings) as (platform, port):
            await play(platform, port)

    asyncio.run(run())


# ── coming in and going ──


def test_who_knows_the_password_comes_in_and_goes_on_to_what_was_asked_for(database_url: str, tmp_path: Path) -> None:
    async def play(_platform: Platform, port: int) -> None:
        person = Person(port)
        sent = await person.get("/ui/audit?before=x")
        assert (sent.status, sent.headers["location"]) == (303, "/ui/login?next=%2Fui%2Faudit%3Fbefore%3Dx")
        entered = await person.log_in("operator", way="/ui/audit")
        assert (entered.status, entered.headers["location"]) == (303, "/ui/audit")
        assert (await person.get("/ui/audit")).status == 200

    played(database_url, tmp_path, play)


def test_a_wrong_password_and_an_unknown_name_look_the_same(database_url: str, tmp_path: Path) -> None:
    async def play(_platform: Platform, port: int) -> None:
        answers = [await Person(port).log_in(name, "wrong password") for name in ("operator", "nobody", "")]
        assert {answer.status for answer in answers} == {401}
        texts = {answer.body.replace(csrf_in(answer).encode(), b"") for answer in answers}
        assert len(texts) == 1
        assert b"Name or password is wrong." in texts.pop()

    played(database_url, tmp_path, play)


def test_a_session_has_another_id_after_the_log_in_and_none_after_the_log_out(
    database_url: str, tmp_path: Path
) -> None:
    async def play(_platform: Platform, port: int) -> None:
        person = Person(port)
        person.cookies["cardtrail"] = "chosen-by-somebody-else"
        await person.log_in("operator")
        stolen = dict(person.cookies)
        assert stolen["cardtrail"] not in ("chosen-by-somebody-else", "")
        page = await person.get("/ui/audit")
        assert (await person.post("/ui/logout", {"csrf": csrf_in(page)})).status == 303
        thief = Person(port)
        thief.cookies = stolen
        assert (await thief.get("/ui/audit")).status == 303

    played(database_url, tmp_path, play)


def test_the_store_holds_nothing_to_come_in_with(database_url: str, tmp_path: Path) -> None:
    async def play(_platform: Platform, port: int) -> None:
        person = Person(port)
        await person.log_in("operator")
        rows = repr(await asyncio.to_thread(dump, database_url))
        assert person.cookies["cardtrail"] not in rows
        assert PASSWORD not in rows

    played(database_url, tmp_path, play)


@pytest.mark.parametrize("what", ["revoke", "password"])
def test_a_revoked_account_and_another_password_end_all_sessions(database_url: str, tmp_path: Path, what: str) -> None:
    async def play(platform: Platform, port: int) -> None:
        people = [Person(port), Person(port)]
        for person in people:
            await person.log_in("operator")
            assert (await person.get("/ui/audit")).status == 200
        if what == "revoke":
            await platform.entrance.accounts.revoke("operator", "operator:test")
            assert (await Person(port).log_in("operator")).status == 401
        else:
            await platform.entrance.accounts.set_password("operator", "x", "operator:test")
        assert [(await person.get("/ui/audit")).status for person in people] == [303, 303]

    played(database_url, tmp_path, play)


def test_rights_that_are_changed_are_felt_by_the_next_request(database_url: str, tmp_path: Path) -> None:
    async def play(platform: Platform, port: int) -> None:
        person = Person(port)
        await person.log_in("viewer")
        assert (await person.get(f"/ui/issuers/{ISSUER}/stuck")).status == 200
        await platform.entrance.accounts.update("viewer", {"ISSUER0009": Role.VIEWER}, None, "operator:test")
        assert (await person.get(f"/ui/issuers/{ISSUER}/stuck")).status == 404

    played(database_url, tmp_path, play)


OLD = f"created_at = created_at - {sessions.LONGEST}, expires_at = created_at, seen_at = created_at"
IDLE = f"created_at = created_at - {sessions.IDLE}, seen_at = seen_at - {sessions.IDLE}"


@pytest.mark.parametrize("aged", [OLD, IDLE], ids=["old", "idle"])
def test_a_session_ends_when_it_is_old_or_idle(database_url: str, tmp_path: Path, aged: str) -> None:
    async def play(platform: Platform, port: int) -> None:
        person = Person(port)
        await person.log_in("operator")
        await asyncio.to_thread(execute, database_url, f"UPDATE session SET {aged}")  # noqa: S608 - ours
        assert (await person.get("/ui/audit")).status == 303
        await platform.entrance.sessions.run_once()
        assert await asyncio.to_thread(execute, database_url, "SELECT count(*) FROM session") == [(0,)]

    played(database_url, tmp_path, play)


def test_an_account_has_so_many_sessions_and_no_more(
    database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sessions, "MOST", 2)

    async def play(_platform: Platform, port: int) -> None:
        people = [Person(port) for _ in range(3)]
        for person in people:
            await person.log_in("operator")
        assert [(await person.get("/ui/audit")).status for person in people] == [303, 200, 200]

    played(database_url, tmp_path, play)


def test_guessing_is_refused_after_a_while_also_with_the_right_password(
    database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(login, "ACCOUNT_BURST", 3)

    async def play(_platform: Platform, port: int) -> None:
        statuses = [(await Person(port).log_in("operator", f"guess number {n}")).status for n in range(5)]
        assert statuses == [401, 401, 401, 429, 429]
        refused = await Person(port).log_in("operator")
        assert refused.status == 429
        assert int(refused.headers["retry-after"]) > 0
        assert (await Person(port).log_in("viewer")).status == 303

    played(database_url, tmp_path, play)


# ── strangers' pages ──


async def forged(person: Person, path: str, fields: dict[str, str], **headers: str) -> int:
    return (await person.post(path, fields, **headers)).status


def test_a_form_must_say_what_only_our_pages_know_and_come_from_them(database_url: str, tmp_path: Path) -> None:
    async def play(_platform: Platform, port: int) -> None:
        person, other = Person(port), Person(port)
        await person.log_in("operator")
        await other.log_in("viewer")
        own, others = csrf_in(await person.get("/ui/audit")), csrf_in(await other.get("/ui/issuers/ISSUER0001/stuck"))
        path = f"/ui/issuers/{ISSUER}/stuck"
        limit = {"place": "InTransit", "days": "2"}
        assert await forged(person, path, limit) == 403
        assert await forged(person, path, limit | {"csrf": others}) == 403
        assert await forged(person, path, limit | {"csrf": own}, origin="https://evil.example") == 403
        assert await forged(person, path, limit | {"csrf": own}, origin="null") == 403
        assert await forged(person, path, limit | {"csrf": own}, **{"sec-fetch-site": "cross-site"}) == 403
        assert await forged(person, path, limit | {"csrf": own}, **{"sec-fetch-site": "same-origin"}) == 303
        assert (await person.ask("POST", path, b"", FORM | {"origin": f"http://{person.host}"})).status == 403
        assert (await person.ask("POST", "/ui/logout", b"", FORM)).status == 403
        assert (await person.get("/ui/audit")).status == 200

    played(database_url, tmp_path, play)


def test_the_log_in_is_tied_to_the_browser_that_asked_for_it(database_url: str, tmp_path: Path) -> None:
    async def play(_platform: Platform, port: int) -> None:
        evil, victim = Person(port), Person(port)
        form = csrf_in(await evil.get("/ui/login"))
        fields = {"csrf": form, "next": "", "name": "operator", "password": PASSWORD}
        assert await forged(victim, "/ui/login", fields) == 403
        assert "cardtrail" not in victim.cookies

    played(database_url, tmp_path, play)


@pytest.mark.parametrize(
    "way",
    [
        "https://evil.example/",
        "//evil.example",
        "/ui//evil.example",
        "/ui/../etc",
        "/banking/v1",
        "\\evil",
        "/ui/login",
        "x" * 3_000,
    ],
)
def test_nobody_is_sent_elsewhere_after_the_log_in(database_url: str, tmp_path: Path, way: str) -> None:
    async def play(_platform: Platform, port: int) -> None:
        assert (await Person(port).log_in("operator", way=way)).headers["location"] == HOME

    played(database_url, tmp_path, play)


# ── what is said to browsers ──


def test_every_answer_forbids_what_is_not_ours(database_url: str, tmp_path: Path) -> None:
    async def play(_platform: Platform, port: int) -> None:
        person = Person(port)
        await person.log_in("operator")
        paths = [
            "/ui/audit", "/ui/login", "/ui/static/style.css", "/ui/static/none", "/ui/nowhere", "/ui",
            f"/ui/issuers/{ISSUER}/?range=none", "/ui/issuers/x/",
        ]  # fmt: skip
        answers = [await person.get(path) for path in paths]
        answers.append(await person.ask("DELETE", "/ui/login"))
        answers.append(await person.post("/ui/login", {"csrf": "x"}))
        for path, answer in zip([*paths, "DELETE", "POST"], answers, strict=True):
            assert answer.headers["content-security-policy"] == POLICY, path
            assert answer.headers["x-content-type-options"] == "nosniff", path
            assert answer.headers["referrer-policy"] == "no-referrer", path
            kept = answer.headers.get("cache-control", "")
            assert kept == "no-store" or path.startswith("/ui/static/"), path

    played(database_url, tmp_path, play)


def test_guessing_many_names_from_one_address_is_refused_after_a_while(
    database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(login, "PEER_BURST", 3)

    async def play(_platform: Platform, port: int) -> None:
        statuses = [(await Person(port).log_in(f"name{n}", "wrong password")).status for n in range(5)]
        assert statuses == [401, 401, 401, 429, 429]
        refused = await Person(port).log_in("operator")
        assert refused.status == 429
        assert int(refused.headers["retry-after"]) > 0

    played(database_url, tmp_path, play)


def test_cookies_are_for_this_host_and_tls_but_where_it_is_tried_out(database_url: str, tmp_path: Path) -> None:
    async def play(_platform: Platform, port: int) -> None:
        local, remote = Person(port), Person(port, "cards.bank.example")
        await local.log_in("operator")
        assert local.set_cookies
        assert all("HttpOnly" in each and "SameSite=lax" in each for each in local.set_cookies)
        await remote.get("/ui/login")
        [cookie] = remote.set_cookies
        assert cookie.startswith("__Host-")
        assert "Secure" in cookie
        assert "Path=/" in cookie
        assert "Domain" not in cookie

    played(database_url, tmp_path, play)


def test_a_service_behind_a_proxy_never_has_plain_cookies(database_url: str, tmp_path: Path) -> None:
    async def play(_platform: Platform, port: int) -> None:
        person = Person(port)
        await person.get("/ui/login")
        assert person.set_cookies[0].startswith("__Host-")

    played(database_url, tmp_path, play, trusted_proxies="127.0.0.1")


def test_who_is_not_logged_in_hears_so_where_a_page_would_be_of_no_use(database_url: str, tmp_path: Path) -> None:
    async def play(_platform: Platform, port: int) -> None:
        person = Person(port)
        live = f"/ui/issuers/{ISSUER}/live"
        assert (await person.get(live, accept="text/event-stream")).status == 401
        answer = await person.get(f"/ui/issuers/{ISSUER}/stuck", **{"hx-request": "true"})
        assert (answer.status, answer.headers["hx-redirect"]) == (401, "/ui/login")
        assert (await person.ask("POST", f"/ui/issuers/{ISSUER}/stuck", b"", FORM)).status == 401

    played(database_url, tmp_path, play)


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"x=" + b"y" * 70_000, 413),
        (b"&".join(b"f%d=1" % n for n in range(300)), 400),
        (b"a=1&a=2", 400),
        (b"a=%ff", 400),
    ],
)
def test_a_form_that_is_too_large_or_says_something_twice_is_refused(
    database_url: str, tmp_path: Path, body: bytes, status: int
) -> None:
    async def play(_platform: Platform, port: int) -> None:
        person = Person(port)
        await person.log_in("operator")
        headers = FORM | {"origin": f"http://{person.host}"}
        assert (await person.ask("POST", f"/ui/issuers/{ISSUER}/stuck", body, headers)).status == status

    played(database_url, tmp_path, play)
