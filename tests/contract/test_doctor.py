"""The doctor: a deployment that is well, and each thing that can be wrong with it, on both engines."""

import base64
import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from cardtrail.db import sqlite
from cardtrail.files.box import box_of
from cardtrail.platform.auth import wall_clock
from cardtrail.platform.doctor import stock
from cardtrail.platform.doctor.examine import findings_of
from cardtrail.platform.doctor.files import certificate
from cardtrail.platform.doctor.finding import Case, Finding, Level
from cardtrail.platform.endpoint import Config, Endpoint, Secrets
from cardtrail.platform.endpoints import Endpoints
from cardtrail.platform.settings import Settings
from cardtrail.platform.signing import Signing
from tests.background import beside
from tests.certificates import Authority
from tests.desk import connected, desk, dump, execute, set_default
from tests.events import event
from tests.provider import DISCOVERY, JWKS, Provider, providing
from tests.serving import ISSUER, register_parties

DAY = 86_400_000_000
Told = Callable[..., dict[str, Finding]]


def write_key(path: Path) -> Path:
    path.write_bytes(base64.b64encode(os.urandom(32)))
    path.chmod(0o600)
    return path


@pytest.fixture
def key(tmp_path: Path) -> Path:
    return write_key(tmp_path / "secret.key")


@pytest.fixture
def store(database_url: str, key: Path) -> str:
    """A store as a service has it: parties, keys, an order, an endpoint where nobody listens any more."""
    with desk(database_url) as site:
        register_parties(database_url)
        box = box_of(str(key), database_url)
        site.run(Signing(site.db, box, wall_clock).run_once())
        with socket.create_server(("127.0.0.1", 0)) as server:
            url = f"http://127.0.0.1:{server.getsockname()[1]}"
        endpoint = Endpoint(issuer_id=ISSUER, endpoint_id="one", config=Config(url=url))
        site.run(Endpoints(site.db, box, wall_clock).add(endpoint, Secrets(), "test"))
        site.now = wall_clock()
        site.tell(event("requested", "card"))
    return database_url


@pytest.fixture
def told(store: str, key: Path) -> Told:
    """Ask the doctor; return the findings by check."""

    def ask(**given: object) -> dict[str, Finding]:
        told = {"database": store, "secret_key_file": str(key)} | given
        return {each.check: each for each in findings_of(told, {})}

    return ask


def levels(found: dict[str, Finding]) -> dict[str, str]:
    """The checks with which not all is well, and how it stands with them."""
    assert all(bool(each.remedy) == (each.level is not Level.OK) for each in found.values())
    return {name: str(each.level) for name, each in found.items() if each.level is not Level.OK}


def test_a_deployment_that_is_well_is_told_so_and_nothing_is_changed(store: str, told: Told) -> None:
    before = dump(store)
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        execute(store, f"""UPDATE endpoint SET config = '{{"url":"http://127.0.0.1:{port}"}}'""")  # noqa: S608 - our own
        found = told(egress_http=True, egress_allow="127.0.0.0/8")
    assert levels(found) == {}
    assert len(found) == 18
    assert {name: rows for name, rows in dump(store).items() if name != "endpoint"} == {
        name: rows for name, rows in before.items() if name != "endpoint"
    }


# ── settings and files


@pytest.mark.parametrize("given", [{"port": "many"}, {"delivery_steps": "never"}])
def test_settings_that_cannot_be_read_end_the_examination(told: Told, given: dict[str, str]) -> None:
    assert levels(told(**given)) == {"settings": "bad"}


