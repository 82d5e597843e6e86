"""Time and cards of a sandbox over HTTP: one real stage, moved by its control."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest
from starlette.applications import Starlette

from cardtrail.errors import CardtrailError
from cardtrail.sandbox.admit import ISSUER_ID
from cardtrail.sandbox.control import _on_error
from cardtrail.sandbox.folder import Folder
from cardtrail.sandbox.stage import Script, Stage, listen, settings_of
from cardtrail.sandbox.world.control import world_routes
from cardtrail.sandbox.world.verbs import Verb
from tests.hosting import call, hosting

JSON = {"content-type": "application/json"}


class Remote:
    """A stage whose time stands still, and its control."""

    def __init__(self, stage: Stage, port: int) -> None:
        self.stage = stage
        self._port = port

    async def __call__(self, method: str, path: str, content: object = None) -> tuple[int, Any]:
        body = b"" if content is None else msgspec.json.encode(content)
        answer = await call(self._port, path, body, JSON, method)
        return answer.status, msgspec.json.decode(answer.body)


@asynccontextmanager
async def remote(path: Path) -> AsyncIterator[Remote]:
    with contextlib.closing(listen(0)) as listening:
        stage = Stage(settings_of(Folder(path), listening.getsockname()[1]), Script(seed=3))
        stage.clock.pause()
        async with stage.open(listening) as cast, asyncio.timeout(30):
            routes = world_routes(cast.player, ISSUER_ID)
            async with hosting(Starlette(routes=routes, exception_handlers={CardtrailError: _on_error})) as port:
                yield Remote(stage, port)


def test_time_is_told_moved_and_run_from_outside(tmp_path: Path) -> None:
    async def play() -> None:
        async with remote(tmp_path) as control:
            status, before = await control("GET", "/clock")
            assert (status, before["runs"]) == (200, "paused")
            assert before["text"].startswith("Mon")
            await control("POST", "/orders", {"cardId": "sbx-happy-1"})
            _, moved = await control("POST", "/clock:advance", {"span": "30d"})
            assert moved["happened"] == 10
            assert moved["now"] > before["now"]
            assert (await control("PUT", "/clock", {"speed": "5x"}))[1]["runs"] == "5x"
            assert (await control("PUT", "/clock", {"paused": True}))[1]["runs"] == "paused"
            assert (await control("PUT", "/clock", {"paused": False}))[1]["runs"] == "5x"
            _, known = await control("GET", "/scenarios")
            assert known["scenarios"]["happy"].startswith("All goes well")

    asyncio.run(play())


def test_cards_are_ordered_and_things_happen_to_them(tmp_path: Path) -> None:
    async def play() -> None:
        async with remote(tmp_path) as control:
            status, ordered = await control("POST", "/orders", {"cardId": "c-1", "issuerRequestId": "sbx-missed-1"})
            assert (status, ordered["scenario"]) == (200, "missed")
            for verb, kind in (("hold", "held"), ("release", "released"), ("ship", "shipped"), ("scan", "scanned")):
                _, told = await control("POST", f"/cards/c-1:{verb}")
                assert [each["kind"] for each in told["events"]] == [kind]
            _, told = await control("POST", "/cards/c-1:scan", {"status": "Levitating"})
            assert told["events"][0]["status"] == "Levitating"
            assert (await control("POST", "/cards/c-1:cancel"))[0] == 409
            assert (await control("POST", "/cards/c-2:ship"))[0] == 404
            assert control.stage.world.told == {"accepted": 5}

    asyncio.run(play())


def test_an_order_that_is_refused_is_told_and_no_older_story_is_named_for_it(tmp_path: Path) -> None:
    """The refusal went to the log alone, and the answer named the story of an order before."""

    async def play() -> None:
        async with remote(tmp_path) as control:
            assert (await control("POST", "/orders", {"cardId": "c-1", "issuerRequestId": "r-1"}))[0] == 200
            assert (await control("POST", "/orders", {"cardId": "c-2", "issuerRequestId": "sbx-happy-2"}))[0] == 200
            status, told = await control("POST", "/orders", {"cardId": "c-2", "issuerRequestId": "r-1"})
            assert status == 409
            assert "issuerRequestId" in told["error"]

    asyncio.run(play())


@pytest.mark.parametrize(
    ("method", "path", "content", "field"),
    [
        ("PUT", "/clock", {"speed": "fast"}, "speed"), ("PUT", "/clock", {"sped": "1x"}, "sped"),
        ("POST", "/clock:advance", {"span": "-1d"}, "span"), ("POST", "/clock:advance", {"span": 3}, "span"),
        ("POST", "/cards/c-1:fly", None, "verb"), ("POST", "/cards/:ship", None, "verb"),
        ("POST", "/orders", {"cardId": "no spaces"}, "cardId"), ("POST", "/orders", {}, "cardId"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named(tmp_path: Path, method: str, path: str, content: object, field: str) -> None:
    async def play() -> None:
        async with remote(tmp_path) as control:
            status, told = await control(method, path, content)
            assert status == 400
            assert field in told["error"]

    asyncio.run(play())


def test_every_verb_has_its_way(tmp_path: Path) -> None:
    async def play() -> None:
        async with remote(tmp_path) as control:
            for verb in Verb:
                assert (await control("POST", f"/cards/nothing:{verb}"))[0] == 404

    asyncio.run(play())
