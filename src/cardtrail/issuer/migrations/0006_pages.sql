-- What the pages of a mirror need: counts of orders by place, search by request and parcel, accounts and their audit.

ALTER TABLE operation ADD COLUMN request_id TEXT;
ALTER TABLE operation ADD COLUMN forgotten_at BIGINT;
CREATE INDEX operation_request ON operation (issuer_id, request_id, card_id) WHERE length(request_id) <= 128;
CREATE INDEX operation_parcel ON operation (issuer_id, tracking_number, card_id, carrier)
    WHERE length(tracking_number) <= 128;

-- How many orders are at each place (issuer/counts.py).
CREATE TABLE standing (
    issuer_id TEXT NOT NULL,
    place     TEXT NOT NULL,
    count     BIGINT NOT NULL,
    PRIMARY KEY (issuer_id, place)
);
INSERT INTO standing (issuer_id, place, count)
SELECT o.issuer_id, CASE WHEN o.name IN (
    'CARD_PROD_REQUESTED', 'DATA_PREPARED', 'CARD_PROD_READY', 'CARD_PROD_ONGOING', 'CARD_PROD_DONE',
    'CARD_SHIPPED', 'CARD_PROD_EXCEPTION', 'DATA_EXCEPTION', 'CARD_PROD_CANCELED', 'ON_HOLD', 'Pending',
    'InfoReceived', 'InTransit', 'OutForDelivery', 'AttemptFail', 'Delivered', 'AvailableForPickup',
    'Exception', 'Expired', 'CARD_RETURNED'
) THEN o.name ELSE 'OTHER' END AS place, count(*)
FROM (
    SELECT issuer_id, CASE
        WHEN held = 1 THEN 'ON_HOLD'
        WHEN stage = 'CARD_SHIPPED' AND shipment_status IS NOT NULL THEN shipment_status
        ELSE stage END AS name
    FROM operation WHERE operation IN ('PRODUCE', 'STANDALONE_TRACKING')
) AS o
GROUP BY 1, 2;

-- ── people, and their visits to the pages ──

-- Who may log in, and what for: JSON in `roles`, a role by issuer. `password` is an argon2id hash, empty where nobody
-- can log in by one; `provider` and `subject` are who it is at a provider of OpenID Connect, its `iss` and `sub`.
-- `generation` rises whenever all sessions end.
CREATE TABLE account (
    name         TEXT PRIMARY KEY,
    state        TEXT NOT NULL CHECK (state IN ('ACTIVE', 'REVOKED')),
    generation   BIGINT NOT NULL CHECK (generation >= 1),
    password     TEXT NOT NULL,
    roles        TEXT NOT NULL,
    personal     BIGINT NOT NULL CHECK (personal IN (0, 1)),
    created_at   BIGINT NOT NULL,
    logged_in_at BIGINT,
    provider     TEXT,
    subject      TEXT
);
CREATE UNIQUE INDEX account_identity ON account (provider, subject);

-- A visit, known by the SHA-256 of what the browser's cookie holds; `csrf` is what its forms must say.
CREATE TABLE session (
    account    TEXT NOT NULL,
    token_hash TEXT NOT NULL,
    generation BIGINT NOT NULL,
    csrf       TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    seen_at    BIGINT NOT NULL,
    expires_at BIGINT NOT NULL,
    PRIMARY KEY (account, token_hash),
    CHECK (created_at <= seen_at AND seen_at <= expires_at)
);
CREATE UNIQUE INDEX session_token ON session (token_hash);

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
CREATE INDEX audit_subject ON audit (subject, audit_id);
CREATE INDEX audit_actor ON audit (actor, audit_id);
CREATE INDEX audit_action ON audit (action, audit_id);
CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RAISE EXCEPTION ''audit is append-only''; END'; -- postgres
CREATE TRIGGER audit_no_change BEFORE UPDATE OR DELETE ON audit FOR EACH ROW EXECUTE FUNCTION refuse(); -- postgres
CREATE TRIGGER audit_no_update BEFORE UPDATE ON audit BEGIN SELECT RAISE(ABORT, 'audit is append-only'); END; -- sqlite
CREATE TRIGGER audit_no_delete BEFORE DELETE ON audit BEGIN SELECT RAISE(ABORT, 'audit is append-only'); END; -- sqlite
