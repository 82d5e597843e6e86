"""What looks like a card number is masked wherever it turns up in a log."""

import io
import json
import logging
from contextlib import redirect_stderr

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st

from cardtrail.logs import configure, is_pan_like, masked

PAN = "4111111111111111"


def luhn_digit(digits: str) -> str:
    """Return the digit that makes the number pass."""
    return next(str(last) for last in range(10) if is_pan_like(digits + str(last)))


@given(st.text("0123456789", min_size=12, max_size=18))
def test_every_number_of_13_to_19_digits_with_a_right_check_digit_is_masked(digits: str) -> None:
    number = digits + luhn_digit(digits)
    assert masked(f"/cards/{number}/x") == f"/cards/{'*' * (len(number) - 4)}{number[-4:]}/x"


@pytest.mark.parametrize("text", ["411111111111", "4111111111111112", "a4b", "12345678901234567890", ""])
def test_other_numbers_stay_readable(text: str) -> None:
    assert masked(text) == text


def test_a_log_line_masks_card_numbers_and_secrets_and_says_so() -> None:
    output = io.StringIO()
    with redirect_stderr(output):
        configure("info")
        structlog.get_logger().info("request", path=f"/cards/{PAN}", authorization="Bearer abc")
        logging.getLogger("somewhere").warning("card %s", PAN)
    lines = [json.loads(line) for line in output.getvalue().splitlines()]
    assert PAN not in output.getvalue()
    assert "abc" not in output.getvalue()
    assert [line["pan_like"] for line in lines] == [True, True]
    assert lines[0]["path"] == "/cards/************1111"


@pytest.mark.parametrize(("level", "shown"), [("debug", 1), ("info", 1), ("warning", 0)])
def test_the_kits_own_lines_are_shown_from_the_level_on_and_others_only_when_something_is_amiss(
    level: str, shown: int
) -> None:
    """Regression: `cardtrail issuer serve --log-level info` never showed why a notification was refused."""
    output = io.StringIO()
    with redirect_stderr(output):
        configure(level)
        logging.getLogger("cardtrail.issuer").info("answered 401")
        logging.getLogger("somebody.else").info("chatter")
    assert [json.loads(line)["event"] for line in output.getvalue().splitlines()] == ["answered 401"] * shown
