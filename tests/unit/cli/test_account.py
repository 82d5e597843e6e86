"""The commands for accounts, on a real store."""

import io
from pathlib import Path

import pytest

from cardtrail.cli.account import account_app
from cardtrail.cli.party import audit_app
from cardtrail.errors import Conflict, InputError, NotFound
from cardtrail.pages.door.password import LEAST
from tests.desk import execute
from tests.shell import Shell

ISSUER, OTHER = "ISSUER0001", "ISSUER0002"
PASSWORD = "correct horse battery"


@pytest.fixture
def shell(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Shell:
    return Shell(f"sqlite:///{tmp_path}/cardtrail.db", capsys, account_app, audit_app)


@pytest.fixture
def typed(monkeypatch: pytest.MonkeyPatch) -> None:
    """A password that is piped in."""
    monkeypatch.setattr("sys.stdin", io.StringIO(PASSWORD + "\n"))


def test_an_account_sees_all_issuers_where_none_is_named(shell: Shell) -> None:
    account = shell.json("account", "add", "ada", "--generate")
    assert (account["roles"], account["personal"], account["state"]) == ({"*": "viewer"}, False, "ACTIVE")
    assert "all: viewer" in shell.run("account", "list")


def test_a_role_holds_at_the_issuers_that_are_named(shell: Shell) -> None:
    words = ["--role", "operator", "--issuer", ISSUER, "--issuer", f"{OTHER}=viewer", "--personal", "--generate"]
    account = shell.json("account", "add", "bea", *words)
    assert account["roles"] == {ISSUER: "operator", OTHER: "viewer"}
    assert account["personal"] is True


def test_a_generated_password_is_printed_once_and_kept_nowhere(shell: Shell) -> None:
    password = shell.json("account", "add", "ada", "--generate")["password"]
    assert len(password) >= LEAST
    assert password not in shell.run("account", "list", "--json") + shell.run("audit", "--json")
    [(stored,)] = execute(shell.url, "SELECT password FROM account")
    assert stored.startswith("$argon2id$")
    again = shell.json("account", "password", "ada", "--generate")
    assert again["password"] != password
    assert again["generation"] == 2


@pytest.mark.usefixtures("typed")
def test_a_password_can_be_piped_in(shell: Shell) -> None:
    assert PASSWORD not in shell.run("account", "add", "ada")


def test_a_password_is_typed_twice_at_a_terminal(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    typed = iter([PASSWORD, PASSWORD, PASSWORD, "something else"])
    monkeypatch.setattr("sys.stdin.isatty", lambda: True)
    monkeypatch.setattr("getpass.getpass", lambda _prompt: next(typed))
    shell.run("account", "add", "ada")
    with pytest.raises(InputError, match="the two differ"):
        shell.run("account", "add", "bea")


@pytest.mark.parametrize("password", ["", "short", "x" * 257])
def test_a_password_too_short_or_too_long_is_refused(
    shell: Shell, monkeypatch: pytest.MonkeyPatch, password: str
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(password + "\n"))
    with pytest.raises(InputError, match="password: 12 to 256 characters"):
        shell.run("account", "add", "ada")


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["a b"], "name: 1 to 64"),
        (["oidc:ada"], "name: 1 to 64"),
        (["ada", "--issuer", "short"], "issuer: 'short' is no id"),
        (["ada", "--issuer", f"{ISSUER}=king"], "issuer: 'king' is no role: viewer or operator"),
    ],
)
def test_what_is_wrong_is_named(shell: Shell, words: list[str], told: str) -> None:
    with pytest.raises(InputError, match=told):
        shell.run("account", "add", *words, "--generate")


def test_rights_are_replaced_and_what_is_not_given_stays(shell: Shell) -> None:
    shell.run("account", "add", "ada", "--issuer", ISSUER, "--personal", "--generate")
    changed = shell.json("account", "set", "ada", "--role", "operator", "--issuer", OTHER)
    assert (changed["roles"], changed["personal"]) == ({OTHER: "operator"}, True)
    changed = shell.json("account", "set", "ada", "--no-personal")
    assert (changed["roles"], changed["personal"]) == ({OTHER: "operator"}, False)
    with pytest.raises(InputError, match="nothing to change"):
        shell.run("account", "set", "ada")
    with pytest.raises(InputError, match="--role: is needed with --issuer"):
        shell.run("account", "set", "ada", "--issuer", ISSUER)


