"""The cards that every server under test knows: computed, so that neither load nor databases need a list.

`bench/cards.lua` computes the same ids; change both together.
"""

ISSUER_ID = "BENCHBANK1"
PREFIX = f"/banking/v1/issuers/{ISSUER_ID}/physicalCards/"
SUFFIX = "/productionStatus"
STARTED = 1_767_225_600_000_000
"""µs; 2026-01-01, when the first of the prepared orders was requested."""
HOUR = 3_600_000_000

PRODUCTION_SITE = "Meung-sur-Loire"
INPUT_FILE_NAME = "BENCH_20260101_001.xml"
CARRIER = "dhl"
MESSAGE = "Processed at the parcel centre"
DUE_DATE = "2026-01-07"
ESTIMATED_DELIVERY = "2026-01-09"

# Odd, so that no two of 2**32 cards share an id; small enough that Lua's doubles hold every product exactly.
_SCATTER = 1_103_515_245


def card_id(number: int) -> str:
    """Return the id of a card, 0 <= number < 8,000,000; neighbours lie far apart in an index."""
    return f"card-{number * _SCATTER % 2**32:010d}"


def path(number: int) -> str:
    """Return the path of the card's status."""
    return f"{PREFIX}{card_id(number)}{SUFFIX}"


def operation_id(number: int) -> str:
    """Return the id of the card's one order."""
    return f"op-{number:032x}"


def tracking_number(number: int) -> str:
    """Return the number of the card's parcel."""
    return f"JJD{number:017d}"


def tracking_url(number: int) -> str:
    """Return where the parcel can be looked up."""
    return f"https://dhl.example/{tracking_number(number)}"


def requested_at(number: int) -> int:
    """Return when the card was ordered, µs; orders come in every two seconds."""
    return STARTED + number * 2_000_000


def shipped_at(number: int) -> int:
    """Return when the card was handed to the carrier, µs."""
    return requested_at(number) + 77 * HOUR
