-- The whole schema, one text for both engines. Instants are microseconds since 1970 UTC, ids are ours, JSON is bytes.
-- On SQLite every table is clustered by its primary key. Primary keys begin with issuer_id, so that data can be
-- spread by issuer; the exceptions are the inbox and parcels (a carrier knows no issuer), the registry of parties, and
-- accounts with their sessions, whose tables stand in pages/door/schema.sql.

-- Single values: schema version, epoch.
CREATE TABLE meta (
    name  TEXT PRIMARY KEY,
    value TEXT NOT NULL
);

-- ── cards and orders ──

-- The newest change of an issuer; taken last in a transaction, so that changes are numbered in commit order, gapless.
-- `endpoints` is another text after every change of the issuer's endpoints: who takes a number learns in the same
-- moment, and under the same lock, whether it knows them.
CREATE TABLE issuer_counter (
    issuer_id TEXT PRIMARY KEY,
    change_no BIGINT NOT NULL CHECK (change_no >= 0),
    endpoints TEXT NOT NULL DEFAULT ''
);

-- The row that is locked before anything of a card is written; `waiting_since` while no order has come.
CREATE TABLE card (
    issuer_id     TEXT NOT NULL,
    card_id       TEXT NOT NULL,
    waiting_since BIGINT,
    PRIMARY KEY (issuer_id, card_id)
);
CREATE INDEX card_waiting ON card (waiting_since) WHERE waiting_since IS NOT NULL;

-- Which card an operation is about; locked by whoever refers to an operation, known or not. `waiting_since` while
-- no order has come that says so.
CREATE TABLE operation_ref (
    issuer_id     TEXT NOT NULL,
    operation_id  TEXT NOT NULL,
    card_id       TEXT,
    waiting_since BIGINT,
    PRIMARY KEY (issuer_id, operation_id),
    CHECK (card_id IS NULL OR waiting_since IS NULL)
);
CREATE INDEX operation_waiting ON operation_ref (waiting_since) WHERE waiting_since IS NOT NULL;

-- The picture of an order, ready to be sent. `strict_length` bytes of it and a brace are the published form. `place` to
-- `carrier` are where the order is (core/place.py), for overviews and stuck clocks; `place` is empty until it was placed.
-- `cause` is the call that made the newest change (platform/cause.py).
CREATE TABLE operation (
    issuer_id     TEXT NOT NULL,
    card_id       TEXT NOT NULL,
    requested_at  BIGINT NOT NULL,
    operation_id  TEXT NOT NULL,
    sequence      BIGINT NOT NULL CHECK (sequence >= 1),
    change_no     BIGINT NOT NULL CHECK (change_no >= 1),
    ended_at      BIGINT,
    changed_at    BIGINT NOT NULL,
    sealed_at     BIGINT,
    picture       BYTEA NOT NULL,
    strict_length BIGINT NOT NULL CHECK (strict_length > 0),
    etag          TEXT NOT NULL,
    place         TEXT NOT NULL DEFAULT '',
    since         BIGINT NOT NULL DEFAULT 0,
    watched       BIGINT NOT NULL DEFAULT 0,
    site          TEXT NOT NULL DEFAULT '',
    channel       TEXT NOT NULL DEFAULT '',
    carrier       TEXT NOT NULL DEFAULT '',
    request_id    TEXT,
    cause         TEXT NOT NULL DEFAULT '',
    PRIMARY KEY (issuer_id, card_id, requested_at, operation_id)
);
CREATE UNIQUE INDEX operation_change ON operation (issuer_id, change_no);
CREATE INDEX operation_to_seal ON operation (changed_at) WHERE sealed_at IS NULL AND ended_at IS NOT NULL;
CREATE INDEX operation_watched ON operation (issuer_id, place, site, channel, carrier, since) WHERE watched = 1;
CREATE INDEX operation_unplaced ON operation (issuer_id, card_id) WHERE place = '';
CREATE INDEX operation_request ON operation (issuer_id, request_id) WHERE request_id IS NOT NULL;

