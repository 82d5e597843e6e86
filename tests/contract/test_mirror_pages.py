"""What pages of a mirror show to whom, what they say of it, and what asking from a page does. On both engines."""

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest

from cardtrail.errors import StoreUnavailable
from cardtrail.issuer.ask import asking
from cardtrail.issuer.expect import Expected, expect
from cardtrail.issuer.mirror import AsyncMirror, wall_clock
from cardtrail.issuer.settings import Settings
from cardtrail.issuer.sight import strange_in
from cardtrail.issuer.standing import DAY, Observed
from cardtrail.issuer.take import Asked, Batch, Sighting
from cardtrail.issuer.ui import card
from cardtrail.issuer.ui.drift import RANGES as DRIFT_RANGES
from cardtrail.issuer.ui.overview import RANGES
from cardtrail.pages.door.account import Identity, Role
from cardtrail.pages.door.accounts import Accounts
from cardtrail.pages.door.oidc.given import provider_of
from cardtrail.pages.door.trail import Trail, list_audit
from cardtrail.protocol.reading import Operation, operation_of
from tests.contract.test_oidc import PUBLIC, told
from tests.contract.test_oidc import entered as entered_by
from tests.keeping import Platform
from tests.people import Person, csrf_in, mirror_house
from tests.provider import CLIENT_ID, SECRET, SUBJECT, providing
from tests.serving import ISSUER

NASTY = "<script>alert(1)</script>\"'>&\u202e"
SECRETS = ("TRACK-123456", "Köln", "left with a neighbour")
"""Personal data of the cards below: a tracking number, a place, a carrier's words."""
Play = Callable[[AsyncMirror, int, Platform], Awaitable[None]]


def picture(card_id: str, stage: str, shipment: dict[str, Any] | None = None, **members: Any) -> bytes:
    """Return an order of a card as a platform sends it."""
    details = {"status": stage, "productionSite": NASTY, "issuerRequestId": f"request-{card_id}"}
    checkpoint = {"time": "2026-11-03T10:00:00Z", "status": "InTransit", "location": f"Köln {NASTY}",
                  "message": f"left with a neighbour {NASTY}"}  # fmt: skip
    return msgspec.json.encode({
        "operationId": f"op-{card_id}", "operation": "PRODUCE", "status": "PENDING",
        "startTime": "2026-11-01T00:00:00.000Z", "cardId": card_id,
        "details": details | ({"shipment": shipment} if shipment else {}),
        "cardtrail": {"checkpoints": [checkpoint] if shipment else []},
    } | members)  # fmt: skip


def order(card_id: str, stage: str, shipment: dict[str, Any] | None = None, **members: Any) -> Operation:
    return operation_of(picture(card_id, stage, shipment, **members))


PARCEL = {"carrier": "dhl", "trackingNumber": "TRACK-123456", "status": "InTransit",
          "message": f"left with a neighbour {NASTY}"}  # fmt: skip


