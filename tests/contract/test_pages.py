"""What pages show to whom: another issuer's data, personal data, hostile texts, and changes by people."""

import asyncio
import csv
import html
import io
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest

from cardtrail.db import Transaction
from cardtrail.pages.door import trail
from cardtrail.pages.door.change import Changed
from cardtrail.pages.door.trail import write
from cardtrail.platform.app import Platform
from cardtrail.platform.endpoint import Config, Endpoint, Secrets
from cardtrail.platform.ingest import ALL, Sender
from tests.desk import execute
from tests.events import event
from tests.people import Person, csrf_in, house
from tests.serving import ISSUER

OTHER = "ISSUER0002"
EVERYONE = Sender("site-north", frozenset({ALL}), frozenset({ALL}), frozenset({ALL}))
SHARED: dict[str, Any] = {"carrier": "dhl", "trackingNumber": "SHARED-123456"}
NASTY = "<script>alert(1)</script>\"'>&\u202e"
Play = Callable[[Platform, int], Awaitable[None]]


def stories() -> list[dict[str, Any]]:
    """Return the events of two issuers' cards that travel in one parcel, with texts that mean harm."""
    found = []
    for issuer, card in ((ISSUER, "mine"), (OTHER, "theirs")):
        about: dict[str, Any] = {"issuerId": issuer, "issuerRequestId": f"request-{card}"}
        found += [
            event("requested", card, **about),
            event("ready", card, hours=5, productionSite=NASTY, dueDate="2026-01-06", issuerId=issuer),
            event("shipped", card, hours=30, productionSite=NASTY, issuerId=issuer, **SHARED),
        ]
    found.append(event("scanned", hours=40, status="InTransit", message=NASTY, location=f"Köln {NASTY}", **SHARED))
    found.append(event("requested", "held", issuerId=ISSUER))
    found.append(event("held", "held", hours=2, reason=f"=HYPERLINK({NASTY})", issuerId=ISSUER))
    return found


@asynccontextmanager
async def filled(url: str, folder: Path) -> AsyncIterator[tuple[Platform, int]]:
    """Serve a platform with both issuers' cards, an endpoint each at which nobody listens, and what they were told."""
    async with house(url, folder) as (platform, port):
        for issuer in (ISSUER, OTHER):
            endpoint = Endpoint(
                issuer_id=issuer, endpoint_id=f"hook-{issuer}", config=Config(url="https://bank.example")
            )
            await platform.endpoints.add(endpoint, Secrets(), "alice")
        results = await platform.ingest.take(EVERYONE, [msgspec.json.encode(each) for each in stories()])
        assert {result.result for result in results} == {"accepted"}
        await platform.sightings.run_once()
        yield platform, port


def played(url: str, folder: Path, play: Play) -> None:
    async def run() -> None:
        async with asyncio.timeout(60), filled(url, folder) as (platform, port):
            await play(platform, port)

    asyncio.run(run())


PATHS = (
    "", "?range=30d", "cards", "cards?q=mine", "cards?q=request-mine", "cards?q=SHARED-123456", "cards/mine", "stuck",
    "stuck.csv", "deliveries", f"deliveries?endpoint=hook-{ISSUER}", "promise", "live",
)  # fmt: skip


def test_an_issuers_pages_are_not_there_for_others(database_url: str, tmp_path: Path) -> None:
    async def play(platform: Platform, port: int) -> None:
        stranger = Person(port)
        await stranger.log_in("stranger")
        for path in PATHS:
            answer = await stranger.get(f"/ui/issuers/{ISSUER}/{path}")
            assert answer.status == 404, path
            assert b"mine" not in answer.body
        own = csrf_in(await stranger.get("/ui/issuers/ISSUER0009/stuck"))
        for path, form in (
            ("stuck", {"place": "InTransit", "days": "2"}),
            ("deliveries", {"state": "PENDING", "do": "send"}),
        ):
            answer = await stranger.post(f"/ui/issuers/{ISSUER}/{path}", form | {"csrf": own, "endpoint": ""})
            assert answer.status == 404, path
        assert (await stranger.get("/ui/audit")).status == 404
        assert (await stranger.get("/ui/contract")).status == 404
        assert b"ISSUER0001" not in (await stranger.get("/ui/")).body
        routes = {route.path for route in platform.pages.router().routes}  # type: ignore[attr-defined]  # each of ours is a Route
        assert len(routes) == 12  # a further page belongs into this test

    played(database_url, tmp_path, play)


