"""The commands for endpoints, on a real store and with a real receiver."""

import io
import json
from pathlib import Path

import pytest
from cyclopts import CycloptsError

from cardtrail.cli.endpoint import endpoint_app
from cardtrail.cli.party import audit_app
from cardtrail.errors import Conflict, InputError, NotFound
from cardtrail.protocol.signature import verify
from tests.background import receiving
from tests.certificates import Authority
from tests.shell import Shell

ISSUER = "ISSUER0001"
HOOK = (ISSUER, "hook")
URL = ("--url", "https://bank.example/cards")
OAUTH = ("--oauth-token-url", "https://bank.example/token", "--oauth-client-id", "cardtrail")
SECRET = "tuna-melt-0001"


@pytest.fixture
def shell(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Shell:
    return Shell(f"sqlite:///{tmp_path}/cardtrail.db", capsys, endpoint_app, audit_app)


@pytest.fixture
def secret_file(tmp_path: Path) -> str:
    file = tmp_path / "client-secret"
    file.write_text(SECRET + "\n")
    return str(file)


def test_an_endpoint_is_added_and_its_secret_told_once_with_advice(shell: Shell) -> None:
    text = shell.run("endpoint", "add", *HOOK, *URL)
    [secret] = [line.removeprefix("signing secret: ") for line in text.splitlines() if line.startswith("signing")][1:]
    assert secret.startswith("whsec_")
    assert "told only now" in text
    assert secret not in shell.run("endpoint", "show", *HOOK)
    assert secret not in shell.run("endpoint", "list", "--json")


def test_what_is_given_is_kept_and_what_is_not_stays(shell: Shell) -> None:
    limits = ("--batch-size", "100", "--rate", "5", "--mode", "every-step", "--stage", "CARD_SHIPPED")
    added = shell.json("endpoint", "add", *HOOK, *URL, *limits, "--signing", "v1a")
    assert added["signingSecret"].startswith("whpk_")
    assert (added["batchSize"], added["mode"], added["signing"]) == (100, "every-step", "v1a")
    changed = shell.json("endpoint", "update", *HOOK, "--rate", "7", "--stage", "*", "--strict")
    assert (changed["rate"], changed["stages"], changed["strict"], changed["batchSize"]) == (7, ["*"], True, 100)
    assert shell.json("endpoint", "update", *HOOK, "--no-strict")["strict"] is False
    with pytest.raises(InputError, match="nothing to change"):
        shell.run("endpoint", "update", *HOOK)
    with pytest.raises(Conflict, match="has an endpoint hook"):
        shell.run("endpoint", "add", *HOOK, *URL)


def test_secrets_come_from_files_and_are_shown_by_their_names_only(
    shell: Shell, tmp_path: Path, secret_file: str
) -> None:
    ca = Authority(tmp_path)
    files = ("--client-secret-file", secret_file, "--ca-file", str(ca.file))
    certificate = ca.certificate("cardtrail")
    text = shell.run("endpoint", "add", *HOOK, *URL, *OAUTH, *files, "--client-cert-file", str(certificate))
    shown = shell.run("endpoint", "show", *HOOK)
    assert shell.json("endpoint", "show", *HOOK)["holds"] == ["oauth.clientSecret", "clientCertificate", "ca"]
    for secret in (SECRET, certificate.read_text().splitlines()[-2]):
        assert secret not in text + shown + shell.run("audit")
    assert "oauth.tokenUrl" in shown
    shell.run("endpoint", "update", *HOOK, "--drop", "oauth", "--drop", "ca")
    assert shell.json("endpoint", "show", *HOOK)["holds"] == ["clientCertificate"]


def test_the_client_secret_comes_from_standard_input_or_is_asked_for(
    shell: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(SECRET))
    shell.run("endpoint", "add", *HOOK, *URL, *OAUTH, "--client-secret-file", "-")
    monkeypatch.setattr("sys.stdin.isatty", lambda: True)
    monkeypatch.setattr("getpass.getpass", {"OAuth client secret: ": SECRET}.__getitem__)
    shell.run("endpoint", "add", ISSUER, "other", *URL, *OAUTH)
    for name in ("hook", "other"):
        assert shell.json("endpoint", "show", ISSUER, name)["holds"] == ["oauth.clientSecret"]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ((), "--url: say where the receiver is"),
        (("--url", "http://bank.example"), "--url: it must begin with https://"),
        ((*URL, "--batch-size", "1001"), "--batch-size: 1 to 1000"),
        ((*URL, "--stage", "shipped"), "--stage: 'shipped' is none"),
        ((*URL, *OAUTH), "--client-secret-file: is required"),
        ((*URL, "--oauth-scope", "cards"), "--oauth-token-url: it"),
        ((*URL, "--client-cert-file", "none.pem"), "--client-cert-file: none.pem: No such file"),
        ((*URL, "--ca-file", "-", "--client-cert-file", "-"), "only one file can be standard input"),
    ],
)
def test_what_is_wrong_is_named_as_the_option_it_came_by(
    shell: Shell, words: tuple[str, ...], expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(""))
    with pytest.raises(InputError) as raised:
        shell.run("endpoint", "add", *HOOK, *words)
    assert str(raised.value).startswith(expected)


