"""The registry of endpoints as it is changed: every change is audited, and seen by ingest with the next event."""

import secrets
from collections.abc import Callable, Iterable
from typing import Any

import msgspec

from cardtrail.db import Database, Row, Transaction
from cardtrail.errors import Conflict, InputError, NotFound
from cardtrail.files.box import Box
from cardtrail.pages.door.change import Changed
from cardtrail.platform.audit import change
from cardtrail.platform.endpoint import Endpoint, EndpointState, Secret, Secrets, Signing, checked
from cardtrail.platform.outbox import config_of
from cardtrail.protocol.signature import SEED, new_key, new_secret, receivers_secret_of

MAX_ENDPOINTS = 20
"""Most endpoints of one issuer."""
MAX_LISTED = 10_000
"""Most endpoints in one list."""
OVERLAP = 86_400
"""How long an old signing secret still signs beside the new one, seconds."""
MAX_OVERLAP = 30 * 86_400
MAX_OLD = 2
"""Most old signing secrets that still sign."""
SECOND = 1_000_000
MINUTE = 60 * SECOND


Renewed = Callable[[Endpoint, Secrets], tuple[Endpoint, Secrets]]
"""An endpoint and its secrets as they are -> as they become."""


class Endpoints:
    """Endpoints and their secrets. `clock` gives process time in µs; `actor` says who does it."""

    def __init__(self, db: Database, box: Box, clock: Callable[[], int]) -> None:
        self._db = db
        self._box = box
        self._clock = clock

    # ── reading ──

    async def find(self, issuer_id: str, endpoint_id: str) -> Endpoint:
        """Return an endpoint. Raises NotFound."""
        return (await self.find_with_secrets(issuer_id, endpoint_id))[0]

    async def find_with_secrets(self, issuer_id: str, endpoint_id: str) -> tuple[Endpoint, Secrets]:
        """Return an endpoint and its secrets. Raises NotFound, or SettingError if the box does not open them."""
        return self.opened(await self._db.read(lambda tx: _row(tx, issuer_id, endpoint_id)))

    async def list_all(self, issuer_id: str = "") -> list[Endpoint]:
        """Return the endpoints of an issuer, or of all."""
        rows = await self._db.read(lambda tx: tx.all("list_endpoints", issuer_id=issuer_id, most=MAX_LISTED))
        return [_endpoint_of(row) for row in rows]

    async def list_of(self, issuer_ids: Iterable[str]) -> list[Endpoint]:
        """Return the endpoints of these issuers."""
        keys = [(each,) for each in sorted(set(issuer_ids))]
        rows = await self._db.read(lambda tx: tx.each("endpoints_in_full", keys))
        return [_endpoint_of(row) for row in rows]

    def opened(self, row: Row) -> tuple[Endpoint, Secrets]:
        """Return an endpoint's row, opened. Raises SettingError if the box does not open it."""
        endpoint = _endpoint_of(row)
        return endpoint, msgspec.json.decode(self._box.open(_name(endpoint), bytes(row[5])), type=Secrets)

    # ── changing ──

    async def add(self, endpoint: Endpoint, given: Secrets, actor: str) -> tuple[Endpoint, str]:
        """Register an endpoint; return it and what its receiver verifies signatures with, told only here.

        Raises InputError, or Conflict for an id that is taken.
        """
        now = self._clock()
        signing = _new_signing(endpoint.config.signing)
        added = msgspec.structs.replace(checked(endpoint), created_at=now, version=_new_version())
        sealed = self._seal(added, _fitting(added, msgspec.structs.replace(given, signing=signing)))

        def work(tx: Transaction) -> Changed[Endpoint]:
            if len(tx.all("list_endpoints", issuer_id=added.issuer_id, most=MAX_ENDPOINTS)) >= MAX_ENDPOINTS:
                raise Conflict(f"issuer {added.issuer_id} has {MAX_ENDPOINTS} endpoints")
            tx.run("change_endpoints", issuer_id=added.issuer_id, version=added.version)
            if not tx.run("add_endpoint", **_columns(added, sealed), created_at=now):
                raise Conflict(f"issuer {added.issuer_id} has an endpoint {added.endpoint_id}")
            tx.run("add_lane", **_key(added), heartbeat_at=_first_heartbeat(added, now))
            return Changed("endpoint.add", _subject(added), None, added, added)

        await change(self._db, actor, now, work)
        return added, receivers_secret_of(signing[0].value) if signing else ""

    async def update(
        self, endpoint: Endpoint, given: Secrets, actor: str, *, dropped: frozenset[str] = frozenset()
    ) -> Endpoint:
        """Give an endpoint another configuration; secrets that are given replace the old ones, those named go.

        Raises NotFound or InputError.
        """
        checked(endpoint)

        def renewed(before: Endpoint, kept: Secrets) -> tuple[Endpoint, Secrets]:
            told = {name: value for name, value in msgspec.structs.asdict(given).items() if value or name in dropped}
            changed = msgspec.structs.replace(kept, **told)
            if not given.client_secret and _token_url_of(before) not in (None, _token_url_of(endpoint)):
                changed = msgspec.structs.replace(changed, client_secret="")  # it was not given for that address
            if before.config.signing is not endpoint.config.signing:
                raise InputError("signing", "is changed by rotating the secret", "FIELD_INVALID_VALUE")
            after = msgspec.structs.replace(before, config=endpoint.config)
            return after, _fitting(after, changed)

        return await self._change((endpoint.issuer_id, endpoint.endpoint_id), actor, "endpoint.update", renewed)

    async def disable(self, issuer_id: str, endpoint_id: str, reason: str, actor: str) -> Endpoint:
        """Send nothing there any more; what waits, and what comes, is withheld. Raises NotFound."""

        def renewed(before: Endpoint, kept: Secrets) -> tuple[Endpoint, Secrets]:
            return msgspec.structs.replace(before, state=EndpointState.DISABLED, reason=reason[:300]), kept

        return await self._change((issuer_id, endpoint_id), actor, "endpoint.disable", renewed)

    async def enable(self, issuer_id: str, endpoint_id: str, actor: str) -> Endpoint:
        """Send there again, beginning with the newest picture of each order that was withheld. Raises NotFound."""

        def renewed(before: Endpoint, kept: Secrets) -> tuple[Endpoint, Secrets]:
            return msgspec.structs.replace(before, state=EndpointState.ENABLED, reason=None), kept

        return await self._change((issuer_id, endpoint_id), actor, "endpoint.enable", renewed)

    async def rotate_secret(
        self, issuer_id: str, endpoint_id: str, actor: str, *, overlap: int = OVERLAP, signing: Signing | None = None
    ) -> tuple[Endpoint, str]:
        """Make a new signing secret; the old one signs beside it for `overlap` seconds, at once no more with 0.

        Returns the endpoint and what the receiver verifies with. Raises NotFound or InputError.
        """
        if not 0 <= overlap <= MAX_OVERLAP:
            raise InputError("overlapSeconds", f"0 to {MAX_OVERLAP} seconds", "FIELD_INVALID_VALUE")
        now = self._clock()
        until = now + overlap * SECOND
        made = {kind: _new_signing(kind) for kind in Signing}
        told: list[str] = []

        def renewed(before: Endpoint, kept: Secrets) -> tuple[Endpoint, Secrets]:
            kind = signing or before.config.signing
            if kind is Signing.NONE:
                raise InputError("signing", "this endpoint is not signed for", "FIELD_INVALID_VALUE")
            old = [
                Secret(each.value, min(until, each.until or until))
                for each in kept.signing
                if (each.until or until) > now
            ]
            config = msgspec.structs.replace(before.config, signing=kind)
            told[:] = [receivers_secret_of(made[kind][0].value)]
            changed = (*made[kind], *(old[:MAX_OLD] if overlap else ()))
            return msgspec.structs.replace(before, config=config), msgspec.structs.replace(kept, signing=changed)

        endpoint = await self._change((issuer_id, endpoint_id), actor, "endpoint.rotate-secret", renewed)
        return endpoint, told[0]

    async def _change(self, key: tuple[str, str], actor: str, action: str, renewed: Renewed) -> Endpoint:
        """Change an endpoint under the lock that numbers its issuer's changes. What becomes of its rows is a chore."""
        version, now = _new_version(), self._clock()
        issuer_id, endpoint_id = key

        def work(tx: Transaction) -> Changed[Endpoint]:
            tx.run("change_endpoints", issuer_id=issuer_id, version=version)
            before, kept = self.opened(_row(tx, issuer_id, endpoint_id))
            after, secret = renewed(before, kept)
            after = msgspec.structs.replace(after, version=version)
            tx.run("save_endpoint", **_columns(after, self._seal(after, secret)))
            if (
                after.state is not before.state or action == "endpoint.update"
            ):  # whoever mends an address wants it tried
                tx.run("heal_lane", **_key(after))
            if after.config.heartbeat_minutes != before.config.heartbeat_minutes:
                tx.run("set_heartbeat", heartbeat_at=_first_heartbeat(after, now), **_key(after))
            return Changed(action, _subject(after), before, after, after)

        return await change(self._db, actor, now, work)

    def _seal(self, endpoint: Endpoint, secret: Secrets) -> bytes:
        return self._box.seal(_name(endpoint), msgspec.json.encode(secret))


