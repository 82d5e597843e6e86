"""The page: whole in one file, safe whatever crossed the wire, and found through by hop and card."""

import re

from cardtrail.sandbox.wire.kinds import Hop
from cardtrail.sandbox.wire.page import MAX_BODY, MAX_SHOWN, page_of
from cardtrail.sandbox.wire.record import Exchange, Message

EVIL = '"><script>alert(1)</script>'


def exchange(number: int = 1, body: str = "", path: str = "/x", **members: object) -> Exchange:
    known = {
        "at": "2026-01-05T08:00:00.123Z", "hop": Hop.NOTIFICATIONS, "method": "POST", "status": 204, "ms": 1.5,
        "arrived": True, "request": Message({}, body), "answer": Message({}),
    } | members  # fmt: skip
    return Exchange(number=number, path=path, **known)  # type: ignore[arg-type]  # as named


def test_nothing_that_crossed_the_wire_is_taken_for_html() -> None:
    page = page_of([
        exchange(body=EVIL, path=f"/{EVIL}", faults=[EVIL], request=Message({EVIL: EVIL}, EVIL)),
        exchange(body=f'{{"operations":[{{"cardId":"{EVIL[2:]}"}}]}}'),
    ])  # fmt: skip
    assert "<script>alert" not in page
    assert page.count("<script>") == 1
    assert "&lt;script&gt;alert(1)" in page


def test_it_asks_the_network_for_nothing_and_lets_only_its_own_script_run() -> None:
    page = page_of([exchange()])
    assert re.findall(r"""(?:src|href)=|url\(|import |fetch""", page) == []
    [policy] = re.findall(r'Content-Security-Policy" content="([^"]*)"', page)
    assert re.fullmatch(
        r"default-src 'none'; style-src 'sha256-[^']+'; script-src 'sha256-[^']+'; base-uri 'none'", policy
    )
    assert " style=" not in page
    assert " onclick" not in page


def test_the_newest_comes_first_and_no_more_are_shown_than_a_page_bears() -> None:
    page = page_of([exchange(number) for number in range(1, MAX_SHOWN + 3)])
    numbers = [int(number) for number in re.findall(r'class="number">(\d+)<', page)]
    assert numbers == list(range(MAX_SHOWN + 2, 2, -1))


def test_an_exchange_is_found_by_the_cards_of_its_path_and_of_both_bodies() -> None:
    page = page_of([
        exchange(
            path="/banking/v1/issuers/I/physicalCards/card-1/productionStatus",
            request=Message({}, '{"cardIds":["card-2"]}'), answer=Message({}, '{"operations":[{"cardId":"card-3"}]}'),
        ),
        exchange(path="/banking/v1/issuers/I/physicalCards/productionStatus:batchGet"),
        exchange(request=Message({}, '{"eventId":"e","cardId":"card-4"}'), method="", path="", status=0),
    ])  # fmt: skip
    assert re.findall(r'data-cards="([^"]*)"', page) == ["card-4", "", "card-1 card-2 card-3"]
    assert "an event that was not sent as it is" in page


def test_a_body_is_laid_out_and_a_long_one_cut_and_both_are_said() -> None:
    long, cut = exchange(body="x" * (MAX_BODY + 1)), exchange(request=Message({}, "y", 9))
    page = page_of([exchange(body='{"a":1}'), long, cut])
    assert "&quot;a&quot;: 1" in page
    assert f"The first {MAX_BODY} characters of {MAX_BODY + 1}." in page
    assert "The beginning of 9 bytes." in page


def test_an_empty_record_is_a_page_that_says_so() -> None:
    assert "Nothing has crossed the wire yet." in page_of([])
