"""The issuer's commands on a mirror: import, show, changes, drift, health; and what is said of wrong settings."""

import asyncio
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import pytest

from cardtrail.cli.cards import cards_app
from cardtrail.cli.drift import drift, span
from cardtrail.cli.issuer import callback_of, issuer_app, trust_of
from cardtrail.cli.kit import client_of
from cardtrail.cli.metering import Metering
from cardtrail.cli.reconcile import reconcile
from cardtrail.db import Transaction
from cardtrail.errors import InputError, SettingError, StoreUnavailable
from cardtrail.issuer.mirror import AsyncMirror, Mirror
from cardtrail.issuer.settings import Settings, settings_of
from cardtrail.issuer.standing import Observed
from cardtrail.issuer.store import migrations
from cardtrail.issuer.take import Asked, Batch, Sighting
from cardtrail.protocol.reading import operation_of
from tests.desk import execute
from tests.shell import Shell

ISSUER = "BANK000001"
SECOND = 1_000_000
HOUR = 3_600 * SECOND


def picture(stage: str, card_id: str = "card-1", **members: Any) -> bytes:
    return msgspec.json.encode(
        {
            "operationId": f"op-{card_id}", "operation": "PRODUCE", "status": "PENDING",
            "startTime": "2026-11-01T00:00:00.000Z", "cardId": card_id, "details": {"status": stage},
        } | members
    )  # fmt: skip


class Bank:
    """A mirror, and the commands on it."""

    def __init__(self, url: str, capsys: pytest.CaptureFixture[str]) -> None:
        self.url = url
        self.now = time.time_ns() // 1_000
        self._shell = Shell(url, capsys, cards_app, issuer_app)
        self._shell._app.command(drift)
        self._shell._app.command(reconcile)

    @contextmanager
    def mirror(self) -> Iterator[Mirror]:
        with Mirror.open(self.url) as mirror:
            mirror.clock = lambda: self.now
            yield mirror

    def hear(self, *elements: bytes, mirror: Mirror) -> None:
        observed = [Observed(operation_of(each), "notification", self.now) for each in elements]
        mirror.take(ISSUER, observed, mark=None, sightings=[])

    def answer(self, element: bytes, mirror: Mirror) -> None:
        ticket, operation = mirror.ticket(ISSUER), operation_of(element)
        mirror.put(ISSUER, Batch(
            now=self.now, observed=[Observed(operation, "answer", self.now, ticket)], ticket=ticket,
            asked={operation.card_id: Asked("found")},
        ))  # fmt: skip

    def run(self, *words: str) -> str:
        return self._shell.run_alone(*words, "--mirror", self.url, "--issuer-id", ISSUER)

    def json(self, *words: str) -> Any:
        return msgspec.json.decode(self.run(*words, "--json"))

    def read(self) -> str:
        return self._shell.read()


