"""The log-in by a provider, in a real browser: there, back over the border between two sites, and in."""

import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from cardtrail.pages.door.account import ALL, Identity, Role
from tests.background import beside
from tests.looking import screenshots, serious
from tests.people import house
from tests.provider import CLIENT_ID, SECRET, SUBJECT, Provider, providing


@asynccontextmanager
async def bank(folder: Path, listening: socket.socket) -> AsyncIterator[Provider]:
    """Run a service that is called localhost, and a provider that is called 127.0.0.1: two sites to a browser."""
    secret = folder / "secret"
    secret.write_text(SECRET)
    async with providing() as provider:
        settings = {
            "oidc_issuer": provider.issuer, "oidc_client_id": CLIENT_ID, "oidc_client_secret_file": str(secret),
            "oidc_name": "Example SSO", "public_url": root_of(listening),
        }  # fmt: skip
        async with house(f"sqlite:///{folder}/cardtrail.db", folder, listening, **settings) as (platform, _):
            identity = Identity(provider.issuer, SUBJECT)
            await platform.entrance.accounts.add("ada", {ALL: Role.OPERATOR}, "", "operator:test", identity=identity)
            yield provider


def root_of(listening: socket.socket) -> str:
    return f"http://localhost:{listening.getsockname()[1]}"


@pytest.fixture
def listening() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield listening


@pytest.fixture
def provider(tmp_path: Path, listening: socket.socket) -> Iterator[Provider]:
    with beside(bank(tmp_path, listening)) as provider:
        yield provider


@pytest.fixture
def page(browser: Browser, provider: Provider) -> Iterator[Page]:
    """A page of a browser that has been nowhere yet; what it complains of fails the test.

    It is closed before the provider and the service are, or it would complain that they are gone.
    """
    assert provider.issuer
    context = browser.new_context(viewport={"width": 1600, "height": 900})
    context.set_default_timeout(15_000)
    page, complaints = context.new_page(), list[str]()
    page.on("console", lambda told: complaints.append(told.text) if told.type in {"error", "warning"} else None)
    yield page
    context.close()
    assert [each for each in complaints if "status of 403" not in each] == []


def test_who_logs_in_at_the_provider_is_in(page: Page, provider: Provider, listening: socket.socket) -> None:
    root = root_of(listening)
    page.goto(f"{root}/ui/audit")
    page.screenshot(path=screenshots() / "login-oidc-1600-light.png")
    assert serious(page) == []
    page.get_by_role("link", name="Log in with Example SSO").click()
    page.wait_for_url(f"{provider.issuer}/authorize?**")
    page.get_by_role("button", name="I am").click()
    page.wait_for_url(f"{root}/ui/audit")
    expect(page.get_by_role("heading", level=1)).to_have_text("Audit trail")
    cookies = {each["name"]: each for each in page.context.cookies()}
    assert (cookies["cardtrail"]["httpOnly"], cookies["cardtrail"]["sameSite"]) == (True, "Lax")
    assert "cardtrail-oidc" not in cookies
    page.get_by_role("button", name="Log out").click()
    page.wait_for_url(f"{root}/ui/login")


def test_whom_nobody_has_registered_reads_what_to_do(page: Page, provider: Provider, listening: socket.socket) -> None:
    provider.subject = "somebody else"
    page.goto(f"{root_of(listening)}/ui/login")
    page.get_by_role("link", name="Log in with Example SSO").click()
    page.get_by_role("button", name="I am").click()
    expect(page.get_by_role("alert")).to_contain_text("cardtrail account add NAME --oidc 'somebody else'")
    expect(page.get_by_role("link", name="Log in with Example SSO")).to_be_visible()


def test_the_log_in_begins_where_it_ends_whatever_the_service_was_called(
    page: Page, provider: Provider, listening: socket.socket
) -> None:
    page.goto(f"http://127.0.0.1:{listening.getsockname()[1]}/ui/login")
    page.get_by_role("link", name="Log in with Example SSO").click()
    page.get_by_role("button", name="I am").click()
    page.wait_for_url(f"{root_of(listening)}/ui/")
    assert provider.asked["/token"] == 1
