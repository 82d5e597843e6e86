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
     ├── RemoteError           the other side did not do what it was asked to; tells its HTTP status, its
     │    │                    errorCode and the correlation id under which both sides have logged the call
     │    ├── Unreachable      no whole answer came, or none in time
     │    ├── BadAnswer        an answer that is not what the contract says
     │    └── RemoteRefused    the other side refused: each is the one of the same name above, too
     │         ├── RemoteUnauthorized, RemoteForbidden, RemoteNotFound, RemoteConflict,
     │         ├── RemoteCursorExpired, RemoteTooMany
     │         └── NotOffered  it has no such extension
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


class RemoteError(CardtrailError):
    """A call to the other side did not end as it should; what it says of itself is in the message and the attributes.

    `status` is the HTTP status, 0 where none came. `error_code` is the other side's `errorCode`, "" without one.
    `correlation_id` went with the call. `retry_after` is for how many seconds it wants to be left alone, 0 where it
    does not say. No message holds a token, an assertion or a key.
    """

    def __init__(
        self, text: str, *, status: int = 0, error_code: str = "", correlation_id: str = "", retry_after: int = 0
    ) -> None:
        super().__init__(text)
        self.status = status
        self.error_code = error_code
        self.correlation_id = correlation_id
        self.retry_after = retry_after


class Unreachable(RemoteError):
    """No whole answer came: no connection, no agreement on TLS, broken off, or out of time.

    Where something was sent, it may have been done nevertheless.
    """


class BadAnswer(RemoteError):
    """An answer came that is not what the contract says."""


class RemoteRefused(RemoteError, Refused):
    """The other side refused."""


class RemoteUnauthorized(RemoteRefused, Unauthorized):
    """The other side does not believe who we are: no token for our assertion, or a new token that is refused."""


class RemoteForbidden(RemoteRefused, Forbidden):
    """The other side says that the issuer is not ours, or that the scope is missing."""


class RemoteNotFound(RemoteRefused, NotFound):
    """The other side has no such thing."""


class RemoteConflict(RemoteRefused, Conflict):
    """The other side has the same key with other content, or it is too late there."""


class RemoteCursorExpired(RemoteRefused, CursorExpired):
    """The other side's database was restored since it gave this cursor: begin again without one."""


class RemoteTooMany(RemoteRefused, TooMany):
    """The other side takes no more calls for now."""


class NotOffered(RemoteRefused):
    """The other side speaks the published contract without this extension of it."""


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
