"""Magic ids: `sbx-returned-17` as a card's id or as its order's `issuerRequestId` picks the scenario `returned`."""

from collections.abc import Iterable

PREFIX = "sbx-"


def scenario_named(name: str | None, known: Iterable[str]) -> str | None:
    """Return the scenario that an id asks for: the longest known name after the prefix, up to its end or a dash.

    None where it asks for none; what follows the prefix where there is no such scenario.
    """
    if name is None or not name.lower().startswith(PREFIX):
        return None
    wanted = name[len(PREFIX) :].lower()
    fitting = [each for each in known if wanted == each or wanted.startswith(f"{each}-")]
    return max(fitting, key=len, default=wanted)
