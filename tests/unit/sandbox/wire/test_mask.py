"""No credential gets into a record, in whatever form it comes."""

import msgspec
import pytest

from cardtrail.sandbox.wire.mask import HIDDEN, MASK, masked_body, masked_header, masked_text

TOKEN = "eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiJ4In0.c2lnbmF0dXJl"
JSON = "application/json"


@pytest.mark.parametrize("name", sorted({*HIDDEN, "encryptedData", "Access_Token"}))
def test_a_hidden_member_is_masked_at_any_depth_whatever_its_value_is(name: str) -> None:
    for value in ("plain-secret", ["plain-secret"], {"x": "plain-secret"}, 17):
        body = msgspec.json.encode({"cards": [{"cardId": "c", "more": {name: value}}]}).decode()
        masked = masked_body(JSON, body)
        assert "plain-secret" not in masked
        assert msgspec.json.decode(masked) == {"cards": [{"cardId": "c", "more": {name: MASK}}]}


@pytest.mark.parametrize(
    "body",
    [
        '{"access_token":"plain-secret', '{"access_token" : "plain\\"plain-secret"',
        '[{"encryptedData":"plain-secret"},',
        '{"encrypted\\u0044ata":"plain-secret"}', '{"assertion":"plain-secret","assertion":""}',
        '{"client_secret":["plain-secret"]}', 'not JSON "ASSERTION":"plain-secret" at all',
    ],
)  # fmt: skip
def test_what_is_broken_off_escaped_or_there_twice_is_masked_too(body: str) -> None:
    assert "plain-secret" not in masked_body(JSON, body)


def test_a_form_is_masked_by_its_names_and_the_rest_stays() -> None:
    form = f"grant_type=jwt&assertion=plain-secret&client%5Fsecret=plain-secret&scope={TOKEN}"
    masked = masked_body("application/x-www-form-urlencoded; charset=utf-8", form)
    assert masked == f"grant_type=jwt&assertion={MASK}&client%5Fsecret={MASK}&scope={MASK}"


def test_whatever_has_the_shape_of_a_token_is_masked_wherever_it_stands() -> None:
    jwe = f"{TOKEN}.b.c"
    assert masked_text(f"/path?token={TOKEN}&x=1") == f"/path?token={MASK}&x=1"
    assert masked_body(JSON, f'{{"note":"{jwe}"}}') == f'{{"note":"{MASK}"}}'
    assert masked_body("text/plain", f"half of {TOKEN[:30]}") == f"half of {MASK}"


def test_of_an_authorization_only_the_scheme_is_left() -> None:
    assert masked_header("authorization", "Bearer plain-secret and more") == f"Bearer {MASK}"
    assert masked_header("authorization", "Basic cGxhaW4=") == f"Basic {MASK}"
    assert masked_header("authorization", "plain-secret") == MASK
    assert masked_header("etag", '"abc"') == '"abc"'


def test_what_holds_no_credential_stays_to_the_byte() -> None:
    body = '{ "operations" : [ {"cardId": "c", "status":"SUCCESSFUL"} ] }'
    assert masked_body(JSON, body) == body
    assert masked_body(JSON, "[" * 100_000) == "[" * 100_000
