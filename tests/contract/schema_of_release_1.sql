-- The whole schema, one text for both engines. Instants are microseconds since 1970 UTC, ids are ours, JSON is bytes.
-- On SQLite every table is clustered by its primary key. Primary keys begin with issuer_id, so that data can be
-- spread by issuer; the exceptions are the inbox and parcels (a carrier knows no issuer) and the registry of parties.

-- Single values: schema version, epoch.
CREATE TABLE meta (
    name  TEXT PRIMARY KEY,
    value TEXT NOT NULL
);

-- ── cards and orders ──

-- The newest change of an issuer; taken last in a transaction, so that changes are numbered in commit order, gapless.
CREATE TABLE issuer_counter (
    issuer_id TEXT PRIMARY KEY,
    change_no BIGINT NOT NULL CHECK (change_no >= 0)
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

-- The picture of an order, ready to be sent. `strict_length` bytes of it and a brace are the published form.
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
    PRIMARY KEY (issuer_id, card_id, requested_at, operation_id)
);
CREATE UNIQUE INDEX operation_change ON operation (issuer_id, change_no);
CREATE INDEX operation_to_seal ON operation (changed_at) WHERE sealed_at IS NULL AND ended_at IS NOT NULL;

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

-- A parcel's event on its way to more cards than one transaction takes; resumed after the last card it reached.
CREATE TABLE fanout (
    source       TEXT NOT NULL,
    event_id     TEXT NOT NULL,
    after_issuer TEXT NOT NULL,
    after_card   TEXT NOT NULL,
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

-- Every change made by a person or a key; append-only, held by triggers. `audit_id` sorts by time.
CREATE TABLE audit (
    audit_id TEXT PRIMARY KEY,
    at       BIGINT NOT NULL,
    actor    TEXT NOT NULL,
    action   TEXT NOT NULL,
    subject  TEXT NOT NULL,
    before   TEXT,
    after    TEXT
);
CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RAISE EXCEPTION ''audit is append-only''; END'; -- postgres
CREATE TRIGGER audit_no_change BEFORE UPDATE OR DELETE ON audit FOR EACH ROW EXECUTE FUNCTION refuse(); -- postgres
CREATE TRIGGER audit_no_update BEFORE UPDATE ON audit BEGIN SELECT RAISE(ABORT, 'audit is append-only'); END; -- sqlite
CREATE TRIGGER audit_no_delete BEFORE DELETE ON audit BEGIN SELECT RAISE(ABORT, 'audit is append-only'); END; -- sqlite