-- What is counted as orders move, in the transaction that moves them, so that no page counts orders. `what` says which:
-- 'standing' how many orders are at a place; 'passage' how many came to it in an `hour` since 1970; 'dwell' how many
-- left it after `value` quarters of a business day; 'promise' how many were shipped `value` days after their due date.
CREATE TABLE tally (
    issuer_id TEXT NOT NULL,
    what      TEXT NOT NULL CHECK (what IN ('standing', 'passage', 'dwell', 'promise')),
    hour      BIGINT NOT NULL,
    place     TEXT NOT NULL,
    site      TEXT NOT NULL,
    channel   TEXT NOT NULL,
    carrier   TEXT NOT NULL,
    value     BIGINT NOT NULL,
    count     BIGINT NOT NULL,
    PRIMARY KEY (issuer_id, what, hour, place, site, channel, carrier, value)
);

-- How long an order may dwell at a place before it is stuck, as people have set it, in quarters of a business day; an
-- empty site, channel or carrier stands for all.
CREATE TABLE threshold (
    issuer_id TEXT NOT NULL,
    place     TEXT NOT NULL,
    site      TEXT NOT NULL,
    channel   TEXT NOT NULL,
    carrier   TEXT NOT NULL,
    quarters  BIGINT NOT NULL CHECK (quarters >= 1),
    PRIMARY KEY (issuer_id, place, site, channel, carrier)
);

-- The events of a card: what orders are folded from.
CREATE TABLE event (
    issuer_id   TEXT NOT NULL,
    card_id     TEXT NOT NULL,
    source      TEXT NOT NULL,
    event_id    TEXT NOT NULL,
    recorded_at BIGINT NOT NULL,
    begins      BIGINT NOT NULL CHECK (begins IN (0, 1)),
    body        BYTEA NOT NULL,
    PRIMARY KEY (issuer_id, card_id, source, event_id)
);

-- Every accepted event's key and a hash of its content. `body` only where the event has no card of its own:
-- it names a parcel, or an operation that is not known yet.
CREATE TABLE inbox (
    source          TEXT NOT NULL,
    event_id        TEXT NOT NULL,
    fingerprint     BYTEA NOT NULL,
    sender          TEXT NOT NULL,
    recorded_at     BIGINT NOT NULL,
    issuer_id       TEXT,
    operation_id    TEXT,
    carrier         TEXT,
    tracking_number TEXT,
    body            BYTEA,
    PRIMARY KEY (source, event_id)
);
CREATE INDEX inbox_parcel ON inbox (carrier, tracking_number) WHERE carrier IS NOT NULL;
CREATE INDEX inbox_operation ON inbox (issuer_id, operation_id) WHERE operation_id IS NOT NULL;

-- The row that is locked before a parcel's events or links are written; `waiting_since` while no site has named it.
CREATE TABLE parcel (
    carrier         TEXT NOT NULL,
    tracking_number TEXT NOT NULL,
    waiting_since   BIGINT,
    PRIMARY KEY (carrier, tracking_number)
);
CREATE INDEX parcel_waiting ON parcel (waiting_since) WHERE waiting_since IS NOT NULL;

-- What sites and carriers said that nobody has published, at its first sight: a status, a carrier, a code, a kind of
-- event or a member. `sample` is the event as it came: personal data.
CREATE TABLE sighting (
    kind     TEXT NOT NULL,
    name     TEXT NOT NULL,
    source   TEXT NOT NULL,
    first_at BIGINT NOT NULL,
    sample   BYTEA NOT NULL,
    PRIMARY KEY (kind, name)
);

-- Which cards travel in a parcel, as their sites said, the first time and the last; around them lies the window of
-- time in which the parcel's events reach the card (numbers are reused).
CREATE TABLE parcel_link (
    issuer_id       TEXT NOT NULL,
    card_id         TEXT NOT NULL,
    carrier         TEXT NOT NULL,
    tracking_number TEXT NOT NULL,
    first_at        BIGINT NOT NULL,
    last_at         BIGINT NOT NULL,
    PRIMARY KEY (issuer_id, card_id, carrier, tracking_number),
    CHECK (first_at <= last_at)
);
CREATE INDEX parcel_link_parcel ON parcel_link (carrier, tracking_number, issuer_id, card_id);
CREATE INDEX parcel_link_number ON parcel_link (issuer_id, tracking_number);

