"""Parties, tokens and the audit, on both engines and over several processes."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from typing import Any

import msgspec
import pytest
from joserfc.jwk import ECKey

from cardtrail.db import Database, Transaction, open_database
from cardtrail.errors import Conflict, InputError, NotFound, SettingError, StoreUnavailable, Unauthorized
from cardtrail.files.box import Box
from cardtrail.pages.door.trail import LATEST, list_audit
from cardtrail.platform.ledger import LAST
from cardtrail.platform.parties import (
    INGEST,
    MAX_KEYS,
    OPERATE,
    READ,
    WRITE,
    Parties,
    Party,
    PartyKind,
    PartyState,
    Rights,
    new_party,
)
from cardtrail.platform.signing import MAX_AGE, RETIRE, SETTLE
from cardtrail.platform.store import queries
from cardtrail.platform.tokens import GrantRefused
from cardtrail.protocol.token import SECOND, jwk_of, make_assertion
from tests.parties import ACTOR, ISSUER, KID, PEER, Clock, Node, opened

pytestmark = pytest.mark.anyio
ALL = frozenset({"*"})


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
async def node(database_url: str) -> AsyncIterator[Node]:
    """A process of the platform."""
    with opened(database_url) as db:
        yield await Node(db, Clock()).start()


@pytest.fixture
async def second(node: Node, database_url: str) -> AsyncIterator[Node]:
    """A second process on the same database, with connections of its own."""
    with opened(database_url) as db:
        yield await Node(db, node.clock).start()


@pytest.fixture
async def key(node: Node) -> ECKey:
    """The key of a registered issuer."""
    return await node.register()


async def refusal_of(exchange: Awaitable[bytes]) -> str:
    with pytest.raises(GrantRefused) as refusal:
        await exchange
    return refusal.value.error


# ── the registry ─────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("kind", "party_id", "rights", "scopes"),
    [
        (PartyKind.ISSUER, ISSUER, Rights(), {READ, WRITE}),
        (PartyKind.AGGREGATOR, "agg", Rights(issuers=frozenset({ISSUER, "ISSUER0002"})), {READ, WRITE}),
        (PartyKind.PRODUCER, "site-1", Rights(issuers=ALL, sources=frozenset({"site:north"})), {INGEST}),
        (PartyKind.OPERATOR, "ada", Rights(), {OPERATE}),
        (PartyKind.ISSUER, ISSUER, Rights(scopes=frozenset({READ}), strict=True, rate=7), {READ}),
    ],
)
async def test_a_party_is_kept_as_it_was_registered(
    node: Node, kind: PartyKind, party_id: str, rights: Rights, scopes: set[str]
) -> None:
    added = await node.parties.add(new_party(kind, party_id, rights), ACTOR)
    assert await node.parties.find(party_id) == added
    assert await node.parties.list_all() == [added]
    assert added.scopes == frozenset(scopes)
    assert added.created_at == node.clock.wall()


@pytest.mark.parametrize(
    ("kind", "party_id", "rights", "field"),
    [
        (PartyKind.ISSUER, "SHORT", Rights(), "party_id"),
        (PartyKind.ISSUER, "ISSUER 001", Rights(), "party_id"),
        (PartyKind.ISSUER, ISSUER, Rights(issuers=ALL), "issuers"),
        (PartyKind.ISSUER, ISSUER, Rights(sources=ALL), "sources"),
        (PartyKind.ISSUER, ISSUER, Rights(scopes=frozenset({OPERATE})), "scopes"),
        (PartyKind.ISSUER, ISSUER, Rights(rate=0), "rate"),
        (PartyKind.AGGREGATOR, "agg", Rights(), "issuers"),
        (PartyKind.AGGREGATOR, "agg", Rights(issuers=ALL), "issuers"),
        (PartyKind.AGGREGATOR, "a/b", Rights(issuers=frozenset({ISSUER})), "party_id"),
        (PartyKind.AGGREGATOR, "agg", Rights(issuers=frozenset({"SHORT"})), "issuers"),
        (PartyKind.PRODUCER, "site-1", Rights(sources=ALL), "issuers"),
        (PartyKind.PRODUCER, "site-1", Rights(issuers=ALL), "sources"),
        (PartyKind.PRODUCER, "site-1", Rights(issuers=ALL, sources=frozenset({"api:x"})), "sources"),
        (PartyKind.PRODUCER, "site-1", Rights(issuers=ALL, sources=ALL, scopes=frozenset({READ})), "scopes"),
    ],
)
def test_a_party_with_a_wrong_member_is_refused_by_its_name(
    kind: PartyKind, party_id: str, rights: Rights, field: str
) -> None:
    with pytest.raises(InputError) as refusal:
        new_party(kind, party_id, rights)
    assert refusal.value.field == field


async def test_an_id_is_given_once(node: Node, key: ECKey) -> None:
    assert jwk_of(key)
    with pytest.raises(Conflict):
        await node.parties.add(new_party(PartyKind.OPERATOR, ISSUER), ACTOR)
    await node.parties.revoke(ISSUER, ACTOR)
    with pytest.raises(Conflict):
        await node.parties.add(new_party(PartyKind.ISSUER, ISSUER), ACTOR)


async def test_what_nobody_registered_is_not_found(node: Node) -> None:
    public = jwk_of(ECKey.generate_key("P-256"))
    calls: list[Callable[[], Awaitable[Any]]] = [
        lambda: node.parties.find("nobody"),
        lambda: node.parties.keys("nobody"),
        lambda: node.parties.revoke("nobody", ACTOR),
        lambda: node.parties.restore("nobody", ACTOR),
        lambda: node.parties.update("nobody", Rights(rate=1), ACTOR),
        lambda: node.parties.add_key("nobody", public, ACTOR, "k"),
        lambda: node.parties.revoke_key("nobody", "k", ACTOR),
    ]
    for call in calls:
        with pytest.raises(NotFound):
            await call()


async def test_keys_rotate_without_a_gap(node: Node, key: ECKey) -> None:
    fresh: ECKey = ECKey.generate_key("P-256")
    await node.parties.add_key(ISSUER, jwk_of(fresh), ACTOR, "key-2")
    await node.registry.run_once()
    await node.token(key)
    header = await node.exchange(make_assertion(ISSUER, "key-2", fresh, node.clock.wall()))
    assert node.check(header).party_id == ISSUER
    await node.parties.revoke_key(ISSUER, KID, ACTOR)
    await node.registry.run_once()
    assert await refusal_of(node.token(key)) == "invalid_grant"
    await node.exchange(make_assertion(ISSUER, "key-2", fresh, node.clock.wall()))
    states = {one.kid: one.state for one in await node.parties.keys(ISSUER)}
    assert states == {KID: PartyState.REVOKED, "key-2": PartyState.ACTIVE}


async def test_a_kid_is_never_used_twice(node: Node, key: ECKey) -> None:
    with pytest.raises(Conflict):
        await node.parties.add_key(ISSUER, jwk_of(key), ACTOR, KID)
    await node.parties.revoke_key(ISSUER, KID, ACTOR)
    with pytest.raises(Conflict):
        await node.parties.add_key(ISSUER, jwk_of(key), ACTOR, KID)
    with pytest.raises(NotFound):
        await node.parties.revoke_key(ISSUER, KID, ACTOR)


async def test_a_private_key_leaves_no_trace(node: Node, key: ECKey) -> None:
    private = key.as_dict(private=True)
    with pytest.raises(InputError, match="private key"):
        await node.parties.add_key(ISSUER, msgspec.json.encode(private).decode(), ACTOR, "key-2")
    assert [one.kid for one in await node.parties.keys(ISSUER)] == [KID]
    kept = msgspec.json.encode([await list_audit(node.db), await node.parties.keys(ISSUER)])
    assert str(private["d"]).encode() not in kept


async def test_a_party_has_only_so_many_active_keys(node: Node, key: ECKey) -> None:
    for number in range(MAX_KEYS - 1):
        await node.parties.add_key(ISSUER, jwk_of(key), ACTOR, f"more-{number}")
    with pytest.raises(Conflict, match=f"{MAX_KEYS} active keys"):
        await node.parties.add_key(ISSUER, jwk_of(key), ACTOR, "one-too-many")
    await node.parties.revoke_key(ISSUER, KID, ACTOR)
    await node.parties.add_key(ISSUER, jwk_of(key), ACTOR, "in-its-place")


async def test_generation_rises_with_every_loss_of_trust_and_nothing_else(node: Node, key: ECKey) -> None:
    agg = new_party(PartyKind.AGGREGATOR, "agg", Rights(issuers=frozenset({ISSUER})))
    steps: list[tuple[Callable[[], Awaitable[Any]], int]] = [
        (lambda: node.parties.add(agg, ACTOR), 1),
        (lambda: node.parties.add_key("agg", jwk_of(key), ACTOR, "a"), 1),
        (lambda: node.parties.update("agg", Rights(rate=5, strict=True), ACTOR), 1),
        (lambda: node.parties.update("agg", Rights(issuers=frozenset({ISSUER})), ACTOR), 1),
        (lambda: node.parties.update("agg", Rights(issuers=frozenset({"ISSUER0002"})), ACTOR), 2),
        (lambda: node.parties.update("agg", Rights(scopes=frozenset({READ})), ACTOR), 3),
        (lambda: node.parties.revoke_key("agg", "a", ACTOR), 4),
        (lambda: node.parties.revoke("agg", ACTOR), 5),
        (lambda: node.parties.restore("agg", ACTOR), 6),
    ]
    for step, generation in steps:
        await step()
        assert (await node.parties.find("agg")).generation == generation


async def test_changes_at_the_same_time_all_count(node: Node, second: Node, key: ECKey) -> None:
    names = [f"key-{number}" for number in range(2, 12)]
    await asyncio.gather(*(
        each.parties.add_key(ISSUER, jwk_of(key), ACTOR, name)
        for each, name in zip([node, second] * 5, names, strict=True)
    ))  # fmt: skip
    await asyncio.gather(*(
        each.parties.revoke_key(ISSUER, name, ACTOR)
        for each, name in zip([second, node] * 5, names, strict=True)
    ))  # fmt: skip
    assert (await node.parties.find(ISSUER)).generation == 11
    assert len(await list_audit(node.db, subject=ISSUER)) == 22


# ── tokens ───────────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_token_carries_what_was_asked_for_and_no_more(node: Node, key: ECKey) -> None:
    assert node.check(await node.token(key)).scopes == frozenset({READ, WRITE})
    assert node.check(await node.exchange(node.assertion(key), scope=READ)).scopes == frozenset({READ})
    for scope in ("", f"{READ} {INGEST}", "x"):
        assert await refusal_of(node.exchange(node.assertion(key), scope=scope)) == "invalid_scope"


async def test_a_producer_is_known_with_its_limits(node: Node) -> None:
    rights = {"issuers": [ISSUER], "sources": ["site:north"], "kinds": ["shipped"]}
    key = await node.register("site-1", PartyKind.PRODUCER, **rights)
    principal = node.check(await node.token(key, "site-1"))
    assert principal.scopes == frozenset({INGEST})
    assert (principal.sources, principal.kinds) == (frozenset({"site:north"}), frozenset({"shipped"}))
    assert node.registry.may_reach("site-1", ISSUER)
    assert not node.registry.may_reach("site-1", "ISSUER0002")
    assert not node.registry.may_reach("nobody", ISSUER)


async def test_an_aggregator_acts_for_the_issuers_it_names_only(node: Node) -> None:
    key = await node.register("agg", PartyKind.AGGREGATOR, issuers=[ISSUER])
    principal = node.check(await node.token(key, "agg"))
    assert principal.may_act_for(ISSUER)
    assert not principal.may_act_for("ISSUER0002")
    assert not principal.may_act_for("*")


async def test_an_assertion_with_a_jti_works_once_in_all_processes(node: Node, second: Node, key: ECKey) -> None:
    text = node.assertion(key, jti="once")
    await node.exchange(text)
    for each in (node, second):
        assert await refusal_of(each.exchange(text)) == "invalid_grant"
    await second.exchange(node.assertion(key, jti="another"))


async def test_of_many_replays_at_the_same_time_one_wins(node: Node, second: Node, key: ECKey) -> None:
    text = node.assertion(key, jti="once")
    outcomes = await asyncio.gather(*(each.exchange(text) for each in [node, second] * 4), return_exceptions=True)
    assert sum(isinstance(outcome, bytes) for outcome in outcomes) == 1


async def test_two_parties_may_use_the_same_jti(node: Node, key: ECKey) -> None:
    other = await node.register("ISSUER0002")
    await node.exchange(node.assertion(key, jti="once"))
    await node.exchange(node.assertion(other, "ISSUER0002", jti="once"))


async def test_an_assertion_without_a_jti_works_until_it_expires(node: Node, key: ECKey) -> None:
    text = node.assertion(key)
    await node.exchange(text)
    await node.exchange(text)
    node.clock.forward(300)
    await node.registry.run_once()
    assert await refusal_of(node.exchange(text)) == "invalid_grant"


async def test_a_refused_scope_does_not_use_up_the_assertion(node: Node, key: ECKey) -> None:
    text = node.assertion(key, jti="once")
    assert await refusal_of(node.exchange(text, scope="x")) == "invalid_scope"
    await node.exchange(text)


async def test_used_assertions_are_forgotten_when_they_have_expired(node: Node, key: ECKey) -> None:
    for number in range(3):
        await node.exchange(node.assertion(key, jti=f"jti-{number}"))
    node.clock.forward(359)
    assert await node.tokens.run_once() == 0
    node.clock.forward(2)
    assert await node.tokens.run_once() == 3
    assert await node.tokens.run_once() == 0


async def test_aud_is_compared_with_the_setting(node: Node, key: ECKey) -> None:
    strict = await Node(node.db, node.clock, audience="https://here.example").start()
    here, there = (
        make_assertion(ISSUER, KID, key, node.clock.wall(), audience=f"https://{name}.example")
        for name in ("here", "there")
    )
    await strict.exchange(here)
    assert await refusal_of(strict.exchange(there)) == "invalid_grant"


async def test_a_party_registered_a_moment_ago_gets_its_token_at_once(node: Node, second: Node) -> None:
    key: ECKey = ECKey.generate_key("P-256")
    await second.parties.add(new_party(PartyKind.ISSUER, ISSUER), ACTOR)
    await second.parties.add_key(ISSUER, jwk_of(key), ACTOR, KID)
    assert node.check(await node.token(key)).party_id == ISSUER


async def test_a_token_of_one_process_is_believed_by_the_other(node: Node, second: Node, key: ECKey) -> None:
    header = await node.token(key)
    with pytest.raises(StoreUnavailable):  # it has not read yet that the party is there
        second.check(header)
    assert await second.registry.run_once() == 1
    assert second.check(header).party_id == ISSUER


@pytest.mark.parametrize("change", ["party", "key", "rights"])
async def test_a_revocation_is_felt_by_another_process_at_its_next_look(
    node: Node, second: Node, key: ECKey, change: str
) -> None:
    header = await node.token(key)
    await second.registry.run_once()
    second.check(header)
    await {
        "party": lambda: node.parties.revoke(ISSUER, ACTOR),
        "key": lambda: node.parties.revoke_key(ISSUER, KID, ACTOR),
        "rights": lambda: node.parties.update(ISSUER, Rights(scopes=frozenset({READ})), ACTOR),
    }[change]()
    assert await second.registry.run_once() == 1
    with pytest.raises(Unauthorized, match="revoked"):
        second.check(header)
    if change != "rights":
        assert await refusal_of(second.token(key)) == "invalid_grant"


async def test_a_restored_party_gets_new_tokens_but_its_old_ones_stay_dead(node: Node, key: ECKey) -> None:
    header = await node.token(key)
    await node.parties.revoke(ISSUER, ACTOR)
    await node.parties.restore(ISSUER, ACTOR)
    await node.registry.run_once()
    with pytest.raises(Unauthorized):
        node.check(header)
    node.check(await node.token(key))


async def test_a_look_that_finds_nothing_new_loads_nothing(node: Node, key: ECKey) -> None:
    snapshot, epoch = node.registry.snapshot, node.registry.epoch
    assert jwk_of(key)
    assert await node.registry.run_once() == 0
    assert (node.registry.snapshot, node.registry.epoch) == (snapshot, epoch)


async def test_without_the_database_tokens_are_believed_for_ten_seconds(second: Node, key: ECKey) -> None:
    await second.registry.run_once()
    header = await second.token(key)
    second.db.close()
    second.clock.forward(9)
    with suppress(Exception):  # whatever a closed database says: it is no answer
        await second.registry.run_once()
    second.check(header)
    second.clock.forward(2)
    with pytest.raises(StoreUnavailable):
        second.check(header)


# ── the platform's own keys ──────────────────────────────────────────────────────────────────────────────────


def published(node: Node) -> list[str]:
    return [one["kid"] for one in msgspec.json.decode(node.registry.jwks())["keys"]]


async def test_processes_that_start_at_once_make_one_key(database_url: str) -> None:
    with opened(database_url) as first_db, opened(database_url) as second_db:
        clock = Clock()
        nodes = [Node(db, clock) for db in (first_db, second_db)]
        await asyncio.gather(*(node.start() for node in nodes))
        await asyncio.gather(*(node.registry.run_once() for node in nodes))
        assert published(nodes[0]) == published(nodes[1])
        assert len(published(nodes[0])) == 1


async def test_a_rotation_leaves_every_token_valid(node: Node, second: Node, key: ECKey) -> None:
    await second.registry.run_once()
    old = published(node)
    before = await node.token(key)
    kid = await second.signing.rotate(ACTOR)
    just_after = await node.token(key)  # the first process has not heard of it
    await node.registry.run_once()
    await second.registry.run_once()
    assert published(node) == published(second) == [*old, kid]
    for each in (node, second):
        each.check(before)
        each.check(just_after)
    node.clock.forward(SETTLE / SECOND)
    await node.registry.run_once()
    await second.registry.run_once()
    with_new_key = await node.token(key)
    assert second.check(with_new_key).party_id == ISSUER
    second.check(before)


async def test_an_old_key_is_forgotten_when_its_last_token_has_expired(node: Node) -> None:
    kid = await node.signing.rotate(ACTOR)
    assert await node.signing.run_once() == 0
    node.clock.forward(RETIRE / SECOND - 1)
    assert await node.signing.run_once() == 0
    node.clock.forward(2)
    assert await node.signing.run_once() == 1
    await node.registry.run_once()
    assert published(node) == [kid]


async def test_a_key_gets_a_successor_when_it_is_old(node: Node) -> None:
    node.clock.forward(MAX_AGE / SECOND - 1)
    assert await node.signing.run_once() == 0
    node.clock.forward(1)
    assert await node.signing.run_once() == 1
    await node.registry.run_once()
    assert len(published(node)) == 2


async def test_after_a_theft_every_token_of_the_old_key_is_dead(node: Node, second: Node, key: ECKey) -> None:
    await second.registry.run_once()
    header = await node.token(key)
    second.check(header)
    kid = await node.signing.rotate(ACTOR, drop_old=True)
    for each in (node, second):
        await each.registry.run_once()
        assert published(each) == [kid]
        with pytest.raises(Unauthorized, match="not in use"):
            each.check(header)
    second.check(await node.token(key))


async def test_a_private_key_is_nowhere_in_clear(node: Node) -> None:
    [row] = await node.db.read(lambda tx: tx.all("signing_keys"))
    private = node.registry.snapshot.ring.keys[0].private.as_dict(private=True)
    assert str(private["d"]).encode() not in bytes(row[2])
    assert "d" not in msgspec.json.decode(row[1])
    told = msgspec.json.encode(await list_audit(node.db))
    assert str(private["d"]).encode() not in told


async def test_a_process_with_another_secret_key_says_so_at_the_start(node: Node) -> None:
    stranger = Node(node.db, node.clock)
    stranger.registry._box = Box(bytes(32))
    with pytest.raises(SettingError, match="secret_key_file"):
        await stranger.start()


# ── the audit ────────────────────────────────────────────────────────────────────────────────────────────────


async def test_every_change_is_written_down_newest_first(node: Node, key: ECKey) -> None:
    began = node.clock.wall()
    steps: list[Callable[[], Awaitable[Any]]] = [
        lambda: node.parties.update(ISSUER, Rights(rate=5), "operator:grace"),
        lambda: node.parties.add_key(ISSUER, jwk_of(key), ACTOR, "key-2"),
        lambda: node.parties.revoke_key(ISSUER, "key-2", ACTOR),
        lambda: node.parties.revoke(ISSUER, ACTOR),
        lambda: node.signing.rotate(ACTOR),
    ]
    for step in steps:
        node.clock.forward(1)
        await step()
    lines = await list_audit(node.db)
    assert [(line.action, line.subject, line.actor) for line in lines if line.at > began] == [
        ("key.rotate", "platform", ACTOR),
        ("party.revoke", ISSUER, ACTOR),
        ("party.key.revoke", ISSUER, ACTOR),
        ("party.key.add", ISSUER, ACTOR),
        ("party.update", ISSUER, "operator:grace"),
    ]
    assert {line.action for line in lines if line.at == began} == {"key.rotate", "party.add", "party.key.add"}
    assert [line.action for line in await list_audit(node.db, subject="platform")] == ["key.rotate"] * 2
    update = next(line for line in lines if line.action == "party.update")
    assert update.before is not None
    assert update.after is not None
    assert msgspec.json.decode(update.before, type=Party).rate == 2_000
    assert msgspec.json.decode(update.after, type=Party).rate == 5
    assert update.at == began + SECOND


async def test_the_audit_is_read_page_by_page(node: Node) -> None:
    for number in range(7):
        node.clock.forward(1)
        await node.parties.add(new_party(PartyKind.OPERATOR, f"operator-{number}"), ACTOR)
    whole = await list_audit(node.db)
    first = await list_audit(node.db, most=3)
    rest = await list_audit(node.db, before=first[-1].audit_id)
    assert first + rest == whole


def test_what_sorts_after_every_id_is_a_letter_or_it_would_come_first_in_many_collations() -> None:
    """Was a bug: `~` comes before all digits in en_US, where the audit and the ledger were empty on PostgreSQL."""
    for last in (LATEST, LAST):
        assert last.isalpha()
        assert last > max("0123456789abcdef")


async def test_what_is_refused_is_not_written_down(node: Node, key: ECKey) -> None:
    before = await list_audit(node.db)
    with pytest.raises(Conflict):
        await node.parties.add_key(ISSUER, jwk_of(key), ACTOR, KID)
    with pytest.raises(InputError):
        await node.parties.update(ISSUER, Rights(rate=0), ACTOR)
    with pytest.raises(Conflict):
        await node.parties.restore(ISSUER, ACTOR)
    assert await list_audit(node.db) == before
    assert await node.registry.run_once() == 0


TAMPERING = """
-- name: change_a_line
UPDATE audit SET actor = 'operator:nobody';

