"""The log-in by a provider of OpenID Connect, over real HTTP, and one that lies."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest
from joserfc.jwk import OctKey, RSAKey
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from structlog.testing import capture_logs

from cardtrail.errors import Conflict
from cardtrail.pages.door.account import ALL, Identity, Role
from cardtrail.pages.door.oidc import fetch, flow
from cardtrail.pages.door.oidc import provider as asking
from cardtrail.pages.door.password import hashed
from cardtrail.platform.app import Platform
from tests.certificates import Authority
from tests.desk import dump
from tests.hosting import Answer, call
from tests.people import HASHED, Person, house
from tests.provider import (
    CLIENT_ID,
    DISCOVERY,
    HUGE,
    JWKS,
    SECRET,
    SUBJECT,
    TOKEN,
    Provider,
    compact,
    key_named,
    path_of,
    providing,
)

PUBLIC = "http://127.0.0.1:8080"
NAME = "Example SSO"
BEGIN, CALLBACK = "/ui/login/oidc", "/ui/login/oidc/callback"
Play = Callable[[Platform, int, Provider], Awaitable[None]]


def played(
    url: str, folder: Path, play: Play, *, known: bool = True, certificate: Path | None = None, **settings: str
) -> None:
    """Play on a platform with a provider; `known` gives an account to whom the provider calls SUBJECT."""
    secret = folder / "secret"
    secret.write_text(f"{SECRET}\n")

    async def run() -> None:
        async with asyncio.timeout(60), providing(certificate) as provider:
            told = {
                "oidc_issuer": provider.issuer, "oidc_client_id": CLIENT_ID, "oidc_client_secret_file": str(secret),
                "oidc_name": NAME, "public_url": PUBLIC,
            } | settings  # fmt: skip
            async with house(url, folder, None, **told) as (platform, port):
                if known:
                    await add(platform, provider)
                await play(platform, port, provider)

    asyncio.run(run())


async def add(platform: Platform, provider: Provider) -> None:
    identity = Identity(provider.issuer, SUBJECT)
    accounts = platform.entrance.accounts
    await accounts.add("ada", {ALL: Role.OPERATOR}, "", "operator:test", identity=identity)


async def sent_away(person: Person, way: str = "") -> str:
    """Begin the log-in; return where the provider is."""
    begun = await person.get(f"{BEGIN}?{urlencode({'next': way})}")
    assert begun.status == 303, begun.body
    return begun.headers["location"]


async def agreed(provider: Provider, address: str) -> str:
    """Say at the provider who one is; return the path with which it sends back."""
    answer = await call(urlsplit(provider.issuer).port or 0, path_of(address), b"", {}, "POST")
    assert answer.headers["location"].startswith(PUBLIC + CALLBACK)
    return path_of(answer.headers["location"])


async def entered(person: Person, provider: Provider, way: str = "") -> Answer:
    """Log in by the provider; return what the service answers at the end."""
    return await person.get(await agreed(provider, await sent_away(person, way)))


def told(answer: Answer) -> str:
    """What somebody reads who is not let in."""
    return answer.body.decode().partition('<p role="alert">')[2].partition("</p>")[0].replace("&#39;", "'")


BELIEVED_NOT = f"What {NAME} said of you could not be believed. Please try again."
AMISS = f"{NAME} does not answer as it should. Please try again in a while."
TOO_OLD = "This log-in was begun too long ago, or in another window. Please try again."


# ── coming in ──


def test_whom_the_provider_knows_comes_in_and_goes_on_to_what_was_asked_for(database_url: str, tmp_path: Path) -> None:
    async def play(platform: Platform, port: int, provider: Provider) -> None:
        person = Person(port)
        person.cookies["cardtrail"] = "chosen-by-somebody-else"
        page = await person.get("/ui/login?next=%2Fui%2Faudit")
        assert f'href="{PUBLIC}{BEGIN}?next=%2Fui%2Faudit">Log in with {NAME}<' in page.body.decode()
        with capture_logs() as logs:
            answer = await entered(person, provider, "/ui/audit")
        assert (answer.status, answer.headers["location"]) == (303, "/ui/audit")
        assert person.cookies["cardtrail"] != "chosen-by-somebody-else"
        assert "cardtrail-oidc" not in person.cookies
        assert (await person.get("/ui/audit")).status == 200
        assert [(each["account"], each["by"]) for each in logs if each["event"] == "log_in"] == [("ada", "oidc")]
        account = await platform.entrance.accounts.find("ada")
        assert account.logged_in_at is not None

    played(database_url, tmp_path, play)


def test_codes_and_tokens_are_neither_logged_nor_kept(database_url: str, tmp_path: Path) -> None:
    async def play(_platform: Platform, port: int, provider: Provider) -> None:
        with capture_logs() as logs:
            person = Person(port)
            await entered(person, provider)
            provider.claims = {"nonce": "of another log-in"}
            await entered(Person(port), provider)
            provider.answers[TOKEN] = lambda _: JSONResponse({"error": "invalid_grant", "x": provider.given[-1]}, 400)
            await entered(Person(port), provider)
        found = repr(logs) + repr(await asyncio.to_thread(dump, database_url))
        assert len(provider.given) == 5
        assert "log_in_failed" in found
        assert [each for each in (*provider.given, SECRET, *person.cookies.values()) if each in found] == []

    played(database_url, tmp_path, play)


def test_who_has_no_account_is_told_which_identity_to_register(database_url: str, tmp_path: Path) -> None:
    async def play(platform: Platform, port: int, provider: Provider) -> None:
        person = Person(port)
        with capture_logs() as logs:
            refused = await entered(person, provider)
        assert SUBJECT not in repr(logs)
        command = f"cardtrail account add NAME --oidc '{SUBJECT}'"
        assert refused.status == 403
        assert told(refused) == f"There is no account for you yet. Whoever runs this service can add it: {command}"
        assert "cardtrail" not in person.cookies
        await add(platform, provider)
        assert (await entered(person, provider)).status == 303

    played(database_url, tmp_path, play, known=False)


def test_neither_a_name_nor_an_address_nor_anothers_subject_lets_anybody_in(database_url: str, tmp_path: Path) -> None:
    async def play(platform: Platform, port: int, provider: Provider) -> None:
        accounts = platform.entrance.accounts
        elsewhere = Identity("https://elsewhere.example", SUBJECT)
        await accounts.add("boss@bank.example", {ALL: Role.OPERATOR}, hashed("x" * 12), "operator:test")
        await accounts.add("elsewhere", {ALL: Role.OPERATOR}, "", "operator:test", identity=elsewhere)
        provider.claims = {"preferred_username": "operator", "upn": "boss@bank.example"}
        assert (await entered(Person(port), provider)).status == 403

    played(database_url, tmp_path, play, known=False)


def test_an_account_that_is_revoked_is_out_at_once_and_stays_out(database_url: str, tmp_path: Path) -> None:
    async def play(platform: Platform, port: int, provider: Provider) -> None:
        person = Person(port)
        await entered(person, provider)
        await platform.entrance.accounts.revoke("ada", "operator:test")
        assert (await person.get("/ui/audit")).status == 303
        refused = await entered(person, provider)
        assert (refused.status, told(refused)) == (403, "The account ada may not log in any more.")

    played(database_url, tmp_path, play)


def test_an_identity_that_is_taken_away_ends_all_sessions(database_url: str, tmp_path: Path) -> None:
    async def play(platform: Platform, port: int, provider: Provider) -> None:
        person = Person(port)
        await entered(person, provider)
        with pytest.raises(Conflict, match="could then log in by nothing"):
            await platform.entrance.accounts.set_identity("ada", None, "operator:test")
        await platform.entrance.accounts.set_password("ada", HASHED, "operator:test")
        await entered(person, provider)
        await platform.entrance.accounts.set_identity("ada", None, "operator:test")
        assert (await person.get("/ui/audit")).status == 303
        assert (await entered(person, provider)).status == 403

    played(database_url, tmp_path, play)


def test_an_account_that_changes_while_somebody_logs_in_is_not_entered(
    database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def play(platform: Platform, port: int, provider: Provider) -> None:
        found = flow.OidcLogIn._account

        async def slowly(self: flow.OidcLogIn, subject: str) -> tuple[str, int]:
            row = await found(self, subject)
            await platform.entrance.accounts.revoke("ada", "operator:test")
            return row

        monkeypatch.setattr(flow.OidcLogIn, "_account", slowly)
        refused = await entered(Person(port), provider)
        assert (refused.status, told(refused)) == (403, "Your account was changed at this moment. Please try again.")

    played(database_url, tmp_path, play)


@pytest.mark.parametrize("password", ["", "x" * 12])
def test_an_account_without_a_password_cannot_log_in_by_one(database_url: str, tmp_path: Path, password: str) -> None:
    async def play(_platform: Platform, port: int, _provider: Provider) -> None:
        refused = await Person(port).log_in("ada", password)
        assert (refused.status, told(refused)) == (401, "Name or password is wrong.")

    played(database_url, tmp_path, play)


def test_both_ways_lead_into_an_account_that_has_both(database_url: str, tmp_path: Path) -> None:
    async def play(platform: Platform, port: int, provider: Provider) -> None:
        await platform.entrance.accounts.set_password("ada", hashed("correct horse battery"), "operator:test")
        assert (await Person(port).log_in("ada")).status == 303
        assert (await entered(Person(port), provider)).status == 303

    played(database_url, tmp_path, play)


def test_who_has_come_in_is_not_sent_away_again(database_url: str, tmp_path: Path) -> None:
    async def play(_platform: Platform, port: int, provider: Provider) -> None:
        person = Person(port)
        await entered(person, provider)
        assert await sent_away(person, "/ui/audit") == "/ui/audit"

    played(database_url, tmp_path, play)


# ── whose answer it is ──


@pytest.fixture
def sqlite_url(tmp_path: Path) -> str:
    """A store of its own, where nothing depends on the engine."""
    return f"sqlite:///{tmp_path}/cardtrail.db"


def test_an_answer_is_good_once_and_in_the_browser_that_asked(sqlite_url: str, tmp_path: Path) -> None:
    async def play(_platform: Platform, port: int, provider: Provider) -> None:
        evil, victim = Person(port), Person(port)
        answer = await agreed(provider, await sent_away(evil))
        for other in (victim, Person(port)):
            refused = await other.get(answer)
            assert (refused.status, told(refused)) == (403, TOO_OLD)
        await sent_away(victim)
        assert told(await victim.get(answer)) == TOO_OLD
        assert provider.asked[TOKEN] == 0
        kept = dict(evil.cookies)
        assert (await evil.get(answer)).status == 303
        assert told(await evil.get(answer)) == TOO_OLD
        thief = Person(port)
        thief.cookies = kept
        assert told(await thief.get(answer)) == f"{NAME} takes this log-in for over. Please try again."

    played(sqlite_url, tmp_path, play)


def test_an_answer_after_too_long_is_none(sqlite_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flow, "AWAY_SECONDS", -1)

    async def play(_platform: Platform, port: int, provider: Provider) -> None:
        person = Person(port)
        begun = await person.get(BEGIN)
        answer = await agreed(provider, begun.headers["location"])
        person.cookies["cardtrail-oidc"] = begun.headers["set-cookie"].partition("=")[2].partition(";")[0]
        assert told(await person.get(answer)) == TOO_OLD

    played(sqlite_url, tmp_path, play)


def test_what_is_sealed_for_one_purpose_is_no_good_for_another(sqlite_url: str, tmp_path: Path) -> None:
    async def play(_platform: Platform, port: int, provider: Provider) -> None:
        person = Person(port)
        answer = await agreed(provider, await sent_away(person))
        await person.get("/ui/login")
        person.cookies["cardtrail-oidc"] = person.cookies["cardtrail-login"]
        assert told(await person.get(answer)) == TOO_OLD

    played(sqlite_url, tmp_path, play)


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"error": ["access_denied"], "code": []}, f"{NAME} did not let you in."),
        ({"code": []}, f"{NAME} did not say who you are. Please try again."),
        ({"code": ["x" * 5_000]}, f"{NAME} did not say who you are. Please try again."),
        ({"code": ["made-up"]}, f"{NAME} takes this log-in for over. Please try again."),
        ({"code": ["one", "two"]}, "This answer cannot be read. Please try again."),
        ({"iss": ["https://elsewhere.example"]}, "This answer is from elsewhere. Please try again."),
        ({"state": []}, TOO_OLD),
        ({"state": ["guessed"]}, TOO_OLD),
        ({"state": ["\u00e9"]}, TOO_OLD),
    ],
)
def test_what_a_browser_brings_back_must_be_whole(
    sqlite_url: str, tmp_path: Path, change: dict[str, list[str]], text: str
) -> None:
    async def play(_platform: Platform, port: int, provider: Provider) -> None:
        person = Person(port)
        answer = await agreed(provider, await sent_away(person, "/ui/audit"))
        brought = parse_qs(urlsplit(answer).query) | change
        refused = await person.get(f"{CALLBACK}?{urlencode(brought, doseq=True)}")
        assert (refused.status, told(refused)) == (403, text)
        assert "cardtrail" not in person.cookies
        assert f"{BEGIN}?next=%2Fui%2Faudit" in refused.body.decode()

    played(sqlite_url, tmp_path, play)


def test_a_provider_that_promises_its_name_must_bring_it(sqlite_url: str, tmp_path: Path) -> None:
    async def play(_platform: Platform, port: int, provider: Provider) -> None:
        provider.description = {"authorization_response_iss_parameter_supported": True}
        assert told(await entered(Person(port), provider)) == "This answer is from elsewhere. Please try again."
        person = Person(port)
        answer = await agreed(provider, await sent_away(person))
        assert (await person.get(f"{answer}&{urlencode({'iss': provider.issuer})}")).status == 303

    played(sqlite_url, tmp_path, play)


@pytest.mark.parametrize("way", ["https://evil.example/", "//evil.example", BEGIN, CALLBACK, "/ui/login", "x" * 3_000])
def test_nobody_is_sent_elsewhere_after_the_log_in(sqlite_url: str, tmp_path: Path, way: str) -> None:
    async def play(_platform: Platform, port: int, provider: Provider) -> None:
        assert (await entered(Person(port), provider, way)).headers["location"] == "/ui/"

    played(sqlite_url, tmp_path, play)


def test_answers_that_fail_are_refused_after_a_while_also_right_ones(
    sqlite_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(flow, "PEER_BURST", 3)

    async def play(_platform: Platform, port: int, provider: Provider) -> None:
        assert (await entered(Person(port), provider)).status == 303
        assert [(await Person(port).get(f"{CALLBACK}?state=x")).status for _ in range(4)] == [403, 403, 403, 429]
        refused = await entered(Person(port), provider)
        assert told(refused) == "Too many log-ins have failed. Please wait a little."
        assert int(refused.headers["retry-after"]) > 0
        assert (await Person(port).log_in("operator")).status == 303

    played(sqlite_url, tmp_path, play)


def test_only_so_many_codes_are_traded_at_once(
    sqlite_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(asking, "AT_ONCE", 0)

    async def play(_platform: Platform, port: int, provider: Provider) -> None:
        assert (await entered(Person(port), provider)).status == 429
        assert provider.asked[TOKEN] == 0

    played(sqlite_url, tmp_path, play)


def test_cookies_are_protected_but_where_it_is_tried_out(sqlite_url: str, tmp_path: Path) -> None:
    async def play(_platform: Platform, port: int, provider: Provider) -> None:
        person = Person(port, "cards.bank.example")
        assert (await entered(person, provider)).status == 303
        written = [each for each in person.set_cookies if "-oidc=" in each]
        assert len(written) == 2  # kept, and dropped again
        for cookie in written:
            assert cookie.startswith("__Host-cardtrail-oidc=")
            assert {"HttpOnly", "Path=/", "SameSite=lax", "Secure"} <= set(cookie.split("; "))

    played(sqlite_url, tmp_path, play)


# ── what the provider says ──


def unsigned(claims: dict[str, Any], provider: Provider) -> str:
    return compact(claims, {"alg": "none", "kid": provider.keys[0].kid}, provider.keys[0])


def by_public_key(claims: dict[str, Any], provider: Provider) -> str:
    """Sign by the public key as if it were a shared secret."""
    key = OctKey(provider.keys[0].as_pem(private=False), b"")
    return compact(claims, {"alg": "HS256", "kid": provider.keys[0].kid}, key)


def by_another_key(claims: dict[str, Any], provider: Provider) -> str:
    kid = str(provider.keys[0].kid)
    return compact(claims, {"alg": "ES256", "kid": kid}, key_named(kid))


def by_its_own_key(claims: dict[str, Any], _provider: Provider) -> str:
    """Bring the key along."""
    key = key_named("mine")
    return compact(claims, {"alg": "ES256", "jwk": key.as_dict(private=False)}, key)


def by_an_unknown_key(claims: dict[str, Any], _provider: Provider) -> str:
    return compact(claims, {"alg": "ES256", "kid": "unheard-of"}, key_named("unheard-of"))


def by_another_algorithm(claims: dict[str, Any], _provider: Provider) -> str:
    return compact(claims, {"alg": "RS512", "kid": "rsa"}, RSAKey.generate_key(2048, {"kid": "rsa"}))


def tampered(claims: dict[str, Any], provider: Provider) -> str:
    head, _, signature = provider.signed(claims).split(".")
    return ".".join([head, provider.signed(claims | {"sub": "boss"}).split(".")[1], signature])


def nothing(_claims: dict[str, Any], _provider: Provider) -> str:
    return "nothing"


def endless(claims: dict[str, Any], provider: Provider) -> str:
    return provider.signed(claims | {"groups": ["x" * 99] * 200})


def demanding(claims: dict[str, Any], provider: Provider) -> str:
    header = {"alg": "ES256", "kid": provider.keys[0].kid, "crit": ["exp"], "exp": 1}
    return compact(claims, header, provider.keys[0])


@pytest.mark.parametrize(
    ("sign", "why"),
    [
        (unsigned, "signed by none of"),
        (by_public_key, "signed by none of"),
        (by_another_algorithm, "signed by none of"),
        (by_another_key, "signature is wrong"),
        (by_its_own_key, "signature is wrong"),
        (by_an_unknown_key, "no key with this kid"),
        (tampered, "signature is wrong"),
        (nothing, "not a signed JWT"),
        (endless, "longer than"),
        (demanding, "extension we do not know"),
    ],
)
def test_a_token_that_the_provider_did_not_sign_lets_nobody_in(
    sqlite_url: str, tmp_path: Path, sign: Callable[[dict[str, Any], Provider], str], why: str
) -> None:
    async def play(_platform: Platform, port: int, provider: Provider) -> None:
        provider.sign = lambda claims: sign(claims, provider)
        person = Person(port)
        with capture_logs() as logs:
            refused = await entered(person, provider)
        assert (refused.status, told(refused)) == (403, BELIEVED_NOT)
        assert "cardtrail" not in person.cookies
        [line] = [each for each in logs if each["event"] == "log_in_failed"]
        assert why in line["why"]

    played(sqlite_url, tmp_path, play)


@pytest.mark.parametrize(
    ("claims", "why"),
    [
        ({"nonce": "of another log-in"}, "nonce"),
        ({"nonce": None}, "nonce"),
        ({"aud": "another-service"}, "aud"),
        ({"aud": []}, "aud"),
        ({"aud": [CLIENT_ID, "another-service"]}, "azp"),
        ({"azp": "another-service"}, "azp"),
        ({"iss": "https://elsewhere.example"}, "iss"),
        ({"exp": 1_000_000_000}, "expired"),
        ({"exp": None}, "exp"),
        ({"iat": 9_000_000_000}, "not valid yet"),
        ({"nbf": 9_000_000_000}, "not valid yet"),
        ({"iat": 1_000_000_000}, "too old"),
        ({"iat": None}, "iat"),
        ({"sub": None}, "sub"),
        ({"sub": ""}, "sub"),
        ({"sub": "x" * 256}, "sub"),
        ({"sub": "\u00e9"}, "sub"),
    ],
)
def test_a_token_that_is_not_for_this_log_in_lets_nobody_in(
    sqlite_url: str, tmp_path: Path, claims: dict[str, Any], why: str
) -> None:
    async def play(_platform: Platform, port: int, provider: Provider) -> None:
        provider.claims = claims
        with capture_logs() as logs:
            refused = await entered(Person(port), provider)
        assert (refused.status, told(refused)) == (403, BELIEVED_NOT)
        [line] = [each for each in logs if each["event"] == "log_in_failed"]
        assert why in line["why"]

    played(sqlite_url, tmp_path, play)


@pytest.mark.parametrize("claims", [{"aud": [CLIENT_ID]}, {"aud": [CLIENT_ID, "x"], "azp": CLIENT_ID}])
def test_a_token_may_name_us_in_a_list(sqlite_url: str, tmp_path: Path, claims: dict[str, Any]) -> None:
    async def play(_platform: Platform, port: int, provider: Provider) -> None:
        provider.claims = claims
        assert (await entered(Person(port), provider)).status == 303

    played(sqlite_url, tmp_path, play)


def test_a_secret_is_sent_in_the_form_where_the_provider_takes_it_only_there(sqlite_url: str, tmp_path: Path) -> None:
    async def play(_platform: Platform, port: int, provider: Provider) -> None:
        provider.description = {"token_endpoint_auth_methods_supported": ["client_secret_post"]}
        assert (await entered(Person(port), provider)).status == 303

    played(sqlite_url, tmp_path, play)


def test_documents_are_fetched_once_and_keys_again_for_a_new_one_but_not_at_once(
    sqlite_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def play(_platform: Platform, port: int, provider: Provider) -> None:
        for _ in range(3):
            assert (await entered(Person(port), provider)).status == 303
        assert (provider.asked[DISCOVERY], provider.asked[JWKS]) == (1, 1)
        provider.rotate("second")
        assert (await entered(Person(port), provider)).status == 403  # fetched a moment ago
        assert provider.asked[JWKS] == 1
        monkeypatch.setattr("cardtrail.pages.door.oidc.kept.PAUSE", 0.0)
        assert (await entered(Person(port), provider)).status == 303
        assert provider.asked[JWKS] == 2

    played(sqlite_url, tmp_path, play)


def answering(body: bytes, content_type: str = "application/json", status: int = 200) -> Callable[[Request], Response]:
    return lambda _: Response(body, status, media_type=content_type)


def around(request: Request) -> Response:
    """Send on to the same once more."""
    return RedirectResponse(str(request.url))


AMISSES: dict[str, Callable[[Request], Response]] = {
    "500": answering(b"{}", status=500), "404": answering(b"{}", status=404), "redirect": around,
    "html": answering(b"<html>sign in to the network</html>", "text/html"), "no-json": answering(b"{"),
    "other-json": answering(b"[]"), "deep": answering(b"[" * 100_000), "empty": answering(b""),
    "huge": answering(json.dumps({"issuer": "x" * HUGE}).encode()), "no-keys": answering(b'{"keys": []}'),
    "refused": answering(b'{"error": "invalid_client"}', status=401),
    "odd-refusal": answering(b'{"error": "<script>"}', status=400),
}  # fmt: skip


@pytest.mark.parametrize("amiss", AMISSES)
@pytest.mark.parametrize("path", [DISCOVERY, TOKEN, JWKS])
def test_a_provider_with_whom_something_is_amiss_is_told_of_and_no_more(
    sqlite_url: str, tmp_path: Path, path: str, amiss: str
) -> None:
    async def play(_platform: Platform, port: int, provider: Provider) -> None:
        person = Person(port)
        provider.answers[path] = AMISSES[amiss]
        refused = await (person.get(BEGIN) if path == DISCOVERY else entered(person, provider))
        assert (refused.status, told(refused)) == (503, AMISS)
        assert "cardtrail" not in person.cookies
        assert provider.asked[path] == 1
        assert (await Person(port).log_in("operator")).status == 303

    played(sqlite_url, tmp_path, play)


@pytest.mark.parametrize(("size", "status"), [(fetch.MAX_ANSWER - 2_000, 303), (fetch.MAX_ANSWER, 503)])
def test_an_answer_has_so_many_bytes_and_no_more(sqlite_url: str, tmp_path: Path, size: int, status: int) -> None:
    async def play(_platform: Platform, port: int, provider: Provider) -> None:
        provider.description = {"of_no_interest": "x" * size}
        assert (await Person(port).get(BEGIN)).status == status

    played(sqlite_url, tmp_path, play)


@pytest.mark.parametrize(
    ("content_type", "status"),
    [("application/json; charset=utf-8", 303), ("application/x+json", 303), ("text/html", 503), ("", 503)],
)
def test_an_answer_must_be_called_json(sqlite_url: str, tmp_path: Path, content_type: str, status: int) -> None:
    async def play(_platform: Platform, port: int, provider: Provider) -> None:
        body = json.dumps(provider.described()).encode()
        provider.answers[DISCOVERY] = lambda _: Response(body, headers={"content-type": content_type})
        assert (await Person(port).get(BEGIN)).status == status

    played(sqlite_url, tmp_path, play)


@pytest.mark.parametrize("path", [DISCOVERY, TOKEN, JWKS])
def test_a_provider_that_is_slow_is_not_waited_for(
    sqlite_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    monkeypatch.setattr(fetch, "TIMEOUT", 0.5)

    async def play(_platform: Platform, port: int, provider: Provider) -> None:
        provider.slow.add(path)
        refused = await (Person(port).get(BEGIN) if path == DISCOVERY else entered(Person(port), provider))
        assert (refused.status, told(refused)) == (503, AMISS)

    played(sqlite_url, tmp_path, play)


@pytest.mark.parametrize(
    "description",
    [
        {"issuer": "https://elsewhere.example"},
        {"issuer": "http://127.0.0.1:1/"},
        {"issuer": None},
        {"token_endpoint": "http://elsewhere.example/token"},
        {"jwks_uri": "ftp://127.0.0.1/"},
        {"jwks_uri": "//127.0.0.1/jwks"},
        {"jwks_uri": "https://127.0.0.1:port/jwks"},
        {"authorization_endpoint": "javascript:alert(1)"},
        {"authorization_endpoint": "https://user@elsewhere.example/"},
    ],
)
def test_a_provider_that_describes_another_or_leads_astray_is_not_asked(
    sqlite_url: str, tmp_path: Path, description: dict[str, str | None]
) -> None:
    async def play(_platform: Platform, port: int, provider: Provider) -> None:
        provider.description = description
        refused = await Person(port).get(BEGIN)
        assert (refused.status, told(refused)) == (503, AMISS)

    played(sqlite_url, tmp_path, play)


@pytest.mark.parametrize("trusted", [True, False])
def test_a_provider_is_believed_by_its_certificate(sqlite_url: str, tmp_path: Path, trusted: bool) -> None:  # noqa: FBT001 - a parameter
    authority = Authority(tmp_path)

    async def play(_platform: Platform, port: int, provider: Provider) -> None:
        begun = await Person(port).get(BEGIN)
        assert begun.status == (303 if trusted else 503)
        if trusted:
            assert begun.headers["location"].startswith(f"{provider.issuer}/authorize?")

    ca = str(authority.file) if trusted else ""
    played(sqlite_url, tmp_path, play, certificate=authority.certificate("sso"), oidc_ca=ca)


def test_a_provider_whose_host_can_be_none_is_told_of(sqlite_url: str, tmp_path: Path) -> None:
    async def play(_platform: Platform, port: int, provider: Provider) -> None:
        provider.description = {"token_endpoint": "https://a%zz/token"}
        refused = await entered(Person(port), provider)
        assert (refused.status, told(refused)) == (503, AMISS)

    played(sqlite_url, tmp_path, play)


def test_why_a_provider_refuses_is_logged_in_one_short_line(sqlite_url: str, tmp_path: Path) -> None:
    async def play(_platform: Platform, port: int, _provider: Provider) -> None:
        person = Person(port)
        state = parse_qs(urlsplit(await sent_away(person)).query)["state"][0]
        error = "access_denied\n" + "x" * 1_000
        with capture_logs() as logs:
            await person.get(f"{CALLBACK}?{urlencode({'state': state, 'error': error})}")
        [line] = [each for each in logs if each["event"] == "oidc_error"]
        assert line["error"] == "access_denied?" + "x" * 186

    played(sqlite_url, tmp_path, play)


def test_a_provider_with_tls_leads_to_nowhere_without(sqlite_url: str, tmp_path: Path) -> None:
    authority = Authority(tmp_path)

    async def play(_platform: Platform, port: int, provider: Provider) -> None:
        provider.description = {"token_endpoint": "http://127.0.0.1:9/token"}
        refused = await Person(port).get(BEGIN)
        assert (refused.status, told(refused)) == (503, AMISS)

    played(sqlite_url, tmp_path, play, certificate=authority.certificate("sso"), oidc_ca=str(authority.file))


def test_a_provider_that_is_back_is_asked_again(
    sqlite_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def play(_platform: Platform, port: int, provider: Provider) -> None:
        provider.answers[DISCOVERY] = AMISSES["500"]
        assert [(await Person(port).get(BEGIN)).status for _ in range(3)] == [503] * 3
        assert provider.asked[DISCOVERY] == 1
        provider.answers.clear()
        monkeypatch.setattr("cardtrail.pages.door.oidc.kept.HOLD_OFF", 0.0)
        assert (await entered(Person(port), provider)).status == 303

    played(sqlite_url, tmp_path, play)


def test_without_a_provider_there_is_neither_a_button_nor_a_way(sqlite_url: str, tmp_path: Path) -> None:
    async def play(_platform: Platform, port: int, provider: Provider) -> None:
        person = Person(port)
        assert b"Log in with" not in (await person.get("/ui/login")).body
        for path in (BEGIN, f"{CALLBACK}?state=x&code=y"):
            assert (await person.get(path)).headers["location"].startswith("/ui/login")
        assert provider.asked.total() == 0

    played(sqlite_url, tmp_path, play, known=False, oidc_issuer="")


def test_the_way_back_is_asked_for_only(sqlite_url: str, tmp_path: Path) -> None:
    async def play(_platform: Platform, port: int, _provider: Provider) -> None:
        for path in (BEGIN, CALLBACK):
            assert (await Person(port).post(path, {"state": "x"})).status == 405

    played(sqlite_url, tmp_path, play)
