"""The pages as people see them: in a real browser, at both widths, in both themes, by hand and by keyboard."""

import re
from itertools import count
from typing import Any

import pytest
from playwright.sync_api import Browser, FloatRect, Page, Route, ViewportSize, expect

from cardtrail.platform.ui.pages import PAGES
from tests.looking import Site, Visit, log_in, screenshots, serious

WIDTHS, THEMES = (380, 1600), ("light", "dark")
TALLEST = 1_400
"""How much of a page is on its picture, pixels."""
PLACES = {
    "overview": "", "stuck": "stuck", "deliveries": "deliveries", "promise": "promise", "search": "cards?q=sbx-r",
    "card": "cards/sbx-re-order-0", "card-held": "cards/held-card", "contract": "../../contract",
    "audit": "../../audit", "audit-searched": "../../audit?action=account.add&actor=operator%3Atest",
}  # fmt: skip


@pytest.mark.parametrize("theme", THEMES)
@pytest.mark.parametrize("width", WIDTHS)
def test_every_page_fits_and_can_be_read_by_everyone(site: Site, visit: Visit, width: int, theme: str) -> None:
    problems = []
    with visit(width=width, theme=theme) as page:
        for name, path in PLACES.items():
            page.goto(site.home + path)
            assert page.evaluate("document.documentElement.scrollWidth") <= width, name
            pictured(page, f"{name}-{width}-{theme}.png", width)
            problems += [(name, each) for each in serious(page)]
    assert problems == []


def pictured(page: Page, name: str, width: int) -> None:
    """Take a picture of a page, as far as it is not too long for one."""
    height = min(page.evaluate("document.documentElement.scrollHeight"), TALLEST)
    clip: FloatRect = {"x": 0, "y": 0, "width": width, "height": height}
    page.screenshot(path=screenshots() / name, full_page=True, clip=clip)


def test_every_page_of_the_menu_is_among_those_that_are_looked_at() -> None:
    assert {path for path, _ in PAGES} <= set(PLACES.values())


@pytest.mark.parametrize("theme", THEMES)
@pytest.mark.parametrize("width", WIDTHS)
def test_the_pages_of_the_door_can_be_read_by_everyone(site: Site, browser: Browser, width: int, theme: str) -> None:
    """The log-in, what is told to who may see no issuer, and what is told of a page that is not there."""
    problems = []
    size: ViewportSize = {"width": width, "height": 600}
    page = browser.new_page(viewport=size, color_scheme=theme)  # type: ignore[arg-type]  # one of its words
    for name, path in (("login", "/ui/login"), ("issuers", "/ui/"), ("refused", "/ui/no-such-page")):
        page.goto(site.root + path)
        assert page.evaluate("document.documentElement.scrollWidth") <= width, name
        pictured(page, f"{name}-{width}-{theme}.png", width)
        problems += [(name, each) for each in serious(page)]
        if name == "login":
            log_in(page, site.root, "stranger")
            page.wait_for_url("**/ui/")
    expect(page.get_by_text("There is no such page.")).to_be_visible()
    page.close()
    assert problems == []


def test_who_logs_out_is_led_back_by_the_log_in(site: Site, visit: Visit) -> None:
    with visit() as page:
        page.get_by_role("button", name="Log out").click()
        page.wait_for_url("**/ui/login")
        page.goto(site.home)
        page.wait_for_url("**/ui/login?next=**")


def test_a_wrong_password_lets_nobody_in(site: Site, browser: Any) -> None:
    page = browser.new_page()
    log_in(page, site.root, "operator", "wrong password")
    expect(page.get_by_role("alert")).to_have_text("Name or password is wrong.")
    page.close()


def test_a_page_is_drawn_anew_when_something_moves(site: Site, visit: Visit) -> None:
    with visit() as page:
        page.goto(site.home + "cards/sbx-happy-now")
        before = page.locator("ol.timeline li").count()
        site.platform.clock.advance("4d")
        expect(page.locator("ol.timeline li").nth(before)).to_be_visible(timeout=15_000)


