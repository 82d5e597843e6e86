"""Runs commands on one database, as a shell would, and reads what they print."""

from typing import Any

import msgspec
import pytest
from cyclopts import App


class Shell:
    """The commands of some apps on one database."""

    def __init__(self, url: str, capsys: pytest.CaptureFixture[str], *apps: App) -> None:
        self.url = url
        self._where = ["--database", url, "--actor", "operator:ada"]
        self._capsys = capsys
        self._app = App(name="cardtrail")
        for app in apps:
            self._app.command(app)

    def run(self, *words: str) -> str:
        """Run a command that takes a database; return what it printed."""
        return self.run_alone(*words, *self._where)

    def run_alone(self, *words: str) -> str:
        self._app(list(words), exit_on_error=False, print_error=False, result_action="return_value")
        return self._capsys.readouterr().out

    def json(self, *words: str) -> Any:
        return msgspec.json.decode(self.run(*words, "--json"))

    def read(self) -> str:
        """What was printed by a command that ended otherwise."""
        return self._capsys.readouterr().out
