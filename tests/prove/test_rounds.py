"""A small round on each engine; and whatever is damaged in what is left of one, its law sees it."""

import json
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.desk import execute
from tests.prove.__main__ import play_once, server_where
from tests.prove.evidence import Evidence, Heard, evidence_of
from tests.prove.house import Place
from tests.prove.laws import violations
from tests.prove.round import Outcome, Size, place_of
from tests.prove.story import ISSUERS

SMALL = Size(least=10, most=14, telling=2.5)
SEED = 3


@pytest.fixture(scope="module")
def left(tmp_path_factory: pytest.TempPathFactory) -> tuple[Outcome, Path]:
    """What is left of a round on SQLite."""
    folder = tmp_path_factory.mktemp("round")
    return play_once(SEED, "sqlite", None, folder, SMALL), folder


def check(outcome: Outcome, programs: int) -> None:
    assert outcome.violations == []
    assert outcome.kills >= programs
    assert outcome.faults > 20
    assert outcome.orders >= 10
    assert outcome.notifications > 50
    assert all(outcome.evidence.readings[issuer_id].seen for issuer_id in ISSUERS)
    assert all(outcome.evidence.carried[issuer_id] for issuer_id in ISSUERS)
    assert outcome.evidence.ordered


@pytest.mark.timeout(240)
def test_after_a_round_of_faults_and_kills_on_sqlite_all_laws_hold(left: tuple[Outcome, Path]) -> None:
    check(left[0], 4)


@pytest.mark.timeout(240)
def test_after_a_round_with_a_crash_of_postgresql_too_all_laws_hold(tmp_path: Path) -> None:
    with server_where(("postgres",)) as server:
        outcome = play_once(SEED, "postgres", server, tmp_path, SMALL)
    check(outcome, 6)
    assert outcome.crashes == 1


# ── each law fails on what is damaged ──


class Ruin:
    """The stores of a round, to be damaged."""

    def __init__(self, place: Place, found: Evidence) -> None:
        self.place = place
        self.heard: dict[str, Any] = {name: getattr(found, name) for name in Heard._fields}

    def platform(self, *statements: str) -> None:
        for statement in statements:
            execute(self.place.platform, spelt(statement))

    def mirror(self, statement: str) -> None:
        execute(self.place.mirrors[ISSUERS[0]], spelt(statement))

    def reader(self, change: Callable[[dict[str, Any]], object]) -> None:
        path = self.place.folder / f"read-{ISSUERS[0]}.json"
        state = json.loads(path.read_text())
        change(state)
        path.write_text(json.dumps(state))

    def answers(self, name: str, change: Callable[[Any], object]) -> None:
        self.heard[name] = change(self.heard[name])

    @property
    def found(self) -> list[str]:
        return violations(evidence_of(self.place, SEED, Heard(**self.heard)))


@pytest.fixture
def ruin(left: tuple[Outcome, Path], tmp_path: Path) -> Ruin:
    """A copy of the round's stores."""
    folder = shutil.copytree(left[1], tmp_path / "copy")
    urls = [f"sqlite:///{folder}/{name}.db" for name in ("platform", "mirror-1", "mirror-2")]
    made = Ruin(place_of(folder, "sqlite", urls[0], urls[1:]), left[0].evidence)
    assert made.found == []
    made.platform("DROP TRIGGER log_UPDATE", "DROP TRIGGER log_INSERT")
    return made


NAMES = {
    ":first": "(SELECT min(operation_id) FROM operation WHERE sequence > 2)",
    ":other": 'CAST(replace(CAST(picture AS TEXT), \'"cardId":"card\', \'"cardId":"kard\') AS BLOB)',
    ":issuer": ISSUERS[1],
}
"""What damages call the order that is damaged, a picture with something else in it, and another issuer."""


def spelt(statement: str) -> str:
    """Return a statement with everything in it that damages have a name for."""
    for name, text in NAMES.items():
        statement = statement.replace(name, text)
    return statement


def contradicted(bodies: Mapping[str, list[bytes]]) -> dict[str, list[bytes]]:
    """Add the same steps with other words."""
    return {
        name: [*some, *(body.replace(b'"PRODUCE"', b'"REPRODUCE"') for body in some)] for name, some in bodies.items()
    }


