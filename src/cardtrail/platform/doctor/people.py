"""The check of the provider by which people log in."""

from pathlib import Path

from cardtrail.errors import RemoteError
from cardtrail.pages.door.oidc.given import provider_of
from cardtrail.platform.auth import wall_clock
from cardtrail.platform.doctor.files import GROUP, OTHERS
from cardtrail.platform.doctor.finding import Case, Finding, bad, ok, warn

CHECK = "oidc"


async def provider(case: Case) -> Finding:
    """Ask the provider of OpenID Connect what it says of itself, and for its keys; tell who may read our secret."""
    settings = case.settings
    found = provider_of(settings, wall_clock)
    if found is None:
        return ok(CHECK, "not set: people log in by password")
    try:
        await found.describe()
        keys = await found.keys()
    except RemoteError as error:
        return bad(
            CHECK, f"{settings.oidc_issuer}: {error}", "see to the provider, the firewall, oidc_issuer or oidc_ca"
        )
    finally:
        await found.close()
    return _open_secret(Path(settings.oidc_client_secret_file)) or ok(
        CHECK, f"{settings.oidc_issuer} can be reached, is the issuer that is set, and publishes {len(keys)} keys"
    )


def _open_secret(path: Path) -> Finding | None:
    """Tell of a secret that others may read."""
    mode = path.stat().st_mode
    if mode & OTHERS:
        return bad(CHECK, f"everybody may read {path}", f"chmod 600 {path}")
    return warn(CHECK, f"a group may read {path}", f"chmod 600 {path}") if mode & GROUP else None
