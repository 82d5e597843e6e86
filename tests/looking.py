"""What tests in a browser share: who may log in, and how."""

import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

from axe_playwright_python.sync_playwright import Axe  # type: ignore[import-untyped]  # it tells no types
from playwright.sync_api import Browser, Page, ViewportSize

from cardtrail.pages.door.account import ALL, Role, Roles
from cardtrail.sandbox.hired import Hired

PASSWORD = "correct horse battery"
EVERYONE: dict[str, tuple[Roles, bool]] = {
    "operator": ({ALL: Role.OPERATOR}, True), "viewer": ({"DEMO-BANK1": Role.VIEWER}, False),
    "stranger": ({"OTHERBANK1": Role.OPERATOR}, True),
}  # fmt: skip
"""Accounts of the tests: their roles, and whether they may see personal data."""
Visit = Callable[..., AbstractContextManager[Page]]


class Site:
    """A platform in the middle of its work, and where its pages are."""

    def __init__(self, platform: Hired, database: str) -> None:
        self.platform = platform
        self.root = platform.url.removesuffix("/banking/v1")
        self.home = f"{self.root}/ui/issuers/{platform.issuer_id}/"
        self.database = database


def log_in(page: Page, root: str, name: str, password: str = PASSWORD) -> None:
    """Fill in the log-in of the pages below `root` and send it."""
    page.goto(f"{root}/ui/login")
    page.fill("#name", name)
    page.fill("#password", password)
    page.get_by_role("button", name="Log in").click()


@contextmanager
def visiting(
    browser: Browser, root: str, name: str = "operator", *, width: int = 1600, theme: str = "light"
) -> Iterator[Page]:
    """Log an account in and give its page; what the browser complains of fails the test."""
    size: ViewportSize = {"width": width, "height": 900}
    context = browser.new_context(viewport=size, color_scheme=theme)  # type: ignore[arg-type]  # one of its words
    context.set_default_timeout(15_000)
    page, complaints = context.new_page(), list[str]()
    page.on("console", lambda told: complaints.append(told.text) if told.type in {"error", "warning"} else None)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    log_in(page, root, name)
    yield page
    context.close()
    assert [each for each in complaints if "favicon" not in each] == []


def serious(page: Page) -> list[str]:
    """Return what axe-core finds that keeps people from reading or using a page."""
    found: dict[str, Any] = Axe().run(page).response
    return [
        f"{each['id']}: {each['nodes'][0]['html'][:200]}"
        for each in found["violations"] if each["impact"] in {"serious", "critical"}
    ]  # fmt: skip


def screenshots() -> Path:
    """Return where pictures of the pages go; a CI keeps that folder."""
    folder = Path(os.environ.get("CARDTRAIL_SCREENSHOTS", "build/screenshots"))
    folder.mkdir(parents=True, exist_ok=True)
    return folder
