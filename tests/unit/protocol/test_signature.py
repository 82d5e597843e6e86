"""Signatures: published vectors, an independent judge, and each way in which a call is not signed."""

import json
from base64 import b64decode, b64encode
from collections.abc import Callable
from datetime import UTC, datetime

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from cardtrail.errors import InputError, Unauthorized
from cardtrail.protocol.signature import (
    ID,
    MAX_SECRETS,
    MAX_SIGNATURES,
    PRIVATE,
    PUBLIC,
    SIGNATURE,
    SYMMETRIC,
    TIMESTAMP,
    TOLERANCE,
    Signer,
    StaleSignature,
    Verifier,
    headers_of,
    new_key,
    new_secret,
    receivers_secret_of,
    sign,
    verify,
)

BODY = b'{"operations":[{"operationId":"op-1"}]}'
NOW = 1_800_000_000
OLD, NEW = new_secret(b"old secret, with enough of bytes"), new_secret(b"new secret, with enough of bytes")
KEY, OTHER_KEY = new_key(bytes(range(32))), new_key(bytes(range(1, 33)))
PAIR = receivers_secret_of(KEY)


def signed(*secrets: str, body: bytes = BODY) -> dict[str, str]:
    return headers_of(Signer(secrets), "ntf_1", NOW, body)


def refusal(act: Callable[[], object]) -> InputError:
    with pytest.raises(InputError) as caught:
        act()
    return caught.value


# ── published vectors ────────────────────────────────────────────────────────────────────────────────────────

