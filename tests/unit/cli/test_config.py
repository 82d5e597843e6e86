"""`cardtrail config` and `cardtrail issuer config`: what is in force, for people and for programs."""

import os

import msgspec
import pytest

from cardtrail.cli.config import config, issuer_config
from cardtrail.issuer import settings as kit
from cardtrail.platform import settings as platform
from tests.shell import Shell

COMMANDS = {"config": (config, platform), "issuer": (issuer_config, kit)}


@pytest.fixture
def shell(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Shell:
    for name in [name for name in os.environ if name.startswith("CARDTRAIL_")]:
        monkeypatch.delenv(name)
    found = Shell("", capsys)
    for name, (command, _) in COMMANDS.items():
        found._app.command(command, name=name)
    return found


@pytest.mark.parametrize("name", COMMANDS)
def test_every_setting_is_shown_with_its_default(shell: Shell, name: str) -> None:
    told = msgspec.json.decode(shell.run_alone(name, "--json"))
    expected = [(each.name, each.default, "default") for each in COMMANDS[name][1].described()]
    assert [(each["name"], each["value"], each["source"]) for each in told["settings"]] == expected
    assert told["unknown"] == []
    assert "--log-level" in shell.run_alone(name)


def test_an_option_and_a_variable_are_told_apart(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CARDTRAIL_DATABASE", "postgresql://ada:secret@db/cards")
    lines = shell.run_alone("config", "--port", "9000").splitlines()
    [database] = [line.split() for line in lines if line.startswith("--database")]
    [port] = [line.split() for line in lines if line.startswith("--port")]
    assert database == ["--database", "postgresql://ada:***@db/cards", "CARDTRAIL_DATABASE"]
    assert port == ["--port", "9000", "option"]


def test_an_unknown_variable_is_named_and_ends_a_strict_command(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CARDTRAIL_KIT_SEVRER", "https://platform.example")
    monkeypatch.setenv("CARDTRAIL_ACTOR", "operator:ada")
    for name in COMMANDS:
        assert "CARDTRAIL_KIT_SEVRER is read by nothing; did you mean CARDTRAIL_KIT_SERVER?" in " ".join(
            shell.run_alone(name).split()
        )
        with pytest.raises(SystemExit) as ended:
            shell.run_alone(name, "--strict", "--json")
        assert ended.value.code == 1
        assert msgspec.json.decode(shell.read())["unknown"][0]["nearest"] == "CARDTRAIL_KIT_SERVER"


def test_the_kit_says_nothing_of_the_platforms_variables(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CARDTRAIL_DATABSE", "sqlite:///x.db")
    assert msgspec.json.decode(shell.run_alone("issuer", "--strict", "--json"))["unknown"] == []
