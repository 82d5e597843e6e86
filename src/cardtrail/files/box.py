"""Secrets at rest: AES-256-GCM with a key that is kept in a file, outside the database."""

import base64
import secrets
from contextlib import suppress
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from cardtrail.errors import SettingError
from cardtrail.files.whole import written_whole

KEY_BYTES = 32
NONCE_BYTES = 12
_MAKE_ONE = "make one with: head -c 32 /dev/urandom | base64 > FILE; chmod 600 FILE"


class Box:
    """Seals and opens secrets. Each is bound to its name, so that none can be put in another's place."""

    def __init__(self, key: bytes) -> None:
        self._cipher = AESGCM(key)

    def seal(self, name: str, secret: bytes) -> bytes:
        """Return the secret encrypted under a fresh nonce."""
        nonce = secrets.token_bytes(NONCE_BYTES)
        return nonce + self._cipher.encrypt(nonce, secret, name.encode())

    def open(self, name: str, sealed: bytes) -> bytes:
        """Return the secret. Raises SettingError: what does not open was sealed with another key."""
        try:
            return self._cipher.decrypt(sealed[:NONCE_BYTES], sealed[NONCE_BYTES:], name.encode())
        except (InvalidTag, ValueError):
            raise SettingError(
                f"secret_key_file: this key does not open the {name}; the database was used with another one"
            ) from None


def box_of(secret_key_file: str, database: str) -> Box:
    """Return the box of the settings. Raises SettingError.

    Without a file named, a key is made beside a SQLite database; PostgreSQL is shared by processes that must all
    be given the same key.
    """
    if secret_key_file:
        return Box(_read(Path(secret_key_file)))
    if not database.startswith("sqlite:///"):
        raise SettingError(f"secret_key_file: needed with PostgreSQL; {_MAKE_ONE}")
    path = Path(database.removeprefix("sqlite:///") + ".key")
    _make(path)
    return Box(_read(path))


def _read(path: Path) -> bytes:
    try:
        key = base64.b64decode(path.read_bytes().strip(), validate=True)
    except OSError as error:
        raise SettingError(f"secret_key_file: {path}: {error.strerror}; {_MAKE_ONE}") from None
    except ValueError:
        key = b""
    if len(key) != KEY_BYTES:
        raise SettingError(f"secret_key_file: {path} does not hold {KEY_BYTES} bytes in base64; {_MAKE_ONE}")
    return key


def _make(path: Path) -> None:
    """Make a key file for its owner only, unless there is one; two processes at once end with one key."""
    if path.exists():
        return
    try:
        with suppress(FileExistsError), written_whole(path) as file:
            file.write(base64.b64encode(secrets.token_bytes(KEY_BYTES)) + b"\n")
    except OSError as error:
        raise SettingError(f"secret_key_file: {path} cannot be made: {error.strerror}") from None
