"""Orders on both engines: neither lost nor phantom, whatever fails in between, and never a trace of `encryptedData`."""

import asyncio
import logging
import re
import signal
import subprocess
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
import structlog
from hypothesis import given, settings
from hypothesis import strategies as st

from cardtrail import logs
from cardtrail.db import Transaction
from cardtrail.errors import CardtrailError, Conflict, InputError, ParsingError, StoreUnavailable
from cardtrail.platform import orders
from cardtrail.platform.connector import CardOrder
from cardtrail.platform.orders import Orders, Wanted, members_of, wanted_of
from tests.desk import Desk, desk, dump, execute
from tests.events import event
from tests.serving import ISSUER, OTHER_ISSUER

PATIENCE = 60.0
SECRET = "c2VjcmV0LWNhcmQtZGF0YQ"
JWE = f"aGVhZA.a2V5.aXY.{SECRET}.dGFn"


def wanted(card_id: str = "card", request: str | None = "r-1", **members: Any) -> Wanted:
    """An order as it is read from a request."""
    body = {"distributionChannel": "CENTRAL", "encryptedData": JWE, "services": {"issuance": "CREATION"}, **members}
    if request is not None:
        body.setdefault("issuerRequestId", request)
    return wanted_of(members_of(msgspec.json.encode(body)), card_id)


class Production:
    """A connector that notes what it got, and does to each order what a test wants."""

    def __init__(self, does: Callable[[CardOrder], Awaitable[None]] | None = None) -> None:
        self.got: list[CardOrder] = []
        self.does = does

    async def place(self, order: CardOrder) -> None:
        self.got.append(order)
        if self.does is not None:
            await self.does(order)

    @property
    def ids(self) -> list[str]:
        return [order.operation_id for order in self.got]


async def fail(order: CardOrder) -> None:
    """Say more than one should: an exception's text may hold anything."""
    raise RuntimeError(f"cannot place {order.encrypted_data}")


def place(site: Desk, production: Production, *orders: Wanted | InputError, issuer_id: str = ISSUER) -> list[Any]:
    """Order cards; return operation ids and errors."""
    return site.run(Orders(site.db, site.ingest, production).order(issuer_id, orders))


def states(url: str) -> list[str]:
    return sorted(row[0] for row in execute(url, "SELECT state FROM order_request"))


# ── idempotency


def test_an_order_exists_when_it_is_answered(database_url: str) -> None:
    production = Production()
    with desk(database_url) as site:
        [operation_id] = place(site, production, wanted(inputFileName="ignored"))
        [picture] = site.history("card")
        assert picture["operationId"] == operation_id
        assert picture["issuerRequestId"] == "r-1"
        assert picture["details"] == {"status": "CARD_PROD_REQUESTED"}
        assert picture["cardtrail"]["sequence"] == 1
    [order] = production.got
    assert (order.issuer_id, order.card_id, order.encrypted_data) == (ISSUER, "card", JWE)
    assert msgspec.json.decode(order.content)["services"] == {"issuance": "CREATION"}
    assert SECRET.encode() not in order.content
    assert states(database_url) == ["CONFIRMED"]


def test_the_same_request_is_the_same_order_and_goes_to_production_once(database_url: str) -> None:
    production = Production()
    with desk(database_url) as site:
        first = place(site, production, wanted())
        other_jwe = JWE.replace(SECRET, "b3RoZXI")
        again = [place(site, production, wanted(**members)) for members in ({}, {"encryptedData": other_jwe})]
        assert again == [first, first]
        assert len(production.got) == 1
        assert len(site.history("card")) == 1


def test_the_same_request_with_other_content_is_a_conflict(database_url: str) -> None:
    production = Production()
    with desk(database_url) as site:
        place(site, production, wanted())
        others = [wanted(cardProductId="gold"), wanted("other-card"), wanted(distributionChannel="INSTANT")]
        assert [type(outcome) for other in others for outcome in place(site, production, other)] == [Conflict] * 3
        before = dump(database_url)
        reordered = {"services": {"issuance": "CREATION"}, "issuerRequestId": "r-1", "distributionChannel": "CENTRAL"}
        assert place(site, production, wanted_of({**reordered, "encryptedData": JWE}, "card")) == production.ids
        assert dump(database_url) == before


def test_requests_of_two_issuers_never_meet(database_url: str) -> None:
    production = Production()
    with desk(database_url) as site:
        [mine] = place(site, production, wanted())
        [theirs] = place(site, production, wanted(cardProductId="gold"), issuer_id=OTHER_ISSUER)
        assert mine != theirs
        assert site.picture("card")["operationId"] == mine
        assert site.picture("card", OTHER_ISSUER)["operationId"] == theirs


