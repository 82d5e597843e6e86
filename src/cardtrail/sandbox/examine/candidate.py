"""The candidate: the receiver that is examined, as its developer names it."""

import re
from urllib.parse import SplitResult, urlsplit

import msgspec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import load_pem_x509_certificates

from cardtrail.errors import InputError
from cardtrail.protocol.codec import ISSUER_ID
from cardtrail.protocol.signature import Signer, receivers_secret_of
from cardtrail.sandbox.examine.case import Need

_VISIBLE = re.compile(r"[\x21-\x7e]+")
PORTS = {"http": 80, "https": 443}


class Candidate(msgspec.Struct, frozen=True, kw_only=True):
    """A receiver. `url` is what stands before `/notifications/…`, `state` what stands before a card in the read hook.

    Secrets and token are what the receiver asks for, empty where it does not. `ca_pem` are authorities to trust.
    """

    url: str
    issuer_id: str
    state: str = ""
    secret: str = ""
    second_secret: str = ""
    token: str = ""
    ca_pem: bytes = b""

    def check(self) -> None:
        """Raise InputError naming what is wrong; no message quotes a secret."""
        for field, url in (("url", self.url), ("state", self.state)):
            if url or field == "url":
                _check_url(field, url)
        if not ISSUER_ID.fullmatch(self.issuer_id):
            raise InputError("issuer_id", "10 of A-Z, a-z, 0-9, - and _ expected")
        for field, secret in (("secret", self.secret), ("second_secret", self.second_secret)):
            if secret:
                _check_secret(field, secret)
        if self.second_secret and not self.secret:
            raise InputError("second_secret", "needs the first secret, too")
        if self.second_secret and receivers_secret_of(self.secret) == receivers_secret_of(self.second_secret):
            raise InputError("second_secret", "is the same as the first")
        if self.ca_pem:
            _check_authorities(self.ca_pem)
        if self.token and not _VISIBLE.fullmatch(self.token):
            raise InputError("token", "visible ASCII characters expected")

    @property
    def authorities(self) -> bytes:
        """The authorities to trust, each as DER, one behind the other; whatever comments the file has are left out."""
        found = load_pem_x509_certificates(self.ca_pem)
        return b"".join(each.public_bytes(Encoding.DER) for each in found)

    @property
    def parts(self) -> SplitResult:
        """The parts of its URL."""
        return urlsplit(self.url)

    @property
    def path(self) -> str:
        """The path that its notifications go to."""
        return self.path_of(self.issuer_id)

    def path_of(self, issuer_id: str) -> str:
        """Return the path that an issuer's notifications go to."""
        return f"{self.parts.path.rstrip('/')}/notifications/d1/v2/issuers/{issuer_id}/cards"

    @property
    def origin(self) -> str:
        """Scheme, host and port of its URL."""
        return f"{self.parts.scheme}://{self.parts.netloc}"

    def missing(self, needs: tuple[Need, ...]) -> Need | None:
        """Return the first of these that was not given."""
        given = {
            Need.STATE: self.state, Need.SECRET: self.secret, Need.SECOND: self.second_secret, Need.TOKEN: self.token,
        }  # fmt: skip
        return next((need for need in needs if not given[need]), None)

    def hide(self, text: str) -> str:
        """Return a text without what is secret, as it is or as JSON may have it."""
        for hidden in filter(None, (self.secret, self.second_secret, self.token)):
            for form in (hidden, hidden.replace("/", "\\/")):
                text = text.replace(form, "(hidden)")
        return text


def _check_url(field: str, url: str) -> None:
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        parts, port = urlsplit(""), None
    if parts.scheme not in PORTS or not parts.hostname or port == 0 or not _VISIBLE.fullmatch(url):
        raise InputError(field, "http://host or https://host expected, with a port and a path where there are any")
    if parts.username is not None or parts.query or parts.fragment:
        raise InputError(field, "expected without a user, a query or a fragment")


def _check_authorities(ca_pem: bytes) -> None:
    try:
        load_pem_x509_certificates(ca_pem)
    except ValueError:
        raise InputError("ca_file", "it must hold certificates in PEM") from None


def _check_secret(field: str, secret: str) -> None:
    try:
        Signer([secret])
    except InputError as error:
        raise InputError(field, str(error).removeprefix(f"{error.field}: ")) from None
