"""The switches over HTTP: whoever has the token throws them, and nobody else."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from cardtrail.errors import StoreUnavailable
from cardtrail.sandbox.control import control_app
from cardtrail.sandbox.switch import DROP_PATH, RECEIVER_PATH
from tests.banking import Banking, banking
from tests.hosting import Answer, call, hosting

TOKEN = "a-token-of-this-run"
HEADERS = {"authorization": f"Bearer {TOKEN}", "content-type": "application/json"}


@asynccontextmanager
async def controlled(path: Path) -> AsyncIterator[tuple[Banking, int]]:
    async with banking(path) as told, hosting(control_app(told.bank, TOKEN)) as port:
        yield told, port


async def put(port: int, path: str, content: Any, headers: dict[str, str] = HEADERS) -> Answer:
    return await call(
        port, path, content if isinstance(content, bytes) else msgspec.json.encode(content), headers, "PUT"
    )


def test_the_receiver_is_as_it_should_be_when_the_answer_comes(tmp_path: Path) -> None:
    async def play() -> None:
        async with controlled(tmp_path) as (told, port):
            for up in (False, False, True):
                answer = await put(port, RECEIVER_PATH, {"up": up})
                assert (answer.status, msgspec.json.decode(answer.body)["is_up"]) == (200, up)
                assert told.bank.server.is_up is up

    asyncio.run(play())


def test_any_share_is_dropped_and_all_where_none_is_named(tmp_path: Path) -> None:
    async def play() -> None:
        async with controlled(tmp_path) as (told, port):
            for content, share in (({"share": 0.25}, 0.25), ({}, 1), ({"share": 0}, 0)):
                answer = await put(port, DROP_PATH, content)
                assert (answer.status, msgspec.json.decode(answer.body)["share"]) == (200, share)
                assert (await told.bank.look()).share == share

    asyncio.run(play())


def test_who_waits_in_vain_is_told_what_for(tmp_path: Path) -> None:
    async def busy(_: Request) -> Response:
        raise StoreUnavailable("the platform does not answer within 10 s: gone")

    async def play() -> None:
        async with banking(tmp_path) as told:
            app = control_app(told.bank, TOKEN, [Route("/busy", busy, methods=["PUT"])])
            async with hosting(app) as port:
                answer = await put(port, "/busy", {})
                assert (answer.status, b"does not answer within 10 s: gone" in answer.body) == (503, True)

    asyncio.run(play())


@pytest.mark.parametrize("token", ["", "Bearer", "Bearer ", "Bearer another", f"Basic {TOKEN}", f"Bearer {TOKEN} "])
def test_without_the_token_nothing_is_switched_and_no_body_is_looked_at(tmp_path: Path, token: str) -> None:
    async def play() -> None:
        async with controlled(tmp_path) as (told, port):
            for path, content in ((RECEIVER_PATH, {"up": False}), (DROP_PATH, {"share": 1}), (DROP_PATH, b"{")):
                answer = await put(port, path, content, HEADERS | {"authorization": token})
                assert answer.status == 401
                assert TOKEN.encode() not in answer.body
            assert told.bank.server.is_up
            assert (await told.bank.look()).share == 0

    asyncio.run(play())


@pytest.mark.parametrize(
    ("path", "content", "named"),
    [
        (RECEIVER_PATH, {}, "up"), (RECEIVER_PATH, {"up": 1}, "up"), (RECEIVER_PATH, {"up": True, "x": 1}, "x"),
        (DROP_PATH, {"share": 1.5}, "share"), (DROP_PATH, {"share": -1}, "share"), (DROP_PATH, {"share": "1"}, "share"),
        (DROP_PATH, [], "object"), (DROP_PATH, b"{", ""),
    ],
)  # fmt: skip
def test_what_makes_no_sense_is_refused_by_name(tmp_path: Path, path: str, content: Any, named: str) -> None:
    async def play() -> None:
        async with controlled(tmp_path) as (told, port):
            answer = await put(port, path, content)
            assert answer.status == 400
            assert named in msgspec.json.decode(answer.body)["error"]
            assert told.silent

    asyncio.run(play())


def test_other_paths_and_methods_are_none(tmp_path: Path) -> None:
    async def play() -> None:
        async with controlled(tmp_path) as (_, port):
            assert (await put(port, "/", {})).status == 404
            assert (await call(port, DROP_PATH, b"{}", HEADERS, "POST")).status == 405

    asyncio.run(play())
