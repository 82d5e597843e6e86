"""What each of the platform's keys is good for, and when."""

import msgspec
import pytest
from joserfc.jwk import ECKey

from cardtrail.errors import StoreUnavailable
from cardtrail.platform.signing import RETIRE, SETTLE, Ring, SigningKey
from cardtrail.protocol.token import SECOND

OLD = 1_000_000 * SECOND
NEW = 2_000_000 * SECOND


def key(kid: str, created_at: int) -> SigningKey:
    private: ECKey = ECKey.generate_key("P-256")
    return SigningKey(kid, private, private, created_at)


RING = Ring((key("old", OLD), key("new", NEW)))


@pytest.mark.parametrize(
    ("now", "signer", "living"),
    [
        (NEW, "old", ["old", "new"]),
        (NEW + SETTLE - 1, "old", ["old", "new"]),
        (NEW + SETTLE, "new", ["old", "new"]),
        (NEW + RETIRE - 1, "new", ["old", "new"]),
        (NEW + RETIRE, "new", ["new"]),
    ],
)
def test_a_new_key_is_published_before_it_signs_and_an_old_one_verifies_after(
    now: int, signer: str, living: list[str]
) -> None:
    assert RING.signer(now).kid == signer
    assert [one.kid for one in RING.living(now)] == living
    assert [one["kid"] for one in msgspec.json.decode(RING.jwks(now))["keys"]] == living
    assert [kid for kid in ("old", "new") if RING.verifier(kid, now)] == living


def test_whatever_a_key_signed_is_verified_until_it_expires() -> None:
    last_signature = NEW + SETTLE - 1
    assert RING.signer(last_signature).kid == "old"
    assert RING.verifier("old", last_signature + 900 * SECOND) is not None


def test_the_only_key_signs_at_once() -> None:
    assert Ring((key("first", NEW),)).signer(NEW).kid == "first"


def test_two_new_keys_do_not_leave_the_platform_without_one() -> None:
    ring = Ring((key("a", NEW), key("b", NEW + 1)))
    assert ring.signer(NEW + 2).kid == "a"


def test_without_a_key_nothing_is_signed() -> None:
    with pytest.raises(StoreUnavailable):
        Ring().signer(NEW)


def test_published_keys_have_nothing_private_in_them() -> None:
    [one, _] = msgspec.json.decode(RING.jwks(NEW))["keys"]
    assert set(one) == {"kty", "crv", "x", "y", "kid", "use", "alg"}
