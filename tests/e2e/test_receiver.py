"""The platform delivers to the kit's receiver, over HTTP, and in the end the mirror is what the platform is."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import msgspec
import pytest

from cardtrail.issuer.asgi import Asgi, Receive, Scope, Send, asgi_app
from cardtrail.issuer.mirror import AsyncMirror
from cardtrail.issuer.receive import AsyncReceiver
from cardtrail.issuer.trust import Trust
from cardtrail.platform.endpoint import Mode, OAuth, Secrets, Signing
from tests.conftest import NewDatabase
from tests.delivering import HOUR, MINUTE, SECOND, Delivering, delivering
from tests.desk import execute
from tests.events import event
from tests.hosting import hosting
from tests.serving import ISSUER

CARDS = [f"card-{number:03}" for number in range(30)]
PASSWORD = "a-secret-of-24-characters-or-more"


class Bank:
    """An issuer that receives, on the loop of the platform that delivers to it. It trusts nobody until told to."""

    def __init__(self, site: Delivering, url: str, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}/hooks"
        self.mirror_url = url
        self._site = site
        self.mirror = AsyncMirror.open(url)
        self.receiver: AsyncReceiver
        self.app: Asgi

    def trust(self, **proofs: Any) -> None:
        """Take whoever proves this from now on."""
        self.receiver = AsyncReceiver(self.mirror, {ISSUER: Trust(**proofs)}, wall=self._site.wall)
        self.app = asgi_app(self.receiver)

    def pictures(self, card_id: str) -> list[Any]:
        """Return what the mirror has of a card's orders, newest first."""
        held = self._site.desk.run(self.mirror.card(ISSUER, card_id))
        return [msgspec.json.decode(each.operation.raw) for each in held]

    def rows(self, text: str) -> list[tuple[Any, ...]]:
        return execute(self.mirror_url, text)


class Late:
    """An application that is set later than the server starts."""

    bank: Bank

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self.bank.app(scope, receive, send)


@contextmanager
def bank(site: Delivering, url: str) -> Iterator[Bank]:
    """Open a bank on the platform's loop, and close it at the end."""
    late = Late()
    server = hosting(late)
    late.bank = Bank(site, url, site.desk.run(server.__aenter__()))
    try:
        yield late.bank
    finally:
        late.bank.mirror.close()
        site.desk.run(server.__aexit__(None, None, None))


@pytest.fixture
def site(new_database: NewDatabase) -> Iterator[Delivering]:
    with delivering(new_database()) as opened:
        yield opened


@pytest.fixture
def issuer(site: Delivering, new_database: NewDatabase) -> Iterator[Bank]:
    with bank(site, new_database()) as opened:
        yield opened


def tell_stories(site: Delivering) -> None:
    """Let cards go their ways: some with trouble, on hold, in the post, not delivered, or ordered once more."""
    for stages in range(6):
        site.order(*CARDS, stages=1, begin=stages)
        site.settle()
    told = [
        event("trouble", CARDS[0], hours=2.5, reason="chip"), event("held", CARDS[1], hours=2.6, reason="address"),
        *(event("scanned", card, hours=7, status="InTransit", code="PU") for card in CARDS[2:20]),
        *(event("scanned", card, hours=9, status="AttemptFail", code="NA") for card in CARDS[5:10]),
        event("requested", CARDS[3], hours=100),
    ]  # fmt: skip
    for each in told:
        site.desk.tell(each)
        site.later(1)
        site.settle()


def assert_equal(site: Delivering, issuer: Bank) -> None:
    """The mirror holds exactly the orders and pictures of the platform."""
    for card_id in CARDS:
        assert issuer.pictures(card_id) == site.desk.history(card_id), card_id


@pytest.mark.parametrize(
    "config",
    [
        {}, {"batch_size": 100}, {"mode": Mode.EVERY_STEP, "batch_size": 7},
        {"signing": Signing.V1A, "batch_size": 100},
    ],
    ids=["singly", "in bulk", "every step", "signed by a key"],
)  # fmt: skip
def test_after_a_delivery_the_mirror_equals_the_platform(
    site: Delivering, issuer: Bank, config: dict[str, Any]
) -> None:
    site.add(issuer.url, **config)
    issuer.trust(secrets=[site.secrets["one"]])
    tell_stories(site)
    assert set(site.states()) <= {"DELIVERED", "SUPERSEDED"}
    assert_equal(site, issuer)
    assert set(issuer.receiver.answers) == {204}
    assert issuer.rows("SELECT kind, name FROM sighting") == []


