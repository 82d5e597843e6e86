"""The laws of a call to an endpoint: when it is tried, what it carries, and that only its own signature fits it."""

import re
from base64 import b64decode, b64encode
from collections.abc import Sequence

import msgspec
import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from cardtrail.core.schedule import (
    FIRST_PROBE,
    HOUR,
    LAST_PROBE,
    MAX_ATTEMPTS,
    MAX_RETRY_AFTER,
    SECOND,
    SPAN,
    STEPS,
    next_due,
    probe_after,
)
from cardtrail.errors import InputError, Unauthorized
from cardtrail.protocol.cursor import MAX_CURSOR, MAX_NUMBER, Cursor, decode_cursor, encode_cursor
from cardtrail.protocol.envelope import body_of, halves, webhook_id_of
from cardtrail.protocol.signature import (
    ID,
    LENGTHS,
    PRIVATE,
    PUBLIC,
    SIGNATURE,
    SYMMETRIC,
    TIMESTAMP,
    Signer,
    Verifier,
    headers_of,
    new_key,
    new_secret,
    receivers_secret_of,
)


def named(error: InputError, field: str) -> None:
    """A refusal says which member is wrong, and does not repeat it."""
    assert error.field == field
    assert len(str(error)) < 100


# ── the schedule ─────────────────────────────────────────────────────────────────────────────────────────────

