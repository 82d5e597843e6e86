"""Each fault on each of its hops is seen on the wire, on real sockets."""

import asyncio
from pathlib import Path

import pytest

from cardtrail.sandbox.wire.kinds import TABLE, Hop, Kind
from tests.faults import wire_answers, wire_events, wire_notifications
from tests.faults.wire import EFFECTS

WHERE = {Hop.NOTIFICATIONS: wire_notifications, Hop.ANSWERS: wire_answers, Hop.EVENTS: wire_events}
"""The module of each hop's effects."""


@pytest.mark.parametrize(("kind", "hop"), [(about.kind, hop) for about in TABLE for hop in about.hops])
def test_each_fault_is_seen_on_each_of_its_hops(kind: Kind, hop: Hop, tmp_path: Path) -> None:
    asyncio.run(EFFECTS[kind, hop](tmp_path))


def test_nothing_is_shown_of_what_the_table_does_not_have() -> None:
    assert EFFECTS.keys() == {(about.kind, hop) for about in TABLE for hop in about.hops}
    assert set(WHERE) == set(Hop)
