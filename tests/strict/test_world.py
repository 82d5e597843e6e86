"""The strict server's truth keeps to the published contract, and walks the ways that are hard for a reader."""

import json
import re
from collections import Counter
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest
import yaml

from tests.strict.plots import PLOTS, told_of
from tests.strict.stream import Losses, Stream, bodies_of
from tests.strict.world import Told, World

HOUSE = Path(__file__).parents[2]


def schema() -> dict[str, Any]:
    """The schema of an operation, with everything it refers to."""
    document = yaml.safe_load((HOUSE / "docs/openapi.yaml").read_text())
    return {"$ref": "#/components/schemas/Operation", "components": document["components"]}


# ── the world ──


def test_the_strict_server_shares_no_code_with_the_product() -> None:
    own = [path for path in Path(__file__).parent.glob("*.py") if not path.name.startswith("test_")]
    assert len(own) > 8
    assert [
        path.name for path in own if re.search(r"^\s*(?:from|import) cardtrail", path.read_text(), re.MULTILINE)
    ] == []


@pytest.mark.parametrize("seed", range(5))
def test_every_operation_keeps_to_the_published_schema(seed: int) -> None:
    world, told = World(50, seed), list[Told]()
    world.advance(2_000, told.append)
    judge = jsonschema_rs.validator_for(schema())
    for one in told:
        operation = json.loads(one.element)
        if operation["operation"] == "PRODUCE":
            details = operation["details"]
            if "dueDate" in details:  # we write dates; others may write date-times
                details["dueDate"] = details["dueDate"].removesuffix("T00:00:00.000Z")
            judge.validate(operation)
        assert "cardtrail" not in operation
    assert len(told) == 2_000


def test_every_plot_and_every_habit_is_met() -> None:
    world, told = World(300, 1), list[Told]()
    world.advance(6_000, told.append)
    operations = [json.loads(one.element) for one in told]
    stages = Counter(one["details"]["status"] for one in operations if "details" in one)
    assert {
        "DATA_EXCEPTION",
        "CARD_PROD_EXCEPTION",
        "CARD_RETURNED",
        "CARD_PROD_CANCELED",
        "CARD_PROD_LASERED",
    } <= stages.keys()
    assert {one["operation"] for one in operations} == {"PRODUCE", "ACTIVATE", "UPDATE_ORDER"}
    assert {one["status"] for one in operations} == {"PENDING", "SUCCESSFUL", "FAILED", "ON_ICE"}
    assert any("T" in one.get("details", {}).get("dueDate", "") for one in operations)
    assert any("inputFileName" in one.get("details", {}) for one in operations)
    assert any("inputFileName" in one for one in operations)
    assert any("priority" in one for one in operations)
    assert any("laser" in one.get("details", {}) for one in operations)
    assert any(next(iter(one)) != "operationId" for one in operations)


@pytest.mark.parametrize("plot", ["rework", "hold", "attempts"])
def test_some_plots_lead_back_to_a_picture_that_was_there_before(plot: str) -> None:
    beats = PLOTS[plot].split()
    pictures = [json.dumps(told_of(beats[: place + 1])) for place in range(len(beats))]
    assert len(set(pictures)) < len(pictures)


def test_the_start_of_an_order_stays_and_its_end_comes_once() -> None:
    world, told = World(20, 4), list[Told]()
    world.advance(800, told.append)
    ends: dict[str, set[str]] = {}
    starts: dict[str, set[str]] = {}
    for one in told:
        operation = json.loads(one.element)
        starts.setdefault(one.operation_id, set()).add(operation["startTime"])
        ends.setdefault(one.operation_id, set()).add(operation.get("endTime", ""))
    assert {len(times) for times in starts.values()} == {1}
    assert {len(times - {""}) for times in ends.values()} == {0, 1}


def test_the_answer_is_the_latest_order_and_older_ones_may_still_move() -> None:
    world, told = World(200, 5), list[Told]()
    world.advance(5_000, told.append)
    newest = {card_id: json.loads(element) for card_id, element in world.truth() if element}
    last = {one.card_id: one for one in told if b"PRODUCE" in one.element}
    behind = [card_id for card_id, one in last.items() if one.operation_id != newest[card_id]["operationId"]]
    assert behind
    for card_id, one in last.items():
        answer = world.answer(card_id)
        assert answer is not None
        assert json.loads(answer) == {"operations": [newest[card_id]]}
        if card_id not in behind:
            assert json.loads(one.element) == newest[card_id]


def test_a_card_is_ordered_again_in_the_middle_and_at_the_end() -> None:
    world, told = World(100, 6), list[Told]()
    world.advance(4_000, told.append)
    orders = Counter(one.card_id for one in told if b"CARD_PROD_REQUESTED" in one.element)
    assert max(orders.values()) > 2


def test_the_same_seed_gives_the_same_world() -> None:
    worlds = [World(30, 7), World(30, 7), World(30, 8)]
    for world in worlds:
        world.advance(500)
    first, second, other = (dict(world.truth()) for world in worlds)
    assert first == second
    assert first != other


def test_cards_that_are_never_ordered_have_no_answer() -> None:
    world = World(500, 9, never=0.1)
    world.advance(10_000)
    without = [card_id for card_id, newest in world.truth() if newest is None]
    assert 20 < len(without) < 100
    assert world.answer(without[0]) is None
    assert world.answer("card-9999999") is world.answer("CARD-0000001") is world.answer("card-1") is None


# ── the way of the notifications ──


def passed(losses: Losses, elements: int = 10_000, seed: int = 1) -> tuple[list[int], Stream]:
    """The numbers that arrive, in their order."""
    stream = Stream(losses, seed)
    arrived = [element for number in range(elements) for element in stream.push(b"%d" % number)]
    return [int(element) for element in arrived + stream.flush()], stream


def test_without_losses_everything_arrives_in_order() -> None:
    assert passed(Losses())[0] == list(range(10_000))


def test_some_notifications_are_lost_and_some_come_twice() -> None:
    arrived, stream = passed(Losses(lost=0.3, doubled=0.1))
    times = Counter(arrived)
    assert 0.28 < 1 - len(times) / 10_000 < 0.32
    assert 0.09 < sum(count == 2 for count in times.values()) / len(times) < 0.11
    assert stream.counts["lost"] == 10_000 - len(times)
    assert stream.counts["arrived"] == len(arrived)


def test_notifications_overtake_each_other_within_the_window() -> None:
    arrived, _ = passed(Losses(window=20))
    assert sorted(arrived) == list(range(10_000)) != arrived
    assert max(number - place for place, number in enumerate(arrived)) <= 20


def test_what_is_late_arrives_after_many_others() -> None:
    arrived, stream = passed(Losses(late=0.01, delay=500))
    moved = [number for place, number in enumerate(arrived) if place - number > 400]
    assert len(moved) > 50
    assert sorted(arrived) == list(range(10_000))
    assert stream.counts["late"] >= len(moved)


def test_elements_travel_in_calls_of_the_agreed_size() -> None:
    bodies = [json.loads(body) for body in bodies_of([b"1", b"2", b"3", b"4", b"5"], 2)]
    assert bodies == [{"operations": [1, 2]}, {"operations": [3, 4]}, {"operations": [5]}]
