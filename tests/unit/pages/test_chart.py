"""Pictures: every value stands in them as text, and nothing that is given is taken for markup."""

import re
from xml.etree.ElementTree import Element, fromstring

import pytest
from markupsafe import Markup

from cardtrail.pages.chart import Node, Series, bars, flow, lines

NASTY = "<script>&\"'"


def pictures(markup: Markup) -> list[Element]:
    """Return the pictures of a page's part; raises where one is no XML."""
    return [fromstring(text) for text in re.findall(r"<svg.*?</svg>", str(markup), re.DOTALL)]  # noqa: S314 - our own


def texts(picture: Element) -> list[str]:
    return [each.text or "" for each in picture.iter() if each.tag.endswith("text")]


def test_a_flow_has_a_wide_and_a_narrow_form_with_the_same_numbers() -> None:
    nodes = [Node("Requested", 1_234, 5), Node("Delivered", 0, 0)]
    wide, narrow = pictures(flow(nodes, "How many"))
    for picture in (wide, narrow):
        assert {"Requested", "1,234", "+5", "Delivered", "0", "+0"} <= set(texts(picture))
        assert picture.get("role") == "img"
        [title] = [each for each in picture.iter() if each.tag.endswith("title")]
        assert (title.text, title.get("id")) == ("How many", picture.get("aria-labelledby"))


def test_lines_say_each_sum_and_differ_in_mark_and_dash() -> None:
    both = pictures(lines([Series("in", [1, 2]), Series("out", [0, 4])], ["Mon", "Tue"], "t"))
    assert [each.get("class") for each in both] == ["chart lines wide", "chart lines narrow"]
    for picture in both:
        assert {"in 3", "out 4", "Mon", "0", "4"} <= set(texts(picture))
        marks = {each.tag.rpartition("}")[2] for each in picture.iter() if "mark" in (each.get("class") or "")}
        assert marks == {"circle", "rect"}


def test_the_narrow_lines_have_few_labels_and_their_names_below_each_other() -> None:
    series = [Series(name, [1] * 30) for name in ("requested", "shipped", "delivered", "returned")]
    wide, narrow = pictures(lines(series, [f"01-{day:02}" for day in range(1, 31)], "t"))
    for picture, labels, rows in ((wide, 6, 1), (narrow, 3, 2)):
        _, _, width, height = map(float, picture.get("viewBox", "").split())
        texts_in = [each for each in picture.iter() if each.tag.endswith("text")]
        assert sum("01-" in (each.text or "") for each in texts_in) <= labels
        assert len({each.get("y") for each in texts_in if each.get("class") == "legend"}) == rows
        assert all(0 <= float(each.get("x", "")) <= width and float(each.get("y", "")) <= height for each in texts_in)


def test_bars_say_each_value() -> None:
    [picture] = pictures(bars({"early": 3, "late": 0}, "t", "early"))
    assert texts(picture) == ["early", "3", "late", "0"]


@pytest.mark.parametrize("empty", [flow([], "t"), lines([], [], "t"), lines([Series("a", [])], [], "t"), bars({}, "t")])
def test_without_values_there_is_still_a_picture(empty: Markup) -> None:
    assert pictures(empty)


def test_what_is_given_is_text() -> None:
    told = (
        flow([Node(NASTY, 1, 1, link=NASTY)], NASTY)
        + bars({NASTY: 1}, NASTY)
        + lines([Series(NASTY, [1])], [NASTY], NASTY)
    )
    assert "<script>" not in told
    assert all(NASTY in texts(picture) or f"{NASTY} 1" in texts(picture) for picture in pictures(told))


def test_where_there_is_no_value_nothing_is_drawn_and_a_lone_one_is_marked() -> None:
    """Regression: a day without a value was drawn as a zero."""
    series = [Series("stated", [None, 3, 4, None, 5], "5 days")]
    picture = str(lines(series, list("abcde"), "The bound")).partition("</svg>")[0]
    assert len(re.findall(r"<polyline", picture)) == 2
    assert [len(each.split()) for each in re.findall(r'points="([^"]*)"', picture)] == [2, 1]
    assert "stated 5 days" in picture
