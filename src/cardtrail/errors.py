"""Every error cardtrail raises on purpose.

::

    CardtrailError
     ├── InputError            what you sent is wrong; names the field
     │    └── ParsingError     it is not even readable (JSON, CSV, too deep)
     ├── Refused               understood, and not allowed or not possible
     │    ├── Unauthorized     who are you?              (401)
     │    ├── Forbidden        not yours                 (403)
     │    ├── NotFound         no such thing             (404)
     │    ├── Conflict         same key, other content   (409)
     │    ├── CursorExpired    begin again               (410)
     │    └── TooMany          slow down                 (429)
     ├── StoreUnavailable      the database cannot answer now; try again (503)
     │    └── SchemaMismatch   the database is of another release than this program
     └── SettingError          the program was started with a wrong setting

Expected outcomes of an event (accepted, duplicate, rejected) are values, not errors.
"""


class CardtrailError(Exception):
    """Root of the tree; catch it to catch all that is raised on purpose."""

    code: str = "INTERNAL"


class InputError(CardtrailError):
    """A field of the input is wrong. `field` is its path, `text` says what was expected."""

    def __init__(self, field: str, text: str, code: str = "FIELD_INVALID_FORMAT") -> None:
        super().__init__(f"{field}: {text}" if field else text)
        self.field = field
        self.code = code


class ParsingError(InputError):
    """The input could not be read at all."""

    def __init__(self, text: str) -> None:
        super().__init__("", text, "PARSING_ERROR")


class Refused(CardtrailError):
    """The request was understood and is refused."""


class Unauthorized(Refused):
    """No token, or one that is not (or no longer) valid."""

    code = "AUTHORIZER_UNAUTHORIZED"


class Forbidden(Refused):
    """The token is valid; the issuer or the scope is not yours."""

    code = "FORBIDDEN"


class NotFound(Refused):
    """There is no such thing."""

    code = "NOT_FOUND"


class Conflict(Refused):
    """The same key with other content, or a change that comes too late."""

    code = "CONFLICT"


class CursorExpired(Refused):
    """The database was restored since this cursor was given: what it stands for may be lost, so begin again."""

    code = "CURSOR_EXPIRED"


class TooMany(Refused):
    """More requests than the limit allows; `retry_after` is in seconds."""

    code = "TOO_MANY_REQUESTS"

    def __init__(self, text: str, retry_after: int = 1) -> None:
        super().__init__(text)
        self.retry_after = retry_after


class StoreUnavailable(CardtrailError):
    """The database cannot take or give data now (full, locked, gone); `retry_after` is in seconds."""

    code = "STORE_UNAVAILABLE"

    def __init__(self, text: str, retry_after: int = 1) -> None:
        super().__init__(text)
        self.retry_after = retry_after


class SchemaMismatch(StoreUnavailable):
    """The schema in the database is newer than this program knows."""


class SettingError(CardtrailError):
    """A setting is missing or wrong; the message names it."""
