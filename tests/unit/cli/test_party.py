"""The commands for parties, keys and the audit, on a real store."""

import io
from pathlib import Path

import msgspec
import pytest
from cyclopts import CycloptsError
from joserfc.jwk import ECKey

from cardtrail.cli.party import audit_app, key_app, party_app
from cardtrail.errors import Conflict, InputError, NotFound, SettingError
from cardtrail.platform.auth import wall_clock
from cardtrail.protocol.token import jwk_of, public_key_of, verify_assertion
from tests.shell import Shell

ISSUER = "ISSUER0001"
KEY: ECKey = ECKey.generate_key("P-256")


@pytest.fixture
def shell(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Shell:
    return Shell(f"sqlite:///{tmp_path}/cardtrail.db", capsys, party_app, key_app, audit_app)


@pytest.fixture
def public_file(tmp_path: Path) -> str:
    file = tmp_path / "public.pem"
    file.write_bytes(KEY.as_pem(private=False))
    return str(file)


@pytest.fixture
def private_file(tmp_path: Path) -> str:
    file = tmp_path / "private.pem"
    file.write_bytes(KEY.as_pem(private=True))
    return str(file)


def test_an_issuer_is_registered_by_its_id_alone(shell: Shell) -> None:
    party = shell.json("party", "add", ISSUER)
    assert (party["party_id"], party["kind"], party["state"]) == (ISSUER, "ISSUER", "ACTIVE")
    assert party["issuers"] == [ISSUER]
    assert ISSUER in shell.run("party", "list")


def test_an_aggregator_is_registered_with_its_issuers(shell: Shell) -> None:
    party = shell.json("party", "add", "agg", "--kind", "aggregator", "--issuer", ISSUER, "--issuer", "ISSUER0002")
    assert (party["kind"], party["issuers"]) == ("AGGREGATOR", [ISSUER, "ISSUER0002"])


def test_a_producer_is_registered_with_its_limits(shell: Shell) -> None:
    limits = ["--source", "site:north", "--issuer", "*", "--event-kind", "shipped", "--rate", "50"]
    party = shell.json("party", "add", "site-1", "--kind", "producer", *limits)
    assert (party["sources"], party["issuers"], party["kinds"], party["rate"]) == (
        ["site:north"],
        ["*"],
        ["shipped"],
        50,
    )


def test_what_is_not_given_in_an_update_stays(shell: Shell) -> None:
    shell.run("party", "add", "agg", "--kind", "aggregator", "--issuer", ISSUER, "--rate", "7")
    party = shell.json("party", "update", "agg", "--strict")
    assert (party["strict"], party["rate"], party["issuers"]) == (True, 7, [ISSUER])
    assert shell.json("party", "update", "agg", "--no-strict")["strict"] is False
    with pytest.raises(InputError, match="nothing to change"):
        shell.run("party", "update", "agg")


def test_a_key_comes_from_a_file_or_from_standard_input(
    shell: Shell, public_file: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    shell.run("party", "add", ISSUER)
    [named] = shell.json("party", "key", "add", ISSUER, public_file, "--kid", "k1")
    monkeypatch.setattr("sys.stdin", io.StringIO(jwk_of(KEY)))
    [unnamed] = shell.json("party", "key", "add", ISSUER, "-")
    assert (named["kid"], unnamed["kid"]) == ("k1", KEY.thumbprint())
    assert named["public_jwk"] == msgspec.json.decode(jwk_of(KEY))
    shell.run("party", "key", "revoke", ISSUER, "k1")
    assert [key["state"] for key in shell.json("party", "key", "list", ISSUER)] == ["REVOKED", "ACTIVE"]
    assert {key["kid"] for key in shell.json("party", "show", ISSUER)["keys"]} == {"k1", KEY.thumbprint()}
    assert "k1" in shell.run("party", "show", ISSUER)


def test_a_private_key_is_refused_with_advice(shell: Shell, private_file: str) -> None:
    shell.run("party", "add", ISSUER)
    with pytest.raises(InputError, match="this is a private key; keep it to yourself"):
        shell.run("party", "key", "add", ISSUER, private_file)


@pytest.mark.parametrize(("content", "expected"), [(None, "No such file"), (b"\xff\xfe\x00", "not DER"), (b"", "PEM")])
def test_a_file_that_holds_no_key_is_named(shell: Shell, tmp_path: Path, content: bytes | None, expected: str) -> None:
    shell.run("party", "add", ISSUER)
    file = tmp_path / "key"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(InputError, match=expected):
        shell.run("party", "key", "add", ISSUER, str(file))


def test_a_party_is_revoked_and_restored(shell: Shell) -> None:
    shell.run("party", "add", ISSUER)
    assert shell.json("party", "revoke", ISSUER)["state"] == "REVOKED"
    assert shell.json("party", "restore", ISSUER)["generation"] == 3
    with pytest.raises(Conflict):
        shell.run("party", "restore", ISSUER)
    with pytest.raises(NotFound):
        shell.run("party", "revoke", "nobody")


def test_an_assertion_for_trying_out_is_a_good_one(shell: Shell, private_file: str) -> None:
    words = ["party", "assertion", ISSUER, private_file, "--kid", "k1", "--audience", "here"]
    text = shell.run_alone(*words).strip()
    found = verify_assertion(text, lambda *_: public_key_of(jwk_of(KEY)), wall_clock(), "here".__eq__)
    assert (found.party_id, found.kid) == (ISSUER, "k1")
    assert shell.run_alone(*words).strip() != text
    with pytest.raises(InputError, match="lifetime"):
        shell.run_alone(*words, "--lifetime", "901")


def test_the_platforms_key_is_rotated(shell: Shell, tmp_path: Path) -> None:
    first = shell.json("key", "rotate")["kid"]
    assert first != shell.json("key", "rotate", "--drop-old")["kid"]
    assert "new signing key" in shell.run("key", "rotate")
    with pytest.raises(SettingError, match="secret_key_file"):
        shell.run("key", "rotate", "--secret-key-file", str(tmp_path / "missing"))


def test_the_audit_tells_who_changed_what(shell: Shell, public_file: str) -> None:
    shell.run("party", "add", ISSUER)
    shell.run("party", "key", "add", ISSUER, public_file, "--kid", "k1")
    shell.run("party", "update", ISSUER, "--rate", "5")
    shell.run("key", "rotate")
    lines = shell.json("audit", "--subject", ISSUER)
    assert [line["action"] for line in lines] == ["party.update", "party.key.add", "party.add"]
    assert {line["actor"] for line in lines} == {"operator:ada"}
    assert (lines[0]["before"]["rate"], lines[0]["after"]["rate"]) == (2000, 5)
    assert len(shell.json("audit")) == 4
    assert shell.json("audit", "--most", "1", "--before", lines[0]["audit_id"]) == [lines[1]]


def test_a_table_of_the_audit_shows_what_differs(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    shell.run(
        "party",
        "add",
        "agg",
        "--kind",
        "aggregator",
        *(word for n in range(5) for word in ("--issuer", f"ISSUER000{n}")),
    )
    shell.run("party", "update", "agg", "--rate", "5")
    table = shell.run("audit")
    assert "rate: 2000 → 5" in table
    assert "and 2 more" in table


def test_the_database_comes_from_the_environment_too(
    shell: Shell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shell.run("party", "add", ISSUER)
    monkeypatch.setenv("CARDTRAIL_DATABASE", f"sqlite:///{tmp_path}/cardtrail.db")
    assert ISSUER in shell.run_alone("party", "list")


@pytest.mark.parametrize("words", [["party", "add"], ["party", "add", "x", "--kind", "king"], ["party", "unknown"]])
def test_a_command_that_is_no_command_is_refused(shell: Shell, words: list[str]) -> None:
    with pytest.raises(CycloptsError):
        shell.run_alone(*words)
