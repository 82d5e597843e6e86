"""`cardtrail deliver` as a process beside a service that delivers nothing itself, with a real receiver."""

import asyncio
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from cardtrail.cli.deliver import RUNNING
from tests.background import LOOPBACK, eventually, receiving
from tests.desk import execute
from tests.events import event
from tests.receiver import OK, Received, Reply
from tests.serving import ISSUER, PATIENCE, Service, register_parties, serving


@contextmanager
def delivering(url: str, folder: Path, *options: str) -> Iterator["subprocess.Popen[bytes]"]:
    """Run a deliverer beside a service that was begun before, until the block ends; it has said that it runs."""
    log = folder / "deliver.log"
    command = [sys.executable, "-m", "cardtrail", "deliver", "--database", url, *LOOPBACK, *options]
    with log.open("wb") as output:
        process = subprocess.Popen([*command, "--secret-key-file", str(folder / "secret.key")], stderr=output)
    try:
        eventually(lambda: RUNNING in log.read_text() or process.poll() is not None)
        assert process.poll() is None, log.read_text()
        yield process
    finally:
        if process.poll() is None:
            process.kill()
            process.wait(PATIENCE)


def add_endpoint(service: Service, url: str) -> None:
    path, token = f"/operator/v1/issuers/{ISSUER}/endpoints", service.token("cardtrail:operate")
    assert service.call("POST", path, {"endpointId": "hook", "url": url}, token=token).status == 201


def listed(service: Service) -> list[dict[str, Any]]:
    token = service.token("d1-api:physical-card:read")
    answer = service.call("GET", f"/banking/v1/issuers/{ISSUER}/notifications", token=token)
    notifications: list[dict[str, Any]] = answer.json["notifications"]
    return notifications


def test_what_one_process_takes_in_another_one_delivers(database_url: str, tmp_path: Path) -> None:
    register_parties(database_url)
    with receiving() as receiver, serving(database_url, tmp_path, "--no-deliver", *LOOPBACK) as service:
        add_endpoint(service, receiver.url)
        service.ingest(event("requested", "card-1", operationId="op-1"))
        assert [each["state"] for each in listed(service)] == ["PENDING"]
        with delivering(database_url, tmp_path) as process:
            eventually(lambda: receiver.newest.get("op-1") == 1)
            service.ingest(event("prepared", "card-1", hours=1))
            eventually(lambda: receiver.newest.get("op-1") == 2)
            eventually(lambda: [each["state"] for each in listed(service)] == ["DELIVERED", "DELIVERED"])
            process.send_signal(signal.SIGTERM)
            assert process.wait(PATIENCE) == 0
        service.ingest(event("ready", "card-1", hours=2))
        assert [each["state"] for each in listed(service)] == ["DELIVERED", "DELIVERED", "PENDING"]


def test_a_deliverer_told_to_end_finishes_its_calls_settles_them_and_lets_go(database_url: str, tmp_path: Path) -> None:
    register_parties(database_url)
    began, go_on = threading.Event(), threading.Event()

    async def slowly(_call: Received) -> Reply:
        began.set()
        await asyncio.to_thread(go_on.wait, PATIENCE)
        return OK

    with receiving() as receiver, serving(database_url, tmp_path, "--no-deliver", *LOOPBACK) as service:
        receiver.reply = slowly
        add_endpoint(service, receiver.url)
        service.ingest(event("requested", "card-1", operationId="op-1"))
        with delivering(database_url, tmp_path) as process:
            assert began.wait(PATIENCE)
            assert execute(database_url, "SELECT holder <> '' FROM lane") == [(True,)]
            process.send_signal(signal.SIGINT)
            go_on.set()
            assert process.wait(PATIENCE) == 0
        assert [each["state"] for each in listed(service)] == ["DELIVERED"]
        assert execute(database_url, "SELECT holder, leased_until FROM lane") == [("", 0)]
        assert len(receiver.calls) == 1


def test_a_second_signal_ends_a_deliverer_at_once(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/cardtrail.db"
    register_parties(url)
    began = threading.Event()

    async def never(_call: Received) -> Reply:
        began.set()
        await asyncio.Event().wait()
        return OK

    with receiving() as receiver, serving(url, tmp_path, "--no-deliver", *LOOPBACK) as service:
        receiver.reply = never
        add_endpoint(service, receiver.url)
        service.ingest(event("requested", "card-1"))
        with delivering(url, tmp_path, "--delivery-timeout", "120") as process:
            assert began.wait(PATIENCE)

            def told_again() -> bool:
                process.send_signal(signal.SIGTERM)
                return process.poll() is not None

            eventually(told_again)
            assert process.returncode == -signal.SIGTERM
        assert [each["state"] for each in listed(service)] == ["PENDING"]


def test_a_wrong_setting_is_named(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "cardtrail", "deliver", "--database", f"sqlite:///{tmp_path}/cardtrail.db"]
    for option, expected in (("--delivery-timeout=0", "delivery_timeout"), ("--egress-allow=here", "egress_allow")):
        ended = subprocess.run([*command, option], capture_output=True, text=True, check=False, timeout=PATIENCE)
        assert ended.returncode == 2
        assert ended.stderr.startswith(f"cardtrail: {expected}"), ended.stderr
