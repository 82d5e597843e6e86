"""`cardtrail issuer serve` as a process: how it ends, and what it tells of itself."""

import asyncio
import os
import re
import signal
import subprocess
import sys
from base64 import b64encode
from contextlib import suppress
from pathlib import Path

import pytest

from cardtrail.meters.kit import KIT
from tests.background import eventually
from tests.desk import execute
from tests.people import PASSWORD, Person
from tests.serving import PATIENCE, Service, free_port
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


def test_a_running_service_shows_exactly_the_metrics_that_are_declared_and_is_ready(tmp_path: Path) -> None:
    (tmp_path / "secrets").write_text("whsec_" + b64encode(bytes(32)).decode())
    port = free_port()
    command = [
        sys.executable, "-m", "cardtrail", "issuer", "serve", "--port", str(port), "--issuer-id", "BANK000001",
        "--mirror", f"sqlite:///{tmp_path}/mirror.db", "--secrets-file", str(tmp_path / "secrets"),
    ]  # fmt: skip
    log = tmp_path / "log"
    with log.open("wb") as output:
        process = subprocess.Popen(command, stderr=output, env=os.environ)
    try:
        service = Service(process, port, log)
        eventually(lambda: process.poll() is not None or ready(service))
        assert service.call("GET", "/readyz").json["status"] == "ok"
        shown = re.findall(r"^# TYPE (\w+) (\w+)$", service.call("GET", "/metrics").body.decode(), re.MULTILINE)
        assert dict(shown) == {meter.name: meter.kind.value for meter in KIT}
    finally:
        process.kill()
        process.wait(PATIENCE)


def ready(service: Service) -> bool:
    with suppress(OSError):
        return service.call("GET", "/readyz").status == 200
    return False


def test_its_pages_let_in_whom_the_command_let_in_repair_a_card_and_end_with_the_service(tmp_path: Path) -> None:
    """The whole way with real processes: an account, a log-in, a live page, a question, and the end on SIGTERM."""
    (tmp_path / "secrets").write_text("whsec_" + b64encode(bytes(32)).decode())
    mirror, port = f"sqlite:///{tmp_path}/mirror.db", free_port()
    add = ["issuer", "account", "add", "ada", "--role", "operator", "--mirror"]
    added = subprocess.run(
        [sys.executable, "-m", "cardtrail", *add, mirror],
        input=f"{PASSWORD}\n", text=True, check=True, capture_output=True, timeout=PATIENCE,
    )  # fmt: skip
    assert "ada" in added.stdout
    with strict_on_thread(Options(cards=5, seed=1)) as strict:
        (tmp_path / "key.pem").write_text(strict.private_pem)
        command = [
            sys.executable, "-m", "cardtrail", "issuer", "serve", "--port", str(port), "--pages",
            "--mirror", mirror, "--issuer-id", strict.issuer_id, "--server", strict.origin,
            "--key-file", str(tmp_path / "key.pem"), "--kid", strict.kid, "--secrets-file", str(tmp_path / "secrets"),
        ]  # fmt: skip
        log = tmp_path / "log"
        with log.open("wb") as output:
            process = subprocess.Popen(command, stderr=output, env=os.environ)
        try:
            eventually(lambda: process.poll() is not None or ready(Service(process, port, log)))
            assert f"its pages are at http://127.0.0.1:{port}/ui/" in log.read_text()
            asyncio.run(asyncio.wait_for(visited(port, strict.issuer_id, process), PATIENCE))
            assert process.wait(PATIENCE) == 0, log.read_text()
        finally:
            process.kill()
            process.wait(PATIENCE)
    assert PASSWORD not in log.read_text()


async def visited(port: int, issuer_id: str, process: subprocess.Popen[bytes]) -> None:
    """Visit the pages, leave one live, and have the service end."""
    person, home = Person(port), f"/ui/issuers/{issuer_id}/"
    assert (await person.log_in("ada")).headers["location"] == "/ui/"
    assert (await person.get("/ui/")).headers["location"] == home
    assert b"How far this can be believed" in (await person.get(home)).body
    assert b"<b>0</b> of " in (await person.get(f"{home}drift")).body
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    cookie = "; ".join(f"{name}={value}" for name, value in person.cookies.items())
    writer.write(f"GET {home}live HTTP/1.1\r\nhost: 127.0.0.1:{port}\r\ncookie: {cookie}\r\n\r\n".encode())
    assert b"text/event-stream" in await reader.readuntil(b"\r\n\r\n")
    process.send_signal(signal.SIGTERM)
    await reader.read()  # to the end: nobody waits for a page that is live
    writer.close()
