"""Endpoints as JSON: what the operator API takes and answers, and the command line prints. Secrets only ever go in."""

from typing import Any

import msgspec

from cardtrail.platform.endpoint import Config, Endpoint, Mode, OAuth, Secrets, Signing
from cardtrail.platform.standing import Standing
from cardtrail.protocol.codec import timestamp

_HELD = {"client_secret": "oauth.clientSecret", "client_pem": "clientCertificate", "ca_pem": "ca"}
"""Members that are written and never told: by their names in `Secrets`."""
_PLAIN = (
    "mode", "strict", "batch_size", "rate", "concurrency", "heartbeat_minutes", "signing", "operations", "stages",
)  # fmt: skip


class OAuthIn(msgspec.Struct, rename="camel", kw_only=True):
    """`oauth` as it comes in."""

    token_url: str
    client_id: str
    scope: str | None = None
    client_secret: str | None = None

    def __repr__(self) -> str:
        """Leave out what must never reach a log."""
        return "OAuthIn(***)"


class EndpointIn(msgspec.Struct, rename="camel", kw_only=True):
    """An endpoint as it comes in; what is absent or null has its default."""

    url: str
    endpoint_id: str | None = None
    mode: Mode | None = None
    strict: bool | None = None
    batch_size: int | None = None
    rate: int | None = None
    concurrency: int | None = None
    heartbeat_minutes: int | None = None
    signing: Signing | None = None
    operations: tuple[str, ...] | None = None
    stages: tuple[str, ...] | None = None
    oauth: OAuthIn | None = None
    client_certificate: str | None = None
    ca: str | None = None

    def __repr__(self) -> str:
        """Leave out what must never reach a log."""
        return "EndpointIn(***)"

    def config(self, signing: Signing) -> Config:
        """Return the configuration; `signing` is the default of that member."""
        given = {name: getattr(self, name) for name in _PLAIN if getattr(self, name) is not None}
        oauth = OAuth(self.oauth.token_url, self.oauth.client_id, self.oauth.scope or "") if self.oauth else None
        return Config(url=self.url, oauth=oauth, **({"signing": signing} | given))

    def secrets(self) -> Secrets:
        """Return the secrets that were given."""
        client_secret = self.oauth.client_secret if self.oauth else None
        return Secrets(
            client_secret=client_secret or "", client_pem=self.client_certificate or "", ca_pem=self.ca or ""
        )

    def dropped(self) -> frozenset[str]:
        """Return the names of secrets that an empty text takes away."""
        given = {"client_pem": self.client_certificate, "ca_pem": self.ca}
        return frozenset(name for name, text in given.items() if text == "")


def members_of_endpoint(
    endpoint: Endpoint, secrets: Secrets | None = None, standing: Standing | None = None
) -> dict[str, Any]:
    """Return an endpoint as it is told; of secrets only which ones there are, where they were looked up."""
    told: dict[str, Any] = {
        "issuerId": endpoint.issuer_id, "endpointId": endpoint.endpoint_id, "state": endpoint.state,
        "reason": endpoint.reason, "createdAt": timestamp(endpoint.created_at),
        "url": endpoint.config.url, **{_camel(name): getattr(endpoint.config, name) for name in _PLAIN},
        "oauth": _members_of_oauth(endpoint.config.oauth),
    }  # fmt: skip
    if secrets is not None:
        told["holds"] = [member for name, member in _HELD.items() if getattr(secrets, name)]
    if standing is not None:
        told |= _members_of_standing(standing)
    return {name: value for name, value in told.items() if value is not None}


def members_for_issuer(endpoint: Endpoint, standing: Standing | None) -> dict[str, Any]:
    """Return an endpoint as its issuer sees it."""
    told = members_of_endpoint(endpoint, standing=standing)
    told.pop("oauth", None)
    return told


def _members_of_oauth(oauth: OAuth | None) -> dict[str, str] | None:
    if oauth is None:
        return None
    return {"tokenUrl": oauth.token_url, "clientId": oauth.client_id} | ({"scope": oauth.scope} if oauth.scope else {})


def _members_of_standing(standing: Standing) -> dict[str, Any]:
    return {
        "failures": standing.failures, "failingSince": _when(standing.failing_since), "circuitOpen": standing.is_open,
        "pending": standing.pending, "pendingSince": _when(standing.pending_since),
    }  # fmt: skip


def _when(at: int | None) -> str | None:
    return None if at is None else timestamp(at)


def _camel(name: str) -> str:
    head, *tail = name.split("_")
    return head + "".join(map(str.capitalize, tail))


class ReasonIn(msgspec.Struct):
    """The body of `:disable`."""

    reason: str


class RotationIn(msgspec.Struct, rename="camel"):
    """The body of `:rotate-secret`."""

    overlap_seconds: int | None = None
    signing: Signing | None = None
