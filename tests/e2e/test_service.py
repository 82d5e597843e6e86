"""The platform as its users meet it: real processes, real HTTP, both engines."""

import hashlib
import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from tests.desk import execute
from tests.events import event
from tests.serving import ISSUER, OTHER_ISSUER, PATIENCE, Service, register_parties, serving

STORY: tuple[tuple[str, dict[str, Any]], ...] = (
    ("requested", {}), ("prepared", {"dueDate": "2026-01-12"}), ("ready", {"productionSite": "North"}),
    ("started", {}), ("done", {}), ("shipped", {"carrier": "dhl", "trackingNumber": "JD0001"}),
)  # fmt: skip
ORDER = {"distributionChannel": "CENTRAL", "encryptedData": "aGVhZA.a2V5.aXY.dGV4dA.dGFn", "issuerRequestId": "r-1"}


def stage_of(service: Service, card_id: str) -> str:
    stage: str = service.status(card_id).json["operations"][0]["details"]["status"]
    return stage


def test_a_card_is_followed_from_its_order_to_its_delivery(database_url: str, tmp_path: Path) -> None:
    """One story told to two processes in turn; on PostgreSQL they are on one database, and so they are on SQLite."""
    register_parties(database_url)
    with ExitStack() as stack:
        services = [stack.enter_context(serving(database_url, tmp_path)) for _ in range(2)]
        seen = []
        for step, (kind, members) in enumerate(STORY):
            results = services[step % 2].ingest(event(kind, "card-1", hours=step) | members)
            assert [result["result"] for result in results] == ["accepted"]
            seen.append(stage_of(services[1 - step % 2], "card-1"))
        assert seen == [
            "CARD_PROD_REQUESTED", "DATA_PREPARED", "CARD_PROD_READY", "CARD_PROD_ONGOING", "CARD_PROD_DONE",
            "CARD_SHIPPED",
        ]  # fmt: skip
        services[0].ingest(event("scanned", hours=30, carrier="dhl", trackingNumber="JD0001", status="Delivered"))
        answers = [service.status("card-1") for service in services]
        assert answers[0].body == answers[1].body
        [operation] = answers[0].json["operations"]
        assert operation["details"]["shipment"] == {
            "carrier": "dhl", "trackingNumber": "JD0001", "status": "Delivered",
        }  # fmt: skip
        assert operation["cardtrail"]["sequence"] == 7
        assert [service.stop() for service in services] == [0, 0]


def test_an_order_over_http_is_there_at_once_and_only_once(database_url: str, tmp_path: Path) -> None:
    register_parties(database_url)
    with serving(database_url, tmp_path) as service:
        path = f"/banking/v1/issuers/{ISSUER}/physicalCards/card-9/operations:production"
        token = service.token("d1-api:physical-card:write")
        first, again = (service.call("POST", path, ORDER, token=token) for _ in range(2))
        assert (first.status, again.status) == (202, 202)
        assert first.json == again.json
        other = service.call("POST", path, {**ORDER, "cardProductId": "gold"}, token=token)
        assert (other.status, other.json["errorCode"]) == (409, "CONFLICT")
        answer = service.status("card-9")
        [operation] = answer.json["operations"]
        assert operation["operationId"] == first.json["operationId"]
        assert operation["issuerRequestId"] == "r-1"
        assert answer.headers["etag"]
        unchanged = service.status("card-9", **{"if-none-match": answer.headers["etag"]})
        assert (unchanged.status, unchanged.body) == (304, b"")


def test_the_path_of_the_guide_in_lower_case_answers_the_same(service: Service) -> None:
    token = service.token("d1-api:physical-card:read")
    guide = f"/banking/v1/issuers/{ISSUER}/physicalcards/card-0001/productionstatus"
    assert service.call("GET", guide, token=token).body == service.status("card-0001").body
    shouted = f"/BANKING/V1/ISSUERS/{ISSUER}/PHYSICALCARDS/card-0001/PRODUCTIONSTATUS"
    assert service.call("GET", shouted, token=token).status == 200
    other_case = guide.replace("card-0001", "CARD-0001")
    assert service.call("GET", other_case, token=token).status == 404


