"""The wire's part of the control: faults switched over HTTP, the record shown, a notification signed."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest

from cardtrail.protocol.signature import verify
from cardtrail.sandbox.call import client
from cardtrail.sandbox.control import control_app
from cardtrail.sandbox.switch import FAULTS_PATH, PAGE_PATH, RECORD_PATH, SIGN_PATH
from cardtrail.sandbox.wire.kinds import TABLE
from cardtrail.sandbox.wire.record import exchanges_of, older_of
from tests.banking import Banking, banking
from tests.hosting import Answer, call, hosting
from tests.signed import operation

TOKEN = "a-token-of-this-run"
HEADERS = {"authorization": f"Bearer {TOKEN}", "content-type": "application/json"}


class Board:
    """A control that is called."""

    def __init__(self, told: Banking, port: int) -> None:
        self.told = told
        self.port = port

    async def ask(self, method: str, path: str, content: Any = None, headers: dict[str, str] = HEADERS) -> Answer:
        body = b"" if content is None else msgspec.json.encode(content)
        return await call(self.port, path, body, headers, method)

    async def active(self) -> list[Any]:
        answer = await self.ask("GET", FAULTS_PATH)
        assert answer.status == 200
        active: list[Any] = msgspec.json.decode(answer.body)["active"]
        return active


@asynccontextmanager
async def boarded(path: Path) -> AsyncIterator[Board]:
    async with banking(path) as told, hosting(control_app(told.bank, TOKEN)) as port:
        yield Board(told, port)


def test_a_fault_is_switched_on_strikes_is_counted_and_is_switched_off(tmp_path: Path) -> None:
    async def play() -> None:
        async with boarded(tmp_path) as board:
            told = {"hop": "notifications", "rate": 1, "cards": ["card-1"], "count": 5}
            answer = await board.ask("PUT", f"{FAULTS_PATH}/500", told)
            assert answer.status == 200
            expected = told | {"kind": "500", "seconds": 0.0, "struck": 0}
            assert msgspec.json.decode(answer.body) == expected
            assert await board.told.said() == "Fault 500 is on: all notifications of 1 card."
            assert [await board.told.notify(operation(card)) for card in ("card-1", "card-2")] == [500, 204]
            assert await board.active() == [expected | {"struck": 1}]
            assert (await board.ask("DELETE", f"{FAULTS_PATH}/500?hop=answers")).body == b'{"cleared":0}'
            assert (await board.ask("DELETE", f"{FAULTS_PATH}/500")).body == b'{"cleared":1}'
            assert await board.told.said() == "Fault 500 is off."
            assert await board.active() == []

    asyncio.run(play())


def test_faults_that_are_switched_off_on_one_hop_are_said_to_be_off_there(tmp_path: Path) -> None:
    """All were said to be off, although others were on."""

    async def play() -> None:
        async with boarded(tmp_path) as board:
            for hop in ("answers", "notifications"):
                await board.ask("PUT", f"{FAULTS_PATH}/500", {"hop": hop})
                await board.ask("PUT", f"{FAULTS_PATH}/429", {"hop": hop})
            for _ in range(4):
                await board.told.said()
            assert (await board.ask("DELETE", f"{FAULTS_PATH}?hop=answers")).body == b'{"cleared":2}'
            assert await board.told.said() == "All faults at answers are off."
            assert (await board.ask("DELETE", f"{FAULTS_PATH}/500?hop=notifications")).body == b'{"cleared":1}'
            assert await board.told.said() == "Fault 500 at notifications is off."
            assert [(each["kind"], each["hop"]) for each in await board.active()] == [("429", "notifications")]

    asyncio.run(play())


def test_without_a_body_a_fault_is_as_its_table_says_and_all_are_cleared_at_once(tmp_path: Path) -> None:
    async def play() -> None:
        async with boarded(tmp_path) as board:
            for about in TABLE:
                assert (await board.ask("PUT", f"{FAULTS_PATH}/{about.kind}")).status == 200
            assert [each["kind"] for each in await board.active()] == [about.kind for about in TABLE]
            assert (await board.ask("DELETE", FAULTS_PATH)).body == b'{"cleared":%d}' % len(TABLE)
            kinds = msgspec.json.decode((await board.ask("GET", FAULTS_PATH)).body)["kinds"]
            assert [kind["text"] for kind in kinds] == [about.text for about in TABLE]

    asyncio.run(play())


@pytest.mark.parametrize(
    ("path", "content", "named"),
    [
        ("/nothing", {}, "kind"), ("/delay", {"hop": "answers"}, "hop"), ("/delay", {"rate": 2}, "rate"),
        ("/delay", {"rate": "1"}, "rate"), ("/delay", {"cards": ["a b"]}, "cards"),
        ("/delay", {"seconds": -1}, "seconds"),
        ("/reset", {"seconds": 1}, "seconds"), ("/delay", {"count": 1.5}, "count"), ("/delay", {"x": 1}, "x"),
        ("/delay", [], "object"),
    ],
)  # fmt: skip
def test_what_makes_no_sense_is_refused_by_name(tmp_path: Path, path: str, content: Any, named: str) -> None:
    async def play() -> None:
        async with boarded(tmp_path) as board:
            answer = await board.ask("PUT", FAULTS_PATH + path, content)
            assert answer.status == 400
            assert named in msgspec.json.decode(answer.body)["error"]
            assert (await board.active(), board.told.silent) == ([], True)

    asyncio.run(play())


def test_without_the_token_nobody_sees_or_switches_anything(tmp_path: Path) -> None:
    async def play() -> None:
        async with boarded(tmp_path) as board:
            calls = [
                ("GET", FAULTS_PATH), ("PUT", FAULTS_PATH + "/500"), ("DELETE", FAULTS_PATH), ("GET", PAGE_PATH),
                ("GET", PAGE_PATH + "?token=wrong"), ("GET", RECORD_PATH), ("GET", f"{RECORD_PATH}?token={TOKEN}"),
                ("PUT", SIGN_PATH), ("PUT", f"{FAULTS_PATH}/500?token={TOKEN}"), ("GET", "/nowhere"),
            ]  # fmt: skip
            for method, path in calls:
                assert (await board.ask(method, path, headers={})).status == 401, path
            assert await board.active() == []

    asyncio.run(play())


def test_the_page_and_the_record_show_what_crossed_the_wire(tmp_path: Path) -> None:
    async def play() -> None:
        async with boarded(tmp_path) as board:
            older_of(board.told.recorder.path).write_bytes(b"")
            await board.told.notify(operation())
            page = await board.ask("GET", f"{PAGE_PATH}?token={TOKEN}&card=card-1", headers={})
            assert (page.status, b'data-cards="card-1"' in page.body) == (200, True)
            assert page.headers["content-type"].startswith("text/html")

    asyncio.run(play())


def test_a_notification_is_signed_with_the_secret_of_now(tmp_path: Path) -> None:
    async def play() -> None:
        async with boarded(tmp_path) as board:
            body = '{"operations":[]}'
            answer = await board.ask("PUT", SIGN_PATH, {"webhookId": "msg-1", "body": body})
            headers = msgspec.json.decode(answer.body)
            secret = board.told.bank.secrets[0]
            assert verify([secret], headers, body.encode(), int(time.time())) == "msg-1"
            assert secret.encode() not in answer.body
            assert (await board.ask("PUT", SIGN_PATH, {"webhookId": "a.b", "body": body})).status == 400

    asyncio.run(play())


def test_a_key_that_rotates_is_taken_over_by_the_bank_and_the_older_one_stays_good(tmp_path: Path) -> None:
    async def play() -> None:
        async with boarded(tmp_path) as board:
            bank = board.told.bank
            [old] = bank.secrets
            await board.ask("PUT", f"{FAULTS_PATH}/key-rotation", {"hop": "notifications"})
            assert [await board.told.notify(operation()) for _ in range(2)] == [204, 204]
            assert (len(bank.secrets), bank.secrets[1]) == (2, old)
            assert list(await bank.signing()) == bank.secrets
            assert (await bank.look()).taken == 2

    asyncio.run(play())


def test_the_record_is_given_to_its_end_of_now_its_older_half_first(tmp_path: Path) -> None:
    async def play() -> bytes:
        async with boarded(tmp_path) as board:
            older_of(board.told.recorder.path).write_bytes(b"the older half\n")
            await board.told.notify(operation())
            async with client() as http:
                request = http.get(f"http://127.0.0.1:{board.port}{RECORD_PATH}").bearer_auth(TOKEN)
                return bytes(await (await request.build().send()).bytes())

    older, _, newer = asyncio.run(play()).partition(b"\n")
    assert older == b"the older half"
    assert newer.count(b"\n") == len(list(exchanges_of(tmp_path / "wire.jsonl"))) == 1
