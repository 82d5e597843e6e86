"""Checks of files: the certificates that the service shows and asks for, and the key of its secrets."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography.x509 import load_pem_x509_certificates

from cardtrail.db import path_of
from cardtrail.errors import SettingError
from cardtrail.files.box import box_of
from cardtrail.platform.auth import wall_clock
from cardtrail.platform.doctor.finding import Case, Finding, bad, ok, warn
from cardtrail.platform.endpoints import MAX_LISTED, Endpoints
from cardtrail.platform.settings import Settings
from cardtrail.platform.signing import ring_of
from cardtrail.platform.tls import uvicorn_options

SOON = timedelta(days=30)
"""A certificate that ends before so long is warned of."""
OTHERS, GROUP = 0o007, 0o070


def tls(settings: Settings) -> Finding:
    """Tell whether the server's TLS can be set up as the settings say."""
    try:
        uvicorn_options(settings)
    except SettingError as error:
        return bad("tls", str(error), "name files that hold a certificate, its key and the clients' CA in PEM")
    if not settings.tls_cert:
        return ok("tls", "not set: a proxy in front of the service is to speak TLS")
    return ok("tls", "the certificate, its key and the CA of clients can be used")


def certificate(settings: Settings, name: str, now: datetime) -> Finding:
    """Tell when the certificates end in the file that the setting `name` names; the first end counts."""
    path = str(getattr(settings, name))
    if not path:
        return ok(name, "not set")
    try:
        ends = min(each.not_valid_after_utc for each in load_pem_x509_certificates(Path(path).read_bytes()))
    except (OSError, ValueError) as error:
        return bad(name, f"{path}: {error}", f"let {name} name a file with certificates in PEM")
    text = f"{path}: valid until {ends:%Y-%m-%d}"
    if ends <= now:
        return bad(name, f"{path}: ended on {ends:%Y-%m-%d}", "put a new one there and start the service again")
    return ok(name, text) if ends > now + SOON else warn(name, text, "have it renewed, then start the service again")


def of_files(settings: Settings) -> list[Finding]:
    """Return what there is to say of the files of TLS."""
    now = datetime.now(UTC)
    return [tls(settings), certificate(settings, "tls_cert", now), certificate(settings, "client_ca", now)]


async def secret_key(case: Case) -> Finding:
    """Tell whether the secret key is there, for its owner only, and opens every secret of the store."""
    check, settings = "secret key", case.settings
    path = Path(settings.secret_key_file or "")
    if not settings.secret_key_file and settings.database.startswith("sqlite"):
        path = Path(f"{path_of(settings.database)}.key")
    keys = await case.db.read(lambda tx: tx.all("signing_keys"))
    endpoints = await case.db.read(lambda tx: tx.all("list_endpoints", issuer_id="", most=MAX_LISTED))
    if not path.is_file():
        if not keys and not endpoints and not settings.secret_key_file and settings.database.startswith("sqlite"):
            return ok(check, "none yet: one is made at the first start")
        return bad(check, f"there is no file {path}", "put the copy back that was kept apart from the backups")
    box = box_of(str(path), settings.database)
    ring_of(keys, box)
    for row in endpoints:
        Endpoints(case.db, box, wall_clock).opened(row)
    mode, text = path.stat().st_mode, f"{path} opens {len(keys)} keys and the secrets of {len(endpoints)} endpoints"
    if mode & OTHERS:
        return bad(check, f"everybody may read {path}", f"chmod 600 {path}")
    return warn(check, f"a group may read {path}", f"chmod 600 {path}") if mode & GROUP else ok(check, text)
