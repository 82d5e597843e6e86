"""The wire in front of the platform where faults meet, what it leaves alone, and what it costs when there is none."""

import asyncio
from pathlib import Path
from typing import Any, cast

import msgspec
import pytest

from cardtrail.platform.app import Platform
from cardtrail.platform.settings import Settings
from cardtrail.sandbox.wire.answers import AnswerWire, hop_of
from cardtrail.sandbox.wire.faults import Faults
from cardtrail.sandbox.wire.kinds import Hop
from cardtrail.sandbox.wire.record import exchanges_of
from tests.faults.wire_answers import CARDS, asking
from tests.hosting import call


async def unused(*_: Any) -> Any:
    raise AssertionError("nobody asks for it")


def test_with_no_fault_and_no_record_a_call_is_handed_on_as_it_is(tmp_path: Path) -> None:
    given: list[tuple[Any, ...]] = []

    async def app(*arguments: Any) -> None:
        given.append(arguments)

    platform = cast("Platform", type("P", (), {"settings": Settings(database=f"sqlite:///{tmp_path}/x.db")}))
    wire = AnswerWire(app, platform, Faults(1))
    scope = {"type": "http", "path": "/banking/v1/x"}
    asyncio.run(wire(scope, unused, unused))
    assert given == [(scope, unused, unused)]
    assert given[0][0] is scope


@pytest.mark.parametrize(
    ("path", "hop"),
    [
        ("/banking/v1/x", Hop.ANSWERS), ("/BANKING/v1", Hop.ANSWERS), ("/authz/v1/oauth2/token", Hop.ANSWERS),
        ("/.well-known/jwks.json", Hop.ANSWERS), ("/ingest/v1/events", Hop.EVENTS), ("/healthz", None), ("/docs", None),
        ("/operator/v1/issuers", None), ("", None),
    ],
)  # fmt: skip
def test_a_path_is_on_a_hop_or_on_none(path: str, hop: Hop | None) -> None:
    assert hop_of(path) is hop


def test_what_is_on_no_hop_is_neither_struck_nor_written_down(tmp_path: Path) -> None:
    async def play() -> None:
        async with asking(tmp_path) as site:
            for hop in (Hop.ANSWERS, Hop.EVENTS):
                site.faults.set("500", hop)
            for path in ("/healthz", "/readyz", "/docs", "/openapi.yaml", "/metrics"):
                assert (await call(site.port, path, b"", {}, "GET")).status == 200

    asyncio.run(play())
    assert {each.path for each in exchanges_of(tmp_path / "wire.jsonl")} == {
        "/authz/v1/oauth2/token", "/ingest/v1/events"
    }  # fmt: skip


def test_only_calls_that_name_a_card_in_path_body_or_answer_are_struck(tmp_path: Path) -> None:
    async def play() -> None:
        async with asking(tmp_path) as site:
            site.faults.set("500", Hop.ANSWERS, cards=["card-1"])
            many = f"{CARDS}/productionStatus:batchGet"
            assert (await site.ask("card-1")).status == 500
            assert (await site.ask("card-9")).status == 404
            assert (await site.send(many, {"cardIds": ["card-8", "card-1"]})).status == 500
            assert (await site.send(many, {"cardIds": ["card-8"]})).status == 200
            assert (await site.order("card-2")).status == 202
            orders = {"cards": [{"cardId": card, "distributionChannel": "CENTRAL"} for card in ("card-1", "card-7")]}
            assert (await site.send(f"{CARDS}/operations:production", orders)).status == 500
            site.faults.clear()
            site.faults.set("reset", Hop.ANSWERS, cards=["card-1"])
            assert await site.lost(site.send(f"{CARDS}/operations", None, "GET")) == "ConnectionResetError"

    asyncio.run(play())


def test_of_an_answer_about_several_cards_only_the_named_one_says_new_things(tmp_path: Path) -> None:
    async def play() -> None:
        async with asking(tmp_path) as site:
            await site.order("card-2")
            site.faults.set("unknown-status", Hop.ANSWERS, cards=["card-2"])
            answer = await site.send(f"{CARDS}/productionStatus:batchGet", {"cardIds": ["card-1", "card-2"]})
            told = {
                each["cardId"]: each["details"]["status"] for each in msgspec.json.decode(answer.body)["operations"]
            }
            assert told == {"card-1": "CARD_SHIPPED", "card-2": "CARD_PROD_TELEPORTED"}

    asyncio.run(play())


def test_a_long_poll_is_held_by_the_wire_no_longer_than_by_the_platform(tmp_path: Path) -> None:
    async def play() -> None:
        async with asking(tmp_path) as site:
            page = msgspec.json.decode((await site.send(f"{CARDS}/operations", None, "GET")).body)
            path = f"{CARDS}/operations?since={page['cursor']}&wait=30"
            waiting = asyncio.create_task(site.send(path, None, "GET"))
            assert not (await asyncio.wait([waiting], timeout=0.2))[0]
            await site.order("card-2")
            answer = await asyncio.wait_for(waiting, 20)
            assert [each["cardId"] for each in msgspec.json.decode(answer.body)["operations"]] == ["card-2"]

    asyncio.run(play())


def test_neither_token_nor_assertion_nor_credentials_get_into_the_record(tmp_path: Path) -> None:
    secrets: list[str] = []

    async def play() -> None:
        async with asking(tmp_path) as site:
            await site.order("card-2", encryptedData="eyJhbGciOiJFQ0RILUVTIn0.e30.aXY.Y2lwaGVydGV4dA.dGFn")
            await site.order("card-3", encryptedData="bm90.aGVhZGVy.aXY.Y2lwaGVydGV4dA.dGFn")
            secrets.extend([*site.tokens, "Y2lwaGVydGV4dA", "bm90.aGVhZGVy"])
            form = f"grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Ajwt-bearer&assertion={site.tokens[0]}"
            await call(
                site.port, "/authz/v1/oauth2/token", form.encode(),
                {"content-type": "application/x-www-form-urlencoded"},
            )  # fmt: skip

    asyncio.run(play())
    written = (tmp_path / "wire.jsonl").read_text()
    assert len(written) > 3_000
    assert [secret for secret in secrets if secret in written or secret.rpartition(".")[2] in written] == []
    assert written.count('"Bearer ***"') == 3
