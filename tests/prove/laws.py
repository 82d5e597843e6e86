"""The six laws of the design, each a function that returns counterexamples: none, if it holds."""

import json
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from random import Random

from cardtrail.core.event import Event
from cardtrail.core.operation import operation_of
from cardtrail.core.order import project
from cardtrail.issuer.mirror import Mirror
from cardtrail.issuer.standing import Observed
from cardtrail.protocol import reading
from cardtrail.protocol.codec import decode_events, picture_of
from tests.prove.evidence import Entry, Evidence, Logged

SHUFFLES = 3
"""In how many orders things are tried."""
CHUNK = 40
"""Most bodies that a fresh mirror takes in at once."""


def keys_in(picture: bytes) -> tuple[str, int]:
    """Return a picture's operation and sequence."""
    members = json.loads(picture)
    return members["operationId"], members["cardtrail"]["sequence"]


def pictures_in(bodies: Sequence[bytes]) -> list[bytes]:
    """Return the pictures that bodies carry, in their order."""
    return [bytes(element) for body in bodies for element in reading.envelope_of(body).elements]


def mixed(items: Sequence[Event], chance: Random) -> list[Event]:
    """Return things in another order, some of them twice or more."""
    found = [*items, *(chance.choices(items, k=len(items) // 2) if items else [])]
    chance.shuffle(found)
    return found


# ── 1: project depends neither on order nor on repetition ──


def projection(told: Evidence) -> Iterator[str]:
    """Fold each card's stored events, shuffled and repeated: that gives the stored pictures, and no other orders."""
    chance = Random(f"{told.seed}|projection")
    cards = {(issuer_id, order.card_id) for (issuer_id, _), order in told.orders.items()}
    for key in sorted(cards | told.events.keys()):
        events = decode_events(list(told.events.get(key, ())))
        stored = {name[1]: each for name, each in told.orders.items() if (name[0], each.card_id) == key}
        for _ in range(SHUFFLES):
            folded = {
                each.operation_id: picture_of(operation_of(each)) for each in project(mixed(events, chance)).orders
            }
            if folded.keys() != stored.keys():
                yield f"{key} has the orders {sorted(stored)}, its events give {sorted(folded)}"
                break
            wrong = [name for name, each in stored.items() if folded[name].sealed(each.sequence) != each.picture]
            if wrong:
                name = wrong[0]
                yield f"{key} {name} is {stored[name].picture!r}, its events give {folded[name].sealed(0)!r}"
                break


# ── 2: each visible change is one in sequence, and one notification ──


def sequence(told: Evidence) -> Iterator[str]:
    """Numbers without a hole, sequences without a step back, one row in the ledger for each change."""
    yield from _numbers(told)
    yield from _steps(told)
    yield from _observed(told)
    yield from _ledger(told)


def _numbers(told: Evidence) -> Iterator[str]:
    for issuer_id, number in told.counters.items():
        logged = [each.change_no for each in told.log if each.issuer_id == issuer_id]
        if logged != list(range(1, number + 1)):
            odd = sorted(set(range(1, number + 1)) ^ set(logged))[:10] or Counter(logged).most_common(3)
            yield f"{issuer_id} has counted {number} changes and made {len(logged)}; odd are {odd}"


def _steps(told: Evidence) -> Iterator[str]:
    """What was committed rises in sequence, and ends at what is stored; steps of one transaction are one change."""
    steps: dict[tuple[str, str], list[Logged]] = {}
    for each in told.log:
        steps.setdefault((each.issuer_id, each.operation_id), []).append(each)
    for key in sorted(steps.keys() | told.orders.keys()):
        made, stored = steps.get(key, []), told.orders.get(key)
        sequences = [each.sequence for each in made]
        if stored is None or not made or sequences != sorted(set(sequences)):
            yield f"{key} is {stored}, and its sequence went {sequences}"
        elif (made[-1].picture, made[-1].sequence, made[-1].change_no) != (
            stored.picture, stored.sequence, stored.change_no,
        ):  # fmt: skip
            yield f"{key} is {stored}, and was last changed to {made[-1]}"
        elif stored.sequence > len(told.events.get((key[0], stored.card_id), ())):
            yield f"{key} has changed {stored.sequence} times, more often than its card has events"


def _content(picture: bytes) -> object:
    members = json.loads(picture)
    members["cardtrail"].pop("sequence")
    return members


def _observed(told: Evidence) -> Iterator[str]:
    """What anybody was ever shown is what was published under that sequence."""
    published = {(each.issuer_id, each.operation_id, each.sequence): each.picture for each in told.ledger}
    for issuer_id in told.mirrors:
        newest: dict[str, int] = {}
        for picture in told.readings[issuer_id].seen:
            name, number = keys_in(picture)
            if number < newest.get(name, 0):
                yield f"the reader of {issuer_id} saw {name} go back from {newest[name]} to {number}"
            newest[name] = number
        for picture in {*told.readings[issuer_id].seen, *pictures_in(told.notified[issuer_id])}:
            name, number = keys_in(picture)
            if not _same(published.get((issuer_id, name, number), b""), picture):
                yield f"{issuer_id} was shown {picture!r}, which was not published under that sequence"


def _ledger(told: Evidence) -> Iterator[str]:
    """Each step of each order is one row, which says something new and was delivered or superseded."""
    rows: dict[tuple[str, str], list[Entry]] = {}
    for entry in sorted(told.ledger, key=lambda entry: entry.sequence):
        rows.setdefault((entry.issuer_id, entry.operation_id), []).append(entry)
    committed = {(each.issuer_id, each.operation_id, each.sequence): each.picture for each in told.log}
    for key in sorted(rows.keys() | told.orders.keys()):
        steps, stored = rows.get(key, []), told.orders.get(key)
        newest = stored.sequence if stored else 0
        if [each.sequence for each in steps] != list(range(1, newest + 1)):
            yield f"{key} is at {newest}, and was enqueued for {[each.sequence for each in steps]}"
        for each in steps:
            must_arrive = each.sequence == newest or told.endpoints[key[0]] != "newest"
            if each.state != "DELIVERED" and (must_arrive or each.state != "SUPERSEDED"):
                yield f"{key} {each.sequence} of {newest} is {each.state} in the ledger"
            if not _same(committed.get((*key, each.sequence), each.picture), each.picture):
                yield f"{key} {each.sequence} was published as another picture than {each.picture!r}"
        contents = [_content(each.picture) for each in steps]
        if any(before == after for before, after in pairwise(contents)):
            yield f"{key} has a step that changes nothing: {[each.picture for each in steps]}"


def _same(one: bytes, other: bytes) -> bool:
    return one == other or (bool(one) and json.loads(one) == json.loads(other))


# ── 3: apply keeps the newest, in any order ──


def apply(told: Evidence) -> Iterator[str]:
    """Give what a receiver was sent to fresh mirrors, shuffled and repeated: all end at the newest pictures."""
    for issuer_id, bodies in told.carried.items():
        newest: dict[str, tuple[int, bytes]] = {}
        for picture in pictures_in(bodies):
            name, number = keys_in(picture)
            newest[name] = max((number, picture), newest.get(name, (0, b"")))
        wanted = {name: picture for name, (_, picture) in newest.items()}
        for turn in range(SHUFFLES):
            chance = Random(f"{told.seed}|{issuer_id}|{turn}")
            found = _mirrored(issuer_id, bodies, chance)
            for name in sorted(found.keys() ^ wanted.keys()):
                yield f"{issuer_id} {name}: sent, and not in the mirror, or the other way round"
            for name in sorted(found.keys() & wanted.keys()):
                if found[name] != wanted[name]:
                    yield f"{issuer_id} {name}: a mirror ends at {found[name]!r}, the newest is {wanted[name]!r}"


def _mirrored(issuer_id: str, bodies: Sequence[bytes], chance: Random) -> dict[str, bytes]:
    again = [*bodies, *(chance.choices(bodies, k=len(bodies) // 3) if bodies else [])]
    chance.shuffle(again)
    with tempfile.TemporaryDirectory() as folder, Mirror.open(f"sqlite:///{Path(folder)}/mirror.db") as mirror:
        while again:
            some = [again.pop() for _ in range(min(len(again), chance.randint(1, CHUNK)))]
            operations = [reading.operation_of(picture) for picture in pictures_in(some)]
            mirror.apply(issuer_id, [Observed(each, "notification", mirror.clock()) for each in operations])
        cards = {reading.operation_of(picture).card_id for picture in pictures_in(bodies)}
        held = [each.operation for card_id in cards for each in mirror.card(issuer_id, card_id)]
        return {each.operation_id: each.raw for each in held}


# ── 4: after one pass the mirror is the platform ──


def mirror(told: Evidence) -> Iterator[str]:
    """Every order is in its issuer's mirror as the platform has it, and nothing is doubtful."""
    for issuer_id, copies in told.mirrors.items():
        yield from _differences(f"the mirror of {issuer_id}", {each.operation_id: each.picture for each in copies},
                                _pictures_of(told, issuer_id))  # fmt: skip
        for copy in copies:
            if copy.doubtful:
                yield f"the mirror of {issuer_id} doubts {copy.operation_id}"


def _pictures_of(told: Evidence, issuer_id: str) -> dict[str, bytes]:
    return {key[1]: each.picture for key, each in told.orders.items() if key[0] == issuer_id}


def _differences(who: str, found: Mapping[str, bytes], wanted: Mapping[str, bytes]) -> Iterator[str]:
    for name in sorted(found.keys() - wanted.keys()):
        yield f"{who} has {name}, which the platform has not"
    for name in sorted(wanted.keys() - found.keys()):
        yield f"{who} has not {name}, which is {wanted[name]!r}"
    for name in sorted(wanted.keys() & found.keys()):
        if not _same(found[name], wanted[name]):
            yield f"{who} says {found[name]!r}, the platform {wanted[name]!r}"


# ── 5: who follows the feed misses nothing ──


def feed(told: Evidence) -> Iterator[str]:
    """The reader has the newest picture of every order, and never lost its place."""
    for issuer_id, read in told.readings.items():
        yield from _differences(f"the reader of {issuer_id}", read.pictures, _pictures_of(told, issuer_id))
        if read.expired:
            yield f"the reader of {issuer_id} lost its cursor {read.expired} times, and nothing was restored"


# ── 6: what was answered is kept, once, and for its own issuer ──


def kept(told: Evidence) -> Iterator[str]:
    """Every event and order that was answered is stored exactly once; no mirror has another issuer's cards."""
    stored = Counter[tuple[str, str, str]]()
    for (issuer_id, _), bodies in told.events.items():
        stored.update((issuer_id, *event.key) for event in decode_events(list(bodies)))
    yield from _kept_events(told, Counter((source, event_id) for _, source, event_id in stored.elements()))
    yield from _kept_orders(told, stored)
    for issuer_id, copies in told.mirrors.items():
        for copy in copies:
            if copy.issuer_id != issuer_id or (issuer_id, copy.operation_id) not in told.orders:
                yield f"the mirror of {issuer_id} has {copy.operation_id} of {copy.issuer_id}"


def _kept_events(told: Evidence, cards: Mapping[tuple[str, str], int]) -> Iterator[str]:
    """Events of sites name a card, which must have them; a carrier's event goes to as many as travel in the parcel."""
    for key in sorted(told.accepted.keys() | told.known.keys()):
        if told.inbox[key] != 1:
            yield f"{key} was answered, and is stored {told.inbox[key]} times"
        if told.accepted.get(key, 0) > 1:
            yield f"{key} was answered accepted {told.accepted[key]} times"
        if key[0].startswith("site:") and cards.get(key) != 1:
            yield f"{key} was answered, and {cards.get(key, 0)} cards have it"


def _kept_orders(told: Evidence, stored: Mapping[tuple[str, str, str], int]) -> Iterator[str]:
    for (issuer_id, card_id, request_id), names in told.ordered.items():
        if len(names) != 1:
            yield f"{issuer_id} {request_id} was answered with the operations {sorted(names)}"
        if told.confirmed[issuer_id, request_id] != 1:
            yield f"{issuer_id} {request_id} was ordered, and is {told.confirmed[issuer_id, request_id]} orders"
        for name in names:
            if (issuer_id, name) not in told.orders or told.orders[issuer_id, name].card_id != card_id:
                yield f"{issuer_id} {name} was answered for {card_id}, and there is no such order"
            if stored.get((issuer_id, "api:orders", name)) != 1:
                yield f"{issuer_id} {name} was requested {stored.get((issuer_id, 'api:orders', name), 0)} times"


LAWS: Mapping[str, Callable[[Evidence], Iterator[str]]] = {
    "1 project": projection, "2 sequence": sequence, "3 apply": apply, "4 mirror": mirror, "5 feed": feed,
    "6 kept": kept,
}  # fmt: skip


def violations(told: Evidence) -> list[str]:
    """Return the counterexamples of all laws, each with its law's name before it."""
    return [f"law {name}: {each}" for name, law in LAWS.items() for each in law(told)]
