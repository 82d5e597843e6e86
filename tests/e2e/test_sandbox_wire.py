"""Faults, the record and its replay, in a real sandbox by its real commands."""

import sqlite3
from contextlib import closing
from pathlib import Path

import msgspec

from cardtrail.sandbox.wire.kinds import Hop
from cardtrail.sandbox.wire.record import exchanges_of
from tests.e2e.test_sandbox import Sandbox, cardtrail, playing


def run(sandbox: Sandbox, *words: str) -> str:
    done = cardtrail("sandbox", *words, "--data", str(sandbox.data))
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_fault_strikes_while_everything_runs_and_the_mirror_is_right_in_the_end(tmp_path: Path) -> None:
    with playing(tmp_path) as sandbox:
        run(sandbox, "fault", "reset", "--rate", "0.5")
        run(sandbox, "fault", "unknown-member")
        run(sandbox, "fault", "500", "--at", "events", "--count", "3")
        run(sandbox, "fault", "token-expiry", "--at", "answers")
        run(sandbox, "fault", "key-rotation", "--at", "notifications")
        sandbox.until(lambda line: "CARD_SHIPPED" in line)
        assert "reset is on: 50% of the notifications; struck " in run(sandbox, "faults")
        assert run(sandbox, "fault", "off").startswith("5 faults")
        missed = sandbox.newest
        sandbox.until_told(missed)
    exchanges = list(exchanges_of(tmp_path / "wire.jsonl"))
    struck = {(each.hop, fault) for each in exchanges for fault in each.faults}
    assert struck >= {(Hop.NOTIFICATIONS, "reset"), (Hop.NOTIFICATIONS, "unknown-member"), (Hop.EVENTS, "500")}
    assert [each.faults for each in exchanges if "key-rotation" in each.faults][1:] == []
    signatures = [each.request.headers["webhook-signature"] for each in exchanges if each.hop is Hop.NOTIFICATIONS]
    assert (len(signatures[0].split()), len(signatures[-1].split())) == (1, 2)
    assert [each.number for each in exchanges] == list(range(1, len(exchanges) + 1))


def test_the_record_holds_no_token_no_secret_and_no_credentials(tmp_path: Path) -> None:
    with playing(tmp_path) as sandbox:
        sandbox.until(lambda line: "mirror notified" in line)
        env = sandbox.env
        written = (tmp_path / "wire.jsonl").read_text()
    assert '"encryptedData\\":\\"***\\"' in written
    for name in ("ACCESS_TOKEN", "INGEST_TOKEN", "CONTROL_TOKEN"):
        assert env[name] not in written
        assert env[name].rpartition(".")[2] not in written
    assert "whsec_" not in written
    assert (tmp_path / "wire.jsonl").stat().st_mode & 0o777 == 0o600


def test_a_record_is_sent_again_to_another_sandbox(tmp_path: Path) -> None:
    one, other = tmp_path / "one", tmp_path / "other"
    with playing(one) as sandbox:
        for _ in range(15):
            sandbox.until(lambda line: "mirror notified" in line)
    orders = [each for each in exchanges_of(one / "wire.jsonl") if each.path.endswith("operations:production")]
    with playing(other) as sandbox:
        told = run(sandbox, "replay", str(one / "wire.jsonl"))
        assert "Sent again: " in told
        with closing(sqlite3.connect(f"file:{other / 'cardtrail.db'}?mode=ro", uri=True)) as database:
            requests = {row[0] for row in database.execute("SELECT issuer_request_id FROM order_request")}
        mirrored = sandbox.mirrored
    cards = [card for each in orders for card in msgspec.json.decode(each.request.body)["cards"]]
    results = [result for each in orders for result in msgspec.json.decode(each.answer.body)["results"]]
    assert {card["issuerRequestId"] for card in cards} <= requests
    assert {result["operationId"] for result in results} & mirrored.keys()