def test_orders_without_a_request_id_are_each_their_own(database_url: str) -> None:
    production = Production()
    with desk(database_url) as site:
        ids = place(site, production, wanted(request=None), wanted(request=None))
        assert len({*ids, *production.ids}) == 2
        assert len(site.history("card")) == 2


def test_many_orders_are_answered_in_their_order(database_url: str) -> None:
    async def pick(order: CardOrder) -> None:
        if order.card_id.endswith("3"):
            await fail(order)

    production = Production(pick)
    with desk(database_url) as site:
        place(site, production, wanted("early", "r-early"))
        asked: list[Wanted | InputError] = [wanted(f"card-{n}", f"r-{n}") for n in range(20)]
        asked[5] = InputError("cardId", "is required")
        asked[7] = wanted("card-7", "r-early")
        asked[8] = asked[6]
        outcomes = place(site, production, *asked)
    told = {n: type(outcome) for n, outcome in enumerate(outcomes) if not isinstance(outcome, str)}
    assert told == {3: StoreUnavailable, 5: InputError, 7: Conflict, 13: StoreUnavailable}
    assert outcomes[8] == outcomes[6]
    placed = {order.operation_id: order.card_id for order in production.got}
    assert [placed[outcome] for outcome in outcomes if isinstance(outcome, str)] == [
        f"card-{6 if n == 8 else n}" for n in range(20) if n not in told
    ]


def test_the_same_request_at_the_same_time_is_one_order(database_url: str) -> None:
    production = Production()
    with desk(database_url) as one, desk(database_url) as two:
        offices = [Orders(site.db, site.ingest, production) for site in (one, two, one, two)]

        async def together() -> list[list[str | CardtrailError]]:
            return await asyncio.gather(*(office.order(ISSUER, [wanted(), wanted("b", "r-b")]) for office in offices))

        answers = one.run(together())
        assert len({str(answer) for answer in answers}) == 1
        assert set(production.ids) == set(answers[0])
        assert (len(one.history("card")), one.sequence("card"), one.sequence("b")) == (1, 1, 1)


def test_only_so_many_orders_of_a_batch_are_on_their_way_at_once(database_url: str) -> None:
    under_way, most = 0, 0

    async def count(_: CardOrder) -> None:
        nonlocal under_way, most
        under_way += 1
        most = max(most, under_way)
        for _turn in range(3):
            await asyncio.sleep(0)  # gives the others their turn
        under_way -= 1

    with desk(database_url) as site:
        outcomes = place(site, Production(count), *[wanted(f"card-{n}", f"r-{n}") for n in range(50)])
        assert len(set(outcomes)) == 50
    assert most == orders.MAX_CONNECTS


# ── faults


def test_an_order_that_production_does_not_take_is_invisible_until_the_client_tries_again(database_url: str) -> None:
    down, up = Production(fail), Production()
    with desk(database_url) as site:
        outcomes = [place(site, down, wanted())[0] for _ in range(3)]
        assert [type(outcome) for outcome in outcomes] == [StoreUnavailable] * 3
        assert (site.history("card"), states(database_url)) == ([], ["RESERVED"])
        assert dump(database_url)["event"] == []
        site.later(days=2)
        assert place(site, up, wanted()) == up.ids
        assert len({*down.ids, *up.ids}) == 1
        assert site.sequence("card") == 1
        assert states(database_url) == ["CONFIRMED"]


