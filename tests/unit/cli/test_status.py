"""`cardtrail status`: one card for a person and for a program."""

from pathlib import Path

import msgspec
import pytest

from cardtrail.cli.status import status
from cardtrail.errors import InputError
from tests.desk import desk
from tests.events import event
from tests.serving import ISSUER


@pytest.fixture
def database(tmp_path: Path) -> str:
    url = f"sqlite:///{tmp_path}/cardtrail.db"
    with desk(url) as site:
        site.tell(
            event("requested", "card-1"), event("ready", "card-1", hours=5),
            event("held", "card-1", hours=6, reason="no bodies\x1b[2J"), event("done", "card-1", hours=2),
        )  # fmt: skip
    return url


def test_a_program_is_told_why_each_value_is_what_it_is(database: str, capsys: pytest.CaptureFixture[str]) -> None:
    status(ISSUER, "card-1", database=database, json=True)
    [order] = msgspec.json.decode(capsys.readouterr().out)["orders"]
    because = {each["member"]: (each["value"], each["reason"]) for each in order["because"]}
    assert because["details.status"] == ("CARD_PROD_DONE", "skip")
    assert because["status"] == ("PENDING", "request")
    assert [each["code"] for each in order["anomalies"]] == ["OUT_OF_TURN"]


def test_a_person_is_told_too_and_no_text_obeys_to_the_terminal(
    database: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    status(ISSUER, "card-1", database=database)
    page = capsys.readouterr().out
    assert "why it says that" in page
    assert "the order begins with its request" in page
    assert "\x1b[2J" not in page


def test_a_card_that_is_not_known_ends_in_1(database: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        status(ISSUER, "card-2", database=database)
    assert ended.value.code == 1
    assert "has no card card-2" in capsys.readouterr().err


@pytest.mark.parametrize(("issuer", "card", "field"), [("short", "card-1", "ISSUER_ID"), (ISSUER, "a b", "CARD_ID")])
def test_an_id_that_cannot_be_is_named(database: str, issuer: str, card: str, field: str) -> None:
    with pytest.raises(InputError, match=field):
        status(issuer, card, database=database)
