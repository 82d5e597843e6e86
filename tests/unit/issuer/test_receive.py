"""The receiver below HTTP: what is taken, what is refused and how, and that nothing that is sent makes it fail.

Each test runs with a receiver that blocks and with one that has an event loop, on a real mirror.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cardtrail.db import Row
from cardtrail.errors import SettingError, StoreUnavailable, Unauthorized
from cardtrail.issuer import message, receive, way
from cardtrail.issuer.mirror import AsyncMirror, Mirror
from cardtrail.issuer.receipt import Receipt
from cardtrail.issuer.receive import AsyncReceiver, Receiver
from cardtrail.issuer.trust import Trust
from cardtrail.protocol.signature import new_secret
from tests.desk import execute
from tests.serving import ISSUER, OTHER_ISSUER
from tests.signed import NOW, SECRET, body_of, operation, signed

NEXT = new_secret(bytes(32))
TRUSTS = {ISSUER: Trust(secrets=[SECRET]), OTHER_ISSUER: Trust(secrets=[NEXT])}
SORTS = ["blocking", "asynchronous"]


class Office:
    """A receiver of either sort with its mirror; waits for whatever takes time."""

    def __init__(self, url: str, sort: str, trusts: Mapping[str, Trust], **options: Any) -> None:
        self.url = url
        self.now = float(NOW)
        self._runner = asyncio.Runner()
        self.mirror: Mirror | AsyncMirror
        self.desk: Receiver | AsyncReceiver
        if sort == "blocking":
            self.mirror = Mirror.open(url)
            self.desk = Receiver(self.mirror, trusts, wall=self.wall, **options)
        else:
            self.mirror = AsyncMirror.open(url)
            self.desk = AsyncReceiver(self.mirror, trusts, wall=self.wall, **options)

    def wall(self) -> int:
        return round(self.now * 1_000_000)

    def run(self, given: Any) -> Any:
        """Return what was given, waited for if need be."""
        return self._runner.run(_awaited(given)) if isinstance(given, Awaitable) else given

    def receive(self, headers: Any, body: bytes, issuer_id: str = ISSUER, peer: str = "") -> Receipt:
        receipt: Receipt = self.run(self.desk.receive(headers, body, issuer_id, peer=peer))
        return receipt

    def send(self, *operations: object, mark: str | None = None) -> Receipt:
        """Receive a good call around operations."""
        body = body_of(*operations, mark=mark)
        return self.receive(signed(body, self.now), body)

    def stage(self, card_id: str = "card-1") -> str:
        """Return where the mirror says that a card is."""
        held = self.run(self.mirror.card(ISSUER, card_id))
        return held[0].known.stage if held else ""

    def rows(self, table: str, columns: str = "*") -> list[Row]:
        return execute(self.url, f"SELECT {columns} FROM {table} ORDER BY 1, 2")  # noqa: S608 - our own

    def close(self) -> None:
        self.mirror.close()
        self._runner.close()


async def _awaited(given: Awaitable[Any]) -> Any:
    return await given


@contextmanager
def office(url: str, sort: str, trusts: Mapping[str, Trust] = TRUSTS, **options: Any) -> Iterator[Office]:
    opened = Office(url, sort, trusts, **options)
    try:
        yield opened
    finally:
        opened.close()


@pytest.fixture(params=SORTS)
def sort(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def sqlite_url(tmp_path: Any) -> str:
    return f"sqlite:///{tmp_path}/mirror.db"


@pytest.fixture
def here(sqlite_url: str, sort: str) -> Iterator[Office]:
    with office(sqlite_url, sort) as opened:
        yield opened


def names(receipt: Receipt) -> list[str]:
    return [type(outcome).__name__ for outcome in receipt.outcomes]


def problem_in(receipt: Receipt) -> dict[str, str]:
    assert receipt.headers["content-type"] == "application/json"
    return msgspec.json.decode(receipt.body, type=dict[str, str])


# ── taken ──


def test_what_was_answered_204_is_in_the_mirror(database_url: str, sort: str) -> None:
    with office(database_url, sort) as here:
        receipt = here.send(operation(stage="DATA_PREPARED", sequence=2), mark="mark-1")
        assert (receipt.status, dict(receipt.headers), receipt.body) == (204, {}, b"")
        assert names(receipt) == ["Applied"]
        assert here.stage() == "DATA_PREPARED"
        assert here.rows("issuer", "issuer_id, mark") == [(ISSUER, "mark-1")]


def test_a_repetition_and_an_older_picture_are_taken_and_change_nothing(here: Office) -> None:
    here.send(operation(stage="DATA_PREPARED", sequence=2))
    again = here.send(operation(stage="DATA_PREPARED", sequence=2), operation(sequence=1))
    assert (again.status, names(again)) == (204, ["Duplicate", "Stale"])
    assert here.stage() == "DATA_PREPARED"


def test_the_same_webhook_id_with_another_stage_is_no_duplicate(here: Office) -> None:
    for stage in ("DATA_PREPARED", "CARD_PROD_READY"):
        body = body_of(operation(stage=stage))
        assert here.receive(signed(body, webhook_id="always-the-same"), body).status == 204
    assert here.stage() == "CARD_PROD_READY"


def test_a_call_without_an_operation_is_a_heartbeat_and_is_heard(here: Office) -> None:
    receipt = here.send(mark="mark-7")
    assert (receipt.status, receipt.outcomes) == (204, ())
    assert [row[0] for row in here.rows("issuer", "mark, heard_at")] == ["mark-7"]


def test_headers_are_taken_as_any_framework_has_them(here: Office) -> None:
    body = body_of(operation())
    plain = signed(body)
    raw = [(name.title().encode(), value.encode()) for name, value in plain.items()]
    for headers in (plain, {name.upper(): value for name, value in plain.items()}, list(plain.items()), raw):
        assert here.receive(headers, body).status == 204


@pytest.mark.parametrize(
    "kind",
    ["application/json", "Application/JSON; charset=utf-8", "application/vnd.d1+json", "application/problem+json;x"],
)
def test_whatever_is_json_by_its_type_is_taken(here: Office, kind: str) -> None:
    body = body_of(operation())
    assert here.receive({**signed(body), "content-type": kind}, body).status == 204
    assert here.receive({**signed(body), "content-encoding": "Identity"}, body).status == 204
    untyped = signed(body)
    del untyped["content-type"]
    assert here.receive(untyped, body).status == 204


@pytest.mark.parametrize("mark", ["x" * (message.MAX_MARK + 1), "a b", "", "\x00", 7, None, {}])
def test_a_high_water_mark_that_is_none_costs_nothing_else(here: Office, mark: object) -> None:
    here.send(mark="good")
    body = msgspec.json.encode({"operations": [operation()], "cardtrail": {"cursor": mark}})
    assert here.receive(signed(body), body).status == 204
    assert here.rows("issuer", "mark, issuer_id") == [("good", ISSUER)]


# ── proofs ──


@pytest.mark.parametrize("missing", ["webhook-id", "webhook-timestamp", "webhook-signature"])
def test_an_unsigned_call_is_refused_before_it_is_read(here: Office, missing: str) -> None:
    body = b"{not even json"
    headers = {name: value for name, value in signed(body).items() if name != missing}
    receipt = here.receive(headers, body)
    assert (receipt.status, problem_in(receipt)["errorCode"]) == (401, "AUTHORIZER_UNAUTHORIZED")
    assert "www-authenticate" in receipt.headers
    assert (here.rows("issuer"), here.rows("sighting")) == ([], [])


def test_a_call_for_another_issuer_is_refused(here: Office) -> None:
    body = body_of(operation())
    assert here.receive(signed(body), body, OTHER_ISSUER).status == 401
    assert here.receive(signed(body, NOW, NEXT), body, OTHER_ISSUER).status == 204
    assert here.stage() == ""


@pytest.mark.parametrize("issuer_id", ["ISSUER0009", ISSUER.lower(), "", "../ISSUER0001", "ISSUER0001\n"])
def test_an_issuer_that_is_not_here_is_unknown(here: Office, issuer_id: str) -> None:
    body = body_of(operation())
    receipt = here.receive(signed(body), body, issuer_id)
    assert (receipt.status, problem_in(receipt)["errorCode"]) == (404, "NOT_FOUND")


def test_a_call_that_is_old_is_refused_although_it_was_good(here: Office) -> None:
    body = body_of(operation())
    headers = signed(body)
    assert here.receive(headers, body).status == 204
    here.now += 301
    assert here.receive(headers, body).status == 401


def test_while_the_secret_is_changed_calls_signed_with_either_or_both_are_taken(sqlite_url: str, sort: str) -> None:
    with office(sqlite_url, sort, {ISSUER: Trust(secrets=[NEXT, SECRET])}) as here:
        body = body_of(operation())
        for secrets in ((SECRET,), (NEXT,), (NEXT, SECRET)):
            assert here.receive(signed(body, NOW, *secrets), body).status == 204


@pytest.mark.parametrize("name", ["webhook-id", "webhook-timestamp", "authorization", "content-type"])
def test_a_header_that_is_there_twice_proves_nothing(sqlite_url: str, sort: str, name: str) -> None:
    trust = Trust(secrets=[SECRET], client_id="cardtrail", client_secrets=["s" * 32])
    with office(sqlite_url, sort, {ISSUER: trust}) as here:
        body = body_of(operation())
        assert trust.credentials is not None
        good = [*signed(body).items(), ("authorization", f"Bearer {trust.credentials.token(NOW)}")]
        assert here.receive(good, body).status == 204
        for twice in ([*good, *good], [*good, (name, "x")], [(name.upper(), "x"), *good]):
            assert here.receive(twice, body).status in {401, 415}


def test_a_certificate_is_believed_from_a_listed_proxy_only(sqlite_url: str, sort: str) -> None:
    trusts = {ISSUER: Trust(certificates=["ab" * 32])}
    with office(sqlite_url, sort, trusts, trusted_proxies=["10.0.0.0/8"], certificate_header="X-Cert") as here:
        body = body_of(operation())
        for peer, header, status in (
            ("10.1.2.3", "x-cert", 204), ("192.0.2.1", "x-cert", 401), ("", "x-cert", 401),
            ("10.1.2.3", "x-other", 401),
        ):  # fmt: skip
            assert here.receive({header: "ab" * 32}, body, peer=peer).status == status
        twice = [("x-cert", "ab" * 32), ("x-cert", "ab" * 32)]
        assert here.receive(twice, body, peer="10.1.2.3").status == 401


# ── an issuer's own check ──


def test_an_issuers_own_check_sees_the_headers_and_decides(sqlite_url: str, sort: str) -> None:
    def knows(headers: Mapping[str, str]) -> bool:
        return headers.get("authorization") == "Bearer mine"

    with office(sqlite_url, sort, {ISSUER: Trust(authenticate=knows)}) as here:
        body = body_of(operation())
        assert here.receive({"Authorization": "Bearer mine"}, body).status == 204
        assert here.receive({"Authorization": "Bearer other"}, body).status == 401


@pytest.mark.parametrize("answer", [1, "yes", object(), None, False])
def test_only_true_lets_a_call_in(sqlite_url: str, sort: str, answer: Any) -> None:
    with office(sqlite_url, sort, {ISSUER: Trust(authenticate=lambda _: answer)}) as here:
        assert here.receive({}, body_of(operation())).status == 401
        assert here.stage() == ""


def test_an_issuers_own_check_is_not_asked_about_what_another_proof_refuses(sqlite_url: str, sort: str) -> None:
    asked: list[object] = []

    def knows(headers: object) -> bool:
        asked.append(headers)
        return True

    trust = Trust(secrets=[SECRET], authenticate=knows)
    with office(sqlite_url, sort, {ISSUER: trust}) as here:
        body = body_of(operation())
        assert here.receive({}, body).status == 401
        assert asked == []
        assert here.receive(signed(body), body).status == 204
        assert len(asked) == 1


@pytest.mark.parametrize("error", [OSError("down"), StopIteration(), KeyError("authorization"), TimeoutError()])
def test_where_the_issuers_own_check_fails_the_sender_tries_again(
    sqlite_url: str, sort: str, error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    def fails(_: object) -> bool:
        raise error

    with office(sqlite_url, sort, {ISSUER: Trust(authenticate=fails)}) as here:
        receipt = here.receive({}, body_of(operation()))
        assert (receipt.status, receipt.headers["retry-after"]) == (503, str(way.RETRY_SECONDS))
        assert "authenticate failed" in caplog.text


@pytest.mark.parametrize(("error", "status"), [(Unauthorized("no"), 401), (StoreUnavailable("keys"), 503)])
def test_the_issuers_own_check_may_raise_errors_of_ours(
    sqlite_url: str, sort: str, error: Exception, status: int
) -> None:
    def says(_: object) -> bool:
        raise error

    with office(sqlite_url, sort, {ISSUER: Trust(authenticate=says)}) as here:
        assert here.receive({}, body_of(operation())).status == status


def test_an_asynchronous_check_is_waited_for_but_not_for_ever(sqlite_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async def knows(headers: Mapping[str, str]) -> bool:
        await asyncio.sleep(0)
        if headers.get("authorization") == "Bearer slow":
            await asyncio.Event().wait()
        return headers.get("authorization") == "Bearer mine"

    with office(sqlite_url, "asynchronous", {ISSUER: Trust(authenticate=knows)}) as here:
        body = body_of(operation())
        assert here.receive({"authorization": "Bearer mine"}, body).status == 204
        assert here.receive({"authorization": "Bearer other"}, body).status == 401
        monkeypatch.setattr(receive, "CHECK_SECONDS", 0.01)
        assert here.receive({"authorization": "Bearer slow"}, body).status == 503


def test_an_asynchronous_check_needs_an_event_loop(sqlite_url: str) -> None:
    async def knows(_: object) -> bool:
        raise NotImplementedError

    with Mirror.open(sqlite_url) as mirror, pytest.raises(SettingError, match="authenticate"):
        Receiver(mirror, {ISSUER: Trust(authenticate=knows)})


# ── what is not taken ──


@pytest.mark.parametrize(
    "body",
    [
        b"", b"{", b"[]", b"null", b"{}", b'{"operations":{}}', b'{"operations":null}', b'{"operations":[1,]}',
        b"\xff\xfe", b'{"operations":[' + b"[" * 50_000, b'{"operations":[],"cardtrail":' + b'{"a":' * 50_000,
    ],
)  # fmt: skip
def test_what_can_never_be_read_is_kept_and_refused_for_good(here: Office, body: bytes) -> None:
    receipt = here.receive(signed(body), body)
    assert receipt.status == 400
    assert problem_in(receipt)["errorCode"] in {"PARSING_ERROR", "FIELD_INVALID_FORMAT"}
    [(kind, name, sample)] = here.rows("sighting", "kind, name, sample")
    assert (kind, bytes(sample)) == ("element", body[:65_536])
    assert name.startswith("body: ")
    assert len(here.rows("issuer")) == 1


def test_a_bad_element_costs_its_neighbours_nothing_and_is_kept(database_url: str, sort: str) -> None:
    with office(database_url, sort) as here:
        bad = operation("card-2") | {"cardId": "no card"}
        receipt = here.send(operation("card-1"), bad, 7, operation("card-3"))
        assert (receipt.status, names(receipt)) == (204, ["Applied", "Applied"])
        assert "cardId" in receipt.why
        assert (here.stage("card-1"), here.stage("card-3")) == ("CARD_PROD_READY", "CARD_PROD_READY")
        kept = {bytes(row[1]) for row in here.rows("sighting", "kind, sample")}
        assert kept == {msgspec.json.encode(bad), b"7"}


def test_where_every_element_is_bad_the_call_is_refused_and_they_are_kept(here: Office) -> None:
    receipt = here.send({}, operation() | {"operationId": ""})
    assert (receipt.status, problem_in(receipt)["errorCode"]) == (400, "FIELD_INVALID_FORMAT")
    assert "none can be read" in problem_in(receipt)["error"]
    assert len(here.rows("sighting")) == 2


def test_bytes_that_are_no_text_cost_only_their_element(here: Office) -> None:
    good = msgspec.json.encode(operation())
    body = b'{"operations":[' + good + b"," + good.replace(b"READY", b"\xed\xa0\x80") + b',"\xff"]}'
    receipt = here.receive(signed(body), body)
    assert (receipt.status, names(receipt)) == (204, ["Applied"])
    assert here.rows("sighting", "kind, sample")[0][0] == "element"


def test_half_a_letter_costs_no_more_than_the_member_it_is_in(here: Office) -> None:
    body = body_of(operation("card-1"), operation("card-2", error="cut")).replace(b'"cut"', rb'"cut \ud83d"')
    receipt = here.receive(signed(body), body)
    assert (receipt.status, names(receipt)) == (204, ["Applied", "Applied"])


def test_a_body_at_the_limit_is_read_and_one_above_it_is_not(here: Office) -> None:
    body = body_of(operation())
    largest = body + b" " * (way.MAX_BODY - len(body))
    assert here.receive(signed(largest), largest).status == 204
    receipt = here.receive(signed(largest + b" "), largest + b" ")
    assert (receipt.status, problem_in(receipt)["errorCode"]) == (413, "BODY_TOO_LARGE")


def test_as_many_elements_as_allowed_are_taken_and_one_more_is_to_be_sent_in_halves(here: Office) -> None:
    most = [operation(f"card-{number}") for number in range(message.MAX_ELEMENTS)]
    assert here.send(*most).status == 204
    receipt = here.send(*most, operation("card-x"))
    assert (receipt.status, problem_in(receipt)["errorCode"]) == (413, "FIELD_INVALID_VALUE")
    assert here.stage("card-x") == ""


@pytest.mark.parametrize(
    "header",
    [
        {"content-type": "text/plain"}, {"content-type": ""}, {"content-type": "application/jsonp"},
        {"content-type": "application/json, application/json"}, {"content-encoding": "gzip"},
    ],
)  # fmt: skip
def test_what_is_not_plain_json_is_of_the_wrong_type(here: Office, header: dict[str, str]) -> None:
    body = body_of(operation())
    receipt = here.receive({**signed(body), **header}, body)
    assert (receipt.status, problem_in(receipt)["errorCode"]) == (415, "UNSUPPORTED_MEDIA_TYPE")


def test_while_the_store_is_down_the_sender_is_told_to_come_again(database_url: str, sort: str) -> None:
    with office(database_url, sort) as here:
        assert here.send(operation()).status == 204
        here.mirror.close()
        receipt = here.send(operation(stage="CARD_PROD_DONE"))
        assert (receipt.status, problem_in(receipt)["errorCode"]) == (503, "STORE_UNAVAILABLE")
        assert int(receipt.headers["retry-after"]) >= 1


def test_a_fault_of_ours_is_not_hidden_as_an_answer(here: Office) -> None:
    execute(here.url, "ALTER TABLE operation RENAME TO lost")
    with pytest.raises(Exception, match="operation"):
        here.send(operation())


# ── first sightings ──


def test_what_is_not_published_is_taken_and_noted_at_its_first_sight(database_url: str, sort: str) -> None:
    with office(database_url, sort) as here:
        strange = operation(stage="CARD_LOST", colour="red")
        assert here.send(strange).status == 204
        assert here.stage() == "CARD_LOST"
        noted = [(kind, name, bytes(sample)) for kind, name, sample in here.rows("sighting", "kind, name, sample")]
        sample = msgspec.json.encode(strange)
        assert noted == [("member", "colour", sample), ("status", "CARD_LOST", sample)]


def test_a_sighting_is_noted_although_the_store_was_down_at_the_first_try(sqlite_url: str, sort: str) -> None:
    with office(sqlite_url, sort) as here:
        execute(sqlite_url, "ALTER TABLE sighting RENAME TO away")
        with pytest.raises(Exception, match="sighting"):
            here.send(operation(stage="CARD_LOST"))
        execute(sqlite_url, "ALTER TABLE away RENAME TO sighting")
        assert here.send(operation(stage="CARD_LOST")).status == 204
        assert here.rows("sighting", "kind, name") == [("status", "CARD_LOST")]


def test_a_member_with_a_name_that_no_table_takes_is_noted_all_the_same(database_url: str, sort: str) -> None:
    with office(database_url, sort) as here:
        assert here.send(operation() | {"a\x00b": 1, "x" * 5_000: 2}).status == 204
        assert [row[1] for row in here.rows("sighting", "kind, name")] == ["a\ufffdb", "x" * 200]


# ── settings ──


@pytest.mark.parametrize(
    ("trusts", "options", "named"),
    [
        ({"short": Trust(secrets=[SECRET])}, {}, "trusts"),
        ({ISSUER: Trust(secrets=[SECRET]), OTHER_ISSUER: Trust(secrets=[NEXT, SECRET])}, {}, "secrets"),
        (TRUSTS, {"trusted_proxies": ["nobody"]}, "trusted_proxies"),
        (TRUSTS, {"trusted_proxies": "10.0.0.1"}, "trusted_proxies"),
        ({ISSUER: Trust(certificates=["ab" * 32])}, {}, "trusted_proxies"),
    ],
)
def test_a_wrong_setting_is_named(
    sqlite_url: str, sort: str, trusts: dict[str, Trust], options: dict[str, Any], named: str
) -> None:
    with pytest.raises(SettingError, match=f"^{named}: ") as refused, office(sqlite_url, sort, trusts, **options):
        pass
    assert SECRET not in str(refused.value)


# ── counted and logged ──


def test_answers_are_counted_and_what_was_not_well_is_logged_without_what_was_sent(
    here: Office, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    here.send(operation())
    assert caplog.text == ""
    here.send(operation(), operation() | {"cardId": "4111 1111 1111 1111"})
    here.receive({}, b"", "x" * 500 + "\n")
    assert here.desk.answers == {204: 2, 404: 1}
    assert len(caplog.records) == 2
    assert "4111" not in caplog.text
    assert max(map(len, caplog.messages)) < 300


@pytest.mark.parametrize(
    ("given", "shown"),
    [("call-1", "call-1"), (None, "-"), ("a b", "-"), ("x" * 65, "-"), ("a\nb", "-"), ("", "-"), ("one, two", "-")],
)
def test_a_line_has_the_correlation_id_where_it_has_the_right_form(
    here: Office, caplog: pytest.LogCaptureFixture, given: str | None, shown: str
) -> None:
    caplog.set_level("INFO")
    here.receive({} if given is None else {"X-Correlation-Id": given}, b"", "nobody")
    [line] = caplog.messages
    assert f" correlation_id={shown}: " in line


# ── whatever is sent ──

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
MEMBERS = st.sampled_from(
    ["operationId", "operation", "status", "cardId", "startTime", "endTime", "details", "cardtrail"]
)
ODD = st.dictionaries(MEMBERS, JSON).map(lambda odd: operation() | odd)
BODIES = (
    st.binary()
    | JSON.map(msgspec.json.encode)
    | st.lists(ODD | JSON, max_size=4).map(lambda operations: body_of(*operations))
    | st.lists(ODD, max_size=2).flatmap(lambda some: st.integers(0, 200).map(lambda end: body_of(*some)[:end]))
)


@pytest.fixture(scope="module")
def property_office(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], Office]]:
    folder = tmp_path_factory.mktemp("mirrors")
    offices = {sort: Office(f"sqlite:///{folder}/{sort}.db", sort, TRUSTS) for sort in SORTS}
    yield offices.__getitem__
    for opened in offices.values():
        opened.close()


@pytest.mark.parametrize("sort", SORTS)
@settings(max_examples=150)
@given(body=BODIES)
def test_no_body_makes_the_receiver_fail(property_office: Callable[[str], Office], sort: str, body: bytes) -> None:
    receipt = property_office(sort).receive(signed(body), body)
    assert receipt.status in {204, 400}
    assert bool(receipt.body) is (receipt.status == 400)


@pytest.mark.parametrize("sort", SORTS)
@settings(max_examples=100)
@given(headers=st.lists(st.tuples(st.binary(), st.binary()), max_size=6), body=st.binary(max_size=50))
def test_no_headers_make_the_receiver_fail(
    property_office: Callable[[str], Office], sort: str, headers: list[tuple[bytes, bytes]], body: bytes
) -> None:
    assert property_office(sort).receive(headers, body).status in {401, 415}