DAMAGES: dict[str, tuple[str, Callable[[Ruin], object]]] = {
    "an event is gone": ("1", lambda ruin: ruin.platform(
        "DELETE FROM event WHERE begins = 1 AND card_id = (SELECT min(card_id) FROM event WHERE begins = 1)"
    )),
    "a picture is another": ("1", lambda ruin: ruin.platform(
        "UPDATE operation SET picture = :other WHERE operation_id = :first"
    )),
    "an order is gone": ("1", lambda ruin: ruin.platform("DELETE FROM operation WHERE operation_id = :first")),
    "a sequence went back": ("2", lambda ruin: ruin.platform(
        "UPDATE operation SET sequence = sequence - 1 WHERE operation_id = :first"
    )),
    "a change number is missing": ("2", lambda ruin: ruin.platform("DELETE FROM change_log WHERE change_no = 3")),
    "a change was counted and not made": ("2", lambda ruin: ruin.platform(
        "UPDATE issuer_counter SET change_no = change_no + 1"
    )),
    "a change was not enqueued": ("2", lambda ruin: ruin.platform(
        "DELETE FROM notification WHERE sequence = 2 AND operation_id = :first"
    )),
    "a notification waits for ever": ("2", lambda ruin: ruin.platform(
        "UPDATE notification SET state = 'PENDING', settled_at = NULL WHERE sequence = 1 AND operation_id = :first"
    )),
    "a newest picture is superseded": ("2", lambda ruin: ruin.platform(
        "UPDATE notification SET state = 'SUPERSEDED' WHERE (operation_id, sequence) IN"
        " (SELECT operation_id, max(sequence) FROM notification GROUP BY operation_id)"
    )),
    "a picture was sent that was never published": ("2", lambda ruin: ruin.answers("notified", contradicted)),
    "a step says nothing new": ("2", lambda ruin: ruin.platform(
        "UPDATE notification SET picture = (SELECT CAST(replace(CAST(n.picture AS TEXT), '\"sequence\":1', "
        "'\"sequence\":2') AS BLOB) FROM notification AS n WHERE n.operation_id = notification.operation_id AND"
        " n.sequence = 1) WHERE sequence = 2 AND operation_id = :first"
    )),
    "the receiver was told two stories": ("3", lambda ruin: ruin.answers("carried", contradicted)),
    "a mirror misses an order": ("4", lambda ruin: ruin.mirror(
        "DELETE FROM operation WHERE number = (SELECT max(number) FROM operation)"
    )),
    "a mirror says something else": ("4", lambda ruin: ruin.mirror("UPDATE operation SET picture = :other")),
    "a mirror doubts": ("4", lambda ruin: ruin.mirror("UPDATE operation SET doubtful = 1")),
    "the reader missed an order": ("5", lambda ruin: ruin.reader(lambda state: state["pictures"].popitem())),
    "the reader lost its cursor": ("5", lambda ruin: ruin.reader(lambda state: state.update(expired=1))),
    "an accepted event is gone": ("6", lambda ruin: ruin.platform(
        "DELETE FROM inbox WHERE event_id = (SELECT min(event_id) FROM inbox)"
    )),
    "an accepted event reached no card": ("6", lambda ruin: ruin.platform(
        "DELETE FROM event WHERE event_id = (SELECT min(event_id) FROM event WHERE source LIKE 'site:%')"
    )),
    "an event was accepted twice": ("6", lambda ruin: ruin.answers("accepted", lambda keys: dict.fromkeys(keys, 2))),
    "an order is not confirmed": ("6", lambda ruin: ruin.platform("UPDATE order_request SET state = 'RESERVED'")),
    "an order was answered with two operations": ("6", lambda ruin: ruin.answers(
        "ordered", lambda orders: {key: {*names, "op-other"} for key, names in orders.items()}
    )),
    "a mirror has another issuer's card": ("6", lambda ruin: ruin.mirror(
        "UPDATE operation SET issuer_id = ':issuer' WHERE number = (SELECT max(number) FROM operation)"
    )),
}  # fmt: skip


@pytest.mark.timeout(240)
@pytest.mark.parametrize("what", DAMAGES)
def test_what_is_damaged_is_seen_by_its_law(ruin: Ruin, what: str) -> None:
    law, damage = DAMAGES[what]
    damage(ruin)
    assert {each[: len("law 0")] for each in ruin.found} >= {f"law {law}"}


@pytest.mark.timeout(240)
def test_a_reader_that_sees_an_order_go_back_is_seen(ruin: Ruin) -> None:
    with (ruin.place.folder / f"seen-{ISSUERS[0]}.log").open("r+") as seen:
        lines = seen.read().splitlines(keepends=True)
        rising = [line for line in lines if json.loads(line)["cardtrail"]["sequence"] > 1]
        first = json.loads(rising[-1]) | {"cardtrail": {"sequence": 1}}
        seen.write(json.dumps(first) + "\n")
    assert any("go back" in each for each in ruin.found)
