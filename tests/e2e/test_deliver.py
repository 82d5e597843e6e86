"""`cardtrail deliver` as a process beside a service that delivers nothing itself, with a real receiver."""

import asyncio
import json
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import ProxyHandler, build_opener

import pytest

from cardtrail.cli.deliver import RUNNING
from cardtrail.meters.platform import DELIVERER
from tests.background import LOOPBACK, eventually, receiving
from tests.desk import execute
from tests.engines import fresh_database, own_server
from tests.events import event
from tests.receiver import OK, Received, Reply
from tests.serving import ISSUER, PATIENCE, Service, free_port, register_parties, serving


@contextmanager
def delivering(url: str, folder: Path, *options: str) -> Iterator["subprocess.Popen[bytes]"]:
    """Run a deliverer beside a service that was begun before, until the block ends; it has said that it runs."""
    log = folder / "deliver.log"
    command = [sys.executable, "-m", "cardtrail", "deliver", "--database", url, *LOOPBACK, *options]
    with log.open("wb") as output:
        process = subprocess.Popen(
            [*command, "--secret-key-file", str(folder / "secret.key")], stdout=output, stderr=output
        )
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


# ── watched ──


def asked(port: int, path: str) -> tuple[int, str]:
    """Return status and body of what a deliverer answers."""
    try:
        with build_opener(ProxyHandler({})).open(f"http://127.0.0.1:{port}/{path}", timeout=PATIENCE) as answer:
            return answer.status, answer.read().decode()
    except HTTPError as error:
        with error:
            return error.code, error.read().decode()


def shown(port: int, name: str) -> dict[str, float]:
    """Return the values of a metric by what stands in its braces."""
    found = re.findall(rf"^{name}(?:{{(.*)}})? (\S+)$", asked(port, "metrics")[1], re.MULTILINE)
    return {labels: float(value) for labels, value in found}


def test_a_watched_deliverer_shows_what_it_delivered_and_no_metric_that_it_does_not_count(
    database_url: str, tmp_path: Path
) -> None:
    register_parties(database_url)
    port, calls = free_port(), "cardtrail_delivery_attempts_total"

    async def refuses_once(_call: Received) -> Reply:
        return OK if receiver.calls else (503, {}, b"")

    with receiving() as receiver, serving(database_url, tmp_path, "--no-deliver", *LOOPBACK) as service:
        receiver.reply = refuses_once
        add_endpoint(service, receiver.url)
        service.ingest(*(event("requested", f"card-{each}", operationId=f"op-{each}") for each in range(5)))
        with delivering(database_url, tmp_path, "--watch-port", str(port), "--delivery-steps", "0.1"):
            eventually(lambda: {each["state"] for each in listed(service)} == {"DELIVERED"})
            well = {'result="204"': float(len(receiver.calls) - 1)}
            assert shown(port, calls) == {'result="503"': 1.0} | well
            carried = shown(port, "cardtrail_delivery_carried_total")
            assert carried['result="204"'] == 5
            assert sum(carried.values()) == sum(len(call.operations) for call in receiver.calls)
            assert shown(port, "cardtrail_delivery_seconds_count") == {"": float(len(receiver.calls))}
            assert shown(port, "cardtrail_delivery_look_age_seconds")[""] < 60
            [built] = shown(port, "cardtrail_build_info")
            assert 'process="deliver"' in built
            names = re.findall(r"^# TYPE (\w+)", asked(port, "metrics")[1], re.MULTILINE)
            assert names == [meter.name for meter in DELIVERER]
            ready = json.loads(asked(port, "readyz")[1])
            assert (ready["status"], ready["store"], ready["deliverer"]) == ("ok", "ok", "ok")
            assert ready["schemaVersion"] == ready["schemaExpected"]
        text = service.call("GET", "/metrics").body.decode()
        assert re.findall(rf"^(?:{calls}|cardtrail_delivery_look_age_seconds)\b.*$", text, re.MULTILINE) == []
        assert 'process="serve"' in text


@pytest.mark.timeout(300)
def test_a_deliverer_is_not_ready_while_its_database_is_away_and_goes_on_by_itself(tmp_path: Path) -> None:
    port = free_port()
    with own_server() as server, fresh_database(server.url) as url:
        register_parties(url)
        with receiving() as receiver, serving(url, tmp_path, "--no-deliver", *LOOPBACK) as service:
            add_endpoint(service, receiver.url)
            with delivering(url, tmp_path, "--watch-port", str(port)) as process:
                assert asked(port, "readyz")[0] == 200
                server.crash()
                status, body = asked(port, "readyz")
                assert (status, json.loads(body)["store"]) == (503, "unavailable")
                eventually(lambda: shown(port, "cardtrail_background_failures_total").get('work="Deliverer"', 0) > 0)
                assert asked(port, "healthz")[0] == 200
                server.start()
                eventually(lambda: asked(port, "readyz")[0] == 200)
                eventually(lambda: service.call("GET", "/readyz").status == 200)
                service.ingest(event("requested", "card-1", operationId="op-1"))
                eventually(lambda: receiver.newest.get("op-1") == 1)
                assert process.poll() is None


def test_a_watched_deliverer_that_is_told_to_end_does_so_though_somebody_is_still_connected(tmp_path: Path) -> None:
    url, port = f"sqlite:///{tmp_path}/cardtrail.db", free_port()
    register_parties(url)
    with (
        serving(url, tmp_path, "--no-deliver", *LOOPBACK),
        delivering(url, tmp_path, "--watch-port", str(port)) as process,
        socket.create_connection(("127.0.0.1", port), PATIENCE) as idle,
        socket.create_connection(("127.0.0.1", port), PATIENCE) as halfway,
    ):
        idle.sendall(b"GET /healthz HTTP/1.1\r\nhost: here\r\n\r\n")
        assert idle.recv(1_000).startswith(b"HTTP/1.1 200")
        halfway.sendall(b"GET /met")
        process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE) == 0


def test_a_place_where_nobody_can_be_answered_is_named(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "cardtrail", "deliver", "--database", f"sqlite:///{tmp_path}/cardtrail.db"]
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        for options, expected in (
            (("--watch-port", port), f"watch_port: 127.0.0.1:{port} cannot be listened on: "),
            (("--watch-port", "65536"), "watch_port: 0 to 65535 expected"),
            (("--watch-port", "-1"), "watch_port: 0 to 65535"),
            (("--watch-host", "no.such.host.invalid", "--watch-port", port), "watch_port: no.such.host.invalid"),
        ):
            ended = subprocess.run([*command, *options], capture_output=True, text=True, check=False, timeout=PATIENCE)
            assert (ended.returncode, ended.stdout) == (2, ""), ended.stderr
            assert ended.stderr.splitlines()[-1].startswith(f"cardtrail: {expected}"), ended.stderr
            assert RUNNING not in ended.stderr
