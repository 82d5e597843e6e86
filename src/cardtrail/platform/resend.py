"""What is to be sent again, as an issuer or an operator says it; `replay` does it."""

import msgspec

from cardtrail.errors import InputError
from cardtrail.platform.endpoint import EndpointState
from cardtrail.platform.endpoints import Endpoints
from cardtrail.platform.ledger import MAX_IDS, Selection
from cardtrail.platform.replay import MAX_REPLAY, Replay, Replayed


class Wish(msgspec.Struct, frozen=True, kw_only=True):
    """Notifications that are in the ledger, or with `never_attempted` orders of which nothing was ever sent."""

    selection: Selection = Selection()
    never_attempted: bool = False
    exact: bool = False
    dry_run: bool = False


def checked_wish(wish: Wish) -> Wish:
    """Return it if its parts go together. Raises InputError naming the member as the API spells it."""
    selection = wish.selection
    if len(selection.ids) > MAX_IDS:
        raise InputError("notificationIds", f"at most {MAX_IDS}", "FIELD_INVALID_VALUE")
    if selection.ids and selection != Selection(ids=selection.ids):
        raise InputError("notificationIds", "state, times, card or endpoint do not go with ids", "FIELD_INVALID_VALUE")
    if wish.never_attempted and selection != Selection(endpoint_id=selection.endpoint_id):
        raise InputError("neverAttempted", "goes with an endpoint only", "FIELD_INVALID_VALUE")
    if wish.never_attempted and wish.exact:
        raise InputError("exact", "what was never attempted is sent as it is now", "FIELD_INVALID_VALUE")
    if not wish.never_attempted and selection == Selection():
        raise InputError("", "say which: ids, state, times, card, endpoint, or never attempted", "FIELD_INVALID_VALUE")
    return wish


async def resend(replay: Replay, endpoints: Endpoints, issuer_id: str, wish: Wish) -> Replayed:
    """Send again what is meant, of this issuer only. Raises InputError, NotFound or Conflict."""
    checked_wish(wish)
    if not wish.never_attempted:
        return await replay.run(issuer_id, wish.selection, exact=wish.exact, dry_run=wish.dry_run)
    chosen = [wish.selection.endpoint_id] if wish.selection.endpoint_id else await _enabled(endpoints, issuer_id)
    total = Replayed()
    for endpoint_id in chosen:
        if total.matched >= MAX_REPLAY:
            return msgspec.structs.replace(total, more=True)
        total += await replay.run_never_attempted(issuer_id, endpoint_id, dry_run=wish.dry_run)
    return total


async def _enabled(endpoints: Endpoints, issuer_id: str) -> list[str]:
    found = await endpoints.list_all(issuer_id)
    return [each.endpoint_id for each in found if each.state is EndpointState.ENABLED]
