"""Endpoints: where an issuer's notifications go, what it wants to hear, and how fast it can take it."""

import re
from enum import StrEnum

import msgspec

from cardtrail.errors import InputError
from cardtrail.protocol.codec import ISSUER_ID, MAX_BATCH

ALL = "*"
"""In a rule: every one."""
MAX_RATE = 100_000
"""Most calls a second that an endpoint can be given."""
MAX_CONCURRENCY = 256
"""Most calls to one endpoint at once."""
MAX_HEARTBEAT = 1_440
"""Longest heartbeat, minutes."""
MAX_RULES = 50
"""Most names in one rule."""
PATH = "/notifications/d1/v2/issuers/{issuer_id}/cards"
"""Where an endpoint takes notifications, below its base URL; contract section 7."""

ENDPOINT_ID = re.compile(r"[A-Za-z0-9_-]{1,40}")
_NAME = re.compile(r"[A-Z0-9_]{1,64}")


class EndpointState(StrEnum):
    """Whether an endpoint is sent to."""

    ENABLED = "ENABLED"
    DISABLED = "DISABLED"


class Mode(StrEnum):
    """What becomes of an older picture of an order that still waits when a newer one comes."""

    NEWEST = "newest"
    EVERY_STEP = "every-step"


class Signing(StrEnum):
    """How notifications are signed: Standard Webhooks with a shared secret or with a key pair, or not at all."""

    V1 = "v1"
    V1A = "v1a"
    NONE = "none"


class OAuth(msgspec.Struct, frozen=True):
    """The issuer's own token endpoint, for client credentials; contract section 7."""

    token_url: str
    client_id: str
    scope: str = ""


class Config(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What an endpoint was told to be. `rate` in calls a second, over all processes."""

    url: str
    mode: Mode = Mode.NEWEST
    strict: bool = False
    batch_size: int = 1
    rate: int = 100
    concurrency: int = 8
    heartbeat_minutes: int = 0
    signing: Signing = Signing.V1
    operations: tuple[str, ...] = (ALL,)
    stages: tuple[str, ...] = (ALL,)
    oauth: OAuth | None = None

    def wants(self, operation: str, stage: str) -> bool:
        """Tell whether a change of this kind, to this stage, is for this endpoint."""
        return _among(operation, self.operations) and _among(stage, self.stages)


def _among(name: str, rule: tuple[str, ...]) -> bool:
    return ALL in rule or name in rule


class Secret(msgspec.Struct, frozen=True):
    """A signing secret; `until` (µs) where a newer one has taken its place."""

    value: str
    until: int | None = None

    def __repr__(self) -> str:
        """Leave out what must never reach a log."""
        return "Secret(***)"


class Secrets(msgspec.Struct, frozen=True, omit_defaults=True):
    """What of an endpoint is encrypted at rest: newest signing secret first, OAuth secret, TLS material (PEM)."""

    signing: tuple[Secret, ...] = ()
    client_secret: str = ""
    client_pem: str = ""
    ca_pem: str = ""

    def __repr__(self) -> str:
        """Leave out what must never reach a log."""
        return "Secrets(***)"

    def valid(self, now: int) -> tuple[str, ...]:
        """Return the signing secrets that are in use at `now` (µs), newest first."""
        return tuple(secret.value for secret in self.signing if secret.until is None or now < secret.until)


class Endpoint(msgspec.Struct, frozen=True, kw_only=True):
    """One endpoint of an issuer. `version` is another text after every change; `created_at` in µs."""

    issuer_id: str
    endpoint_id: str
    config: Config
    state: EndpointState = EndpointState.ENABLED
    reason: str | None = None
    version: str = ""
    created_at: int = 0

    @property
    def target(self) -> str:
        """The URL that notifications are posted to."""
        return self.config.url.rstrip("/") + PATH.format(issuer_id=self.issuer_id)


def checked(endpoint: Endpoint) -> Endpoint:
    """Return the endpoint. Raises InputError naming the first member that is wrong; URLs are the egress's business."""
    config = endpoint.config
    if not ISSUER_ID.fullmatch(endpoint.issuer_id):
        raise InputError("issuerId", "exactly 10 of A-Z a-z 0-9 _ -")
    if not ENDPOINT_ID.fullmatch(endpoint.endpoint_id):
        raise InputError("endpointId", "1 to 40 of A-Z a-z 0-9 _ -")
    for field, value, least, most in (
        ("batchSize", config.batch_size, 1, MAX_BATCH),
        ("rate", config.rate, 1, MAX_RATE),
        ("concurrency", config.concurrency, 1, MAX_CONCURRENCY),
        ("heartbeatMinutes", config.heartbeat_minutes, 0, MAX_HEARTBEAT),
    ):
        if not least <= value <= most:
            raise InputError(field, f"{least} to {most}", "FIELD_INVALID_VALUE")
    if config.strict and config.heartbeat_minutes:
        raise InputError("heartbeatMinutes", "the published form, strict, has no heartbeat", "FIELD_INVALID_VALUE")
    _check_rule("operations", config.operations)
    _check_rule("stages", config.stages)
    return endpoint


def _check_rule(field: str, names: tuple[str, ...]) -> None:
    if not 1 <= len(names) <= MAX_RULES:
        raise InputError(field, f"1 to {MAX_RULES} names", "FIELD_INVALID_VALUE")
    for name in names:
        if name != ALL and not _NAME.fullmatch(name):
            raise InputError(field, f"{name[:60]!r} is none; '*' is all", "FIELD_INVALID_VALUE")