def test_the_strict_form_which_is_not_signed_carries_everything_that_is_published(
    site: Delivering, issuer: Bank
) -> None:
    oauth = OAuth(token_url=f"{issuer.url}/oauth2/token", client_id="cardtrail")
    site.add(issuer.url, given=Secrets(client_secret=PASSWORD), oauth=oauth, strict=True, batch_size=10)
    issuer.trust(client_id="cardtrail", client_secrets=[PASSWORD])
    site.order(*CARDS, stages=6)
    site.settle()
    for card_id in CARDS:
        [published] = site.desk.history(card_id)
        del published["cardtrail"]
        assert issuer.pictures(card_id) == [published]


def test_what_came_while_the_store_was_down_comes_again(site: Delivering, issuer: Bank) -> None:
    site.add(issuer.url, batch_size=10)
    issuer.trust(secrets=[site.secrets["one"]])
    issuer.mirror.close()
    site.order(*CARDS, stages=3)
    site.settle()
    assert set(issuer.receiver.answers) == {503}
    issuer.mirror = AsyncMirror.open(issuer.mirror_url)
    issuer.trust(secrets=[site.secrets["one"]])
    site.settle_for(HOUR, MINUTE)
    assert_equal(site, issuer)


def test_a_secret_is_changed_without_a_gap(site: Delivering, issuer: Bank) -> None:
    site.add(issuer.url)
    old = site.secrets["one"]
    issuer.trust(secrets=[old])
    site.order("card-000")
    site.settle()
    _, new = site.desk.run(site.endpoints.rotate_secret(ISSUER, "one", "alice", overlap=3_600))
    for secrets in ([old], [new, old], [new]):
        issuer.trust(secrets=secrets)
        site.order(CARDS[len(site.notes())])
        site.settle()
    site.later(3_601 * SECOND)
    site.order("card-004")
    site.settle()
    assert site.states() == ["DELIVERED"] * 5


def test_a_heartbeat_is_heard_and_brings_the_high_water_mark(site: Delivering, issuer: Bank) -> None:
    site.add(issuer.url, heartbeat_minutes=10)
    issuer.trust(secrets=[site.secrets["one"]])
    site.settle_for(HOUR, MINUTE)
    [(heard_at, mark)] = issuer.rows("SELECT heard_at, mark FROM issuer")
    assert heard_at
    assert mark
    assert issuer.receiver.answers[204] >= 5


@pytest.mark.parametrize("signing", [Signing.NONE, Signing.V1])
def test_a_platform_gets_its_token_from_the_receivers_own_token_endpoint(
    site: Delivering, issuer: Bank, signing: Signing
) -> None:
    oauth = OAuth(token_url=f"{issuer.url}/oauth2/token", client_id="cardtrail", scope="cards")
    site.add(issuer.url, given=Secrets(client_secret=PASSWORD), oauth=oauth, signing=signing)
    signed = {"secrets": [site.secrets["one"]]} if signing is Signing.V1 else {}
    issuer.trust(client_id="cardtrail", client_secrets=[PASSWORD], **signed)
    site.order(*CARDS, stages=2)
    site.settle()
    assert_equal(site, issuer)
    assert issuer.receiver.answers == {204: len(site.tries())}


def test_after_a_change_of_the_clients_secret_the_old_token_is_good_for_as_long_as_both_are(
    site: Delivering, issuer: Bank
) -> None:
    oauth = OAuth(token_url=f"{issuer.url}/oauth2/token", client_id="cardtrail")
    site.add(issuer.url, given=Secrets(client_secret=PASSWORD), oauth=oauth, signing=Signing.NONE)
    for secrets in ([PASSWORD], ["the-next-one-with-24-characters", PASSWORD]):
        issuer.trust(client_id="cardtrail", client_secrets=secrets)
        site.order(CARDS[len(site.notes())])
        site.settle()
    assert site.states() == ["DELIVERED"] * 2
    issuer.trust(client_id="cardtrail", client_secrets=["the-next-one-with-24-characters"])
    site.order("card-002")
    site.settle()
    assert site.states()[-1] == "PENDING"
    assert issuer.pictures("card-002") == []