def test_a_certificate_is_told_of_before_it_ends(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    settings = Settings(tls_cert=str(authority.certificate("server")), client_ca=str(authority.file))
    now = datetime.now(UTC)
    for later, level in ((timedelta(), "warn"), (timedelta(days=2), "bad"), (timedelta(days=-40), "ok")):
        for name in ("tls_cert", "client_ca"):
            assert certificate(settings, name, now + later).level == level


def test_certificates_that_cannot_be_read_are_bad(told: Told, tmp_path: Path) -> None:
    (tmp_path / "empty.pem").touch()
    found = told(tls_cert=str(tmp_path / "absent.pem"), client_ca=str(tmp_path / "empty.pem"))
    assert levels(found) | {"reach": "warn"} == {"tls": "bad", "tls_cert": "bad", "client_ca": "bad", "reach": "warn"}


def test_a_secret_key_that_is_missing_wrong_or_open_to_all_is_told(told: Told, key: Path, tmp_path: Path) -> None:
    assert told()["secret key"].level is Level.OK
    for mode, level in ((0o640, "warn"), (0o604, "bad")):
        key.chmod(mode)
        assert told()["secret key"].level == level
    other = write_key(tmp_path / "other.key")
    wrong = told(secret_key_file=str(other))["secret key"]
    assert (wrong.level, "does not open" in wrong.text) == (Level.BAD, True)
    other.write_text("short")
    assert told(secret_key_file=str(other))["secret key"].level is Level.BAD
    absent = told(secret_key_file=str(tmp_path / "absent.key"))["secret key"]
    assert (absent.level, "no file" in absent.text) == (Level.BAD, True)
    assert not (tmp_path / "absent.key").exists()


# ── the provider of OpenID Connect


@pytest.fixture
def provider() -> Iterator[Provider]:
    with beside(providing()) as provider:
        yield provider


@pytest.fixture
def registered(provider: Provider, tmp_path: Path) -> dict[str, str]:
    """Settings with which the provider is used."""
    return {
        "oidc_issuer": provider.issuer, "oidc_client_id": "cardtrail", "public_url": "https://cards.bank.example",
        "oidc_client_secret_file": str(write_key(tmp_path / "client.secret")),
    }  # fmt: skip


def test_a_provider_that_can_be_asked_is_well(told: Told, registered: dict[str, str], provider: Provider) -> None:
    assert told()["oidc"].text == "not set: people log in by password"
    found = told(**registered)["oidc"]
    assert (found.level, found.text.endswith("is the issuer that is set, and publishes 1 keys")) == (Level.OK, True)
    assert provider.asked == {DISCOVERY: 1, JWKS: 1}


@pytest.mark.parametrize(
    ("description", "text"),
    [({"issuer": "https://elsewhere.example"}, "another one than oidc_issuer"), ({"jwks_uri": 1}, "jwks_uri")],
)
def test_a_provider_that_describes_another_or_cannot_be_understood_is_bad(
    told: Told, registered: dict[str, str], provider: Provider, description: dict[str, object], text: str
) -> None:
    provider.description = description
    found = told(**registered)["oidc"]
    assert (found.level, text in found.text) == (Level.BAD, True)


def test_a_provider_that_cannot_be_reached_is_bad(told: Told, registered: dict[str, str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        url = f"http://127.0.0.1:{server.getsockname()[1]}"
    found = told(**registered | {"oidc_issuer": url})["oidc"]
    assert (found.level, f"{url}: no connection" in found.text) == (Level.BAD, True)


def test_settings_of_a_provider_that_do_not_fit_are_bad(told: Told, registered: dict[str, str]) -> None:
    found = told(**registered | {"public_url": ""})["oidc"]
    assert (found.level, found.text) == (Level.BAD, "public_url: needed with oidc_issuer")


@pytest.mark.parametrize(("mode", "level"), [(0o640, "warn"), (0o604, "bad")])
def test_a_secret_of_the_provider_that_others_may_read_is_told(
    told: Told, registered: dict[str, str], mode: int, level: str
) -> None:
    Path(registered["oidc_client_secret_file"]).chmod(mode)
    assert told(**registered)["oidc"].level == level


# ── the store


def test_a_store_that_is_not_there_is_bad_and_not_made(tmp_path: Path) -> None:
    found = {each.check: each for each in findings_of({"database": f"sqlite:///{tmp_path}/absent.db"}, {})}
    assert levels(found) == {"store": "bad"}
    assert list(tmp_path.iterdir()) == []


def test_a_server_that_is_not_there_is_bad() -> None:
    found = {each.check: each for each in findings_of({"database": "postgresql://nobody@127.0.0.1:1/none"}, {})}
    assert levels(found) == {"store": "bad"}


@pytest.mark.parametrize(("version", "level"), [("1", "warn"), ("99", "bad")])
def test_a_schema_of_another_release_is_told_and_not_migrated(store: str, told: Told, version: str, level: str) -> None:
    execute(store, f"UPDATE meta SET value = '{version}' WHERE name = 'schema_version'")  # noqa: S608 - our own
    assert levels(told()) == {"schema": level, "the rest": "warn"}
    assert execute(store, "SELECT value FROM meta WHERE name = 'schema_version'") == [(version,)]


def test_a_store_that_takes_no_writes_is_bad(store: str, told: Told, monkeypatch: pytest.MonkeyPatch) -> None:
    if store.startswith("postgres"):
        set_default(store, "default_transaction_read_only", "on")
        assert told()["writable"].level is Level.BAD
        return
    monkeypatch.setattr(sqlite, "BUSY_SECONDS", 0.1)
    with connected(store) as run:
        run("BEGIN IMMEDIATE")
        assert levels(told())["writable"] == "bad"


def test_a_store_that_is_not_as_ours_are_is_told_and_the_other_checks_go_on(store: str, told: Told) -> None:
    execute(store, "DELETE FROM meta WHERE name = 'epoch'")
    found = told()
    assert (found["epoch"].level, found["waiting"].level) == (Level.BAD, Level.OK)


def test_a_postgres_that_can_lose_what_it_has_committed_is_bad(postgres_url: str, key: Path) -> None:
    with desk(postgres_url):
        pass
    set_default(postgres_url, "synchronous_commit", "off")
    found = findings_of({"database": postgres_url, "secret_key_file": str(key)}, {})
    assert [each.level for each in found if "synchronous_commit" in each.text] == [Level.BAD]


def test_a_damaged_file_is_bad(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/cardtrail.db"
    with desk(url) as site:
        site.tell(*[event("requested", f"card-{n}") for n in range(500)])
    path = tmp_path / "cardtrail.db"
    with path.open("r+b") as file:
        file.seek(path.stat().st_size - 20 * 4_096)
        file.write(os.urandom(10 * 4_096))
    found = {each.check: each for each in findings_of({"database": url}, {})}
    assert found["pages"].level is Level.BAD


def test_little_room_and_a_large_log_are_told(store: str, told: Told, monkeypatch: pytest.MonkeyPatch) -> None:
    if not store.startswith("sqlite"):
        assert told()["space"].level is Level.OK
        return
    monkeypatch.setattr(stock, "LITTLE_SPACE", 10**18)
    assert "free" in told()["space"].text
    assert told()["space"].level is Level.WARN
    monkeypatch.setattr(stock, "LITTLE_SPACE", 0)
    monkeypatch.setattr(stock, "LARGE_LOG", -1)
    assert told()["space"].remedy == "end what reads without end"


@pytest.mark.parametrize(("ahead", "level"), [(0, "ok"), (5_000_000, "warn"), (-60_000_000, "bad")])
def test_clocks_that_are_apart_are_told(store: str, ahead: int, level: str) -> None:
    with desk(store) as site:
        found = site.run(stock.clock(Case(Settings(), site.db, wall_clock() + ahead)))
    assert found.level == level


def test_parties_without_a_key_and_an_old_key_are_told(store: str, told: Told) -> None:
    execute(store, f"UPDATE party_key SET state = 'REVOKED' WHERE party_id = '{ISSUER}'")  # noqa: S608 - our own
    assert ISSUER in told()["keys"].text
    execute(store, f"UPDATE signing_key SET created_at = created_at - {100 * DAY}")  # noqa: S608 - our own
    assert "days old" in told()["keys"].text
    assert told()["keys"].level is Level.WARN


def test_another_home_is_told_and_the_epoch_left(postgres_url: str, key: Path) -> None:
    with desk(postgres_url):
        pass
    execute(postgres_url, "UPDATE meta SET value = '1' || value WHERE name = 'home'")
    before = dump(postgres_url)
    found = {each.check: each for each in findings_of({"database": postgres_url, "secret_key_file": str(key)}, {})}
    assert found["epoch"].level is Level.WARN
    assert dump(postgres_url) == before


def test_pruning_that_does_not_keep_up_is_told(store: str, told: Told) -> None:
    row = "ISSUER0001', 'n1', 'one', 'card', 'op', 'PRODUCE', 1, 'DELIVERED', 0, 0, 1, 0, {}, '', '', 1, '')"
    for days, level in ((30, Level.OK), (32, Level.WARN)):
        execute(store, "DELETE FROM notification")
        execute(store, f"INSERT INTO notification VALUES ('{row.format(wall_clock() - days * DAY)}")  # noqa: S608 - our own
        assert told()["retention"].level is level
    assert told(settled_days=0)["retention"].level is Level.OK


def test_much_that_waits_for_its_order_is_told(store: str, told: Told, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stock, "MANY_WAITING", 2)
    with desk(store) as site:
        site.tell(event("ready", "early-1"), event("ready", "early-2"))
    assert told()["waiting"].level is Level.WARN


# ── endpoints


def test_an_endpoint_that_cannot_be_reached_is_told_by_the_rules_of_delivery(told: Told) -> None:
    assert "https" in told()["reach"].text
    assert "egress_allow" in told(egress_http=True)["reach"].text
    refused = told(egress_http=True, egress_allow="127.0.0.0/8")["reach"]
    assert (refused.level, "1 of 1" in refused.text) == (Level.WARN, True)


def test_an_endpoint_that_is_disabled_or_fails_or_has_a_backlog_is_told(store: str, told: Told) -> None:
    assert told()["sending"].level is Level.OK
    changes = (
        ("UPDATE notification SET notification_id = '00000000000000' || notification_id", "the oldest waits 1,"),
        (f"UPDATE lane SET failures = 3, failing_since = {wall_clock()}, probe_at = {wall_clock()}", "1 failing"),  # noqa: S608 - our own
        ("UPDATE endpoint SET state = 'DISABLED', reason = 'gone'", "1 disabled, 0 failing"),
    )
    for change, text in changes:
        execute(store, change)
        found = told()["sending"]
        assert (found.level, text in found.text) == (Level.WARN, True), found


# ── the command


def test_the_command_ends_with_1_where_something_is_bad(tmp_path: Path, key: Path) -> None:
    url = f"sqlite:///{tmp_path}/cardtrail.db"

    def run(*words: str) -> "subprocess.CompletedProcess[str]":
        command = [
            sys.executable,
            "-m",
            "cardtrail",
            "doctor",
            "--database",
            url,
            "--secret-key-file",
            str(key),
            *words,
        ]
        return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)

    assert run().returncode == 1
    with desk(url):
        pass
    ran = run("--json")
    found: list[dict[str, Any]] = json.loads(ran.stdout)
    assert (ran.returncode, {each["level"] for each in found}) == (0, {"ok"})
    assert "what to do" in run().stdout