def test_an_account_is_revoked_and_restored_and_each_is_audited(shell: Shell) -> None:
    shell.run("account", "add", "ada", "--generate")
    assert shell.json("account", "revoke", "ada")["state"] == "REVOKED"
    with pytest.raises(Conflict, match="revoked already"):
        shell.run("account", "revoke", "ada")
    assert shell.json("account", "restore", "ada")["state"] == "ACTIVE"
    lines = shell.json("audit", "--subject", "account:ada")
    assert [line["action"] for line in lines] == ["account.restore", "account.revoke", "account.add"]
    assert {line["actor"] for line in lines} == {"operator:ada"}
    assert lines[1]["after"] == {"roles": {"*": "viewer"}, "personal": False, "state": "REVOKED", "generation": 2}


SSO = "https://sso.example/realms/bank"


def test_who_logs_in_by_a_provider_has_no_password_and_everything_is_audited(
    shell: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CARDTRAIL_OIDC_ISSUER", SSO)
    added = shell.json("account", "add", "ada", "--role", "operator", "--oidc", "00u|1")
    assert (added["identity"], added["has_password"]) == ({"provider": SSO, "subject": "00u|1"}, False)
    assert execute(shell.url, "SELECT password FROM account") == [("",)]
    assert "00u|1" in shell.run("account", "list")
    assert f"00u|1 at {SSO}" in shell.run("account", "set", "ada", "--personal")
    both = shell.json("account", "password", "ada", "--generate")
    assert len(both["password"]) >= LEAST
    gone = shell.json("account", "oidc", "ada", "--drop")
    assert ("identity" in gone, gone["generation"]) == (False, 3)
    with pytest.raises(Conflict, match="could then log in by nothing"):
        shell.run("account", "password", "ada", "--drop")
    assert shell.json("account", "oidc", "ada", "00u|2")["identity"]["subject"] == "00u|2"
    assert shell.json("account", "password", "ada", "--drop")["has_password"] is False
    with pytest.raises(Conflict, match="could then log in by nothing"):
        shell.run("account", "oidc", "ada", "--drop")
    lines = shell.json("audit", "--subject", "account:ada")
    assert [line["action"] for line in lines] == [
        "account.password", "account.identity", "account.identity", "account.password", "account.set", "account.add",
    ]  # fmt: skip
    assert (lines[0]["after"]["has_password"], "has_password" in lines[0]["before"]) == (False, False)
    assert lines[1]["after"]["identity"] == {"provider": SSO, "subject": "00u|2"}
    assert lines[2]["before"]["identity"] == {"provider": SSO, "subject": "00u|1"}


def test_an_identity_is_one_accounts_only(shell: Shell) -> None:
    shell.run("account", "add", "ada", "--oidc", "1", "--oidc-issuer", SSO)
    shell.run("account", "add", "bea", "--oidc", "1", "--oidc-issuer", "https://other.example")
    for words in (("add", "cid", "--oidc", "1"), ("oidc", "bea", "1")):
        with pytest.raises(Conflict, match="is the account ada already"):
            shell.run("account", *words, "--oidc-issuer", SSO)
    assert shell.json("account", "oidc", "ada", "1", "--oidc-issuer", SSO)["generation"] == 2
    with pytest.raises(NotFound, match="there is no account cid"):
        shell.run("account", "oidc", "cid", "1", "--oidc-issuer", SSO)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["add", "ada", "--oidc", "1"], "--oidc-issuer: is needed"),
        (["add", "ada", "--oidc", "1", "--oidc-issuer", "sso"], "provider: its issuer URL"),
        (["add", "ada", "--oidc", "", "--oidc-issuer", SSO], "subject: 1 to 255"),
        (["add", "ada", "--oidc", "x" * 256, "--oidc-issuer", SSO], "subject: 1 to 255"),
        (["oidc", "ada"], "subject: either a subject or --drop"),
        (["oidc", "ada", "1", "--drop"], "subject: either a subject or --drop"),
        (["password", "ada", "--generate", "--drop"], "--drop: cannot be together"),
    ],
)
def test_what_is_wrong_with_an_identity_is_named(shell: Shell, words: list[str], told: str) -> None:
    with pytest.raises(InputError, match=told):
        shell.run("account", *words)


def test_a_name_is_taken_once_and_must_be_known(shell: Shell) -> None:
    shell.run("account", "add", "ada", "--generate")
    with pytest.raises(Conflict, match="there is, or was, an account ada"):
        shell.run("account", "add", "ada", "--generate")
    for command in ("revoke", "restore"):
        with pytest.raises(NotFound, match="there is no account bea"):
            shell.run("account", command, "bea")