def test_nobody_learns_of_another_issuers_cards(service: Service) -> None:
    stranger = service.token("d1-api:physical-card:read", OTHER_ISSUER)
    answers = [
        service.call("GET", f"/banking/v1/issuers/{issuer}/physicalCards/{card}/productionStatus", token=stranger)
        for issuer, card in ((ISSUER, "card-0001"), (ISSUER, "no-such-card"), ("NOBODY0000", "card-0001"))
    ]
    assert {(answer.status, answer.body) for answer in answers} == {(403, answers[0].body)}
    path = f"/banking/v1/issuers/{ISSUER}/physicalCards"
    for what, body in (("productionStatus:batchGet", {"cardIds": ["card-0001"]}), ("operations:production", {})):
        assert service.call("POST", f"{path}/{what}", body, token=stranger).status == 403
    producer = service.token("cardtrail:ingest")
    assert service.call("GET", f"{path}/card-0001/productionStatus", token=producer).status == 403
    reader = service.token("d1-api:physical-card:read")
    assert service.call("POST", "/ingest/v1/events", {"events": [{}]}, token=reader).status == 403


def test_a_crossed_pair_of_issuer_and_card_never_meets_in_concurrent_reads(database_url: str, tmp_path: Path) -> None:
    """Both issuers have both cards, each with a tell-tale site; reads in parallel must each see their own."""
    register_parties(database_url)
    with serving(database_url, tmp_path) as service:
        for issuer in (ISSUER, OTHER_ISSUER):
            for card in ("card-a", "card-b"):
                about = {"issuerId": issuer, "productionSite": f"{issuer}/{card}"}
                service.ingest(event("requested", card) | about)
        tokens = {issuer: service.token("d1-api:physical-card:read", issuer) for issuer in (ISSUER, OTHER_ISSUER)}

        def read(number: int) -> bool:
            issuer, card = (ISSUER, OTHER_ISSUER)[number % 2], ("card-a", "card-b")[number // 2 % 2]
            path = f"/banking/v1/issuers/{issuer}/physicalCards/{card}/productionStatus"
            operation = service.call("GET", path, token=tokens[issuer]).json["operations"][0]
            return bool(operation["details"]["productionSite"] == f"{issuer}/{card}")

        with ThreadPoolExecutor(16) as pool:
            assert all(pool.map(read, range(400)))


def test_a_file_of_100000_events_goes_in_twice_and_nothing_moves_the_second_time(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/cardtrail.db"
    file = tmp_path / "events.jsonl"
    with file.open("w") as lines:
        for hours, (kind, members) in enumerate(STORY[:5]):
            for card in range(20_000):
                lines.write(json.dumps(event(kind, f"card-{card}", hours=hours) | members) + "\n")
    command = [sys.executable, "-m", "cardtrail", "ingest", str(file), "--database", url]
    first = subprocess.run(command, capture_output=True, text=True, check=True, timeout=300)
    before = sequences(url)
    second = subprocess.run(command, capture_output=True, text=True, check=True, timeout=300)
    assert first.stdout.strip() == "100,000 accepted, 0 duplicate, 0 rejected"
    assert second.stdout.strip() == "0 accepted, 100,000 duplicate, 0 rejected"
    assert sequences(url) == before


def sequences(url: str) -> tuple[int, str]:
    """Return how many orders there are, and a hash of every card, sequence and change number."""
    rows = execute(url, "SELECT change_no, card_id, operation_id, sequence, etag FROM operation ORDER BY change_no")
    return len(rows), hashlib.sha256(repr(rows).encode()).hexdigest()


def test_sigterm_finishes_what_was_begun(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/cardtrail.db"
    register_parties(url)
    with serving(url, tmp_path) as service, ThreadPoolExecutor(8) as pool:
        service.token("cardtrail:ingest")
        cards = [f"card-{number}" for number in range(200)]
        sent = [pool.submit(_try_to_order, service, card) for card in cards]
        next(iter(sent)).result(PATIENCE)
        assert service.stop() == 0
        acknowledged = {card for card, future in zip(cards, sent, strict=True) if future.result(PATIENCE)}
    with serving(url, tmp_path) as service:
        known = {card for card in cards if service.status(card).status == 200}
    assert acknowledged
    assert acknowledged <= known


def _try_to_order(service: Service, card_id: str) -> bool:
    """Return whether the order was acknowledged; a service that has ended acknowledges nothing."""
    try:
        return service.ingest(event("requested", card_id))[0]["result"] == "accepted"
    except OSError:
        return False