def test_no_page_names_another_issuers_cards_not_even_in_a_shared_parcel(database_url: str, tmp_path: Path) -> None:
    async def play(_platform: Platform, port: int) -> None:
        person = Person(port)
        await person.log_in("operator")
        for path in PATHS[:-1]:
            answer = await person.get(f"/ui/issuers/{ISSUER}/{path}")
            assert answer.status in (200, 303), path
            assert b"theirs" not in answer.body, path
            assert OTHER.encode() not in answer.body, path
        for query in ("theirs", "request-theirs", "the"):
            assert b"Nothing is known" in (await person.get(f"/ui/issuers/{ISSUER}/cards?q={query}")).body
        assert (await person.get(f"/ui/issuers/{ISSUER}/cards/theirs")).status == 404
        assert (await person.get(f"/ui/issuers/{ISSUER}/deliveries?endpoint=hook-{OTHER}")).status == 404

    played(database_url, tmp_path, play)


def test_who_may_not_see_personal_data_sees_none_and_finds_nothing_by_it(database_url: str, tmp_path: Path) -> None:
    async def play(_platform: Platform, port: int) -> None:
        viewer, operator = Person(port), Person(port)
        await viewer.log_in("viewer")
        await operator.log_in("operator")
        for path in PATHS[:-1]:
            answer = await viewer.get(f"/ui/issuers/{ISSUER}/{path}")
            body = answer.body.replace(b"\xe2\x80\x9cSHARED-123456\xe2\x80\x9d", b"").replace(
                b'value="SHARED-123456"', b""
            )
            assert b"SHARED-123456" not in body, path
            assert "Köln".encode() not in body, path
        found = await viewer.get(f"/ui/issuers/{ISSUER}/cards?q=SHARED-123456")
        assert b"Nothing is known" in found.body
        found = await operator.get(f"/ui/issuers/{ISSUER}/cards?q=SHARED-123456")
        assert found.headers["location"] == f"/ui/issuers/{ISSUER}/cards/mine"
        assert b"SHARED-123456" in (await operator.get(f"/ui/issuers/{ISSUER}/cards/mine")).body

    played(database_url, tmp_path, play)


def test_nothing_is_kept_for_what_is_no_issuer(database_url: str, tmp_path: Path) -> None:
    """Who may operate all issuers could set limits for texts of any length that name none."""

    async def play(_platform: Platform, port: int) -> None:
        person = Person(port)
        await person.log_in("operator")
        own = csrf_in(await person.get(f"/ui/issuers/{ISSUER}/stuck"))
        for issuer in ("x" * 4_000, "short", "ISSUER000%7F"):
            form = {"csrf": own, "place": "InTransit", "days": "2"}
            assert (await person.post(f"/ui/issuers/{issuer}/stuck", form)).status == 404, issuer
        assert await asyncio.to_thread(execute, database_url, "SELECT count(*) FROM threshold") == [(0,)]

    played(database_url, tmp_path, play)


def test_who_may_only_look_changes_nothing(database_url: str, tmp_path: Path) -> None:
    async def play(_platform: Platform, port: int) -> None:
        viewer = Person(port)
        await viewer.log_in("viewer")
        page = await viewer.get(f"/ui/issuers/{ISSUER}/deliveries")
        assert b'method="post" action="/ui/issuers' not in page.body
        for path, form in (
            ("stuck", {"place": "InTransit", "days": "2"}),
            ("deliveries", {"state": "PENDING", "do": "send"}),
        ):
            fields = form | {"csrf": csrf_in(page), "endpoint": f"hook-{ISSUER}"}
            assert (await viewer.post(f"/ui/issuers/{ISSUER}/{path}", fields)).status == 403, path

    played(database_url, tmp_path, play)


def test_texts_that_mean_harm_are_shown_as_texts(database_url: str, tmp_path: Path) -> None:
    async def play(_platform: Platform, port: int) -> None:
        person = Person(port)
        await person.log_in("operator")
        for path in ("", "cards/mine", "cards/held", "stuck", "deliveries", "promise", "cards?q=%3Cscript%3E"):
            body = (await person.get(f"/ui/issuers/{ISSUER}/{path}")).body
            assert b"<script>alert" not in body, path
        assert b"&lt;script&gt;alert(1)" in (await person.get(f"/ui/issuers/{ISSUER}/cards/mine")).body
        table = (await person.get(f"/ui/issuers/{ISSUER}/stuck.csv")).body.decode()
        rows = list(csv.reader(io.StringIO(table)))
        assert {row[0] for row in rows[1:]} == {"mine", "held"}
        assert not [cell for row in rows for cell in row if cell[:1] in "=+-@" and cell]

    played(database_url, tmp_path, play)