@pytest.fixture
def bank(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Bank:
    return Bank(f"sqlite:///{tmp_path / 'mirror.db'}", capsys)


# ── cards ──


def test_cards_are_imported_from_either_sort_of_file(bank: Bank, tmp_path: Path) -> None:
    (tmp_path / "cards.csv").write_text("cardId\ncard-1\ncard-2\n")
    assert bank.run("cards", "import", str(tmp_path / "cards.csv")) == "2 cards expected\n"
    (tmp_path / "cards.jsonl").write_text('{"cardId":"card-3"}\n')
    assert bank.run("cards", "import", str(tmp_path / "cards.jsonl")) == "1 cards expected\n"


def test_a_file_that_is_not_there_or_is_wrong_is_named(bank: Bank, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"nothing\.csv: No such file"):
        bank.run("cards", "import", str(tmp_path / "nothing.csv"))
    (tmp_path / "cards.csv").write_text("cardId\ncard 1\n")
    with pytest.raises(InputError, match="line 2: cardId"):
        bank.run("cards", "import", str(tmp_path / "cards.csv"))


def test_a_card_is_shown_with_how_it_was_learned_and_why_it_is_believed(bank: Bank) -> None:
    with bank.mirror() as mirror:
        bank.hear(picture("CARD_PROD_EXCEPTION"), picture("CARD_PROD_ONGOING"), mirror=mirror)
    text = bank.run("cards", "show", "card-1")
    assert "CARD_PROD_ONGOING, DOUBTFUL" in text
    assert "believed because of: production stage; notification of" in text
    assert "CARD_PROD_EXCEPTION" in text
    [order] = bank.json("cards", "show", "card-1")
    assert (order["stage"], order["doubtful"]) == ("CARD_PROD_ONGOING", True)
    assert [step["told"] for step in order["timeline"]].count("notified") == 2


def test_a_card_of_which_nothing_is_known_is_said_to_be_unknown(bank: Bank) -> None:
    with bank.mirror():
        pass
    assert bank.run("cards", "show", "card-9") == "nothing is known of card-9\n"
    assert bank.json("cards", "show", "card-9") == []


def test_somebody_elses_text_cannot_command_the_terminal(bank: Bank) -> None:
    with bank.mirror() as mirror:
        bank.hear(picture("NEW_\u202e\u009b31mSTAGE"), mirror=mirror)
    assert not {"\u202e", "\u009b", "\x1b"} & set(bank.run("cards", "show", "card-1"))


def test_changes_are_exported_after_a_number(bank: Bank) -> None:
    with bank.mirror() as mirror:
        for stage in ("DATA_PREPARED", "CARD_PROD_READY", "CARD_PROD_DONE"):
            bank.hear(picture(stage), mirror=mirror)
        numbers = [change.number for change in mirror.changes(ISSUER)]
    where = ("--mirror", bank.url, "--issuer-id", ISSUER)
    command = (sys.executable, "-m", "cardtrail", "cards", "changes", "--after", str(numbers[0]), *where)
    done = subprocess.run(command, capture_output=True, check=True)
    lines = [msgspec.json.decode(line) for line in done.stdout.splitlines()]
    assert [line["number"] for line in lines] == numbers[1:]
    assert [line["operation"]["details"]["status"] for line in lines] == ["CARD_PROD_READY", "CARD_PROD_DONE"]


# ── drift ──


def drifted(bank: Bank) -> None:
    """Two steps notified, one missed for two hours, one told late."""
    with bank.mirror() as mirror:
        bank.now -= 3 * HOUR
        bank.hear(picture("DATA_PREPARED"), picture("DATA_PREPARED", "card-2"), mirror=mirror)
        bank.now += 2 * HOUR
        bank.answer(picture("CARD_PROD_READY"), mirror)
        bank.answer(picture("CARD_PROD_READY", "card-2"), mirror)
        bank.now += HOUR
        bank.hear(picture("CARD_PROD_READY", "card-2"), mirror=mirror)
        mirror.take(ISSUER, [], mark=None, sightings=[Sighting("status", "NEW\x1b[31m", b"{}")])


def test_the_report_says_what_was_missed_and_late_and_for_how_long(bank: Bank) -> None:
    drifted(bank)
    report = bank.json("drift", "--days", "2")
    whole = report["whole"]
    assert (whole["notified"], whole["answered"], whole["late"], whole["missed"]) == (2, 2, 1, 1)
    assert (whole["missedShare"], whole["lateShare"]) == (0.25, 0.25)
    missed = sorted((each["cardId"], each["before"], each["after"], each["wrongFor"]) for each in report["missed"])
    assert missed == [(f"card-{n}", "DATA_PREPARED", "CARD_PROD_READY", 2 * HOUR) for n in (1, 2)]
    assert (report["repaired"], report["longest"], report["messages"]) == (2, 2 * HOUR, 3)
    words = {each["name"]: (each["missed"], each["late"]) for each in report["byWord"]}
    assert words["CARD_PROD_READY"] == (1, 1)


def test_the_report_for_people_has_the_same_figures_and_obeys_nobody(bank: Bank) -> None:
    drifted(bank)
    text = bank.run("drift", "--days", "2")
    assert "missed 1 (25.00%), late 1 (25.00%)" in text
    assert "wrong for at most 2.0 h (half of them)" in text
    assert "\x1b" not in text


def test_only_so_many_changes_are_listed_and_all_are_counted(bank: Bank) -> None:
    drifted(bank)
    report = bank.json("drift", "--days", "2", "--last", "1")
    assert (len(report["missed"]), report["repaired"]) == (1, 2)


def test_a_mirror_that_is_not_there_is_not_made_by_looking(bank: Bank, tmp_path: Path) -> None:
    """Regression: a mistyped name looked like a mirror in perfect health."""
    for words in (("drift",), ("cards", "show", "card-1"), ("cards", "forget", "card-1"), ("issuer", "health")):
        with pytest.raises(StoreUnavailable, match="there is no database"):
            bank.run(*words)
    assert list(tmp_path.glob("*.db")) == []


def test_an_empty_mirror_has_no_drift(bank: Bank) -> None:
    with bank.mirror():
        pass
    assert "missed 0 (0.00%)" in bank.run("drift")


@pytest.mark.parametrize("words", [("--days", "0"), ("--days", "401"), ("--last", "0"), ("--last", "1001")])
def test_a_report_over_too_much_is_refused(bank: Bank, words: tuple[str, str]) -> None:
    with pytest.raises(InputError, match=words[0].strip("-")):
        bank.run("drift", *words)


@pytest.mark.parametrize(
    ("micros", "text"),
    [(0, "0.0 s"), (119 * SECOND, "119.0 s"), (120 * SECOND, "2.0 min"), (3 * HOUR, "3.0 h"), (72 * HOUR, "3.0 d")],
)
def test_durations_are_told_as_people_read_them(micros: int, text: str) -> None:
    assert span(micros) == text


# ── health ──


def test_health_is_well_or_says_what_to_look_at_and_ends_otherwise(bank: Bank) -> None:
    with bank.mirror() as mirror:
        bank.now -= 5 * HOUR
        bank.hear(picture("DATA_PREPARED"), mirror=mirror)
    assert bank.run("issuer", "health").startswith("well\n")
    with pytest.raises(SystemExit) as ended:
        bank.run("issuer", "health", "--silence-hours", "4")
    assert ended.value.code == 1
    assert "SILENT for 5.0 h: the limit is 4 h" in bank.read()


def test_health_names_hooks_that_are_behind_and_cards_that_were_not_answered(bank: Bank) -> None:
    with bank.mirror() as mirror:
        bank.now -= 3 * HOUR
        bank.hear(picture("DATA_PREPARED"), picture("CARD_PROD_READY"), mirror=mirror)
        mirror.db.transact_blocking(
            lambda tx: tx.run("set_hook", issuer_id=ISSUER, name="crm", number=1, told_at=bank.now)
        )
        mirror.put(ISSUER, Batch(now=bank.now, asked={"card-1": Asked("failed")}, ticket=9))
    with pytest.raises(SystemExit):
        bank.run("issuer", "health", "--json")
    assert msgspec.json.decode(bank.read())["troubles"] == [
        "hook crm is 1 changes behind", "1 card was not answered when last asked for",
    ]  # fmt: skip


def test_health_and_metrics_say_how_many_last_looks_wait(bank: Bank) -> None:
    with bank.mirror() as mirror:
        bank.now -= 30 * HOUR
        ended = [picture("CARD_PROD_CANCELED", f"card-{number}", status="FAILED") for number in range(3)]
        bank.hear(*ended, mirror=mirror)
        bank.now += 20 * HOUR
        bank.hear(picture("CARD_PROD_CANCELED", "card-9", status="FAILED"), mirror=mirror)
    assert "doubtful 0, last looks that wait 3\n" in bank.run("issuer", "health")
    assert bank.json("issuer", "health")["health"]["looks"] == 3
    assert "cardtrail_kit_last_looks_waiting 3.0\n" in metrics_of(bank.url)


def metrics_of(url: str) -> str:
    """Return what `/metrics` answers for a mirror."""
    status, body = answer_of(url, "/metrics")
    assert status == 200
    return body.decode()


def answer_of(url: str, path: str, *, closed: bool = False) -> tuple[int, bytes]:
    """Return what the issuer's service answers for a mirror, which may be `closed` before."""
    sent: list[dict[str, Any]] = []

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    async def get() -> None:
        async with AsyncMirror.open(url) as mirror:
            app = Metering(mirror, ISSUER, 0, time.monotonic).before(nothing)
            if closed:
                mirror.close()
            await app({"type": "http", "method": "GET", "path": path}, nothing, send)  # type: ignore[arg-type]  # enough of a call

    asyncio.run(get())
    return sent[0]["status"], b"".join(message.get("body", b"") for message in sent)


def run_query(name: str, given: dict[str, Any], tx: Transaction) -> int:
    return tx.run(name, issuer_id=ISSUER, **given)


def test_metrics_tell_of_doubts_bounds_passes_and_hooks(bank: Bank) -> None:
    now = int(time.time() * SECOND)
    with bank.mirror() as mirror:
        bank.hear(picture("DATA_PREPARED"), picture("DATA_PREPARED", "card-2"), mirror=mirror)
        rows: tuple[tuple[str, dict[str, Any]], ...] = (
            ("put_bound", {"day": 1, "stated": 7 * SECOND, "worst": 9 * SECOND}),
            ("begin_pass", {"start_no": 1, "kind": "sweep", "began_at": now, "until": now}),
            ("end_pass", {"kind": "sweep", "ended_at": now - HOUR}),
            ("set_hook", {"name": "crm", "number": 1, "told_at": now - HOUR}),
        )
        for name, given in rows:
            mirror.db.transact_blocking(partial(run_query, name, given))
    execute(bank.url, "UPDATE operation SET doubtful = 1 WHERE card_id = 'card-2'")
    text = metrics_of(bank.url)
    known = {"doubtful_orders": 1, "bound_stated_seconds": 7, "bound_worst_seconds": 9, "pass_open": 0}
    for name, value in known.items():
        assert f"cardtrail_kit_{name} {value}.0\n" in text
    assert 'cardtrail_kit_hook_behind{hook="crm"} 1.0\n' in text
    for name in ("cardtrail_kit_pass_seconds", 'cardtrail_kit_hook_told_seconds{hook="crm"}'):
        [seconds] = [line.split()[1] for line in text.splitlines() if line.startswith(f"{name} ")]
        assert 3_600 <= float(seconds) < 3_700
    assert "\ncardtrail_kit_oldest_check_seconds " in text


def test_what_never_was_is_not_shown_and_the_oldest_check_says_nothing_where_there_is_a_feed(bank: Bank) -> None:
    with bank.mirror() as mirror:
        bank.hear(picture("DATA_PREPARED"), mirror=mirror)
        mirror.db.transact_blocking(lambda tx: tx.run("set_cursor", issuer_id=ISSUER, cursor="c", pulled_at=bank.now))
    text = metrics_of(bank.url)
    assert "\ncardtrail_kit_pulled_seconds " in text
    for name in ("pass_seconds", "bound_stated_seconds", "bound_worst_seconds", "oldest_check_seconds"):
        assert f"# TYPE cardtrail_kit_{name} gauge\n" in text
        assert f"\ncardtrail_kit_{name} " not in text


def test_of_a_mirror_that_cannot_be_read_only_that_is_shown_and_the_service_is_neither_ready_nor_well(
    bank: Bank,
) -> None:
    status, body = answer_of(bank.url, "/metrics", closed=True)
    text = body.decode()
    assert status == 200
    assert "cardtrail_kit_mirror_available 0.0\n" in text
    assert "\ncardtrail_kit_silent " not in text
    assert "cardtrail_kit_calls_total 0.0\n" in text
    assert answer_of(bank.url, "/healthz", closed=True) == (503, b"the mirror cannot be read now\n")
    status, body = answer_of(bank.url, "/readyz", closed=True)
    expected = 1 + len(migrations())
    assert (status, msgspec.json.decode(body)) == (
        503, {"status": "unavailable", "mirror": "unavailable", "schemaVersion": None, "schemaExpected": expected},
    )  # fmt: skip


def test_a_service_whose_mirror_answers_is_ready_whatever_it_says(bank: Bank) -> None:
    status, body = answer_of(bank.url, "/readyz")
    expected = 1 + len(migrations())
    assert (status, msgspec.json.decode(body)) == (
        200, {"status": "ok", "mirror": "ok", "schemaVersion": expected, "schemaExpected": expected},
    )  # fmt: skip


async def nothing(*_: object) -> Any:
    """Neither an application nor a body is asked for here."""
    raise AssertionError


# ── settings ──


@pytest.mark.parametrize("words", [("drift",), ("cards", "show", "c"), ("issuer", "health"), ("reconcile",)])
def test_a_command_without_an_issuer_says_how_to_name_one(bank: Bank, words: tuple[str, ...]) -> None:
    with pytest.raises(SettingError, match="--issuer-id or CARDTRAIL_KIT_ISSUER_ID"):
        bank._shell.run_alone(*words, "--mirror", bank.url)


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ({}, "server"), ({"server": "https://d1.example"}, "key_file"),
        ({"server": "https://d1.example", "key_file": "x"}, "kid"),
        ({"server": "https://d1.example", "key_file": "/nowhere/k.pem", "kid": "k"}, "/nowhere/k.pem"),
        ({"server": "ftp://d1.example", "key_file": "KEY", "kid": "k"}, "base_url"),
        ({"server": "http://d1.example", "key_file": "KEY", "kid": "k"}, "base_url"),
        ({"server": "https://d1.example", "key_file": "KEY", "kid": "k", "ca_file": "/nowhere/ca"}, "ca_file"),
    ],
)  # fmt: skip
def test_what_is_missing_or_wrong_for_asking_is_named(given: dict[str, str], named: str, tmp_path: Path) -> None:
    key = tmp_path / "key.pem"
    key.write_text("no key")
    told = {name: str(key) if value == "KEY" else value for name, value in given.items()}

    async def run() -> None:
        client_of(Settings(issuer_id=ISSUER, **told))  # type: ignore[arg-type]  # texts, each of its own setting

    with pytest.raises(SettingError) as refused:
        asyncio.run(run())
    assert named in str(refused.value) or "key" in str(refused.value)