MESSAGE = ("msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, b'{"test": 2432232314}')
VECTORS = [
    (
        SYMMETRIC + "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
        "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
    ),
    (
        PRIVATE + "VEVTVFNJR05JTkdLRVlET05PVFVTRVRISVNGT1JBTlk=",
        "v1a,tQ9V2XOqn7jL/DQenEFpqIugdBVtiMmER5mhSkXBNwM0mkATuDe6KYYUuxqtaiHeYGb7KaaBRdM5WqyeFiL8Ag==",
    ),
    (
        PRIVATE + "6Xb/dCcHpPea21PS1N9VY/NZW723CEc77N4rJCubMbfVKIDij2HKpMKkioLlX0dRqSKJp4AJ6p9lMicMFs6Kvg==",
        "v1a,hnO3f9T8Ytu9HwrXslvumlUpqtNVqkhqw/enGzPCXe5BdqzCInXqYXFymVJaA7AZdpXwVLPo3mNl8EM+m7TBAg==",
    ),
]


@pytest.mark.parametrize(("secret", "signature"), VECTORS, ids=["v1", "v1a, seed", "v1a, seed and public key"])
def test_published_signatures_are_made_and_verified(secret: str, signature: str) -> None:
    """The first two are the vectors of the specification's reference library (Go). The third is Svix's, whose format
    the specification took over; its signature is also the specification's example of a header.
    """
    webhook_id, timestamp, body = MESSAGE
    assert sign([secret], webhook_id, timestamp, body) == signature
    headers = {ID: webhook_id, TIMESTAMP: str(timestamp), SIGNATURE: signature}
    assert verify([receivers_secret_of(secret)], headers, body, timestamp) == webhook_id


def test_the_published_pair_belongs_together() -> None:
    assert receivers_secret_of(VECTORS[2][0]) == PUBLIC + "1SiA4o9hyqTCpIqC5V9HUakiiaeACeqfZTInDBbOir4="


RFC_8032 = [
    (
        "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
        "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
    ),
    (
        "c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7",
        "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025",
    ),
]


@pytest.mark.parametrize(("seed", "public"), RFC_8032)
def test_keys_of_rfc_8032_have_their_published_halves(seed: str, public: str) -> None:
    secret = new_key(bytes.fromhex(seed))
    assert receivers_secret_of(secret) == PUBLIC + b64encode(bytes.fromhex(public)).decode()
    both = PRIVATE + b64encode(bytes.fromhex(seed + public)).decode()
    assert sign([both], *MESSAGE) == sign([secret], *MESSAGE)


# ── independent judges ───────────────────────────────────────────────────────────────────────────────────────


def test_the_independent_package_accepts_what_we_sign() -> None:
    """`standardwebhooks` has no argument for the time: the call is signed for its clock."""
    now = int(datetime.now(tz=UTC).timestamp())
    headers = headers_of(Signer([NEW, OLD, KEY]), "ntf_1", now, BODY)
    for secret in (OLD, NEW):
        assert Webhook(secret).verify(BODY, headers) == json.loads(BODY)
    with pytest.raises(WebhookVerificationError):
        Webhook(OLD).verify(BODY + b" ", headers)
    with pytest.raises(WebhookVerificationError):
        Webhook(new_secret(bytes(32))).verify(BODY, headers)


def test_we_accept_what_the_independent_package_signs() -> None:
    signature = Webhook(OLD).sign("ntf_1", datetime.fromtimestamp(NOW, tz=UTC), BODY.decode())
    headers = {ID: "ntf_1", TIMESTAMP: str(NOW), SIGNATURE: signature}
    assert verify([NEW, OLD], headers, BODY, NOW) == "ntf_1"
    assert signature == sign([OLD], "ntf_1", NOW, BODY)


def test_a_receiver_with_nothing_but_the_library_accepts_what_we_sign() -> None:
    """`cryptography` is the judge of v1a, from the header as it goes out and the key as it is handed out."""
    headers = signed(KEY)
    version, _, signature = headers[SIGNATURE].partition(",")
    public = Ed25519PublicKey.from_public_bytes(b64decode(PAIR.removeprefix(PUBLIC)))
    public.verify(b64decode(signature), f"{headers[ID]}.{headers[TIMESTAMP]}.{BODY.decode()}".encode())
    assert version == "v1a"
    private = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
    assert b64decode(signature) == private.sign(b"ntf_1.%d.%b" % (NOW, BODY))


# ── rotation ─────────────────────────────────────────────────────────────────────────────────────────────────


def test_each_secret_signs_and_the_current_one_comes_first() -> None:
    parts = signed(NEW, OLD, KEY)[SIGNATURE].split(" ")
    assert parts == [sign([secret], "ntf_1", NOW, BODY) for secret in (NEW, OLD, KEY)]
    assert [part.partition(",")[0] for part in parts] == ["v1", "v1", "v1a"]


@pytest.mark.parametrize("accepted", [[NEW], [OLD], [OLD, NEW], [PAIR], [new_secret(bytes(32)), PAIR]])
def test_whoever_knows_one_of_the_secrets_verifies(accepted: list[str]) -> None:
    assert Verifier(accepted).verify(signed(NEW, OLD, KEY), BODY, NOW) == "ntf_1"


@pytest.mark.parametrize(
    "accepted", [[new_secret(bytes(32))], [receivers_secret_of(OTHER_KEY)], [OLD, receivers_secret_of(OTHER_KEY)]]
)
def test_whoever_knows_none_of_them_does_not(accepted: list[str]) -> None:
    with pytest.raises(Unauthorized, match="webhook-signature holds no signature of this call"):
        verify(accepted, signed(NEW, KEY), BODY, NOW)


def test_a_signer_serves_many_calls() -> None:
    signer, verifier = Signer([NEW, KEY]), Verifier([PAIR])
    for number in range(3):
        body = b'{"n":%d}' % number
        headers = headers_of(signer, f"ntf_{number}", NOW + number, body)
        assert verifier.verify(headers, body, NOW) == f"ntf_{number}"
        assert Verifier([NEW]).verify(headers, body, NOW) == f"ntf_{number}"


# ── calls that are not signed ────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("name", [ID, TIMESTAMP, SIGNATURE])
def test_a_header_that_is_missing_is_named(name: str) -> None:
    headers = signed(NEW)
    for without in ({key: value for key, value in headers.items() if key != name}, headers | {name: ""}):
        with pytest.raises(Unauthorized, match=f"^{name} is missing$"):
            verify([NEW], without, BODY, NOW)


@pytest.mark.parametrize("late", [-TOLERANCE, -1, 0, 1, TOLERANCE])
def test_a_clock_may_differ_by_the_tolerance(late: int) -> None:
    assert verify([NEW], signed(NEW), BODY, NOW + late) == "ntf_1"


@pytest.mark.parametrize(("late", "told"), [(TOLERANCE + 1, "301 seconds old"), (-TOLERANCE - 1, "301 seconds ahead")])
def test_a_call_from_another_time_is_stale(late: int, told: str) -> None:
    with pytest.raises(StaleSignature, match=f"^webhook-timestamp is {told}, which is more than 300$"):
        verify([NEW], signed(NEW), BODY, NOW + late)


def test_the_receiver_chooses_its_tolerance() -> None:
    assert verify([NEW], signed(NEW), BODY, NOW + 10, tolerance=10) == "ntf_1"
    with pytest.raises(StaleSignature):
        verify([NEW], signed(NEW), BODY, NOW + 11, tolerance=10)


WIDE = "".join(chr(0xFF10 + int(digit)) for digit in str(NOW))


@pytest.mark.parametrize(
    "timestamp", [f"{NOW}.0", f" {NOW}", f"{NOW}\n", f"+{NOW}", "-1", "now", "1" * 13, "1_0", WIDE]
)
def test_a_time_that_is_no_whole_number_is_refused(timestamp: str) -> None:
    with pytest.raises(Unauthorized, match="webhook-timestamp must be whole seconds"):
        verify([NEW], signed(NEW) | {TIMESTAMP: timestamp}, BODY, NOW)


def test_a_time_written_otherwise_is_not_what_was_signed() -> None:
    with pytest.raises(Unauthorized, match="holds no signature"):
        verify([NEW], signed(NEW) | {TIMESTAMP: f"0{NOW}"}, BODY, NOW)


NO_IDS = ["ntf.1", ".", "ntf 1", "ntf\n1", "ntf\x00", "ntf_\xe4", "n" * 257]


@pytest.mark.parametrize("webhook_id", NO_IDS)
def test_an_id_that_could_be_read_in_two_ways_is_neither_signed_nor_verified(webhook_id: str) -> None:
    assert refusal(lambda: sign([NEW], webhook_id, NOW, BODY)).field == ID
    with pytest.raises(Unauthorized, match="webhook-id must be"):
        verify([NEW], signed(NEW) | {ID: webhook_id}, BODY, NOW)


def test_no_id_is_not_signed() -> None:
    assert refusal(lambda: sign([NEW], "", NOW, BODY)).field == ID


def test_what_was_signed_cannot_be_cut_at_another_place() -> None:
    body = b"1800000001.{}"
    headers = signed(NEW, body=body)
    moved = headers | {ID: f"ntf_1.{NOW}", TIMESTAMP: "1800000001"}
    with pytest.raises(Unauthorized):
        verify([NEW], moved, b"{}", NOW)


GOOD, GOOD_KEY = signed(NEW)[SIGNATURE], signed(KEY)[SIGNATURE]


@pytest.mark.parametrize(
    "around", ["v2,{} {}", "{} v0,x", "x {}", "v1 {}", ", {}", "v1,\xe4 {}", "v1,\udce4 {}", "v1a,\xe4 {}", " {}"]
)
def test_signatures_of_unknown_versions_are_ignored(around: str) -> None:
    for good, secret in ((GOOD, NEW), (GOOD_KEY, PAIR)):
        headers = signed(NEW) | {SIGNATURE: around.format(*[good] * around.count("{}"))}
        assert verify([secret], headers, BODY, NOW) == "ntf_1"


@pytest.mark.parametrize(
    "signature",
    [
        "v1,", "v1a,", "v1", ",", " ", GOOD[3:], GOOD.replace("v1,", "v2,"), GOOD.replace("v1,", "v1a,"),
        GOOD.replace("v1,", "V1,"), GOOD[:-1], GOOD + "=", GOOD.replace(",", ", "), GOOD + "\n", GOOD_KEY[:-2],
        GOOD_KEY.replace("v1a,", "v1,"), GOOD_KEY + "\n", GOOD_KEY.replace("v1a,", "v1a, "), "v1a," + "A" * 88,
        "v1a,ä", "v1a,\udce4", "v1,\udce4",
    ],
)  # fmt: skip
def test_anything_else_is_no_signature(signature: str) -> None:
    with pytest.raises(Unauthorized, match="holds no signature"):
        verify([NEW, PAIR], signed(NEW) | {SIGNATURE: signature}, BODY, NOW)


def test_the_work_a_stranger_can_ask_for_is_bounded() -> None:
    wrong = GOOD.replace("v1,", "v9,")
    most = signed(NEW) | {SIGNATURE: " ".join([wrong] * (MAX_SIGNATURES - 1) + [GOOD])}
    assert verify([NEW], most, BODY, NOW) == "ntf_1"
    for signature in (" ".join([wrong] * MAX_SIGNATURES + [GOOD]), GOOD + " " + "x" * 1_024):
        with pytest.raises(Unauthorized, match="is longer than 1024 characters or 8 signatures"):
            verify([NEW], signed(NEW) | {SIGNATURE: signature}, BODY, NOW)


def test_all_secrets_in_use_fit_into_what_a_receiver_looks_at() -> None:
    keys = [new_key(bytes([number] * 32)) for number in range(MAX_SECRETS)]
    assert verify([receivers_secret_of(keys[-1])], signed(*keys), BODY, NOW) == "ntf_1"


# ── secrets ──────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("secret", "told"),
    [
        ("", "whsec_, whsk_ or whpk_ and base64"), ("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whsec_, whsk_ or whpk_"),
        ("WHSEC_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whsec_, whsk_ or whpk_"), (" " + OLD, "whsec_, whsk_ or whpk_"),
        (OLD + "\n", "base64 expected after whsec_"), (OLD.rstrip("="), "base64 expected after whsec_"),
        (OLD.replace("b", "-"), "base64 expected after whsec_"), ("whsec_\xe4", "base64 expected after whsec_"),
        (SYMMETRIC, "24 to 64 bytes expected after whsec_, got 0"), (PRIVATE, "after whsk_, got 0"),
        (PUBLIC, "32 bytes expected after whpk_, got 0"),
    ],
)  # fmt: skip
def test_a_secret_that_is_none_is_refused_by_name(secret: str, told: str) -> None:
    for error in (refusal(lambda: Signer([secret])), refusal(lambda: Verifier([secret]))):
        assert error.field == "secret"
        assert told in str(error)
        assert "MfKQ9r8G" not in str(error)
        assert OLD[6:20] not in str(error)
    assert refusal(lambda: receivers_secret_of(secret)).field == "secret"


