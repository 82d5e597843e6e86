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

from bench import cards
from bench.backlog import Backlog
from bench.child import NotMeasuredError
from bench.deliver import EGRESS, PROGRAM
from bench.prepare import PRODUCER_ID, key_of
from bench.servers import Ground, Target, send
from cardtrail.protocol.token import make_assertion
from tests import engines

GRANT = "urn:ietf:params:oauth:grant-type:jwt-bearer"
_SERVE = (PROGRAM, "serve", "--port", "{port}")
NAMES = {"sqlite": "SQLite", "postgres": "PostgreSQL"}
"""Keys of the engines, and how they are called."""


def token_of(party_id: str, ground: Ground, port: int) -> str:
    """Return a fresh access token, as a party gets it. Raises NotMeasuredError."""
    now = time.time_ns() // 1_000
    assertion = make_assertion(party_id, "bench", key_of(party_id, ground.folder), now)
    form = urllib.parse.urlencode({"grant_type": GRANT, "assertion": assertion}).encode()
    code, body = send(urllib.request.Request(f"http://127.0.0.1:{port}/authz/v1/oauth2/token", form))
    if code != 200:
        raise NotMeasuredError(f"no token: {code} {body[:200]!r}")
    return str(json.loads(body)["access_token"])


def place(engine: str, name: str, ground: Ground) -> Backlog:
    """Return where a database of this name is; on PostgreSQL it is made, on a server that ends with the run."""
    if engine == "sqlite":
        return Backlog(f"sqlite:///{ground.folder}/{name}.db")
    key = ground.folder / "secret.key"
    if not key.exists():
        ground.stack.callback(engines.end_run, engines.begin_run())
        key.write_bytes(base64.b64encode(os.urandom(32)))
    return Backlog(ground.stack.enter_context(engines.fresh_database(engines.server_url())), str(key))


def ours(engine: str, key: str, name: str, *options: str, batch_size: int = 0) -> Target:
    """Return `cardtrail serve` on a database of its own; with a `batch_size` the issuer is notified at `{sink}`."""

    def prepare(ground: Ground) -> Sequence[str]:
        made = place(engine, key, ground)
        ground.values[f"{key}_database"] = made.url
        ground.values[f"{key}_secret"] = made.secret_key_file
        for party_id in (cards.ISSUER_ID, PRODUCER_ID):
            key_of(party_id, ground.folder)
        filling = [sys.executable, "-m", "bench.prepare", made.url, str(ground.orders), str(ground.folder)]
        if batch_size:
            filling += ["--endpoint", ground.values["sink"], "--batch-size", str(batch_size)]
            filling += ["--secret-key-file", made.secret_key_file]
        return filling

    return Target(
        key,
        name,
        (*_SERVE, "--database", f"{{{key}_database}}", "--secret-key-file", f"{{{key}_secret}}", *options),
        env=EGRESS,
        prepare=prepare,
        token=partial(token_of, cards.ISSUER_ID),
        ingest_token=partial(token_of, PRODUCER_ID),
    )


OURS = [ours(engine, engine, f"cardtrail on {name}") for engine, name in NAMES.items()]
