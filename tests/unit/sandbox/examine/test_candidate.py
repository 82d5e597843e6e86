"""What is wrong with a candidate is named, and no secret is quoted."""

from typing import Any

import pytest

from cardtrail.errors import InputError
from cardtrail.sandbox.examine.candidate import Candidate
from cardtrail.sandbox.examine.case import Need
from tests.serving import ISSUER
from tests.signed import SECRET

GOOD: dict[str, Any] = {"url": "https://bank.example/hooks", "issuer_id": ISSUER}


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({"url": ""}, "url"), ({"url": "bank.example"}, "url"), ({"url": "ftp://bank.example"}, "url"),
        ({"url": "http://"}, "url"), ({"url": "http://bank.example:99999"}, "url"), ({"url": "http://[::1"}, "url"),
        ({"url": "http://me:pw@bank.example"}, "url"), ({"url": "http://bank.example/?a=1"}, "url"),
        ({"url": "http://bank.example/a b"}, "url"), ({"url": "http://bank.example/\r\nx: y"}, "url"),
        ({"state": "bank.example/state"}, "state"), ({"issuer_id": "short"}, "issuer_id"),
        ({"secret": "whsec_abc"}, "secret"), ({"secret": "whpk_" + "A" * 43 + "="}, "secret"),
        ({"secret": SECRET, "second_secret": SECRET}, "second_secret"),
        ({"second_secret": SECRET}, "second_secret"), ({"secret": SECRET, "second_secret": "x"}, "second_secret"),
        ({"token": "two words"}, "token"), ({"ca_pem": b"no certificate"}, "ca_file"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named(given: dict[str, Any], field: str) -> None:
    with pytest.raises(InputError) as refused:
        Candidate(**{**GOOD, **given}).check()
    assert refused.value.field == field
    assert str(refused.value).startswith(f"{field}: ")
    assert SECRET not in str(refused.value)


def test_a_good_one_tells_where_its_notifications_go() -> None:
    candidate = Candidate(**{**GOOD, "url": "https://bank.example:8443/hooks/"})
    candidate.check()
    assert candidate.origin == "https://bank.example:8443"
    assert candidate.path == f"/hooks/notifications/d1/v2/issuers/{ISSUER}/cards"


def test_what_a_case_needs_and_was_not_given_is_found() -> None:
    candidate = Candidate(**GOOD, secret=SECRET)
    assert candidate.missing(()) is None
    assert candidate.missing((Need.SECRET,)) is None
    assert candidate.missing((Need.SECRET, Need.SECOND)) is Need.SECOND


def test_what_is_secret_is_hidden_also_where_json_writes_its_slashes_in_another_way() -> None:
    candidate = Candidate(**GOOD, token="to/ken", secret=SECRET)
    assert candidate.hide(f'to/ken {SECRET} "to\\/ken"') == '(hidden) (hidden) "(hidden)"'
