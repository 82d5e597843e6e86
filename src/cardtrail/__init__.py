"""cardtrail: where is this physical card order really, now? Platform, issuer kit and sandbox in one package.

What an issuer needs stands here; a name is imported when it is asked for, so that nobody pays for the rest.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cardtrail.errors import (
        BadAnswer,
        CardtrailError,
        Conflict,
        CursorExpired,
        Forbidden,
        InputError,
        NotFound,
        NotOffered,
        ParsingError,
        Refused,
        RemoteConflict,
        RemoteCursorExpired,
        RemoteError,
        RemoteForbidden,
        RemoteNotFound,
        RemoteRefused,
        RemoteTooMany,
        RemoteUnauthorized,
        SettingError,
        StoreUnavailable,
        TooMany,
        Unauthorized,
        Unreachable,
    )
    from cardtrail.issuer.answers import Features, Notification, Notifications, NotOrdered, Ordered, Page, Replayed
    from cardtrail.issuer.asgi import asgi_app
    from cardtrail.issuer.client import AsyncClient, Client
    from cardtrail.issuer.hooks import Hook
    from cardtrail.issuer.mirror import AsyncMirror, Change, Held, Mirror
    from cardtrail.issuer.receipt import Receipt
    from cardtrail.issuer.receive import AsyncReceiver, Receiver
    from cardtrail.issuer.standing import Applied, Doubtful, Duplicate, Observed, Regressed, Stale
    from cardtrail.issuer.trust import Trust
    from cardtrail.protocol.reading import Checkpoint, Operation, Shipment

__version__ = "0.1.0"
__all__ = [
    "Applied",
    "AsyncClient",
    "AsyncMirror",
    "AsyncReceiver",
    "BadAnswer",
    "CardtrailError",
    "Change",
    "Checkpoint",
    "Client",
    "Conflict",
    "CursorExpired",
    "Doubtful",
    "Duplicate",
    "Features",
    "Forbidden",
    "Held",
    "Hook",
    "InputError",
    "Mirror",
    "NotFound",
    "NotOffered",
    "NotOrdered",
    "Notification",
    "Notifications",
    "Observed",
    "Operation",
    "Ordered",
    "Page",
    "ParsingError",
    "Receipt",
    "Receiver",
    "Refused",
    "Regressed",
    "RemoteConflict",
    "RemoteCursorExpired",
    "RemoteError",
    "RemoteForbidden",
    "RemoteNotFound",
    "RemoteRefused",
    "RemoteTooMany",
    "RemoteUnauthorized",
    "Replayed",
    "SettingError",
    "Shipment",
    "Stale",
    "StoreUnavailable",
    "TooMany",
    "Trust",
    "Unauthorized",
    "Unreachable",
    "__version__",
    "asgi_app",
]

_HOMES = {
    "cardtrail.issuer.answers": (
        "Features", "NotOrdered", "Notification", "Notifications", "Ordered", "Page", "Replayed",
    ),
    "cardtrail.issuer.asgi": ("asgi_app",),
    "cardtrail.issuer.client": ("AsyncClient", "Client"),
    "cardtrail.issuer.hooks": ("Hook",),
    "cardtrail.issuer.mirror": ("AsyncMirror", "Change", "Held", "Mirror"),
    "cardtrail.issuer.receipt": ("Receipt",),
    "cardtrail.issuer.receive": ("AsyncReceiver", "Receiver"),
    "cardtrail.issuer.standing": ("Applied", "Doubtful", "Duplicate", "Observed", "Regressed", "Stale"),
    "cardtrail.issuer.trust": ("Trust",),
    "cardtrail.protocol.reading": ("Checkpoint", "Operation", "Shipment"),
}  # fmt: skip
"""Where the names are that are no errors."""
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}


if not TYPE_CHECKING:  # else every name would be there

    def __getattr__(name: str) -> object:
        """Import a name when it is asked for first."""
        if name not in __all__:
            raise AttributeError(f"module 'cardtrail' has no attribute {name!r}")
        found: object = getattr(import_module(_HOME_OF.get(name, "cardtrail.errors")), name)
        globals()[name] = found
        return found


def __dir__() -> list[str]:
    return __all__
