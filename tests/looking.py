"""What tests in a browser share: who may log in, and how."""

import os
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from axe_playwright_python.sync_playwright import Axe  # type: ignore[import-untyped]  # it tells no types
from playwright.sync_api import Page

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


def log_in(page: Page, site: Site, name: str, password: str = PASSWORD) -> None:
    """Fill in the log-in and send it."""
    page.goto(f"{site.root}/ui/login")
    page.fill("#name", name)
    page.fill("#password", password)
    page.get_by_role("button", name="Log in").click()


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
