"""What the callers of one issuer must prove before a byte of what they say is parsed. Contract section 7.

Every proof that is configured must hold: a signature, a token of the receiver's own token endpoint, a token of the
issuer's own OAuth, a client certificate that a proxy names. Nobody runs open by mistake: to configure none is refused.
"""

from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence

from cardtrail.errors import InputError, SettingError, Unauthorized
from cardtrail.issuer.token import Credentials
from cardtrail.protocol.certificate import UNCLEAR, thumbprint_in
from cardtrail.protocol.signature import TOLERANCE, Verifier

Headers = Mapping[str, str]
"""Headers by name in lower case; one that came several times has its values joined by `, `."""
Authenticate = Callable[[Headers], bool | Awaitable[bool]]
"""An issuer's own check of a call's headers; only True lets it in. May be `async` where the receiver is."""

MAX_TOLERANCE = 86_400
"""Longest tolerance, seconds."""
MAX_CERTIFICATES = 100
"""Most certificates of one issuer's callers."""


class Trust:
    """The proofs that one issuer asks for.

    `secrets`: `whsec_…` or `whpk_…`, more than one while they are changed. `client_id` and `client_secrets`: the
    receiver's token endpoint knows this client, and calls bear its tokens. `authenticate`: the issuer's own check,
    such as of a token of its own OAuth. `certificates`: SHA-256 thumbprints, one of which a trusted proxy must name.
    `tolerance`: how far a signature's time may lie from our clock, seconds. Raises SettingError, which names what is
    wrong and quotes no secret.
    """

    __slots__ = ("_certificates", "_tolerance", "_verifier", "authenticate", "credentials", "secrets")

    def __init__(  # noqa: PLR0913 - each is a proof of its own
        self, *, secrets: Sequence[str] = (), client_id: str = "", client_secrets: Sequence[str] = (),
        authenticate: Authenticate | None = None, certificates: Collection[str] = (), tolerance: int = TOLERANCE,
    ) -> None:  # fmt: skip
        if not (secrets or client_id or client_secrets or authenticate or certificates):
            raise SettingError(
                "trust: no proof is asked of callers, so that anybody could write to the mirror: give --secrets-file, "
                "--client-id with --client-secret-file, or --certificates"
            )
        if not 1 <= tolerance <= MAX_TOLERANCE:
            raise SettingError(f"tolerance: 1 to {MAX_TOLERANCE} seconds")
        self.secrets = frozenset(_listed("secrets", secrets))
        self._verifier = _verifier(secrets) if secrets else None
        self._tolerance = tolerance
        self.credentials = (
            Credentials(client_id, _listed("client_secrets", client_secrets)) if client_id or client_secrets else None
        )
        self.authenticate = authenticate
        self._certificates = _thumbprints(_listed("certificates", certificates))

    def __repr__(self) -> str:
        """Leave out what must never reach a log."""
        return f"Trust({', '.join(self.proofs)})"

    @property
    def proofs(self) -> tuple[str, ...]:
        """The names of the proofs that are asked for."""
        asked = {
            "signature": self._verifier, "token": self.credentials,
            "authenticate": self.authenticate, "certificate": self._certificates,
        }  # fmt: skip
        return tuple(name for name, proof in asked.items() if proof)

    def check(self, headers: Headers, body: bytes, certificate: str | None, now_seconds: int) -> None:
        """Raise Unauthorized unless every proof holds that can be judged here: all but `authenticate`.

        `certificate` is what a trusted proxy says, as it says it; None where there is none.
        """
        if self._certificates and not self._is_shown(certificate):
            raise Unauthorized("a client certificate that is known here is expected")
        if self._verifier is not None:
            self._verifier.verify(headers, body, now_seconds, self._tolerance)
        if self.credentials is not None and not self.credentials.is_good(_bearer(headers), now_seconds):
            raise Unauthorized("a token of the token endpoint that has not expired is expected")

    def _is_shown(self, certificate: str | None) -> bool:
        return certificate is not None and thumbprint_in(certificate) in self._certificates


def _bearer(headers: Headers) -> str:
    scheme, _, token = headers.get("authorization", "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else ""


def _verifier(secrets: Sequence[str]) -> Verifier:
    try:
        return Verifier(secrets)
    except InputError as error:
        raise SettingError(f"secrets: {error}") from None


def _thumbprints(certificates: Collection[str]) -> frozenset[str]:
    found = frozenset(map(thumbprint_in, certificates))
    if UNCLEAR in found or len(certificates) > MAX_CERTIFICATES:
        raise SettingError(f"certificates: at most {MAX_CERTIFICATES} SHA-256 thumbprints, hexadecimal or base64url")
    return found


def _listed(name: str, values: Collection[str]) -> list[str]:
    """Return the values of a setting; a text, which is a collection of letters, is taken for a mistake."""
    if isinstance(values, str):
        raise SettingError(f"{name}: a list is expected")
    return list(values)
