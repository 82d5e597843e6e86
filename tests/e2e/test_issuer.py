"""`cardtrail issuer serve` as a process: how it ends."""

import os
import signal
import subprocess
import sys
from base64 import b64encode
from pathlib import Path

import pytest

from tests.background import eventually
from tests.desk import execute
from tests.serving import PATIENCE, free_port
from tests.strict.running import strict_on_thread
from tests.strict.server import Options


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_told_to_end_it_lets_go_of_the_lease_so_that_others_may_reconcile_at_once(
    database_url: str, tmp_path: Path, number: signal.Signals
) -> None:
    (tmp_path / "secrets").write_text("whsec_" + b64encode(bytes(32)).decode())
    with strict_on_thread(Options(cards=5, seed=1)) as strict:
        (tmp_path / "key.pem").write_text(strict.private_pem)
        command = [
            sys.executable, "-m", "cardtrail", "issuer", "serve", "--port", str(free_port()),
            "--mirror", database_url, "--issuer-id", strict.issuer_id, "--server", strict.origin,
            "--key-file", str(tmp_path / "key.pem"), "--kid", strict.kid, "--secrets-file", str(tmp_path / "secrets"),
        ]  # fmt: skip
        log = tmp_path / "log"
        with log.open("wb") as output:
            process = subprocess.Popen(command, stderr=output, env=os.environ)
        try:
            eventually(lambda: "cardtrail receives for" in log.read_text() or process.poll() is not None)
            eventually(lambda: execute(database_url, "SELECT 1 FROM lease WHERE until > 0"))
            process.send_signal(number)
            assert process.wait(PATIENCE) == 0, log.read_text()
        finally:
            process.kill()
            process.wait(PATIENCE)
    assert execute(database_url, "SELECT until FROM lease") == [(0,)]
