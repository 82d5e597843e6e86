"""The pages of a mirror as people see them: in a real browser, at both widths, in both themes."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, expect

from cardtrail.issuer.ui.pages import PAGES
from cardtrail.sandbox.hired import hired
from cardtrail.sandbox.world.book import shipped_book
from tests.browser.banked import Banked, banked
from tests.browser.test_pages import THEMES, WIDTHS, pictured
from tests.looking import serious, visiting

PLACES = {
    "mirror-overview": "?range=30d", "mirror-card": "cards/sbx-re-order-0", "mirror-search": "cards?q=sbx-r",
    "mirror-drift": "drift", "mirror-contract": "contract", "mirror-audit": "../../audit",
}  # fmt: skip


@pytest.fixture(scope="module")
def bank(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Banked]:
    """Let four weeks pass in which notifications are lost now and then, and once the mirror is not kept for days."""
    folder = tmp_path_factory.mktemp("bank")
    with hired(folder, seed=11) as platform, banked(platform, folder) as bank:
        for number, keeps in enumerate((True, True, False, True, True)):
            for name in shipped_book().scenarios:
                platform.order(f"sbx-{name}-{number}")
            with platform.faults("drop", "notifications", rate=0.1 + 0.1 * number):
                bank.live(2, keeps=keeps)
            bank.live(3)
        platform.order("sbx-happy-now")
        bank.live(1)
        yield bank


@pytest.mark.parametrize("theme", THEMES)
@pytest.mark.parametrize("width", WIDTHS)
def test_every_page_of_a_mirror_fits_and_can_be_read_by_everyone(
    bank: Banked, browser: Browser, width: int, theme: str
) -> None:
    problems = []
    with visiting(browser, bank.root, "operator", width=width, theme=theme) as page:
        for name, path in PLACES.items():
            page.goto(bank.home + path)
            assert page.evaluate("document.documentElement.scrollWidth") <= width, name
            pictured(page, f"{name}-{width}-{theme}.png", width)
            problems += [(name, each) for each in serious(page)]
    assert problems == []


def test_every_page_of_the_mirrors_menu_is_among_those_that_are_looked_at() -> None:
    assert {path for path, _ in PAGES} <= {path.partition("?")[0] for path in PLACES.values()}


def test_a_mirror_that_is_wrong_is_asked_about_and_is_right(bank: Banked, browser: Browser) -> None:
    """What the product is for: a person who doubts the mirror presses a button and sees where the card really is."""
    with visiting(browser, bank.root, "operator") as page:
        with bank.platform.faults("drop", "notifications"):
            bank.platform.ship("sbx-happy-now")
            bank.platform.settle()
            page.goto(bank.home + "cards/sbx-happy-now")
            expect(page.get_by_role("heading", level=2).first).not_to_contain_text("Shipped")
            page.get_by_role("button", name="Ask the platform now").click()
        expect(page.get_by_role("status")).to_contain_text("the mirror was wrong, and now says what is below")
        expect(page.get_by_role("heading", level=2).first).to_contain_text("Shipped")
        row = page.get_by_role("row").filter(has_text="details.status").first
        expect(row).to_contain_text("an answer told it: no notification had")
        page.goto(f"{bank.root}/ui/audit")
        expect(page.get_by_role("row").filter(has_text="card.ask").first).to_contain_text("sbx-happy-now")


def test_a_mirrors_page_is_drawn_anew_when_a_notification_comes(bank: Banked, browser: Browser) -> None:
    bank.platform.order("live-card")
    bank.platform.settle()
    with visiting(browser, bank.root, "viewer") as page:
        page.goto(bank.home + "cards/live-card")
        expect(page.get_by_role("heading", level=2).first).to_contain_text("Requested")
        bank.platform.cancel("live-card")
        expect(page.get_by_role("heading", level=2).first).to_contain_text("Cancelled", timeout=15_000)
        expect(page.get_by_role("button", name="Ask the platform now")).to_have_count(0)


def test_a_mirrors_pages_can_be_used_by_keyboard(bank: Banked, browser: Browser) -> None:
    with visiting(browser, bank.root, "operator") as page:
        page.goto(bank.home)
        page.keyboard.press("Tab")
        page.keyboard.press("Enter")
        assert page.evaluate("document.activeElement.id") == "main"
        page.get_by_label("Card, request or tracking number").press_sequentially("sbx-happy-now")
        page.keyboard.press("Enter")
        page.wait_for_url("**/cards/sbx-happy-now")