def test_what_is_open_focused_and_typed_stays_so_when_the_page_is_drawn_anew(site: Site, visit: Visit) -> None:
    opened = "".join(
        f'<details id="{name.lower()}"><summary>{name}</summary>of it</details>' for name in ("More", "Less")
    )
    with visit() as page:
        page.route("**/stuck", lambda route: with_part(route, opened))
        page.goto(site.home + "stuck")
        page.get_by_text("More").click()
        name = page.get_by_label("Limit for").nth(1).get_attribute("aria-label")
        field = page.get_by_label(name or "", exact=True).first
        field.fill("12.5")
        page.evaluate("document.activeElement.setSelectionRange(1, 3)")
        drawn_anew(page, site)
        expect(page.locator("#more")).to_have_attribute("open", "")
        expect(page.locator("#less")).not_to_have_attribute("open", "")
        expect(field).to_have_value("12.5")
        expect(field).to_be_focused()
        assert page.evaluate("[document.activeElement.ariaLabel, document.activeElement.selectionStart]") == [name, 1]
        page.get_by_text("More").press("Enter")  # and what is closed again stays closed
        drawn_anew(page, site)
        expect(page.get_by_text("More")).to_be_focused()
        expect(page.locator("#more")).not_to_have_attribute("open", "")


def test_the_focus_never_goes_to_a_button_of_something_else(site: Site, visit: Visit) -> None:
    with visit() as page:
        page.goto(site.home + "stuck")
        page.locator("form:has([name=carrier]:not([value=''])) button", has_text="Set").first.focus()
        group = "[...new FormData(document.activeElement.form)].filter(([name]) => name !== 'csrf').join()"
        before = page.evaluate(group)
        drawn_anew(page, site)
        expect(page.locator(":focus")).to_have_text("Set")
        assert page.evaluate(group) == before
        carrier = page.locator(":focus").locator("xpath=..").locator("[name=carrier]").get_attribute("value")
        page.route("**/stuck", lambda route: without_carrier(route, carrier or ""))
        drawn_anew(page, site)
        expect(page.get_by_role("button", name="Set").nth(1)).to_be_visible()
        assert page.evaluate("document.activeElement === document.body")


def with_part(route: Route, part: str) -> None:
    """Answer a page with something more in what is drawn anew."""
    answer = route.fetch()
    route.fulfill(response=answer, body=answer.text().replace("drawn anew by itself", f"drawn anew by itself {part}"))


def without_carrier(route: Route, carrier: str) -> None:
    """Answer a page on which no form is of that carrier."""
    answer = route.fetch()
    field = '<input type="hidden" name="carrier" value="{}">'
    body = answer.text().replace(field.format(carrier), field.format("another"))
    route.fulfill(response=answer, body=body)


_numbers = count()


def drawn_anew(page: Page, site: Site) -> None:
    """Let something move, and wait until the page shows it. Time alone moves nothing where every card has ended."""
    page.evaluate("document.getElementById('live').dataset.old = 'yes'")
    site.platform.order(f"moved-{next(_numbers)}")
    expect(page.locator("#live")).not_to_have_attribute("data-old", "yes", timeout=15_000)


def test_the_throughput_can_be_read_on_a_phone_without_scrolling(site: Site, visit: Visit) -> None:
    boxes = """() => [...document.querySelectorAll('.chart.lines')]
        .filter((each) => each.checkVisibility()).map((each) => [...each.querySelectorAll('text')]
        .map((text) => [text.textContent, text.getBoundingClientRect().toJSON()]))"""
    for width, labels in ((380, 3), (1600, 6)):
        with visit(width=width) as page:
            page.goto(site.home + "?range=30d")
            [texts] = page.evaluate(boxes)
            assert 0 < sum(bool(re.fullmatch(r"\d\d-\d\d", text)) for text, _ in texts) <= labels
            assert {text.split()[0] for text, _ in texts} >= {"Requested", "Shipped", "Delivered"}
            assert [text for text, box in texts if box["left"] < 0 or box["right"] > width] == []
            assert [text for text, box in texts if box["height"] < 12] == []
            for one, (text, box) in enumerate(texts):
                assert [other for other, beside in texts[one + 1 :] if overlap(box, beside)] == [], text