@asynccontextmanager
async def filled(url: str, folder: Path, *, asks: bool = True) -> AsyncIterator[tuple[AsyncMirror, int, Platform]]:
    """Serve a mirror with two cards of one parcel, one on its way, one that is expected, and what nobody published."""
    platform = Platform()

    async def ask(card_id: str) -> Any:
        return await asking(ISSUER, platform, mirror)(card_id)

    async with mirror_house(url, folder, ask if asks else None) as (mirror, port):
        now = mirror.clock()

        async def hear(*operations: Operation) -> None:
            told = [Observed(each, "notification", now) for each in operations]
            sighting = Sighting("member", f"details.{NASTY}", picture("mine", "CARD_SHIPPED", PARCEL))
            await mirror.take(ISSUER, told, mark=None, sightings=[sighting])

        await hear(order("mine", "CARD_PROD_READY"), order("other", "CARD_PROD_REQUESTED"))
        await hear(order("mine", "CARD_SHIPPED", PARCEL), order("mate", "CARD_SHIPPED", PARCEL))
        await expect(mirror, ISSUER, [Expected("awaited", now)])
        await mirror.put(ISSUER, Batch(
            now=now, asked={"other": Asked("found")}, ticket=await mirror.ticket(ISSUER),
            observed=[Observed(order("other", "CARD_PROD_ONGOING"), "answer", now, await mirror.ticket(ISSUER))],
        ))  # fmt: skip
        await mirror.db.transact(
            lambda tx: tx.run("put_bound", issuer_id=ISSUER, day=now // DAY, stated=3_600_000_000, worst=60_000_000)
        )
        yield mirror, port, platform


def played(url: str, folder: Path, play: Play, *, asks: bool = True) -> None:
    async def run() -> None:
        async with asyncio.timeout(60), filled(url, folder, asks=asks) as (mirror, port, platform):
            await play(mirror, port, platform)

    asyncio.run(run())


HOME = f"/ui/issuers/{ISSUER}/"
PATHS = (
    "", *(f"?range={name}" for name in RANGES), "cards", "cards?q=mi", "cards?q=request-mine", "cards?q=TRACK-123456",
    "cards/mine", "cards/awaited", "drift", *(f"drift?range={name}" for name in DRIFT_RANGES), "contract",
)  # fmt: skip


async def entered(port: int, name: str) -> Person:
    person = Person(port)
    assert (await person.log_in(name)).status == 303
    return person


# ── to whom ──


def test_a_mirrors_pages_are_not_there_for_strangers_nor_for_other_issuers(database_url: str, tmp_path: Path) -> None:
    async def play(_mirror: AsyncMirror, port: int, _platform: Platform) -> None:
        stranger, operator = await entered(port, "stranger"), await entered(port, "operator")
        for path in (*PATHS, "live"):
            assert (await stranger.get(HOME + path)).status == 404, path
            assert (await operator.get(f"/ui/issuers/ISSUER0009/{path}")).status == 404, path
        assert b"No issuer of yours" in (await stranger.get("/ui/")).body
        assert (await stranger.get("/ui/audit")).status == 404

    played(database_url, tmp_path, play)


def test_nobody_sees_a_page_without_a_session(database_url: str, tmp_path: Path) -> None:
    async def play(_mirror: AsyncMirror, port: int, _platform: Platform) -> None:
        for path in PATHS:
            answer = await Person(port).get(HOME + path)
            assert (answer.status, answer.headers["location"].partition("?")[0]) == (303, "/ui/login"), path

    played(database_url, tmp_path, play)


def test_personal_data_is_for_whom_it_is_meant_and_hostile_texts_are_only_texts(
    database_url: str, tmp_path: Path
) -> None:
    async def play(_mirror: AsyncMirror, port: int, _platform: Platform) -> None:
        viewer, operator = await entered(port, "viewer"), await entered(port, "operator")
        seen = ""
        for path in PATHS:
            page = await viewer.get(HOME + path)
            text = page.body.decode()
            assert page.status in {200, 303}, path
            found = [secret for secret in SECRETS if secret in text.replace("“TRACK-123456”", "").replace(
                'value="TRACK-123456"', "")]  # fmt: skip
            assert found == [], path
            both = text + (await operator.get(HOME + path)).body.decode()
            assert "<script>alert" not in both
            assert "\u202e" not in both or "&lt;script&gt;" in both
            seen += both
        assert all(secret in seen for secret in SECRETS)

    played(database_url, tmp_path, play)


def test_texts_in_place_of_words_are_for_whom_personal_data_is_meant(database_url: str, tmp_path: Path) -> None:
    """Regression: a viewer read carriers' words where a server put them into statuses, codes, reasons and errors."""
    texts = ("left with Ada", "at Bob's", "for Cid", "by Dan", "of Eve")

    async def play(mirror: AsyncMirror, port: int, _platform: Platform) -> None:
        viewer, operator = await entered(port, "viewer"), await entered(port, "operator")
        details = {"status": texts[3], "reason": texts[2], "shipment": PARCEL | {"status": texts[0]}}
        checkpoint = {"time": "2026-11-03T10:00:00Z", "status": texts[1], "code": texts[1]}
        odd = order("odd", "", error=texts[4], details=details, cardtrail={"checkpoints": [checkpoint]})
        sightings = [Sighting(kind.value, name, odd.raw) for kind, name in strange_in(odd)]
        now, ticket = mirror.clock(), await mirror.ticket(ISSUER)
        await mirror.put(ISSUER, Batch(
            now=now, observed=[Observed(odd, "answer", now, ticket)], sightings=sightings, ticket=ticket,
            asked={"odd": Asked("found")},
        ))  # fmt: skip
        for path in ("", "cards/odd", "drift", "contract"):
            page = (await viewer.get(HOME + path)).body.decode().replace("&#39;", "'")
            assert [text for text in texts if text in page] == [], path
        page = (await operator.get(f"{HOME}cards/odd")).body.decode().replace("&#39;", "'")
        assert [text for text in texts if text not in page] == []

    played(database_url, tmp_path, play)


def test_a_page_of_samples_stays_small(database_url: str, tmp_path: Path) -> None:
    """Regression: 500 samples of 64 KiB made one page of 164 MB, in the process that takes notifications."""

    async def play(mirror: AsyncMirror, port: int, _platform: Platform) -> None:
        for begin in range(0, 500, 100):
            samples = [Sighting("member", f"m-{begin + number}", b"x" * 65_536) for number in range(100)]
            await mirror.take(ISSUER, [], mark=None, sightings=samples)
        page = await (await entered(port, "operator")).get(f"{HOME}contract")
        assert page.body.count(b"<tr>") == 501
        assert len(page.body) < 2_000_000
        seen = await (await entered(port, "viewer")).get(f"{HOME}contract")
        assert len(seen.body) < 500_000

    played(database_url, tmp_path, play)


def test_a_card_is_found_by_its_id_a_beginning_a_request_and_a_number(database_url: str, tmp_path: Path) -> None:
    async def play(_mirror: AsyncMirror, port: int, _platform: Platform) -> None:
        viewer, operator = await entered(port, "viewer"), await entered(port, "operator")

        async def led(person: Person, query: str) -> str:
            answer = await person.get(f"{HOME}cards?q={query}")
            return answer.headers.get("location", "") or str(
                sorted(set(re.findall(r"/cards/([a-z]+)", str(answer.body))))
            )

        assert await led(viewer, "mine") == await led(viewer, "request-mine") == f"{HOME}cards/mine"
        assert await led(viewer, "oth") == f"{HOME}cards/other"
        assert await led(viewer, "m") == "['mate', 'mine']"
        assert await led(operator, "TRACK-123456") == "['mate', 'mine']"
        assert await led(viewer, "TRACK-123456") == "[]"

    played(database_url, tmp_path, play)


@pytest.mark.parametrize("path", [
    "?range=1d", "drift?range=", "drift?range=7d&range=7d", "cards?q=a&q=b", f"cards?q={'x' * 129}", "cards/%00",
    "cards/no-such-card",
])  # fmt: skip
def test_what_cannot_be_asked_so_is_a_clear_error(database_url: str, tmp_path: Path, path: str) -> None:
    async def play(_mirror: AsyncMirror, port: int, _platform: Platform) -> None:
        answer = await (await entered(port, "operator")).get(HOME + path)
        assert answer.status in ({400, 404} if path != "drift?range=" else {200})

    played(database_url, tmp_path, play)


# ── what they say ──


def test_the_overview_says_where_cards_are_and_how_far_that_can_be_believed(database_url: str, tmp_path: Path) -> None:
    async def play(_mirror: AsyncMirror, port: int, _platform: Platform) -> None:
        page = (await (await entered(port, "operator")).get(HOME)).body.decode()
        assert "In production 1" in page
        assert "In transit 2" in page
        assert "1 hour</b> is the longest that a card should be wrong: held today" in page
        assert "<b>1</b> statuses that no notification told" in page
        assert "6 of 7 statuses within 7d" in page

    played(database_url, tmp_path, play)


def test_a_card_says_who_told_of_it_and_which_cards_share_its_parcel(database_url: str, tmp_path: Path) -> None:
    async def play(_mirror: AsyncMirror, port: int, _platform: Platform) -> None:
        operator = await entered(port, "operator")
        mine = (await operator.get(f"{HOME}cards/mine")).body.decode()
        assert "a notification told it" in mine
        assert re.search(r'TRACK-123456, together with <a class="id" href="[^"]*/cards/mate">', mine)
        assert "/cards/other" not in mine
        other = (await operator.get(f"{HOME}cards/other")).body.decode()
        assert "an answer told it: no notification had" in other
        awaited = (await operator.get(f"{HOME}cards/awaited")).body.decode()
        assert "Nothing was heard of this card yet" in awaited
        assert "because nothing was heard of it yet" in awaited

    played(database_url, tmp_path, play)


def test_a_card_with_very_many_orders_says_that_not_all_are_shown(
    database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(card, "MAX_ORDERS", 2)

    async def play(mirror: AsyncMirror, port: int, _platform: Platform) -> None:
        operator, now = await entered(port, "operator"), mirror.clock()
        for count, is_whole in ((2, True), (3, False)):
            orders = [order("busy", "CARD_PROD_READY", operationId=f"op-{number}") for number in range(count)]
            await mirror.apply(ISSUER, [Observed(each, "notification", now) for each in orders])
            page = (await operator.get(f"{HOME}cards/busy")).body.decode()
            assert page.count("Why it says that") == 2
            assert ("Older orders of this card are not shown." not in page) is is_whole

    played(database_url, tmp_path, play)


def test_drift_says_what_was_missed_and_whether_the_bound_held(database_url: str, tmp_path: Path) -> None:
    async def play(mirror: AsyncMirror, port: int, _platform: Platform) -> None:
        operator = await entered(port, "operator")
        page = (await operator.get(f"{HOME}drift")).body.decode()
        assert "<b>1</b> of 7 steps missed: 14.29 %" in page
        assert "<b>1 of 1</b> day on which the bound held" in page
        assert ">Requested</td>" in page
        assert ">In production</td>" in page
        now = mirror.clock()
        await mirror.db.transact(
            lambda tx: tx.run("put_bound", issuer_id=ISSUER, day=now // DAY, stated=0, worst=7_200_000_000)
        )
        page = (await operator.get(f"{HOME}drift")).body.decode()
        assert "<b>0 of 1</b> day on which the bound held" in page
        assert "2 hours" in page

    played(database_url, tmp_path, play)


def test_a_bound_that_nobody_states_any_more_is_not_said_to_hold(database_url: str, tmp_path: Path) -> None:
    """Regression: a reconciler that had died days ago showed as a bound that held."""

    async def play(mirror: AsyncMirror, port: int, _platform: Platform) -> None:
        operator, before = await entered(port, "operator"), mirror.clock() // DAY - 10
        await mirror.db.transact(lambda tx: tx.script("DELETE FROM bound;\n"))
        await mirror.db.transact(
            lambda tx: tx.run("put_bound", issuer_id=ISSUER, day=before, stated=3_600_000_000, worst=60_000_000)
        )
        page = (await operator.get(HOME)).body.decode()
        assert "nobody has kept the mirror right since" in page
        assert "held" not in page

    played(database_url, tmp_path, play)


def test_a_page_is_live_by_what_has_changed_and_not_by_what_was_confirmed(database_url: str, tmp_path: Path) -> None:
    """Regression: each question that a reconciler asked drew every open page anew."""

    async def play(mirror: AsyncMirror, port: int, platform: Platform) -> None:
        operator = await entered(port, "operator")
        platform.cards["mine"] = picture("mine", "CARD_SHIPPED", PARCEL)
        await press(operator, "mine")
        row = await mirror.db.read(lambda tx: tx.one("find_issuer", issuer_id=ISSUER))
        newest = await mirror.db.read(lambda tx: tx.one("newest_change", issuer_id=ISSUER))
        assert row is not None
        assert newest is not None
        assert row[0] > newest[0] == max(each.number for each in await mirror.changes(ISSUER))

    played(database_url, tmp_path, play)


# ── asking ──


async def press(person: Person, card_id: str, **headers: str) -> Any:
    """Press the button on a card's page."""
    page = await person.get(f"{HOME}cards/mine")
    return await person.post(f"{HOME}cards/{card_id}", {"csrf": csrf_in(page)}, **headers)


def test_asking_repairs_the_mirror_says_so_and_is_in_the_trail(database_url: str, tmp_path: Path) -> None:
    async def play(mirror: AsyncMirror, port: int, platform: Platform) -> None:
        operator = await entered(port, "operator")
        platform.cards["other"] = picture("other", "CARD_PROD_DONE")
        answer = await press(operator, "other")
        assert (answer.status, answer.headers["location"]) == (303, f"{HOME}cards/other?told=repaired")
        assert b"the mirror was wrong" in (await operator.get(answer.headers["location"])).body
        assert (await mirror.card(ISSUER, "other"))[0].known.stage == "CARD_PROD_DONE"
        assert (await press(operator, "other")).headers["location"].endswith("told=same")
        assert (await press(operator, "mate")).headers["location"].endswith("told=unknown")
        platform.down = True
        assert (await press(operator, "other")).headers["location"].endswith("told=failed")
        assert platform.asked == ["other", "other", "mate", "other"]
        lines = [(line.actor, line.action, line.subject) for line in await list_audit(mirror.db)]
        assert lines[:4] == [
            ("account:operator", "card.ask", f"{ISSUER}/{card}") for card in ("other", "mate", "other", "other")
        ]
        assert b"card.ask" in (await operator.get("/ui/audit")).body

    played(database_url, tmp_path, play)


def test_nobody_asks_who_may_not_or_was_made_to(database_url: str, tmp_path: Path) -> None:
    async def play(_mirror: AsyncMirror, port: int, platform: Platform) -> None:
        viewer, operator = await entered(port, "viewer"), await entered(port, "operator")
        page = await viewer.get(f"{HOME}cards/mine")
        assert b"Ask the platform" not in page.body
        assert (await press(viewer, "mine")).status == 403
        assert (await operator.post(f"{HOME}cards/mine", {"csrf": "wrong"})).status == 403
        assert (await press(operator, "mine", origin="https://evil.example")).status == 403
        assert platform.asked == []

    played(database_url, tmp_path, play)


def test_a_card_that_the_mirror_has_never_heard_of_can_be_asked_for(database_url: str, tmp_path: Path) -> None:
    """The first notification of a card may be the one that was lost; a typing error leaves nothing behind."""

    async def play(mirror: AsyncMirror, port: int, platform: Platform) -> None:
        operator = await entered(port, "operator")
        page = await operator.get(f"{HOME}cards?q=lost-card")
        assert b"Ask the platform for card lost-card" in page.body
        answer = await press(operator, "lost-card")
        assert answer.headers["location"] == f"{HOME}cards?q=lost-card&told=unknown"
        assert b"it does not know this card" in (await operator.get(answer.headers["location"])).body
        assert await mirror.db.read(lambda tx: tx.one("card", issuer_id=ISSUER, card_id="lost-card")) is None
        platform.cards["lost-card"] = picture("lost-card", "CARD_PROD_READY")
        answer = await press(operator, "lost-card")
        assert answer.headers["location"] == f"{HOME}cards/lost-card?told=repaired"
        assert (await mirror.card(ISSUER, "lost-card"))[0].known.stage == "CARD_PROD_READY"
        viewer = await entered(port, "viewer")
        assert b"Ask the platform" not in (await viewer.get(f"{HOME}cards?q=other-card")).body

    played(database_url, tmp_path, play)


def test_a_question_that_nobody_answers_says_nothing_of_the_mirror(database_url: str, tmp_path: Path) -> None:
    """Regression: one press of the button while the platform was down made the whole service unwell."""

    async def play(mirror: AsyncMirror, port: int, platform: Platform) -> None:
        operator = await entered(port, "operator")
        platform.down = True
        assert (await press(operator, "other")).headers["location"].endswith("told=failed")
        row = await mirror.db.read(lambda tx: tx.one("card", issuer_id=ISSUER, card_id="other"))
        assert row is not None
        assert row[10] == "found"

    played(database_url, tmp_path, play)


def test_where_there_is_nobody_to_ask_there_is_no_button(database_url: str, tmp_path: Path) -> None:
    async def play(_mirror: AsyncMirror, port: int, _platform: Platform) -> None:
        operator = await entered(port, "operator")
        assert b"Ask the platform" not in (await operator.get(f"{HOME}cards/mine")).body
        assert (await press(operator, "mine")).status == 404

    played(database_url, tmp_path, play, asks=False)


def test_a_mirror_that_cannot_be_read_is_told_of(database_url: str, tmp_path: Path) -> None:
    async def play(mirror: AsyncMirror, port: int, _platform: Platform) -> None:
        operator = await entered(port, "operator")

        async def broken(_work: object) -> Any:
            raise StoreUnavailable("gone")

        mirror.db.read = broken  # type: ignore[method-assign,assignment]  # a database that has gone away
        answer = await operator.get(HOME)
        assert answer.status == 503
        assert b"try again" in answer.body

    played(database_url, tmp_path, play)


def test_two_services_on_one_host_do_not_take_each_others_cookies(database_url: str, tmp_path: Path) -> None:
    """Regression: whoever logged in to the pages of a mirror was logged out of those of the platform beside it."""

    async def play(_mirror: AsyncMirror, port: int, _platform: Platform) -> None:
        operator = await entered(port, "operator")
        assert set(operator.cookies) == {f"cardtrail-mirror-{ISSUER}"}

    played(database_url, tmp_path, play)


# ── coming in by a provider ──


def test_a_provider_lets_people_in_to_the_pages_of_a_mirror(database_url: str, tmp_path: Path) -> None:
    """Whom it knows and the mirror does not is told the command that adds an account of a mirror."""
    (tmp_path / "secret").write_text(SECRET)

    async def run() -> None:
        async with asyncio.timeout(60), providing() as sso:
            settings = Settings(
                oidc_issuer=sso.issuer, oidc_client_id=CLIENT_ID, oidc_client_secret_file=str(tmp_path / "secret"),
                public_url=PUBLIC,
            )  # fmt: skip
            provider = provider_of(settings, wall_clock, "cardtrail issuer account")
            async with mirror_house(database_url, tmp_path, provider=provider) as (mirror, port):
                refused = await entered_by(Person(port), sso)
                assert f"cardtrail issuer account add NAME --oidc '{SUBJECT}'" in told(refused)
                accounts = Accounts(mirror.db, Trail(mirror.db), wall_clock)
                identity = Identity(sso.issuer, SUBJECT)
                await accounts.add("ada", {ISSUER: Role.VIEWER}, "", "operator:test", identity=identity)
                person = Person(port)
                assert (await entered_by(person, sso, HOME)).headers["location"] == HOME
                assert (await person.get(HOME)).status == 200

    asyncio.run(run())
