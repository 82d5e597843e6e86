"""A record sent again: in order, signed and allowed afresh, and what is answered otherwise is told."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from cardtrail.errors import InputError, StoreUnavailable
from cardtrail.sandbox.admit import ISSUER_ID
from cardtrail.sandbox.control import control_app
from cardtrail.sandbox.wire import resend as module
from cardtrail.sandbox.wire.kinds import Hop
from cardtrail.sandbox.wire.record import Exchange, Message, exchanges_of
from cardtrail.sandbox.wire.resend import Env, Resent, resend
from tests.banking import Banking, banking
from tests.faults.wire_answers import Asking, asking
from tests.faults.wire_events import request
from tests.hosting import hosting
from tests.serving import free_port
from tests.signed import operation

TOKEN = "a-token-of-this-run"


def env_of(bank: Banking, site: Asking, control: int) -> Env:
    return {
        "RECEIVER_URL": bank.bank.server.url, "BASE_URL": f"http://127.0.0.1:{site.port}/banking/v1",
        "ACCESS_TOKEN": site.tokens[0], "INGEST_TOKEN": site.tokens[1], "CONTROL_TOKEN": TOKEN,
        "CONTROL_URL": f"http://127.0.0.1:{control}",
    }  # fmt: skip


def played(folder: Path, play: Callable[[Banking, Asking, Env], Any]) -> Any:
    """Play with a bank and a platform of their own, each with its record."""
    for name in ("bank", "site"):
        (folder / name).mkdir(parents=True)

    async def run() -> Any:
        async with (
            banking(folder / "bank") as bank, asking(folder / "site") as site,
            hosting(control_app(bank.bank, TOKEN)) as control,
        ):  # fmt: skip
            return await play(bank, site, env_of(bank, site, control))

    return asyncio.run(run())


def recorded(folder: Path) -> list[Exchange]:
    """Return what a bank and an issuer did together, in order."""

    async def play(bank: Banking, site: Asking, _: Env) -> None:
        await bank.notify(operation(sequence=1))
        bank.bank.drop(1.0)
        await bank.notify(operation(sequence=2))
        assert (await site.order("card-2", issuerRequestId="r-1")).status == 202
        await site.ask("card-2")
        await site.report(request("card-3"))

    played(folder, play)
    found = [*exchanges_of(folder / "bank/wire.jsonl"), *exchanges_of(folder / "site/wire.jsonl")]
    return sorted(found, key=lambda exchange: exchange.at)


def test_on_a_fresh_sandbox_a_record_is_answered_as_it_was(tmp_path: Path) -> None:
    exchanges = recorded(tmp_path / "before")
    sent = [(each.hop, each.method, each.path) for each in exchanges if each.arrived and "oauth2" not in each.path]

    async def play(bank: Banking, site: Asking, env: Env) -> tuple[Resent, Any]:
        site.faults.set("500", "answers", count=1, cards=["card-9"])
        outcome = await asyncio.to_thread(resend, exchanges, env)
        assert await bank.stages() == ["CARD_PROD_READY"]
        assert (await site.ask("card-2")).status == (await site.ask("card-3")).status == 200
        return outcome, None

    outcome, _ = played(tmp_path / "after", play)
    # What was reported at the opening is a duplicate there.
    assert outcome.sent == {Hop.NOTIFICATIONS: 1, Hop.ANSWERS: 2, Hop.EVENTS: 2}
    assert outcome.left_out == {"its assertion is not in a record": 2, "it had not arrived": 1}
    assert [(each.before, each.after) for each in outcome.told] == [("200 2 accepted", "200 2 duplicate")]
    after = [*exchanges_of(tmp_path / "after/bank/wire.jsonl"), *exchanges_of(tmp_path / "after/site/wire.jsonl")]
    again = sorted(((each.at, each.hop, each.method, each.path) for each in after), key=lambda each: each[0])
    assert [each[1:] for each in again if "oauth2" not in each[3]][1:][: len(sent)] == sent


def test_what_is_answered_otherwise_is_told_with_both_answers(tmp_path: Path) -> None:
    exchanges = recorded(tmp_path / "before")

    async def play(_: Banking, site: Asking, env: Env) -> Resent:
        site.faults.set("500", "answers")
        site.faults.set("reset", "events")
        return await asyncio.to_thread(resend, exchanges, {**env, "ACCESS_TOKEN": "wrong"})

    outcome = played(tmp_path / "after", play)
    assert outcome.different == 4
    assert sorted((each.before, each.after) for each in outcome.told) == [
        ("200", "500"), ("200 1 accepted", "no answer"), ("200 2 accepted", "no answer"), ("202", "500")
    ]  # fmt: skip


def exchange(**members: Any) -> Exchange:
    known: dict[str, Any] = {
        "number": 1, "at": "", "hop": Hop.ANSWERS, "method": "GET", "path": f"/banking/v1/issuers/{ISSUER_ID}/x",
        "request": Message({}), "answer": Message({}), "status": 200, "ms": 0.0, "arrived": True,
    }  # fmt: skip
    return Exchange(**(known | members))


def test_what_is_not_whole_in_the_record_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_RESENT", 1)
    cut = exchange(request=Message({}, "half", 9))
    outcome = resend([cut, exchange()], {})
    assert outcome.left_out == {"its body is not in the record to its end": 1, "more than 1 exchanges": 1}


def test_a_sandbox_that_is_not_there_ends_it_and_a_bad_record_too() -> None:
    env = {"BASE_URL": f"http://127.0.0.1:{free_port()}/banking/v1", "ACCESS_TOKEN": "x"}
    with pytest.raises(StoreUnavailable, match="exchange 1 cannot be sent"):
        resend([exchange()], env)
    with pytest.raises(InputError):
        resend(exchanges_of(Path("/nowhere")), env)


def test_where_credentials_stood_is_what_has_their_shape() -> None:
    body = module._body_of(exchange(request=Message({}, '{"encryptedData":"***","cardId":"c"}')))
    members = msgspec.json.decode(body)
    assert members["encryptedData"].count(".") == 4
    assert members["cardId"] == "c"