def test_what_people_change_stands_in_the_audit_before_and_after(database_url: str, tmp_path: Path) -> None:
    async def play(_platform: Platform, port: int) -> None:
        person = Person(port)
        await person.log_in("operator")
        page = await person.get(f"/ui/issuers/{ISSUER}/stuck")
        form = {"csrf": csrf_in(page), "place": "InTransit", "carrier": "dhl", "site": "", "channel": ""}
        for days in ("2.5", "3", ""):
            answer = await person.post(f"/ui/issuers/{ISSUER}/stuck", form | {"days": days})
            assert answer.status == 303
        wish = {"csrf": form["csrf"], "endpoint": f"hook-{ISSUER}", "state": "PENDING"}
        preview = await person.post(f"/ui/issuers/{ISSUER}/deliveries", wish | {"do": "preview"})
        assert b"on their way already" in preview.body
        await person.post(f"/ui/issuers/{ISSUER}/deliveries", wish | {"do": "send"})
        rows = await asyncio.to_thread(
            execute,
            database_url,
            "SELECT actor, action, before, after FROM audit WHERE actor LIKE 'account:%' ORDER BY audit_id",
        )
        told = [
            (row[0], row[1], *(msgspec.json.decode(each).get("quarters") if each else None for each in row[2:]))
            for row in rows
        ]
        assert told == [
            ("account:operator", "stuck.limit", None, 10), ("account:operator", "stuck.limit", 10, 12),
            ("account:operator", "stuck.limit", 12, None), ("account:operator", "notifications.replay", None, None),
        ]  # fmt: skip
        shown = (await person.get("/ui/audit")).body
        assert shown.count(b"account:operator") >= 4

    played(database_url, tmp_path, play)


async def _written(platform: Platform, count: int) -> None:
    """Write lines of the audit: every third by ada, every fifth of a kind of its own, every seventh of one subject."""

    def lines(tx: Transaction) -> None:
        for number in range(count):
            told = Changed(
                "party.add" if number % 5 else "party.revoke", f"party-{number % 7}", None, {"number": number}, None
            )
            write(tx, f"{number:016x}-{0:012x}", "operator:bob" if number % 3 else "operator:ada", number, told)

    await platform.db.transact(lines)


def numbers_in(body: bytes) -> list[int]:
    """Return which of these lines a page shows."""
    return [int(each) for each in re.findall(rb"&#34;number&#34;:(\d+)", body)]


def test_the_audit_is_searched_by_whom_by_what_and_of_what_a_page_at_a_time(database_url: str, tmp_path: Path) -> None:
    async def play(platform: Platform, port: int) -> None:
        await _written(platform, 2_000)
        person = Person(port)
        await person.log_in("operator")
        for query, least, steps in (
            ("actor=operator%3Aada", 0, 3), ("action=party.revoke", 0, 5), ("subject=party-3", 3, 7),
            ("actor=operator%3Aada&action=party.revoke&subject=party-0", 0, 105), ("", 0, 1),
        ):  # fmt: skip
            wanted = [each for each in range(2_000) if each % steps == least][::-1]
            shown: list[int] = []
            way = f"/ui/audit?{query}"
            while len(shown) < len(wanted):
                page = await person.get(way)
                more = numbers_in(page.body)
                assert more == wanted[len(shown) : len(shown) + len(more)], query
                assert more, query
                shown += more
                [further] = re.findall(rb'<a href="([^"]*)">Older</a>', page.body) or [b""]
                way = "/ui/audit" + html.unescape(further.decode())
        nothing = await person.get("/ui/audit?actor=nobody&action=party.add")
        assert b"Nothing of the kind was changed." in nothing.body

    played(database_url, tmp_path, play)