def test_bits_that_mean_nothing_are_no_second_spelling_of_a_secret() -> None:
    assert OLD.endswith("M=")
    assert refusal(lambda: Signer([OLD.replace("M=", "N=")])).field == "secret"


def test_each_side_has_its_own_half_of_a_pair() -> None:
    assert "whpk_ is a public key" in str(refusal(lambda: Signer([PAIR])))
    assert "whsk_ is the sender's alone" in str(refusal(lambda: Verifier([KEY])))
    assert receivers_secret_of(OLD) == OLD
    assert receivers_secret_of(PAIR) == PAIR


def test_a_pair_of_strangers_is_refused() -> None:
    mixed = PRIVATE + b64encode(bytes(64)).decode()
    for act in (lambda: Signer([mixed]), lambda: receivers_secret_of(mixed)):
        assert "not that of its seed" in str(refusal(act))


@pytest.mark.parametrize("number", [0, MAX_SECRETS + 1])
def test_as_many_secrets_as_can_be_in_use(number: int) -> None:
    for error in (refusal(lambda: Signer([OLD] * number)), refusal(lambda: Verifier([OLD] * number))):
        assert (error.field, error.code) == ("secret", "FIELD_INVALID_VALUE")


def test_neither_side_shows_its_secrets() -> None:
    assert "old secret" not in repr(Signer([OLD])) + repr(Verifier([OLD]))
    assert OLD not in repr(vars(Signer)) + repr(vars(Verifier))