-- name: take_a_line_away
DELETE FROM audit;
"""


@pytest.mark.parametrize("deed", ["change_a_line", "take_a_line_away"])
async def test_nobody_changes_the_audit(node: Node, database_url: str, deed: str) -> None:
    before = await list_audit(node.db)
    assert before
    vandal: Database = open_database(database_url, queries() + TAMPERING)
    try:
        with pytest.raises(Exception, match="audit is append-only"):
            await vandal.transact(lambda tx: tx.run(deed))
    finally:
        vandal.close()
    assert await list_audit(node.db) == before


async def test_a_change_whose_answer_was_lost_is_made_once(node: Node) -> None:
    """PostgreSQL's driver runs a work again when the connection broke around COMMIT; here every work runs twice."""

    class Twice:
        """A database whose every COMMIT succeeds and whose every first answer is lost."""

        def __init__(self, db: Database) -> None:
            self.read = db.read
            self._db = db

        async def transact(self, work: Callable[[Transaction], Any]) -> Any:
            await self._db.transact(work)
            return await self._db.transact(work)

    parties = Parties(Twice(node.db), node.clock.wall)  # type: ignore[arg-type]  # the two methods that are used
    added = await parties.add(new_party(PartyKind.ISSUER, ISSUER), ACTOR)
    assert await parties.find(ISSUER) == added
    revoked = await parties.revoke(ISSUER, ACTOR)
    assert revoked.generation == 2
    assert len(await list_audit(node.db, subject=ISSUER)) == 2


async def test_a_stranger_is_slowed_down_before_anything_is_verified(node: Node, key: ECKey) -> None:
    wrong: ECKey = ECKey.generate_key("P-256")
    outcomes = [await refused(node.token(wrong)) for _ in range(101)]
    assert outcomes == [GrantRefused.__name__] * 100 + ["TooMany"]
    assert await node.exchange(node.assertion(key), peer="192.0.2.9")
    assert PEER != "192.0.2.9"


async def refused(exchange: Awaitable[bytes]) -> str:
    try:
        await exchange
    except Exception as error:  # noqa: BLE001 - its name is the outcome
        return type(error).__name__
    return "granted"
