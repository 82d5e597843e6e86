"""An outbox filled past everything of ours, for tests of what looks at it and of what removes from it."""

from collections.abc import Iterator
from contextlib import contextmanager

from cardtrail.platform.outbox import id_before
from cardtrail.platform.sweep import DAY
from tests.desk import Desk, connected, desk

NOW = 2_000 * DAY
_ENDPOINTS = (
    "INSERT INTO endpoint VALUES ('ISSUER0001', 'off', 'DISABLED', 'why', '{}', '', 'v', 1)",
    "INSERT INTO endpoint VALUES ('ISSUER0001', 'on', 'ENABLED', NULL, '{}', '', 'v', 1)",
    "INSERT INTO lane (issuer_id, endpoint_id) VALUES ('ISSUER0001', 'off'), ('ISSUER0001', 'on')",
)


@contextmanager
def outbox(url: str) -> Iterator[Desk]:
    """Open a store with an endpoint that is disabled, `off`, and one that is not, `on`."""
    with desk(url) as here:
        with connected(url) as run:
            for statement in _ENDPOINTS:
                run(statement)
        yield here


def put(site: Desk, state: str, age: int, count: int = 1, endpoint: str = "on") -> None:
    """Store notifications that came to a state so many days ago."""
    at = NOW - age * DAY
    settled = "NULL" if state in {"PENDING", "WITHHELD"} else at
    with connected(site.url) as run:
        for number in range(count):
            name = f"{id_before(at)}{state[:4]}{endpoint}{number:05}"
            run(
                f"INSERT INTO notification VALUES ('ISSUER0001', '{name}', '{endpoint}', 'card', 'op-1', 'PRODUCE', 1,"  # noqa: S608 -- our own
                f" '{state}', 0, 0, 0, {at}, {settled}, '', '', 1, '')"
            )