def test_a_secret_is_no_option(shell: Shell) -> None:
    with pytest.raises(CycloptsError, match="client-secret"):
        shell.run("endpoint", "add", *HOOK, *URL, "--client-secret", SECRET)


def test_an_endpoint_is_disabled_enabled_listed_and_audited(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    shell.run("endpoint", "add", *HOOK, *URL)
    shell.run("endpoint", "add", "ISSUER0002", "hook", *URL)
    with pytest.raises(InputError, match="--reason"):
        shell.run("endpoint", "disable", *HOOK, "--reason", "")
    assert shell.json("endpoint", "disable", *HOOK, "--reason", "moving house")["state"] == "DISABLED"
    table = shell.run("endpoint", "list")
    assert "DISABLED: moving house" in table
    assert table.count("https://bank.example/cards") == 2
    assert [each["issuerId"] for each in shell.json("endpoint", "list", "--issuer", ISSUER)] == [ISSUER]
    assert shell.json("endpoint", "enable", *HOOK)["state"] == "ENABLED"
    with pytest.raises(NotFound, match="has no endpoint none"):
        shell.run("endpoint", "enable", ISSUER, "none")
    lines = shell.json("audit", "--subject", f"{ISSUER}/hook")
    assert [line["action"] for line in lines] == ["endpoint.enable", "endpoint.disable", "endpoint.add"]
    assert {line["actor"] for line in lines} == {"operator:ada"}


def test_an_endpoint_is_tried_out_and_signed_with_a_rotated_secret(
    shell: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CARDTRAIL_EGRESS_ALLOW", "127.0.0.0/8")
    monkeypatch.setenv("CARDTRAIL_EGRESS_HTTP", "1")
    with receiving() as receiver:
        old = shell.json("endpoint", "add", *HOOK, "--url", receiver.url)["signingSecret"]
        new = shell.json("endpoint", "rotate-secret", *HOOK)["signingSecret"]
        assert shell.run("endpoint", "test", *HOOK).startswith("HTTP 204 after ")
        [call] = receiver.calls
        for secret in (old, new):
            verify([secret], call.headers, call.body, int(call.headers["webhook-timestamp"]))
        last = shell.run("endpoint", "rotate-secret", *HOOK, "--overlap-seconds", "0", "--signing", "v1a")
        assert "signing secret: whpk_" in last
        receiver.reply = lambda _call: (503, {}, b"closed for lunch")
        with pytest.raises(SystemExit) as ended:
            shell.run("endpoint", "test", *HOOK)
        assert ended.value.code == 1
        assert "closed for lunch" in shell.read()
    with pytest.raises(SystemExit):
        shell.json("endpoint", "test", *HOOK)
    assert json.loads(shell.read())["failure"] == "connect"


def test_an_endpoint_inside_the_network_is_not_called_without_leave(
    shell: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CARDTRAIL_EGRESS_ALLOW", raising=False)
    shell.run("endpoint", "add", *HOOK, "--url", "https://10.0.0.1")
    with pytest.raises(SystemExit):
        shell.run("endpoint", "test", *HOOK)
    assert "failed (refused_address)" in shell.read()