def test_a_search_of_the_audit_for_what_is_rare_goes_no_further_than_its_limit_and_says_where_to_go_on(
    database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trail, "MAX_WALKED", 60)
    monkeypatch.setattr(trail, "WALKED_AT_ONCE", 20)

    async def play(platform: Platform, port: int) -> None:
        await _written(platform, 1_000)
        person = Person(port)
        await person.log_in("operator")
        way, pages, shown = "/ui/audit?subject=party-0&actor=operator%3Aada&action=none", 0, list[int]()
        while way != "/ui/audit":
            page = await person.get(way)
            shown += numbers_in(page.body)
            [further] = re.findall(rb'<a href="([^"]*)">Older</a>', page.body) or [b""]
            way = "/ui/audit" + html.unescape(further.decode())
            assert b"there are older ones" in page.body or not further
            pages += 1
        assert (pages, shown) == (3, [])  # 143 lines are of that subject, 60 of which are looked at by each page

    played(database_url, tmp_path, play)


def test_what_is_searched_for_in_the_audit_is_checked_and_named(database_url: str, tmp_path: Path) -> None:
    async def play(_platform: Platform, port: int) -> None:
        person = Person(port)
        await person.log_in("operator")
        for query, field in (
            ("actor=%00", "actor"), ("action=" + "x" * 129, "action"), ("subject=a&subject=b", "subject"),
            ("before=%00", "before"), ("before=x", "before"), ("before=%7F", "before"),
        ):  # fmt: skip
            answer = await person.get(f"/ui/audit?{query}")
            assert (answer.status, f"{field}:".encode() in answer.body) == (400, True), query
        page = await person.get("/ui/audit?actor=%22%3E%3Cscript%3E&action=%E2%82%AC%26")
        assert page.status == 200
        assert b"<script>" not in page.body.replace(b"<script src=", b"")

    played(database_url, tmp_path, play)


def test_what_is_not_there_is_told_by_a_page_of_the_house(database_url: str, tmp_path: Path) -> None:
    async def play(_platform: Platform, port: int) -> None:
        person = Person(port)
        await person.log_in("operator")
        csrf = csrf_in(await person.get("/ui/audit"))
        lost = [
            await person.get(path)
            for path in ("/ui/nowhere", "/ui/audit/x", f"/ui/issuers/{ISSUER}/x", "/ui//", "/ui/%00")
        ]
        lost.append(await person.post("/ui/nowhere", {"csrf": csrf}))
        for answer in lost:
            assert (answer.status, answer.headers["content-type"]) == (404, "text/html; charset=utf-8")
            assert b"There is no such page." in answer.body
        wrong = await person.post("/ui/audit", {"csrf": csrf})
        assert (wrong.status, wrong.headers["content-type"]) == (405, "text/html; charset=utf-8")
        assert b"This page cannot be asked so." in wrong.body
        assert "GET" in wrong.headers["allow"]

    played(database_url, tmp_path, play)


@pytest.mark.parametrize(
    ("path", "field"),
    [
        ("?range=1y", "range"), ("?range=7d&range=24h", "range"), ("cards?q=" + "x" * 200, "q"), ("cards?q=%00", "q"),
        ("stuck?told=a&told=b", "told"),
    ],
)  # fmt: skip
def test_a_parameter_that_is_wrong_is_named(database_url: str, tmp_path: Path, path: str, field: str) -> None:
    async def play(_platform: Platform, port: int) -> None:
        person = Person(port)
        await person.log_in("operator")
        answer = await person.get(f"/ui/issuers/{ISSUER}/{path}")
        assert answer.status == 400
        assert f"{field}:".encode() in answer.body

    played(database_url, tmp_path, play)


@pytest.mark.parametrize(
    ("form", "field"),
    [
        ({"place": "Nowhere", "days": "2"}, "place"), ({"place": "InTransit", "days": "-1"}, "days"),
        ({"place": "InTransit", "days": "0"}, "days"), ({"place": "InTransit", "days": "400"}, "days"),
        ({"place": "InTransit", "days": "NaN"}, "days"),
        ({"place": "InTransit", "days": "2", "site": "x" * 300}, "site"),
    ],
)  # fmt: skip
def test_a_limit_that_is_wrong_is_refused_and_named(
    database_url: str, tmp_path: Path, form: dict[str, str], field: str
) -> None:
    async def play(_platform: Platform, port: int) -> None:
        person = Person(port)
        await person.log_in("operator")
        page = await person.get(f"/ui/issuers/{ISSUER}/stuck")
        answer = await person.post(f"/ui/issuers/{ISSUER}/stuck", form | {"csrf": csrf_in(page)})
        assert answer.status == 400
        assert f"{field}:".encode() in answer.body
        assert await asyncio.to_thread(execute, database_url, "SELECT count(*) FROM threshold") == [(0,)]

    played(database_url, tmp_path, play)