def test_settings_come_from_the_environment_too() -> None:
    environment = {"CARDTRAIL_KIT_ISSUER_ID": ISSUER, "CARDTRAIL_KIT_CALLS_PER_SECOND": "0.5"}
    settings = settings_of({"kid": "k1", "port": None}, environment)
    assert (settings.issuer_id, settings.calls_per_second, settings.kid, settings.port) == (ISSUER, 0.5, "k1", 8090)


def test_the_read_hook_of_an_examination_is_off_unless_it_is_asked_for() -> None:
    assert settings_of({}, {}).examinable is False
    assert settings_of({}, {"CARDTRAIL_KIT_EXAMINABLE": "true"}).examinable is True


def test_a_receiver_that_asks_for_no_proof_does_not_start(tmp_path: Path) -> None:
    with pytest.raises(SettingError, match="no proof"):
        trust_of(Settings())
    with pytest.raises(SettingError, match="secrets_file"):
        trust_of(Settings(secrets_file=str(tmp_path / "nothing")))


@pytest.mark.parametrize("place", ["nowhere.at.all:f", "json:nothing", "json", "json:__name__", ":", "a b:c"])
def test_a_hook_that_cannot_be_found_is_named(place: str) -> None:
    with pytest.raises(SettingError, match="hook"):
        callback_of(place)


def test_a_hook_is_found_by_its_place() -> None:
    found: Callable[..., Any] = callback_of("json:dumps")
    assert found({"a": 1}) == '{"a": 1}'
