"""Which card is asked next, and why: where the reconciler spends its calls when the server has no feed.

`due_of` is worked out whenever something was learned of a card, and stored with it: the reason is the priority, so the
due cards are `WHERE due_at <= now ORDER BY why, due_at`. Beside them a slow sweep takes open cards by how long ago they
were last told or asked about, which bounds how long anything can stay wrong.

A card is settled when nothing more can be told of it: delivered, returned, cancelled, rejected, or failed for good. One
more look, and it is never asked again. A card that stays silent for very long leaves the sweep too, and is counted.
"""

from datetime import date
from enum import IntEnum
from functools import lru_cache
from typing import Final

import msgspec

from cardtrail.core.status import ProductionStatus
from cardtrail.issuer.dwell import HELD, UNHEARD, Dwell
from cardtrail.issuer.patience import next_ask
from cardtrail.issuer.week import HOUR, HOURS

DAY: Final = 24 * HOUR
NEVER: Final = 2**63 - 1
"""The instant of what is not due at any time."""
LAST_LOOK_AFTER: Final = DAY
"""How long after a card has settled it is looked at once more, µs: what comes after that is no news."""
SILENT_AFTER: Final = 180 * DAY
"""A card without a change for so long leaves the sweep, µs."""
QUIET_AFTER: Final = 14 * DAY
"""The same for a card of which nothing more is usual: shipped without a parcel to follow, or done at an instant."""
RETRY: Final = HOUR // 12
"""The wait after the first ask that a doubtful card or an unknown one needs again, µs; it doubles."""
MISSING: Final = DAY
"""The wait after the first answer that there is no such card, µs; it doubles."""
MOST_DOUBLINGS: Final = 4

_FAILED: Final = "FAILED"
_SUCCESSFUL: Final = "SUCCESSFUL"
SETTLED_STAGES: Final = frozenset(
    {ProductionStatus.RETURNED.value, ProductionStatus.CANCELED.value, ProductionStatus.DATA_EXCEPTION.value}
)
_SHIPPED: Final = ProductionStatus.SHIPPED.value
_DONE: Final = ProductionStatus.DONE.value


class Why(IntEnum):
    """Why a card is asked; the lower the more urgent. The last two are not asked at all."""

    DOUBTFUL = 1
    OVERDUE = 2
    PAST_DUE_DATE = 3
    UNHEARD = 4
    LAST_LOOK = 5
    SWEEP = 6
    SETTLED = 7
    SILENT = 8


class CardKnowledge(msgspec.Struct, frozen=True, gc=False):
    """What the mirror knows of a card that bears on asking. Instants are wall µs, by this machine's clock.

    `stage`, `shipment` and `status` are those of its newest order, empty where there is none; `changed_at`: when the
    last change was learned, or when the card was expected; `asked_at`: the last ask, answered or not, 0: never;
    `asks`: how many since then changed nothing; `tracked`: there is a tracking number or a shipment status; `unknown`:
    the server said at the last ask that there is no such card; `looked`: a question was answered that was asked after
    the last change, by the mirror's tickets, since no clock may end the asking.
    """

    stage: str
    shipment: str
    status: str
    changed_at: int
    asked_at: int = 0
    asks: int = 0
    due_date: str | None = None
    held: bool = False
    tracked: bool = False
    doubtful: bool = False
    unknown: bool = False
    looked: bool = False


class Due(msgspec.Struct, frozen=True, gc=False):
    """When to ask a card, µs, and why."""

    at: int
    why: Why


SETTLED: Final = Due(NEVER, Why.SETTLED)
SILENT: Final = Due(NEVER, Why.SILENT)


def due_of(card: CardKnowledge, now: int, dwell: Dwell) -> Due:
    """Return when a card should be asked next, and why; `at` may be past or far ahead."""
    changed_at, asked_at = card.changed_at, card.asked_at
    if card.doubtful and not card.unknown:  # what the server does not know it cannot tell more of
        return Due(asked_at + _doubled(RETRY, card.asks) if card.asks else now, Why.DOUBTFUL)
    if card.stage in SETTLED_STAGES or card.status == _FAILED or card.shipment == "Delivered":
        return SETTLED if card.looked else Due(changed_at + LAST_LOOK_AFTER, Why.LAST_LOOK)
    key = key_of(card)
    if now - changed_at > (QUIET_AFTER if key.endswith("-") else SILENT_AFTER):
        return SILENT
    if card.unknown:
        return Due(asked_at + _doubled(MISSING, card.asks), Why.UNHEARD if key == UNHEARD else Why.OVERDUE)
    stay = dwell.stays.get(key) or dwell.stay(key)
    elapsed = asked_at - changed_at if asked_at > changed_at else 0
    at = changed_at + next_ask(stay.plan(changed_at // HOUR % HOURS), elapsed)
    if card.due_date is not None and not card.shipment and card.stage != _SHIPPED:
        by = end_of(card.due_date)
        if changed_at < by < at and asked_at < by:
            return Due(by, Why.PAST_DUE_DATE)
    return Due(at, Why.OVERDUE if key else Why.UNHEARD)


def key_of(card: CardKnowledge) -> str:
    """Return by what a card's dwell is known; it ends in `-` where nothing more is usual."""
    stage = card.stage
    if card.held:
        return HELD
    if stage == _SHIPPED:
        return f"{stage}/{card.shipment}" if card.tracked else "CARD_SHIPPED/-"
    if stage == _DONE and card.status == _SUCCESSFUL:
        return "CARD_PROD_DONE/-"
    return f"{stage}/{card.shipment}" if stage else UNHEARD


@lru_cache(maxsize=4096)
def end_of(due_date: str) -> int:
    """Return when a date is over everywhere, µs; `NEVER` for what is no date."""
    try:
        days = date.fromisoformat(due_date).toordinal() - date(1970, 1, 1).toordinal()
    except ValueError:
        return NEVER
    return days * DAY + 36 * HOUR


def _doubled(wait: int, asks: int) -> int:
    return wait << min(max(asks - 1, 0), MOST_DOUBLINGS)
