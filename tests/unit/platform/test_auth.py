"""The token check of one process: what it remembers, what it forgets, whom it makes wait."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from joserfc.jwk import ECKey

from cardtrail.core.limit import FAILURES
from cardtrail.errors import StoreUnavailable, TooMany, Unauthorized
from cardtrail.platform import auth
from cardtrail.platform.parties import READ, WRITE, PartyKind, Rights
from cardtrail.protocol.token import AccessToken, TokenExpired, make_access_token
from tests.parties import ACTOR, ISSUER, PEER, Clock, Node, opened

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
async def node(tmp_path: Path) -> AsyncIterator[Node]:
    with opened(f"sqlite:///{tmp_path}/cardtrail.db") as db:
        yield await Node(db, Clock()).start()


@pytest.fixture
async def key(node: Node) -> ECKey:
    """The key of a registered issuer."""
    return await node.register()


def forged(node: Node, **members: object) -> bytes:
    """A token as the platform's own key would sign it, whatever it says."""
    signer = node.registry.snapshot.ring.keys[-1]
    now = node.clock.wall()
    said = {
        "party_id": ISSUER, "scope": READ, "kid": "k", "generation": 1, "issued_at": now,
        "expires_at": now + 900_000_000, "jti": "j", "certificate": None, "signed_by": signer.kid,
    }  # fmt: skip
    token = AccessToken(**(said | members))  # type: ignore[arg-type]  # mixed on purpose
    return b"Bearer " + make_access_token(token, node.authenticator.issuer, signer.private).encode()


async def test_a_token_makes_its_bearer_known(node: Node, key: ECKey) -> None:
    principal = node.check(await node.token(key))
    assert (principal.party_id, principal.kind) == (ISSUER, PartyKind.ISSUER)
    assert principal.scopes == frozenset({READ, WRITE})
    assert principal.may_act_for(ISSUER)
    assert not principal.may_act_for("ISSUER0002")


async def test_a_remembered_token_is_not_verified_again(node: Node, key: ECKey) -> None:
    header = await node.token(key)
    assert node.check(header) is node.check(bytes(bytearray(header)))


@pytest.mark.parametrize("scheme", [b"Bearer ", b"bearer ", b"BEARER "])
async def test_the_schemes_letter_case_does_not_matter(node: Node, key: ECKey, scheme: bytes) -> None:
    assert node.check(scheme + (await node.token(key))[7:]).party_id == ISSUER


@pytest.mark.parametrize(
    "header", [None, b"", b"Bearer", b"Bearer ", b"Basic eDp5", b"Bearer x.y.z", b"\xff" * 9, b"x" * 9_000]
)
async def test_what_is_no_bearer_token_is_refused(node: Node, header: bytes | None) -> None:
    with pytest.raises(Unauthorized):
        node.check(header)


async def test_a_remembered_token_ends_on_time(node: Node, key: ECKey) -> None:
    header = await node.token(key)
    node.clock.forward(899)
    await node.registry.run_once()
    node.check(header)
    node.clock.forward(1)
    with pytest.raises(TokenExpired):
        node.check(header)


async def test_a_token_that_was_never_seen_ends_on_time_too(node: Node, key: ECKey) -> None:
    header = await node.token(key)
    node.clock.forward(900)
    await node.registry.run_once()
    with pytest.raises(TokenExpired):
        node.check(header)


async def test_nothing_is_believed_before_the_registry_was_read(node: Node, key: ECKey) -> None:
    header = await node.token(key)
    with pytest.raises(StoreUnavailable):
        Node(node.db, node.clock).check(header)


async def test_nothing_is_believed_ten_seconds_after_the_registry_was_read(node: Node, key: ECKey) -> None:
    header = await node.token(key)
    node.check(header)
    node.clock.forward(10)
    node.check(header)
    node.clock.forward(0.001)
    with pytest.raises(StoreUnavailable):
        node.check(header)
    with pytest.raises(StoreUnavailable):
        await node.token(key)
    await node.registry.run_once()
    node.check(header)


