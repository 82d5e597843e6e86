"""A call is made again until it is answered, a refusal is an answer, and patience ends."""

import asyncio
import math

import pytest

from cardtrail.errors import Refused, StoreUnavailable
from cardtrail.sandbox.world import insist as module
from cardtrail.sandbox.world.insist import insist


def test_a_call_that_may_succeed_later_is_made_again_and_a_refusal_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "FIRST_SECONDS", 0.0)
    outcomes: list[Exception | str] = [StoreUnavailable("busy"), StoreUnavailable("busy"), "done", Refused("no")]

    async def call() -> str:
        outcome = outcomes.pop(0)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    assert asyncio.run(insist(call, math.inf)) == "done"
    with pytest.raises(Refused, match="no"):
        asyncio.run(insist(call, math.inf))


def test_who_waits_is_told_in_the_end_that_there_is_no_answer() -> None:
    calls = []

    async def call() -> None:
        calls.append(1)
        raise StoreUnavailable("busy")

    with pytest.raises(StoreUnavailable, match="the platform does not answer within 0 s: busy"):
        asyncio.run(insist(call, 0))
    assert calls == [1]
