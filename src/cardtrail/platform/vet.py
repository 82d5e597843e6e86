"""What must be so of an endpoint before it is registered or changed: limits, URLs, certificates, secrets.

Errors name the member as the operator API spells it.
"""

import msgspec

from cardtrail.errors import InputError
from cardtrail.platform.egress import Tls, checked_tls
from cardtrail.platform.endpoint import Endpoint, OAuth, Secrets, checked
from cardtrail.platform.target import checked_url

MAX_OAUTH = 256
"""Longest client id, scope and client secret, characters."""
MAX_REASON = 300
"""Longest reason for disabling, characters."""
_TLS_MEMBERS = {"client_pem": "clientCertificate", "ca_pem": "ca"}


def vetted(endpoint: Endpoint, given: Secrets, *, allow_http: bool) -> Endpoint:
    """Return the endpoint with its URLs as they will be called. Raises InputError naming the first wrong member."""
    config = checked(endpoint).config
    if "?" in config.url:
        raise InputError("url", "a base URL has no query: the published path is put behind it")
    url = checked_url(config.url, allow_http=allow_http)
    found = msgspec.structs.replace(endpoint, config=msgspec.structs.replace(config, url=url))
    checked_url(found.target, allow_http=allow_http)  # with the published path it may be too long
    oauth = _vetted_oauth(config.oauth, allow_http=allow_http) if config.oauth is not None else None
    if given.client_secret and oauth is None:
        raise InputError("oauth", "a client secret needs a token URL and a client id", "FIELD_INVALID_VALUE")
    _check_text("oauth.clientSecret", given.client_secret, least=0)
    _check_tls(given)
    return msgspec.structs.replace(found, config=msgspec.structs.replace(found.config, oauth=oauth))


def _vetted_oauth(oauth: OAuth, *, allow_http: bool) -> OAuth:
    try:
        token_url = checked_url(oauth.token_url, allow_http=allow_http)
    except InputError as error:
        raise InputError("oauth.tokenUrl", str(error).partition(": ")[2], error.code) from None
    _check_text("oauth.clientId", oauth.client_id)
    _check_text("oauth.scope", oauth.scope, least=0)
    return msgspec.structs.replace(oauth, token_url=token_url)


def _check_tls(given: Secrets) -> None:
    try:
        checked_tls(Tls(given.client_pem.encode(), given.ca_pem.encode()))
    except InputError as error:
        member = _TLS_MEMBERS.get(error.field, error.field)
        raise InputError(member, str(error).partition(": ")[2], error.code) from None


def checked_reason(reason: str) -> str:
    """Return the reason for disabling an endpoint; its issuer reads it. Raises InputError."""
    if not 1 <= len(reason) <= MAX_REASON or not reason.isprintable() or not reason.strip():
        raise InputError("reason", f"1 to {MAX_REASON} printable characters")
    return reason


def _check_text(member: str, text: str, least: int = 1) -> None:
    if not least <= len(text) <= MAX_OAUTH or not text.isprintable():
        raise InputError(member, f"{least} to {MAX_OAUTH} printable characters")