async def test_a_token_bound_to_a_certificate_works_with_it_only(node: Node, key: ECKey) -> None:
    header = await node.token(key, certificate="own")
    assert node.check(header, "own").party_id == ISSUER
    for other in ("other", None, ""):
        with pytest.raises(Unauthorized, match="certificate"):
            node.check(header, other)
    assert node.check(header, "own").party_id == ISSUER


async def test_a_token_without_a_certificate_is_refused_where_there_is_one(node: Node, key: ECKey) -> None:
    header = await node.token(key)
    node.check(header)
    for other in ("own", ""):
        with pytest.raises(Unauthorized, match="certificate"):
            node.check(header, other)


@pytest.mark.usefixtures("key")
async def test_rights_of_a_token_are_never_more_than_the_partys(node: Node) -> None:
    assert node.check(forged(node, scope=f"{READ} cardtrail:operate")).scopes == {READ}


@pytest.mark.usefixtures("key")
async def test_a_party_or_generation_we_have_not_heard_of_is_asked_to_come_again(node: Node) -> None:
    """Another process signed it after a change that this one has not read: neither believed nor called a lie."""
    for members in ({"generation": 2}, {"party_id": "NEWCOMER01"}):
        with pytest.raises(StoreUnavailable):
            node.check(forged(node, **members))


async def test_a_change_of_strictness_or_rate_is_felt_without_a_new_token(node: Node, key: ECKey) -> None:
    header = await node.token(key)
    assert node.check(header).strict is False
    await node.parties.update(ISSUER, Rights(strict=True, rate=1), ACTOR)
    await node.registry.run_once()
    assert node.check(header).strict is True
    with pytest.raises(TooMany):
        node.check(header)


async def test_a_party_that_calls_too_fast_is_told_when_to_come_again(node: Node) -> None:
    key = await node.register(rate=3)
    header = await node.token(key)  # the first of its three
    node.check(header)
    node.check(header)
    with pytest.raises(TooMany) as refusal:
        node.check(header)
    assert refusal.value.retry_after == 1
    node.clock.forward(1)
    node.check(header)


async def test_another_partys_haste_is_not_ours(node: Node, key: ECKey) -> None:
    other = await node.register("ISSUER0002", rate=1)
    header = await node.token(other, "ISSUER0002")
    with pytest.raises(TooMany):
        node.check(header)
    node.check(await node.token(key))


async def test_an_address_that_fails_too_often_waits_but_known_tokens_pass(node: Node, key: ECKey) -> None:
    known, fresh = await node.token(key), await node.token(key)
    node.check(known, None, PEER)
    for number in range(FAILURES):
        with pytest.raises(Unauthorized):
            node.check(b"Bearer %d" % number, None, PEER)
    with pytest.raises(TooMany):
        node.check(fresh, None, PEER)
    with pytest.raises(TooMany):
        await node.token(key)
    node.check(known, None, PEER)
    node.check(fresh, None, "192.0.2.2")
    node.clock.forward(1)
    node.check(fresh, None, PEER)


async def test_late_and_missing_tokens_are_not_held_against_an_address(node: Node, key: ECKey) -> None:
    header = await node.token(key)
    node.clock.forward(900)
    await node.registry.run_once()
    for _ in range(FAILURES + 1):
        for late in (header, None):
            with pytest.raises(Unauthorized):
                node.check(late, None, PEER)
    node.check(await node.token(key), None, PEER)


async def test_only_so_many_tokens_are_remembered(node: Node, key: ECKey, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(auth, "MAX_TOKENS", 8)
    headers = [await node.token(key) for _ in range(20)]
    first = node.check(headers[0])
    for header in headers[1:]:
        node.check(header)
        assert len(node.authenticator._recent) + len(node.authenticator._older) <= 8
    assert node.check(headers[0]) is not first


async def test_a_token_in_use_is_not_forgotten(node: Node, key: ECKey, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(auth, "MAX_TOKENS", 8)
    used = await node.token(key)
    node.check(used)
    known = node.authenticator._recent[used]
    for _ in range(12):
        node.check(await node.token(key))
        node.check(used)
    assert node.authenticator._recent[used] is known