nows = st.integers(0, 2**62)
seeds = st.floats(0, 1, exclude_max=True)
waits = st.one_of(st.none(), st.integers(-10, 2 * MAX_RETRY_AFTER // SECOND), st.integers())


def least(attempt: int, retry_after: int | None) -> int:
    return max(STEPS[attempt - 1], min((retry_after or 0) * SECOND, MAX_RETRY_AFTER))


@given(st.integers(1, MAX_ATTEMPTS - 1), nows, seeds, waits)
def test_a_wait_is_never_shortened_and_lengthened_by_a_fifth_at_most(
    attempt: int, now: int, seed: float, retry_after: int | None
) -> None:
    due = next_due(attempt, now, seed, retry_after)
    assert due is not None
    wait = least(attempt, retry_after)
    assert wait <= due - now <= wait * 12 // 10
    assert due - now <= MAX_RETRY_AFTER * 12 // 10


@given(st.integers(1, 10**6), nows, seeds, waits)
def test_the_schedule_ends_after_the_last_attempt_and_not_before(
    attempt: int, now: int, seed: float, retry_after: int | None
) -> None:
    assert (next_due(attempt, now, seed, retry_after) is None) == (attempt >= MAX_ATTEMPTS)


@given(st.integers(1, MAX_ATTEMPTS - 2), nows, seeds, waits)
def test_later_attempts_never_wait_less(attempt: int, now: int, seed: float, retry_after: int | None) -> None:
    one, two = (next_due(made, now, seed, retry_after) for made in (attempt, attempt + 1))
    assert one is not None
    assert two is not None
    assert one <= two


@given(nows, st.lists(seeds, min_size=MAX_ATTEMPTS - 1, max_size=MAX_ATTEMPTS - 1))
def test_a_notification_is_tried_for_three_days_whatever_chance_does(now: int, chances: list[float]) -> None:
    due = now
    for attempt, seed in enumerate(chances, start=1):
        after = next_due(attempt, due, seed)
        assert after is not None
        due = after
    assert SPAN - 8 * HOUR < sum(STEPS) <= SPAN
    assert sum(STEPS) <= due - now <= sum(STEPS) * 12 // 10


@given(st.integers(0, 10**6), seeds)
def test_probes_stay_between_their_bounds_and_never_come_faster(failures: int, seed: float) -> None:
    wait = probe_after(failures, seed)
    assert FIRST_PROBE <= wait <= LAST_PROBE * 12 // 10
    assert wait <= probe_after(failures + 1, seed)
    assert probe_after(failures, 0.0) <= wait <= probe_after(failures, 0.0) * 12 // 10


# ── cursors ──────────────────────────────────────────────────────────────────────────────────────────────────

issuers = st.from_regex(r"[A-Za-z0-9_-]{10}", fullmatch=True)
cursors = st.builds(
    Cursor, st.from_regex(r"[0-9a-f]{16}", fullmatch=True), issuers, st.integers(0, MAX_NUMBER)
)  # fmt: skip


@given(cursors)
def test_a_place_comes_back_from_its_text(place: Cursor) -> None:
    text = encode_cursor(place)
    assert decode_cursor(text) == place
    assert re.fullmatch(r"[A-Za-z0-9_-]+", text)
    assert len(text) == MAX_CURSOR


@given(st.one_of(st.text(max_size=40), st.from_regex(r"AQ[A-Za-z0-9_-]{34}", fullmatch=True)))
def test_a_text_is_refused_by_name_or_the_only_one_of_its_place(text: str) -> None:
    try:
        place = decode_cursor(text)
    except InputError as error:
        named(error, "since")
    else:
        assert encode_cursor(place) == text


# ── envelopes ────────────────────────────────────────────────────────────────────────────────────────────────

pictures = st.binary(max_size=60).map(lambda data: b'{"p":"%b"}' % data.hex().encode())
names = st.from_regex(re.compile(r"[A-Za-z0-9._#-]{1,80}", re.ASCII), fullmatch=True)
calls = st.tuples(st.sampled_from(["end_1", "end_2"]), st.lists(names, min_size=1, max_size=4), st.booleans())


@given(st.lists(pictures, max_size=5), st.one_of(st.none(), cursors.map(encode_cursor)))
def test_a_body_carries_its_pictures_as_they_are_in_their_order(parts: list[bytes], cursor: str | None) -> None:
    body = msgspec.json.decode(body_of(parts, cursor), type=dict[str, msgspec.Raw])
    assert [bytes(part) for part in msgspec.json.decode(body["operations"], type=list[msgspec.Raw])] == parts
    assert list(body) == (["operations"] if cursor is None else ["operations", "cardtrail"])


@given(calls, calls)
def test_two_calls_share_an_id_only_if_they_carry_the_same(
    one: tuple[str, list[str], bool], two: tuple[str, list[str], bool]
) -> None:
    ids = [webhook_id_of(endpoint_id, group, strict=strict) for endpoint_id, group, strict in (one, two)]
    assert all(re.fullmatch(r"[A-Za-z0-9_-]{1,64}", webhook_id) for webhook_id in ids)
    if one == two:
        assert ids[0] == ids[1]
    elif one[1] != two[1]:
        assert ids[0] != ids[1]


@given(st.sets(st.integers(0, 40)), st.integers(1, 41))
def test_halving_finds_exactly_what_is_refused(wrong: set[int], number: int) -> None:
    refused: list[int] = []
    waiting: list[Sequence[int]] = [range(number)]
    while waiting:
        batch = waiting.pop()
        if wrong.isdisjoint(batch):
            continue
        if len(batch) == 1:
            refused += batch
        else:
            waiting += halves(batch)
    assert set(refused) == wrong & set(range(number))
    assert len(refused) == len(set(refused))


# ── signatures ───────────────────────────────────────────────────────────────────────────────────────────────

NOW = 1_800_000_000
secrets = st.one_of(
    st.binary(min_size=24, max_size=64).map(new_secret), st.binary(min_size=32, max_size=32).map(new_key)
)
ids = st.from_regex(r"[A-Za-z0-9_-]{1,64}", fullmatch=True)
bodies = st.binary(max_size=200)


@given(st.lists(secrets, min_size=1, max_size=4), ids, bodies, st.data())
def test_what_is_signed_is_verified_by_each_secret(
    known: list[str], webhook_id: str, body: bytes, data: st.DataObject
) -> None:
    headers = headers_of(Signer(known), webhook_id, NOW, body)
    receivers = [receivers_secret_of(secret) for secret in known]
    for accepted in (receivers, [data.draw(st.sampled_from(receivers))]):
        assert Verifier(accepted).verify(headers, body, NOW) == webhook_id
    assert headers[SIGNATURE].isascii()
    assert len(headers[SIGNATURE].split(" ")) == len(known)


@given(secrets, secrets, ids, bodies)
def test_another_secret_verifies_nothing(secret: str, other: str, webhook_id: str, body: bytes) -> None:
    assume(secret.rstrip("A=") != other.rstrip("A="))  # a key that ends in zeros means the same to HMAC without them
    headers = headers_of(Signer([secret]), webhook_id, NOW, body)
    with pytest.raises(Unauthorized):
        Verifier([receivers_secret_of(other)]).verify(headers, body, NOW)


def flipped(text: bytes, bit: int) -> bytes:
    changed = bytearray(text)
    changed[bit // 8 % len(text)] ^= 1 << bit % 8
    return bytes(changed)


@given(secrets, ids, bodies.filter(len), st.sampled_from([ID, TIMESTAMP, SIGNATURE, "body"]), st.integers(0, 10**6))
@example(new_secret(bytes(24)), "ntf_1", b"{}", ID, 0)
def test_one_bit_of_difference_is_no_signature(secret: str, webhook_id: str, body: bytes, where: str, bit: int) -> None:
    headers = headers_of(Signer([secret]), webhook_id, NOW, body)
    verifier = Verifier([receivers_secret_of(secret)])
    if where == "body":
        body = flipped(body, bit)
    else:
        headers[where] = flipped(headers[where].encode(), bit).decode("latin-1")
    with pytest.raises(Unauthorized):
        verifier.verify(headers, body, NOW)


@given(secrets, bodies, st.integers(0, 10**6))
def test_one_bit_of_difference_in_the_signature_itself_is_none(secret: str, body: bytes, bit: int) -> None:
    headers = headers_of(Signer([secret]), "ntf_1", NOW, body)
    version, _, text = headers[SIGNATURE].partition(",")
    headers[SIGNATURE] = f"{version},{b64encode(flipped(b64decode(text), bit)).decode()}"
    with pytest.raises(Unauthorized, match="holds no signature"):
        Verifier([receivers_secret_of(secret)]).verify(headers, body, NOW)


@given(st.text(max_size=80), st.text(max_size=20), st.text(max_size=200), bodies)
def test_headers_of_any_kind_are_refused_by_name(webhook_id: str, timestamp: str, signature: str, body: bytes) -> None:
    verifier = Verifier([new_secret(bytes(24)), receivers_secret_of(new_key(bytes(32)))])
    with pytest.raises(Unauthorized, match=r"^webhook-(id|timestamp|signature) "):
        verifier.verify({ID: webhook_id, TIMESTAMP: timestamp, SIGNATURE: signature}, body, NOW)


@given(st.sampled_from([SYMMETRIC, PRIVATE, PUBLIC]), st.binary(max_size=100))
@example(SYMMETRIC, bytes(23))
@example(SYMMETRIC, bytes(65))
@example(PRIVATE, bytes(33))
@example(PUBLIC, bytes(64))
def test_a_secret_of_another_length_is_refused_by_name(prefix: str, key: bytes) -> None:
    assume(len(key) not in LENGTHS[prefix][0])
    secret = prefix + b64encode(key).decode()
    for act in (Signer, Verifier):
        with pytest.raises(InputError, match=f"^secret: .* expected after {prefix}, got {len(key)}$") as caught:
            act([secret])
        assert caught.value.field == "secret"


@given(st.text(max_size=60))
def test_a_secret_of_any_letters_is_refused_by_name_or_taken(text: str) -> None:
    for prefix in ("", SYMMETRIC, PRIVATE, PUBLIC):
        for act in (Signer, Verifier):
            try:
                act([prefix + text])
            except InputError as error:
                named(error, "secret")