-- A parcel's event on its way to more cards than one transaction takes; resumed after the last card it reached.
CREATE TABLE fanout (
    source       TEXT NOT NULL,
    event_id     TEXT NOT NULL,
    after_issuer TEXT NOT NULL,
    after_card   TEXT NOT NULL,
    cause        TEXT NOT NULL DEFAULT '',
    PRIMARY KEY (source, event_id)
);

-- An order that came through the API: RESERVED before the production connector has it, CONFIRMED after.
CREATE TABLE order_request (
    issuer_id         TEXT NOT NULL,
    operation_id      TEXT NOT NULL,
    card_id           TEXT NOT NULL,
    issuer_request_id TEXT,
    fingerprint       BYTEA NOT NULL,
    state             TEXT NOT NULL CHECK (state IN ('RESERVED', 'CONFIRMED')),
    reserved_at       BIGINT NOT NULL,
    PRIMARY KEY (issuer_id, operation_id)
);
CREATE UNIQUE INDEX order_request_key ON order_request (issuer_id, issuer_request_id) WHERE issuer_request_id IS NOT NULL;
CREATE INDEX order_request_card ON order_request (issuer_id, card_id);
CREATE INDEX order_request_open ON order_request (reserved_at) WHERE state = 'RESERVED';

-- ── notifications ──

-- Where an issuer's notifications go and what it wants to hear, JSON in `config`. Secrets are encrypted with the secret
-- key of the settings. `reason` says why it is disabled.
CREATE TABLE endpoint (
    issuer_id   TEXT NOT NULL,
    endpoint_id TEXT NOT NULL,
    state       TEXT NOT NULL CHECK (state IN ('ENABLED', 'DISABLED')),
    reason      TEXT,
    config      TEXT NOT NULL,
    secret_box  BYTEA NOT NULL,
    version     TEXT NOT NULL,
    created_at  BIGINT NOT NULL,
    PRIMARY KEY (issuer_id, endpoint_id),
    CHECK ((state = 'DISABLED') = (reason IS NOT NULL))
);

-- The lane to an endpoint: who sends there now, and how it goes. Only the holder of the lease sends; `fence` rises with
-- every holder, so that a late one is known. `chore`: rows are to be moved so that they fit the endpoint's state.
-- `probe_at` while the circuit is open. Times of the lease are the database's clock.
CREATE TABLE lane (
    issuer_id     TEXT NOT NULL,
    endpoint_id   TEXT NOT NULL,
    fence         BIGINT NOT NULL DEFAULT 0 CHECK (fence >= 0),
    holder        TEXT NOT NULL DEFAULT '',
    leased_until  BIGINT NOT NULL DEFAULT 0,
    chore         BIGINT NOT NULL DEFAULT 0 CHECK (chore IN (0, 1)),
    failures      BIGINT NOT NULL DEFAULT 0 CHECK (failures >= 0),
    failing_since BIGINT,
    probe_at      BIGINT,
    heartbeat_at  BIGINT,
    PRIMARY KEY (issuer_id, endpoint_id),
    CHECK ((failures = 0) = (failing_since IS NULL)),
    CHECK (probe_at IS NULL OR failures > 0)
);