def test_production_that_does_not_answer_is_given_up(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(orders, "CONNECT_SECONDS", 0.01)

    async def never(_: CardOrder) -> None:
        await asyncio.Event().wait()

    with desk(database_url) as site:
        [outcome] = place(site, Production(never), wanted())
        assert isinstance(outcome, StoreUnavailable)
        assert outcome.retry_after > 0


class Failing:
    """A database whose n-th transaction fails: before its commit, or after it, so that nobody knows."""

    def __init__(self, site: Desk, number: int, *, committed: bool) -> None:
        self._db = site.db
        self.engine = site.db.engine
        self.left = number
        self.committed = committed

    def __getattr__(self, name: str) -> Any:
        return getattr(self._db, name)

    async def transact(self, work: Callable[[Transaction], Any]) -> Any:
        self.left -= 1
        if self.left == 0 and not self.committed:
            raise StoreUnavailable("gone before the commit")
        result = await self._db.transact(work)
        if self.left == 0:
            raise StoreUnavailable("gone after the commit")
        return result


@pytest.mark.parametrize("committed", [False, True])
@pytest.mark.parametrize("number", [1, 2])
def test_a_store_that_fails_at_any_point_leaves_neither_a_lost_nor_a_phantom_order(
    database_url: str,
    number: int,
    committed: bool,  # noqa: FBT001 - a test's parameter
) -> None:
    """The first transaction reserves, the second confirms."""
    production = Production()
    with desk(database_url) as site:
        failing = Orders(Failing(site, number, committed=committed), site.ingest, production)
        with pytest.raises(StoreUnavailable):
            site.run(failing.order(ISSUER, [wanted()]))
        confirmed = number == 2 and committed
        assert len(site.history("card")) == int(confirmed)
        [operation_id] = place(site, production, wanted())
        assert set(production.ids) == {operation_id}
        assert [picture["operationId"] for picture in site.history("card")] == [operation_id]
        assert site.sequence("card") == 1
    assert states(database_url) == ["CONFIRMED"]


_ORDERING = """
import asyncio, os, signal, sys
from tests.contract.test_orders import Production, place, wanted
from tests.desk import desk

async def die(order):
    print(order.operation_id, flush=True)
    os.kill(os.getpid(), signal.SIGKILL)

with desk(sys.argv[1]) as site:
    place(site, Production(die), wanted())
"""


def test_a_process_killed_when_production_just_got_the_order_neither_loses_nor_doubles_it(database_url: str) -> None:
    house = Path(__file__).parents[2]
    killed = subprocess.run(
        [sys.executable, "-c", _ORDERING, database_url], cwd=house, capture_output=True, text=True, timeout=PATIENCE,
        check=False,
    )  # fmt: skip
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    production = Production()
    with desk(database_url) as site:
        assert site.history("card") == []
        assert place(site, production, wanted()) == [killed.stdout.strip()] == production.ids
        assert len(site.history("card")) == 1


def test_an_order_whose_operation_was_taken_meanwhile_is_never_confirmed(database_url: str) -> None:
    """Was a bug: the first answer was 409, the second 202 for an order that did not exist."""
    with desk(database_url) as site:

        async def taken(order: CardOrder) -> None:
            theirs = event("requested", "another", operationId=order.operation_id)
            assert await site.take(theirs) == ["accepted"]

        [first] = place(site, Production(taken), wanted())
        [second] = place(site, Production(), wanted())
        assert (type(first), type(second)) == (Conflict, Conflict)
        assert site.history("card") == []
    assert states(database_url) == ["RESERVED"]


def test_a_confirmed_order_stays_the_same_when_its_site_reports_it_too(database_url: str) -> None:
    production = Production()
    with desk(database_url) as site:
        [operation_id] = place(site, production, wanted())
        again = event("requested", "card", operationId=operation_id, hours=24 * 400)
        assert site.tell(again, event("ready", issuerId=ISSUER, operationId=operation_id, hours=24 * 400)) == [
            "accepted", "accepted",
        ]  # fmt: skip
        assert len(site.history("card")) == 1
        assert place(site, production, wanted()) == [operation_id]


def test_a_card_takes_so_many_orders_however_they_came_and_production_hears_of_no_other(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Was a bug: orders that came by file were not counted until production had one too many."""
    monkeypatch.setattr(orders, "MAX_ORDERS", 3)
    monkeypatch.setattr("cardtrail.platform.refuse.MAX_ORDERS", 3)
    production = Production()
    with desk(database_url) as site:
        site.tell(event("requested", "card"), event("requested", "card", hours=1))
        outcomes = place(site, production, *[wanted("card", f"r-{n}") for n in range(2)])
        assert [type(outcome) for outcome in outcomes] == [str, Conflict]
        assert len(production.got) == 1
        assert site.tell(event("requested", "card", hours=2)) == ["ORDER_FULL"]
        assert len(site.history("card")) == 3


# ── encryptedData


def traces(url: str, *texts: str) -> list[str]:
    """Return where something of the secret can be found: rows of any table, files of the database, given texts."""
    secret = re.compile(f"{SECRET}|a2V5|{SECRET.encode().hex()}")
    found = [f"{table}: {row}" for table, rows in dump(url).items() for row in rows if secret.search(repr(row))]
    if url.startswith("sqlite"):
        path = Path(url.removeprefix("sqlite:///"))
        files = [file for file in path.parent.iterdir() if file.name.startswith(path.name)]
        found += [str(file) for file in files if SECRET.encode() in file.read_bytes()]
    return found + [text for text in texts if secret.search(text)]


def test_encrypted_data_appears_in_no_table_log_or_error(
    database_url: str, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.DEBUG)
    logs.configure("debug")
    logged: list[Any] = []

    def note(_: object, __: str, line: Any) -> str:
        logged.append(line)
        return str(line)

    structlog.configure(processors=[note])
    told: list[str] = []
    try:
        with desk(database_url) as site:
            asked = [wanted(f"card-{n}", f"r-{n}") for n in range(4)]
            told += map(repr, asked)
            told += map(repr, place(site, Production(fail), *asked))
            told += map(repr, place(site, Production(), *asked, wanted("card-1", "r-0")))
            told.append(repr(CardOrder(operation_id="o", issuer_id=ISSUER, card_id="c", encrypted_data=JWE)))
            failing = Orders(Failing(site, 2, committed=False), site.ingest, Production())
            with pytest.raises(StoreUnavailable) as gone:
                site.run(failing.order(ISSUER, [wanted("late", "r-late")]))
            told.append(repr(gone.value))
            for bad in (f"{JWE}.x", f" {JWE}", JWE.replace(".", "/"), [JWE], {"a": JWE}, JWE * 400):
                with pytest.raises(InputError) as refused:
                    wanted(encryptedData=bad)
                told.append(f"{refused.value!r} {refused.value.__cause__!r}")
            with pytest.raises(ParsingError) as unreadable:
                members_of(b'{"distributionChannel":"CENTRAL","encryptedData":"%b' % JWE.encode())
            told.append(repr(unreadable.value))
    finally:
        structlog.reset_defaults()
    said = capfd.readouterr()
    assert traces(database_url, *told, *map(str, logged), caplog.text, said.out, said.err) == []
    assert traces(database_url, JWE) == [JWE]  # the search itself works


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("a.b.c.d", "CRYPTO_ERROR"),
        ("a.b.c.d.e.f", "CRYPTO_ERROR"),
        (".b.c.d.e", "CRYPTO_ERROR"),
        ("a.b.c.d.", "CRYPTO_ERROR"),
        ("a.b.c.d.e\n", "CRYPTO_ERROR"),
        ("a.b+.c.d.e", "CRYPTO_ERROR"),
        ("ä.b.c.d.e", "CRYPTO_ERROR"),
        ("a.b.c.d." + "e" * orders.MAX_ENCRYPTED, "FIELD_INVALID_FORMAT"),
        (7, "FIELD_INVALID_FORMAT"),
    ],
)
def test_what_is_no_compact_jwe_is_refused_without_being_repeated(text: Any, code: str) -> None:
    with pytest.raises(InputError) as refused:
        wanted(encryptedData=text)
    assert (refused.value.field, refused.value.code) == ("encryptedData", code)
    assert len(str(refused.value)) < 100


@pytest.mark.parametrize("text", ["a..c.d.e", "a.b.c.d.e", "a.b.c.d." + "e" * (orders.MAX_ENCRYPTED - 8)])
def test_a_compact_jwe_is_taken(text: str) -> None:
    assert wanted(encryptedData=text).encrypted_data == text


# ── bad input


@pytest.mark.parametrize(
    ("members", "field", "code"),
    [
        ({"distributionChannel": "PIGEON"}, "distributionChannel", "FIELD_INVALID_VALUE"),
        ({"distributionChannel": None}, "distributionChannel", "FIELD_INVALID_FORMAT"),
        ({"issuerRequestId": "no blanks"}, "issuerRequestId", "FIELD_INVALID_FORMAT"),
        ({"issuerRequestId": "x" * 65}, "issuerRequestId", "FIELD_INVALID_FORMAT"),
        ({"cardProductId": 1}, "cardProductId", "FIELD_INVALID_FORMAT"),
    ],
)
def test_a_wrong_member_is_named(members: dict[str, Any], field: str, code: str) -> None:
    with pytest.raises(InputError) as refused:
        wanted(**members)
    assert (refused.value.field, refused.value.code) == (field, code)


def test_an_order_needs_a_channel_and_a_card() -> None:
    with pytest.raises(InputError, match="distributionChannel: is required"):
        wanted_of({}, "card")
    with pytest.raises(InputError, match="cardId: is required"):
        wanted_of({"distributionChannel": "CENTRAL"}, None)
    with pytest.raises(InputError, match="cardId: "):
        wanted_of({"distributionChannel": "CENTRAL", "cardId": "naïve"}, None)


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
)
_MEMBERS = ("distributionChannel", "encryptedData", "issuerRequestId", "cardId", "consumerId", "services")


def outcome_of(read: Callable[[], Any]) -> Any:
    """Return what was read, or the input error that was raised."""
    try:
        return read()
    except InputError as error:
        return error


@settings(max_examples=150)
@given(_JSON | st.dictionaries(st.sampled_from(_MEMBERS), _JSON | st.just("CENTRAL") | st.just(JWE)))
def test_whatever_comes_is_an_order_or_an_input_error(value: Any) -> None:
    outcome = outcome_of(lambda: wanted_of(members_of(msgspec.json.encode(value)), "card"))
    assert isinstance(outcome, InputError) or outcome.channel in {"THALES", "INSTANT", "CENTRAL"}


@settings(max_examples=150)
@given(st.binary() | st.text().map(str.encode) | st.integers(1, 200).map(lambda n: b"[" * n + b"]" * n))
def test_bytes_that_are_no_json_are_a_parsing_error(body: bytes) -> None:
    outcome = outcome_of(lambda: members_of(body))
    assert not isinstance(outcome, InputError) or (isinstance(outcome, ParsingError) and len(str(outcome)) <= 200)
