"""Signatures as the wire changes them."""

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from cardtrail.errors import Unauthorized
from cardtrail.protocol.signature import new_key, receivers_secret_of, verify
from cardtrail.sandbox.wire.call import Call
from cardtrail.sandbox.wire.sign import corrupted, is_signed, signed
from tests.signed import NOW, SECRET
from tests.signed import signed as headers_of

KEY = new_key(bytes(range(32)))
BODY = b'{"operations":[]}'


async def nothing() -> Any:
    raise AssertionError("nobody listens")


def call(headers: dict[str, str]) -> Call:
    pairs = [(name.encode(), value.encode()) for name, value in headers.items()]
    return Call(scope={"type": "http", "headers": pairs}, body=BODY, receive=nothing)


def told(sent: Call) -> dict[str, str]:
    return {name.decode(): value.decode() for name, value in sent.scope["headers"]}


@pytest.mark.parametrize("secrets", [(SECRET,), (KEY,), (SECRET, KEY)])
def test_a_corrupted_signature_has_the_form_of_a_good_one_and_is_of_nothing(secrets: tuple[str, ...]) -> None:
    good = headers_of(BODY, NOW, *secrets)
    bad = corrupted(call(good))
    assert [len(each) for each in told(bad)["webhook-signature"].split()] == [
        len(each) for each in good["webhook-signature"].split()
    ]
    assert bad.body == BODY
    for secret in secrets:
        with pytest.raises(Unauthorized):
            verify([receivers_secret_of(secret)], told(bad), BODY, NOW)


def test_an_odd_signature_is_made_another_one_too() -> None:
    assert told(corrupted(call({"webhook-signature": "v1,???"})))["webhook-signature"] == "???,1v"


def test_a_body_is_signed_afresh_and_its_id_stays() -> None:
    async def secrets() -> Sequence[str]:
        return [KEY]

    sent = asyncio.run(signed(call(headers_of(BODY, NOW, KEY)), b"new", {}, secrets))
    headers = told(sent)
    assert verify([receivers_secret_of(KEY)], headers, b"new", int(headers["webhook-timestamp"])) == "msg-1"
    assert (headers["content-length"], is_signed(sent)) == ("3", True)


def test_where_nobody_signs_nothing_is_signed() -> None:
    async def none() -> Sequence[str]:
        return []

    sent = asyncio.run(signed(call(headers_of(BODY)), b"new", {}, none))
    assert (sent.body, told(sent)["webhook-timestamp"]) == (b"new", str(NOW))
    assert not is_signed(call({}))
