"""The world's way to the platform: calls are repeated until they are answered, and credentials hold nothing."""

import asyncio
from random import Random

import pytest

from cardtrail.errors import Refused, StoreUnavailable
from cardtrail.platform.orders import wanted_of
from cardtrail.sandbox import feed
from cardtrail.sandbox.feed import encrypted_nothing, insist


def test_a_call_that_may_succeed_later_is_made_again_and_a_refusal_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feed, "RETRY_SECONDS", 0.0)
    outcomes: list[Exception | str] = [StoreUnavailable("busy"), StoreUnavailable("busy"), "done", Refused("no")]

    async def call() -> str:
        outcome = outcomes.pop(0)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    assert asyncio.run(insist(call)) == "done"
    with pytest.raises(Refused, match="no"):
        asyncio.run(insist(call))


def test_the_pretended_credentials_have_the_form_that_the_platform_checks() -> None:
    told = wanted_of({"distributionChannel": "CENTRAL", "encryptedData": encrypted_nothing(Random(5))}, "card-1")
    assert told.encrypted_data == encrypted_nothing(Random(5))
