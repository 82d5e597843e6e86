"""Our own rows: `cardtrail serve` with its shipped defaults, on each engine.

Each is a name, a command, its environment, and how its database is prepared; a further row is a further entry.
"""

import base64
import json
import os
import sys
import time
import urllib.parse
import urllib.request
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from bench import cards
from bench.child import NotMeasuredError
from bench.prepare import PRODUCER_ID, key_of
from bench.servers import Ground, Target, send
from cardtrail.protocol.token import make_assertion
from tests import engines

GRANT = "urn:ietf:params:oauth:grant-type:jwt-bearer"
_SQLITE = "sqlite:///{folder}/ours.db"
_SERVE = (str(Path(sys.executable).with_name("cardtrail")), "serve", "--port", "{port}")


def token_of(party_id: str, ground: Ground, port: int) -> str:
    """Return a fresh access token, as a party gets it. Raises NotMeasuredError."""
    now = time.time_ns() // 1_000
    assertion = make_assertion(party_id, "bench", key_of(party_id, ground.folder), now)
    form = urllib.parse.urlencode({"grant_type": GRANT, "assertion": assertion}).encode()
    code, body = send(urllib.request.Request(f"http://127.0.0.1:{port}/authz/v1/oauth2/token", form))
    if code != 200:
        raise NotMeasuredError(f"no token: {code} {body[:200]!r}")
    return str(json.loads(body)["access_token"])


def _filling(url: str, ground: Ground) -> Sequence[str]:
    for party_id in (cards.ISSUER_ID, PRODUCER_ID):
        key_of(party_id, ground.folder)
    return sys.executable, "-m", "bench.prepare", url, str(ground.orders), str(ground.folder)


def _prepare_sqlite(ground: Ground) -> Sequence[str]:
    return _filling(ground.fill(_SQLITE), ground)


def _prepare_postgres(ground: Ground) -> Sequence[str]:
    """Start a PostgreSQL that ends with the run."""
    url = ground.stack.enter_context(engines.fresh_database(_postgres(ground)))
    ground.values["postgres"] = url
    (ground.folder / "secret.key").write_bytes(base64.b64encode(os.urandom(32)))
    return _filling(url, ground)


def _postgres(ground: Ground) -> str:
    ground.stack.callback(engines.end_run, engines.begin_run())
    return engines.server_url()


OURS = [
    Target(
        "sqlite",
        "cardtrail on SQLite",
        (*_SERVE, "--database", _SQLITE),
        prepare=_prepare_sqlite,
        token=partial(token_of, cards.ISSUER_ID),
        ingest_token=partial(token_of, PRODUCER_ID),
    ),
    Target(
        "postgres",
        "cardtrail on PostgreSQL",
        (*_SERVE, "--database", "{postgres}", "--secret-key-file", "{folder}/secret.key"),
        prepare=_prepare_postgres,
        token=partial(token_of, cards.ISSUER_ID),
        ingest_token=partial(token_of, PRODUCER_ID),
    ),
]
