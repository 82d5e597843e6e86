"""What a running service tells of itself: metrics, readiness, and each failed attempt in its log."""

import json
import re
from pathlib import Path

from cardtrail.meters.platform import PLATFORM
from tests.background import LOOPBACK, eventually, receiving
from tests.events import event
from tests.receiver import OK, Received, Reply
from tests.serving import ISSUER, Service, register_parties, serving


def test_a_running_service_shows_exactly_the_metrics_that_are_declared(service: Service) -> None:
    text = service.call("GET", "/metrics").body.decode()
    shown = dict(re.findall(r"^# TYPE (\w+) (\w+)$", text, re.MULTILINE))
    assert shown == {meter.name: meter.kind.value for meter in PLATFORM}
    [age] = re.findall(r"^cardtrail_delivery_look_age_seconds (\S+)$", text, re.MULTILINE)
    assert 0 <= float(age) < 60


def test_a_running_service_says_what_its_readiness_depends_on(service: Service) -> None:
    found = service.call("GET", "/readyz").json
    assert (found["status"], found["store"], found["registry"]) == ("ok", "ok", "ok")
    assert found["schemaVersion"] == found["schemaExpected"]


def test_the_log_tells_each_failed_attempt(database_url: str, tmp_path: Path) -> None:
    register_parties(database_url)
    seen: list[Received] = []

    async def refuses_once(call: Received) -> Reply:
        seen.append(call)
        return (503, {}, b"") if len(seen) == 1 else OK

    options = (*LOOPBACK, "--delivery-steps", "0.1", "--log-level", "debug")
    with receiving() as receiver, serving(database_url, tmp_path, *options) as service:
        receiver.reply = refuses_once
        operator = service.token("cardtrail:operate")
        path = f"/operator/v1/issuers/{ISSUER}/endpoints"
        added = service.call("POST", path, {"endpointId": "hook", "url": receiver.url}, token=operator)
        assert added.status == 201
        service.ingest(event("requested", "card-1", operationId="op-1"))
        service.ingest(event("shipped", "card-1", hours=1))
        eventually(lambda: receiver.newest.get("op-1") == 2)
        assert service.stop() == 0
        log = service.log.read_text()
    attempts = [line for line in map(json.loads, re.findall(r"^{.*$", log, re.MULTILINE)) if line["event"] == "attempt"]
    assert [line for line in attempts if line["status"] == 204] == []
    failed = next(line for line in attempts if line["status"] == 503)
    assert (failed["issuer_id"], failed["endpoint_id"], failed["failure"]) == (ISSUER, "hook", None)
    assert len(failed["notifications"]) == failed["carried"] >= 1
    assert failed["attempt_id"]
    assert failed["retry_due"].endswith("Z")
    assert failed["ms"] >= 0
