"""A real browser, and a platform with cards in every state for it to look at."""

import asyncio
import os
import shutil
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import pytest
from playwright.sync_api import Browser, sync_playwright

from cardtrail.db import Database
from cardtrail.pages.door.accounts import Accounts
from cardtrail.pages.door.password import hashed
from cardtrail.platform.audit import Recorded
from cardtrail.platform.store import open_store
from cardtrail.sandbox.hired import hired
from cardtrail.sandbox.world.book import shipped_book
from tests.looking import EVERYONE, PASSWORD, Site, Visit, visiting


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """Let six weeks of all stories pass, with an endpoint at which nobody listens."""
    folder = tmp_path_factory.mktemp("browser")
    with hired(folder, seed=5, scenarios=None) as platform, socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        site = Site(platform, f"sqlite:///{next(folder.rglob('*.db'))}")
        with ThreadPoolExecutor(1) as aside:  # the browser's own loop may run in this thread
            aside.submit(asyncio.run, _admit(open_store(site.database))).result(30)
        platform.notify(f"http://127.0.0.1:{nobody.getsockname()[1]}")
        for number in range(3):
            for name in shipped_book().scenarios:
                platform.order(f"sbx-{name}-{number}")
            platform.clock.advance("12d")
        for name in ("on-hold", "returned", "happy"):
            platform.order(f"sbx-{name}-now")
        platform.order("held-card")
        platform.clock.advance("2h")
        platform.hold("held-card")
        platform.clock.advance("2d")
        yield site


async def _admit(db: Database) -> None:
    try:
        accounts = Accounts(db, Recorded(db), lambda: time.time_ns() // 1_000)
        for name, (roles, personal) in EVERYONE.items():
            await accounts.add(name, roles, hashed(PASSWORD), "operator:test", personal=personal)
    finally:
        db.close()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Debian's Chromium, which `make test-browser` installs; it ends with its module, or its loop would stop others."""
    found = shutil.which("chromium") or shutil.which("chromium-browser")
    assert found, "no chromium: make test-browser installs it, or apt-get install chromium"
    arguments = ["--no-sandbox"] if os.geteuid() == 0 else []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found, args=arguments)
        yield browser
        browser.close()


@pytest.fixture
def visit(browser: Browser, site: Site) -> Visit:
    """A function that logs an account in and gives its page; what the browser complains of fails the test."""

    return partial(visiting, browser, site.root)