def overlap(one: dict[str, float], other: dict[str, float]) -> bool:
    """Tell whether one text lies over another, by more than a hair."""
    return (
        min(one["right"], other["right"]) - max(one["left"], other["left"]) > 1
        and min(one["bottom"], other["bottom"]) - max(one["top"], other["top"]) > 2
    )


def number_of(site: Site, card_id: str) -> str:
    """Return the tracking number of a card."""
    shipment = site.platform.status(card_id).shipment
    assert shipment is not None
    assert shipment.tracking_number is not None
    return shipment.tracking_number


def test_a_card_is_found_by_its_number_and_says_why(site: Site, visit: Visit) -> None:
    number = number_of(site, "sbx-returned-0")
    with visit() as page:
        page.goto(site.home)
        page.get_by_label("Card, request or tracking number").fill(number)
        page.get_by_role("button", name="Find").click()
        page.wait_for_url("**/cards/sbx-returned-0")
        row = page.get_by_role("row").filter(has_text="details.status").first
        expect(row).to_contain_text("CARD_RETURNED")
        expect(row).to_contain_text("the carrier brings it back to the sender")
        expect(row).to_contain_text("carrier:")
        expect(page.locator("li.scanned").first).to_be_visible()


def test_what_was_not_delivered_is_looked_at_before_it_is_sent_again(site: Site, visit: Visit) -> None:
    with visit() as page:
        page.goto(site.home + "deliveries")
        expect(page.get_by_role("button", name="again")).to_have_count(0)
        page.get_by_label("What").select_option("PENDING")
        page.get_by_role("button", name="Preview").click()
        expect(page.get_by_role("status").first).to_contain_text("are on their way already")
        page.get_by_role("button", name="again").click()
        expect(page.get_by_role("status").first).to_contain_text("are on their way again")
        page.goto(f"{site.root}/ui/audit")
        expect(page.get_by_role("row").filter(has_text="notifications.replay").first).to_contain_text(
            "account:operator"
        )


def test_a_limit_is_set_and_learned_again(site: Site, visit: Visit) -> None:
    with visit() as page:
        page.goto(site.home + "stuck")
        first = page.get_by_label("Limit for").first
        first.fill("2.5")
        first.press("Enter")
        expect(page.get_by_role("status").first).to_contain_text("The limit is set.")
        expect(page.get_by_text("set by a person").first).to_be_visible()
        page.get_by_label("Limit for").first.fill("")
        page.get_by_label("Limit for").first.press("Enter")
        expect(page.get_by_role("status").first).to_contain_text("learned again")


def test_who_may_only_look_sees_no_switch_and_no_personal_data(site: Site, visit: Visit) -> None:
    number = number_of(site, "sbx-returned-0")
    with visit("viewer") as page:
        for path in ("stuck", "deliveries"):
            page.goto(site.home + path)
            expect(page.locator("main form[method=post]")).to_have_count(0)
        page.goto(site.home + "cards/sbx-returned-0")
        assert number not in page.content()
        expect(page.get_by_text("hidden").first).to_be_visible()
        expect(page.get_by_role("link", name="Audit trail")).to_have_count(0)


def test_another_issuers_pages_are_not_there(site: Site, visit: Visit) -> None:
    with visit("stranger") as page:
        for path in PLACES.values():
            answer = page.request.get(site.home + path)
            assert answer.status == 404, path


def test_all_can_be_done_by_keyboard(site: Site, visit: Visit) -> None:
    with visit() as page:
        page.goto(site.home)
        page.keyboard.press("Tab")
        expect(page.get_by_role("link", name="Skip to the content")).to_be_focused()
        page.keyboard.press("Enter")
        seen = []
        for _ in range(12):
            page.keyboard.press("Tab")
            if page.evaluate("document.activeElement === document.body"):
                break  # past the last one
            seen.append(page.evaluate("document.activeElement.innerText || document.activeElement.name"))
            assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") != "none", seen
        assert {"q", "Find", "24h", "30d"} <= set(seen)
