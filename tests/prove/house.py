"""The programs of a round, each a process that may be killed at any moment and is started again as it was."""

import asyncio
import json
import os
import signal
import sys
from asyncio.subprocess import Process
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from tests.serving import PATIENCE, private_pem

HOUSE = Path(__file__).parents[2]
LOOPBACK = ("--egress-http", "--egress-allow", "127.0.0.0/8")
DELIVERY = ("--delivery-timeout", "1", "--delivery-steps", "0.2,0.4," + ",".join(["0.7"] * 90))
"""A lease lasts four seconds then, and no notification is given up within a round."""
QUIET = ("--log-level", "error")


class Program:
    """One program: a command with its environment, and the port on which it listens, if it does."""

    def __init__(
        self, name: str, command: Sequence[str], folder: Path, environment: Mapping[str, str], *, port: int = 0
    ) -> None:
        self.name = name
        self.port = port
        self.kills = 0
        self.log = folder / f"{name}.log"
        self._command = (sys.executable, "-m", *command)
        self._environment = os.environ | {"PYTHONPATH": f"{HOUSE / 'src'}:{HOUSE}", **environment}
        self._process: Process | None = None

    async def start(self) -> None:
        """Start it, and wait until it listens. Raises AssertionError if it ends at once, or TimeoutError."""
        with self.log.open("ab") as output:
            self._process = await asyncio.create_subprocess_exec(
                *self._command, env=self._environment, cwd=HOUSE, stdout=output, stderr=output
            )
        async with asyncio.timeout(PATIENCE):
            while self.port and not await self._listens():
                assert self._process.returncode is None, f"{self.name} ended: {self.log.read_text()[-2000:]}"
                await asyncio.sleep(0.05)

    async def _listens(self) -> bool:
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", self.port)
        except OSError:
            return False
        writer.close()
        return True

    async def kill(self) -> None:
        """End it as a power failure would."""
        self.kills += 1
        await self._end(signal.SIGKILL)

    async def stop(self) -> None:
        """End it in order, or by force where it takes too long."""
        await self._end(signal.SIGTERM)

    async def run(self, *, code: int = 0) -> bytes:
        """Run it to its end, which must be as expected; return what it printed."""
        process = await asyncio.create_subprocess_exec(
            *self._command, env=self._environment, cwd=HOUSE, stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        self._process = process
        async with asyncio.timeout(PATIENCE):
            out, errors = await process.communicate()
        assert process.returncode == code, f"{self.name}: exit code {process.returncode}: {out!r} {errors!r}"
        return out

    async def _end(self, how: signal.Signals) -> None:
        process = self._process
        if process is None or process.returncode is not None:
            return
        process.send_signal(how)
        try:
            await asyncio.wait_for(process.wait(), PATIENCE / 2)
        except TimeoutError:
            process.kill()
            await process.wait()


class Place(NamedTuple):
    """Where a round happens: its folder, the engine, and the URLs of its databases."""

    folder: Path
    engine: str
    platform: str
    mirrors: Mapping[str, str]

    @property
    def secret(self) -> Path:
        """The file with the key of the platform's secrets."""
        return self.folder / "secret.key"


def serving(place: Place, name: str, port: int, *, delivers: bool) -> Program:
    """`cardtrail serve`."""
    command = [
        "cardtrail", "serve", "--database", place.platform, "--port", str(port), "--secret-key-file", str(place.secret),
        "--drain-seconds", "2", *DELIVERY, *LOOPBACK, *QUIET,
    ]  # fmt: skip
    return Program(name, [*command, *([] if delivers else ["--no-deliver"])], place.folder, {}, port=port)


def delivering(place: Place) -> Program:
    """`cardtrail deliver`."""
    command = ("cardtrail", "deliver", "--database", place.platform, "--secret-key-file", str(place.secret))
    return Program("deliver", [*command, *DELIVERY, *LOOPBACK, *QUIET], place.folder, {})


class Ways(NamedTuple):
    """The ports by which an issuer's programs reach the platform and are reached."""

    platform: int
    receiver: int


def kit_of(place: Place, issuer_id: str, ways: Ways, secret: str, pull_seconds: int) -> dict[str, str]:
    """Return the environment of an issuer's programs."""
    key, secrets = place.folder / f"key-{issuer_id}.pem", place.folder / f"secrets-{issuer_id}"
    key.write_text(private_pem(issuer_id))
    secrets.write_text(secret)
    told = {
        "mirror": place.mirrors[issuer_id], "issuer_id": issuer_id,
        "server": f"http://127.0.0.1:{ways.platform}/banking/v1",
        "key_file": str(key), "kid": "k1", "port": str(ways.receiver), "secrets_file": str(secrets),
        "pull_seconds": str(pull_seconds), "calls_per_second": "200", "calls_per_day": "1000000", "log_level": "error",
    }  # fmt: skip
    return {f"CARDTRAIL_KIT_{name.upper()}": value for name, value in told.items()}


def receiving(place: Place, issuer_id: str, kit: Mapping[str, str]) -> Program:
    """`cardtrail issuer serve`: receiver and reconciler."""
    port = int(kit["CARDTRAIL_KIT_PORT"])
    return Program(f"issuer-{issuer_id}", ("cardtrail", "issuer", "serve"), place.folder, kit, port=port)


def reconciling(place: Place, issuer_id: str, kit: Mapping[str, str]) -> Program:
    """`cardtrail reconcile`, one pass."""
    return Program(f"reconcile-{issuer_id}", ("cardtrail", "reconcile", "--json"), place.folder, kit)


def reading(place: Place, server: int) -> Program:
    """The reader of the feed."""
    keys = {issuer_id: private_pem(issuer_id) for issuer_id in place.mirrors}
    told = {"server": f"http://127.0.0.1:{server}/banking/v1", "folder": str(place.folder), "keys": keys}
    path = place.folder / "reader.json"
    path.write_text(json.dumps(told))
    return Program("reader", ("tests.prove.reader", str(path)), place.folder, {})
