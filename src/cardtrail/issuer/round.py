"""What one list of cards was answered: kept until it goes to the mirror by one transaction.

A question is refused when its token was, and the one that replaced it, too: tokens end all at once, so it is put aside
and has a second turn.
"""

import logging
from collections.abc import Collection, Sequence
from hashlib import blake2b
from typing import NamedTuple, NoReturn

import msgspec

from cardtrail.errors import InputError, RemoteError, RemoteUnauthorized
from cardtrail.issuer.standing import Observed
from cardtrail.issuer.take import Asked, Sighting
from cardtrail.protocol.reading import envelope_of, operation_of

OUTAGE = 20
"""So many calls in a row that fail are an outage, and so many questions that are refused a party that is locked out: it
is not for the remaining cards to find that out."""

_log = logging.getLogger("cardtrail.issuer")


class Outage(RemoteError):
    """The server does not answer any more; what was learned until then is kept."""


class Wanted(NamedTuple):
    """A card to be asked for; the columns of its table tell what the others mean.

    `digest` is of its last answer, None where that must be read again in any case.
    """

    card_id: str
    asked_no: int = 0
    digest: bytes | None = None
    asks: int = 0
    knowledge: bytes = b""


class Heard(msgspec.Struct, frozen=True):
    """What asking for some cards came to. `changed` are cards of which the mirror had been wrong."""

    calls: int = 0
    asked: int = 0
    unknown: int = 0
    failed: int = 0
    changed: int = 0

    def __add__(self, other: "Heard") -> "Heard":
        return Heard(*(getattr(self, name) + getattr(other, name) for name in Heard.__struct_fields__))


class Round:
    """The answers of one list of cards."""

    def __init__(self, ticket: int, *, with_history: bool = False) -> None:
        self.ticket = ticket
        self.with_history = with_history
        self.observed: list[Observed] = []
        self.asked: dict[str, Asked] = {}
        self.same: list[Wanted] = []
        """Cards whose answer has the bytes of the last one."""
        self.sightings: list[Sighting] = []
        self.calls = 0
        self.failures = 0
        """Calls in a row that failed."""
        self.aside: list[Wanted] = []
        """Cards whose question was refused, and that have a second turn."""
        self._refusals = 0
        self._refusal: RemoteUnauthorized | None = None
        self._answered = False

    def answer(self, wanted: Wanted, body: bytes | None, now: int) -> None:
        """Keep the body of a card's answer."""
        digest = self._news(wanted, body)
        if digest is None or body is None:
            return
        try:
            elements = envelope_of(body).elements
        except InputError as error:
            self.sightings.append(Sighting("answer", str(error), body))
            self.asked[wanted.card_id] = Asked("failed")
            return
        self._understand(wanted, elements, digest, now)

    def _news(self, wanted: Wanted, content: bytes | None) -> bytes | None:
        """Return the digest of an answer that has to be read; keep one that needs not."""
        self.failures = self._refusals = 0
        self._answered = True
        if content is None:
            self.asked[wanted.card_id] = Asked("unknown")
            return None
        digest = digest_of(content)
        if digest != wanted.digest:
            return digest
        self.same.append(wanted)
        return None

    def _understand(self, wanted: Wanted, elements: Sequence[msgspec.Raw | bytes], digest: bytes, now: int) -> None:
        known = self.take(elements, now, {wanted.card_id})
        self.asked[wanted.card_id] = Asked("found", digest) if known else Asked("failed")

    def take(self, elements: Sequence[msgspec.Raw | bytes], now: int, wanted: Collection[str]) -> set[str]:
        """Keep the operations of an answer about the cards that were wanted; return of which there are some.

        What cannot be read of it is kept as a sighting, and what is of another card is not believed: the answer is not
        to this question, so its ticket says nothing.
        """
        found = set()
        for element in elements:
            try:
                operation = operation_of(element)
            except InputError as error:
                self.sightings.append(Sighting("element", str(error), bytes(element)))
                continue
            if operation.card_id in wanted:
                self.observed.append(Observed(operation, "answer", now, self.ticket))
                found.add(operation.card_id)
            else:
                self.sightings.append(Sighting("element", "cardId: a card that was not asked for", bytes(element)))
        return found

    def fail(self, wanted: Wanted, error: RemoteError) -> None:
        """Keep that a card was not answered. Raises Outage where nothing seems to be any more."""
        self.asked[wanted.card_id] = Asked("failed")
        self.failures += 1
        _log.warning("not answered: card %s: %s", wanted.card_id, error)
        if self.failures >= OUTAGE:
            self._forget_failed()
            raise Outage(f"{self.failures} calls in a row have failed; the last: {error}", status=error.status)

    def put_aside(self, wanted: Wanted, error: RemoteUnauthorized) -> None:
        """Keep a question that was refused, for a second turn."""
        self._refusal = error
        self.aside.append(wanted)

    def give_up(self, wanted: Wanted, error: RemoteUnauthorized) -> None:
        """Give up a question that was refused; it is asked later. Raises RemoteUnauthorized where all seem to be."""
        self._refusal = error
        self._refusals += 1
        if self._refusals >= OUTAGE:
            self._lock_out(error)
        self.asked[wanted.card_id] = Asked("failed")
        _log.warning("refused, asked for later: card %s: %s", wanted.card_id, error)

    def end(self) -> None:
        """Raise RemoteUnauthorized where nothing was answered and something refused."""
        if self._refusal is not None and not self._answered:
            self._lock_out(self._refusal)

    def _lock_out(self, error: RemoteUnauthorized) -> NoReturn:
        self._forget_failed()
        raise error

    def _forget_failed(self) -> None:
        """Take what failed for not asked for, so that a pass which is gone on with asks for it again."""
        self.asked = {card_id: asked for card_id, asked in self.asked.items() if asked.answer != "failed"}


def digest_of(body: bytes) -> bytes:
    """Return what tells two answers apart."""
    return blake2b(body, digest_size=16).digest()
