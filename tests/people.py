"""People at the pages, without a browser: they keep cookies, send forms, and can send them wrongly."""

import re
import socket
from base64 import b64encode
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from http.cookies import SimpleCookie
from pathlib import Path
from urllib.parse import urlencode

from msgspec.structs import replace

from cardtrail.files.box import Box, box_of
from cardtrail.issuer.mirror import AsyncMirror
from cardtrail.issuer.ui.front import Front, nothing_else
from cardtrail.issuer.ui.pages import Ask
from cardtrail.pages.door.account import ALL, Role, Roles
from cardtrail.pages.door.oidc.provider import Provider
from cardtrail.pages.door.password import hashed
from cardtrail.platform.app import Platform, build
from cardtrail.platform.settings import Settings
from tests.hosting import Answer, call, hosting
from tests.serving import ISSUER

PASSWORD = "correct horse battery"
HASHED = hashed(PASSWORD)
FORM = {"content-type": "application/x-www-form-urlencoded"}
EVERYONE: dict[str, tuple[Roles, bool]] = {
    "operator": ({ALL: Role.OPERATOR}, True), "viewer": ({ISSUER: Role.VIEWER}, False),
    "stranger": ({"ISSUER0009": Role.OPERATOR}, True),
}  # fmt: skip
"""Accounts: their roles, and whether they may see personal data."""


class Person:
    """Somebody with a browser of their own, which keeps cookies and sends forms from pages of this service."""

    def __init__(self, port: int, host: str = "127.0.0.1") -> None:
        self.port = port
        self.host = f"{host}:{port}"
        self.cookies: dict[str, str] = {}
        self.set_cookies: list[str] = []

    async def ask(self, method: str, path: str, body: bytes = b"", headers: Mapping[str, str] = {}) -> Answer:
        """Send one request with the cookies; keep those that come."""
        cookie = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        sent = {"host": self.host, "cookie": cookie, **headers}
        answer = await call(self.port, path, body, sent, method)
        for text in answer.headers.get("set-cookie", "").splitlines():
            self._keep(text)
        return answer

    def _keep(self, text: str) -> None:
        self.set_cookies.append(text)
        for name, morsel in SimpleCookie(text).items():
            if morsel["max-age"] == "0":
                self.cookies.pop(name, None)
            else:
                self.cookies[name] = morsel.value

    async def get(self, path: str, **headers: str) -> Answer:
        """Ask for a page."""
        return await self.ask("GET", path, headers=headers)

    async def post(self, path: str, fields: Mapping[str, str], **headers: str) -> Answer:
        """Send a form, as a page of this service would."""
        body = urlencode(fields).encode()
        return await self.ask("POST", path, body, FORM | {"origin": f"http://{self.host}"} | headers)

    async def log_in(self, name: str, password: str = PASSWORD, way: str = "") -> Answer:
        """Ask for the log-in and send it."""
        page = await self.get("/ui/login")
        return await self.post("/ui/login", {"csrf": csrf_in(page), "next": way, "name": name, "password": password})


def csrf_in(answer: Answer) -> str:
    """Return what a page's forms must say."""
    found = re.search(rb'name="csrf" value="([^"]*)"', answer.body)
    assert found is not None
    return found[1].decode()


def key_in(folder: Path) -> Path:
    """Return a file of this folder with a key that seals."""
    key = folder / "secret.key"
    key.write_bytes(b64encode(bytes(range(32))))
    key.chmod(0o600)
    return key


@asynccontextmanager
async def house(
    url: str, folder: Path, listening: socket.socket | None = None, **settings: str
) -> AsyncIterator[tuple[Platform, int]]:
    """Serve a platform with the accounts of EVERYONE; yield it and its port."""
    platform = Platform(replace(Settings(database=url, secret_key_file=str(key_in(folder))), **settings))
    try:
        for name, (roles, personal) in EVERYONE.items():
            await platform.entrance.accounts.add(name, roles, HASHED, "operator:test", personal=personal)
        async with hosting(build(platform), listening) as port:
            yield platform, port
    finally:
        await platform.entrance.close()
        await platform.egress.close()
        platform.db.close()


@asynccontextmanager
async def mirror_house(
    url: str, folder: Path, ask: Ask | None = None, provider: Provider | None = None
) -> AsyncIterator[tuple[AsyncMirror, int]]:
    """Serve the pages of a mirror with the accounts of EVERYONE; yield the mirror and its port."""
    async with AsyncMirror.open(url) as mirror:
        front = Front(mirror, ISSUER, box_in(folder), plain=True, ask=ask, provider=provider)
        for name, (roles, personal) in EVERYONE.items():
            await front.entrance.accounts.add(name, roles, HASHED, "operator:test", personal=personal)
        try:
            async with hosting(front.before(nothing_else)) as port:
                yield mirror, port
        finally:
            await front.close()


def box_in(folder: Path) -> Box:
    """Return a box whose key is in a file of this folder."""
    return box_of(str(key_in(folder)), "")
