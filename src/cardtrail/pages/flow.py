"""What an overview tells of an issuer's orders, the platform's and a mirror's: where they are, and how they moved."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from cardtrail.pages.chart import Node, Series
from cardtrail.pages.words import ASIDE, FLOW, kind_of, word_of

DRAWN: Final = ("CARD_PROD_REQUESTED", "CARD_SHIPPED", "Delivered", "CARD_RETURNED")
"""Places whose throughput is drawn."""
_STOPS = tuple(place for place in ASIDE if kind_of(place) == "stop")


def flow_shown(
    here: Mapping[str, int],
    columns: Mapping[str, Sequence[int]],
    labels: Sequence[str],
    *,
    uncounted: Sequence[str] = (),
) -> dict[str, Any]:
    """Return what the template shows of counts by place: now, and of those that came by column of time.

    Of places that are `uncounted` nobody knows how many came.
    """

    def node(place: str) -> Node:
        came = None if place in uncounted else sum(columns.get(place, ()))
        return Node(word_of(place), here.get(place, 0), came)

    way, aside = [node(place) for place in FLOW], [node(place) for place in ASIDE]
    zeros = (0,) * len(labels)
    return {
        "way": way, "aside": [each for each in aside if each.here or each.came],
        "told": ", ".join(f"{each.word} {each.here}" for each in way),
        "open": sum(count for place, count in here.items() if kind_of(place) == "way" and place != FLOW[-1]),
        "stopped": sum(here.get(place, 0) for place in _STOPS),
        "series": [Series(word_of(place), columns.get(place, zeros)) for place in DRAWN], "labels": labels,
    }  # fmt: skip