def _new_version() -> str:
    return secrets.token_hex(8)


def _new_signing(kind: Signing) -> tuple[Secret, ...]:
    if kind is Signing.NONE:
        return ()
    return (Secret(new_secret(secrets.token_bytes(32)) if kind is Signing.V1 else new_key(secrets.token_bytes(SEED))),)


def _token_url_of(endpoint: Endpoint) -> str | None:
    return endpoint.config.oauth.token_url if endpoint.config.oauth is not None else None


def _fitting(endpoint: Endpoint, secret: Secrets) -> Secrets:
    """Return the secrets without one that nothing uses. Raises InputError where one is missing."""
    if endpoint.config.oauth is None:
        return msgspec.structs.replace(secret, client_secret="")
    if not secret.client_secret:
        raise InputError("oauth.clientSecret", "is required")
    return secret


def _first_heartbeat(endpoint: Endpoint, now: int) -> int | None:
    minutes = endpoint.config.heartbeat_minutes
    return now + minutes * MINUTE if minutes else None


def _key(endpoint: Endpoint) -> dict[str, str]:
    return {"issuer_id": endpoint.issuer_id, "endpoint_id": endpoint.endpoint_id}


def _subject(endpoint: Endpoint) -> str:
    return f"{endpoint.issuer_id}/{endpoint.endpoint_id}"


def _name(endpoint: Endpoint) -> str:
    return f"secrets of endpoint {_subject(endpoint)}"


def _columns(endpoint: Endpoint, sealed: bytes) -> dict[str, Any]:
    return {
        **_key(endpoint), "state": endpoint.state.value, "reason": endpoint.reason,
        "config": msgspec.json.encode(endpoint.config).decode(), "secret_box": sealed, "version": endpoint.version,
    }  # fmt: skip


def _row(tx: Transaction, issuer_id: str, endpoint_id: str) -> Row:
    row = tx.one("find_endpoint", issuer_id=issuer_id, endpoint_id=endpoint_id)
    if row is None:
        raise NotFound(f"issuer {issuer_id} has no endpoint {endpoint_id}")
    return row


def _endpoint_of(row: Row) -> Endpoint:
    issuer_id, endpoint_id, state, reason, config, _, version, created_at = row
    return Endpoint(
        issuer_id=issuer_id, endpoint_id=endpoint_id, state=EndpointState(state), reason=reason,
        config=config_of(config), version=version, created_at=created_at,
    )  # fmt: skip