-- A picture on its way to one endpoint. Ids sort by time. `lot` is 0 for live traffic, 1 for a replay, 2 for a replay of
-- exactly what is stored here; `round` counts replays; `attempts` those of this round that count; `attempt_ids` names
-- the newest ones, each with a blank behind it. `cause` is the call that made the change it tells of.
CREATE TABLE notification (
    issuer_id       TEXT NOT NULL,
    notification_id TEXT NOT NULL,
    endpoint_id     TEXT NOT NULL,
    card_id         TEXT NOT NULL,
    operation_id    TEXT NOT NULL,
    operation       TEXT NOT NULL,
    sequence        BIGINT NOT NULL CHECK (sequence >= 1),
    state           TEXT NOT NULL CHECK (state IN ('PENDING', 'DELIVERED', 'SUPERSEDED', 'REFUSED', 'DEAD', 'WITHHELD')),
    lot             BIGINT NOT NULL CHECK (lot IN (0, 1, 2)),
    round           BIGINT NOT NULL CHECK (round >= 0),
    attempts        BIGINT NOT NULL CHECK (attempts >= 0),
    due_at          BIGINT NOT NULL,
    settled_at      BIGINT,
    attempt_ids     TEXT NOT NULL,
    picture         BYTEA NOT NULL,
    strict_length   BIGINT NOT NULL CHECK (strict_length > 0),
    cause           TEXT NOT NULL DEFAULT '',
    PRIMARY KEY (issuer_id, notification_id),
    CHECK ((state IN ('PENDING', 'WITHHELD')) = (settled_at IS NULL))
);
CREATE INDEX notification_due ON notification (issuer_id, endpoint_id, lot, due_at, notification_id) WHERE state = 'PENDING';
CREATE INDEX notification_order ON notification (issuer_id, card_id, operation_id, endpoint_id);
CREATE INDEX notification_open ON notification (issuer_id, endpoint_id, state, notification_id) WHERE state IN ('PENDING', 'REFUSED', 'DEAD', 'WITHHELD');
CREATE INDEX notification_settled ON notification (state, settled_at) WHERE settled_at IS NOT NULL;

-- One call to an endpoint, with how many notifications it carried and what came back; ids sort by time.
CREATE TABLE attempt (
    issuer_id   TEXT NOT NULL,
    attempt_id  TEXT NOT NULL,
    endpoint_id TEXT NOT NULL,
    at          BIGINT NOT NULL,
    carried     BIGINT NOT NULL CHECK (carried >= 1),
    http_status BIGINT,
    failure     TEXT,
    ms          BIGINT NOT NULL,
    answer      TEXT NOT NULL,
    PRIMARY KEY (issuer_id, attempt_id),
    CHECK (http_status IS NOT NULL OR failure IS NOT NULL)
);

-- ── parties ──

-- Who may call. `generation` rises whenever a token issued before must no longer be believed.
-- `issuers`, `sources`, `kinds` are JSON lists of what the party is limited to; ["*"] is all.
CREATE TABLE party (
    party_id   TEXT PRIMARY KEY,
    kind       TEXT NOT NULL CHECK (kind IN ('ISSUER', 'AGGREGATOR', 'PRODUCER', 'OPERATOR')),
    state      TEXT NOT NULL CHECK (state IN ('ACTIVE', 'REVOKED')),
    generation BIGINT NOT NULL CHECK (generation >= 1),
    issuers    TEXT NOT NULL,
    sources    TEXT NOT NULL,
    kinds      TEXT NOT NULL,
    scopes     TEXT NOT NULL,
    strict     BIGINT NOT NULL CHECK (strict IN (0, 1)),
    rate       BIGINT NOT NULL CHECK (rate >= 1),
    created_at BIGINT NOT NULL
);

-- Public keys a party signs its assertions with; several at once, so that they rotate without a gap.
CREATE TABLE party_key (
    party_id   TEXT NOT NULL,
    kid        TEXT NOT NULL,
    state      TEXT NOT NULL CHECK (state IN ('ACTIVE', 'REVOKED')),
    public_jwk TEXT NOT NULL,
    added_at   BIGINT NOT NULL,
    PRIMARY KEY (party_id, kid)
);

-- Keys the platform signs access tokens with. The private half is encrypted with the secret key of the settings.
CREATE TABLE signing_key (
    kid         TEXT PRIMARY KEY,
    public_jwk  TEXT NOT NULL,
    private_box BYTEA NOT NULL,
    created_at  BIGINT NOT NULL
);

-- Assertions that carried a `jti` and were used, until they would have expired anyway.
CREATE TABLE assertion_seen (
    party_id   TEXT NOT NULL,
    jti        TEXT NOT NULL,
    expires_at BIGINT NOT NULL,
    PRIMARY KEY (party_id, jti)
);
CREATE INDEX assertion_seen_expiry ON assertion_seen (expires_at);
