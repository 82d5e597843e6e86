"""Simulations: weeks in one go, the same digest for the same seed, and a digest that nothing escapes."""

import asyncio
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from cardtrail.errors import SettingError
from cardtrail.platform import orders
from cardtrail.sandbox.world.book import book_with, shipped_book
from cardtrail.sandbox.world.digest import tally_of
from cardtrail.sandbox.world.simulate import MAX_CARDS, MAX_DAYS, Plan, Simulated, simulate

FOR_EVER = """
[scenarios.for-ever]
about = "Its data is wrong, and the bank orders it again and again."
weight = 100000
reorder = "for-ever"
steps = ["data_failed"]
"""


def simulated(path: Path, seed: int = 7, cards: int = 150, days: int = 30) -> Simulated:
    plan = Plan(issuer_id="DEMO-BANK1", cards=cards, days=days, seed=seed)
    heard: list[float] = []
    found = asyncio.run(simulate(plan, shipped_book(), path / "simulation.db", heard.append))
    assert heard == sorted(heard)
    assert 0 < heard[-1] <= 1
    return found


def test_the_same_seed_gives_the_same_digest_and_another_seed_another(tmp_path: Path) -> None:
    first, again, other = (simulated(tmp_path, seed) for seed in (7, 7, 8))
    assert first.tally == again.tally
    assert first.stories == again.stories
    assert first.tally.digest != other.tally.digest


def test_every_event_is_taken_and_every_order_is_at_some_stage(tmp_path: Path) -> None:
    found = simulated(tmp_path)
    assert set(found.told) <= {"accepted", "duplicate"}
    assert found.tally.events == found.told["accepted"] + found.tally.orders  # each order's own event
    assert sum(found.stories.values()) == sum(found.tally.stages.values()) == found.tally.orders >= 150
    assert found.tally.stages["CARD_SHIPPED, Delivered"] > 50


def test_orders_that_are_refused_are_counted_and_end_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A story that has its card ordered again and again ended the simulation with the first order too many."""
    monkeypatch.setattr(orders, "MAX_ORDERS", 3)
    file = tmp_path / "mine.toml"
    file.write_text(FOR_EVER, "utf-8")
    plan = Plan(issuer_id="DEMO-BANK1", cards=20, days=365, seed=7)
    found = asyncio.run(simulate(plan, book_with(file), tmp_path / "simulation.db"))
    assert found.refused == found.stories["for-ever"] // 3 > 0
    assert found.tally.orders == sum(found.stories.values())


ONE = (
    " WHERE card_id = (SELECT min(card_id) FROM operation WHERE CAST(picture AS TEXT) LIKE '%deutsch-post%Delivered%')"
)
CHANGES = {
    "an event is gone": "DELETE FROM event",
    "an event says something else":
        "UPDATE event SET body = CAST(replace(CAST(body AS TEXT), 'post', 'p0st') AS BLOB)",
    "an event is of another time":
        "UPDATE event SET body = CAST(replace(CAST(body AS TEXT), 'red_at\":17', 'red_at\":16') AS BLOB)",
    "a picture says something else":
        "UPDATE operation SET picture = CAST(replace(CAST(picture AS TEXT), 'post', 'p0st') AS BLOB)",
    "a sequence is another": "UPDATE operation SET sequence = sequence + 1",
    "an order is gone": "DELETE FROM operation",
}  # fmt: skip


@pytest.mark.parametrize("change", CHANGES)
def test_nothing_can_change_in_the_store_without_another_digest(tmp_path: Path, change: str) -> None:
    before = simulated(tmp_path, cards=30)
    url = f"sqlite:///{tmp_path / 'simulation.db'}"
    assert tally_of(url) == before.tally
    with closing(sqlite3.connect(tmp_path / "simulation.db")) as store, store:
        assert store.execute(CHANGES[change] + ONE).rowcount > 0
    assert tally_of(url).digest != before.tally.digest


@pytest.mark.parametrize(
    ("cards", "days", "field"),
    [(0, 1, "cards"), (MAX_CARDS + 1, 1, "cards"), (1, 0, "days"), (1, MAX_DAYS + 1, "days")],
)
def test_a_simulation_has_its_limits(cards: int, days: int, field: str) -> None:
    with pytest.raises(SettingError, match=f"{field}: 1 to"):
        Plan(issuer_id="DEMO-BANK1", cards=cards, days=days, seed=1)
