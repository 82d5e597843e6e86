"""A record sent again, in order, to a sandbox that runs: what had arrived arrives once more, signed and allowed afresh.

Only what the other side got whole is sent. Calls for tokens are left out: their assertions are not in a record.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from random import Random
from typing import Any

import msgspec
from pyreqwest.client import SyncClient, SyncClientBuilder
from pyreqwest.exceptions import PyreqwestError

from cardtrail.errors import StoreUnavailable
from cardtrail.protocol.failure import Failure, failure_of
from cardtrail.protocol.token import TOKEN_PATH
from cardtrail.sandbox.call import TIMEOUT, ask
from cardtrail.sandbox.feed import encrypted_nothing
from cardtrail.sandbox.switch import SIGN_PATH
from cardtrail.sandbox.wire.kinds import Hop
from cardtrail.sandbox.wire.mask import MASK
from cardtrail.sandbox.wire.record import Exchange

MAX_RESENT = 1_000_000
"""Most exchanges of a record that are sent again."""
MAX_TOLD = 100
"""Most answers that are told for being others than before; all are counted."""
_KEPT = ("content-type", "accept", "if-none-match", "x-correlation-id", "idempotency-key")
"""Headers that are sent again as they were."""

Env = Mapping[str, str]
"""What `sandbox.env` says."""


class Difference(msgspec.Struct, frozen=True):
    """An answer that is another than the recorded one; statuses, or the results of events."""

    number: int
    path: str
    before: str
    after: str


class Resent(msgspec.Struct):
    """What became of a record. `sent` counts by hop, `left_out` by reason; `told` shows some of what is `different`."""

    sent: Counter[str] = msgspec.field(default_factory=Counter)
    left_out: Counter[str] = msgspec.field(default_factory=Counter)
    different: int = 0
    told: list[Difference] = []


def resend(exchanges: Iterable[Exchange], env: Env) -> Resent:
    """Send what had arrived again. Raises StoreUnavailable where there is no connection, or what `exchanges` raises."""
    outcome = Resent()
    with SyncClientBuilder().no_proxy().follow_redirects(enable=False).timeout(TIMEOUT).build() as http:
        for count, exchange in enumerate(exchanges, 1):
            reason = _reason_against(exchange) if count <= MAX_RESENT else f"more than {MAX_RESENT} exchanges"
            if reason:
                outcome.left_out[reason] += 1
            else:
                outcome.sent[exchange.hop] += 1
                _compare(exchange, *_send(http, exchange, env), outcome)
    return outcome


def _reason_against(exchange: Exchange) -> str:
    """Return why an exchange is not sent again; empty where it is."""
    if not exchange.arrived:
        return "it had not arrived"
    if exchange.path.partition("?")[0].lower() == TOKEN_PATH:
        return "its assertion is not in a record"
    if not exchange.request.whole:
        return "its body is not in the record to its end"
    return ""


def _send(http: SyncClient, exchange: Exchange, env: Env) -> tuple[int, bytes]:
    """Send one exchange again; return the status and the body of the answer."""
    body = _body_of(exchange)
    headers = {name: value for name, value in exchange.request.headers.items() if name in _KEPT}
    if exchange.hop is Hop.NOTIFICATIONS:
        root = env["RECEIVER_URL"]
        headers |= _signature(exchange, body, env)
    else:
        root = env["BASE_URL"].partition("/banking/")[0]
        token = env["INGEST_TOKEN" if exchange.hop is Hop.EVENTS else "ACCESS_TOKEN"]
        headers["authorization"] = f"Bearer {token}"
    try:
        request = http.request(exchange.method, root + exchange.path).headers(headers).body_bytes(body)
        response = request.build().send()
        return response.status, bytes(response.bytes())
    except PyreqwestError as error:
        failure, text = failure_of(error)
        if failure is not Failure.CONNECT:  # a fault may strike here, too
            return 0, b""
        raise StoreUnavailable(f"exchange {exchange.number} cannot be sent to {root}: {text}") from None


def _signature(exchange: Exchange, body: bytes, env: Env) -> dict[str, str]:
    """Return the headers of a notification, signed by the sandbox; none where it bore no signature."""
    webhook_id = exchange.request.headers.get("webhook-id")
    if webhook_id is None:
        return {}
    content = {"webhookId": webhook_id, "body": body.decode()}
    signed: dict[str, str] = ask("PUT", env["CONTROL_URL"] + SIGN_PATH, env["CONTROL_TOKEN"], content)
    return signed


def _body_of(exchange: Exchange) -> bytes:
    """Return the body; where card credentials stood is what has their shape and holds nothing."""
    body = exchange.request.body
    if f'"{MASK}"' in body:
        body = body.replace(f'"{MASK}"', f'"{encrypted_nothing(Random(exchange.number))}"')  # noqa: S311 -- it holds nothing
    return body.encode()


# ── what is different ──


def _compare(exchange: Exchange, status: int, body: bytes, outcome: Resent) -> None:
    before = _told(exchange.hop, exchange.status, exchange.answer.body.encode())
    after = _told(exchange.hop, status, body)
    if before != after:
        outcome.different += 1
        if len(outcome.told) < MAX_TOLD:
            outcome.told.append(Difference(exchange.number, exchange.path, before, after))


def _told(hop: Hop, status: int, body: bytes) -> str:
    """Return a status in words, and of events how many were accepted, duplicates or rejected."""
    if hop is not Hop.EVENTS or not status:
        return str(status) if status else "no answer"
    try:
        results = msgspec.json.decode(body, type=_Results).results
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        return str(status)
    counted = Counter(each.get("result") for each in results)
    return " ".join([str(status), ", ".join(f"{many} {result}" for result, many in sorted(counted.items(), key=str))])


class _Results(msgspec.Struct):
    results: list[dict[str, Any]]
