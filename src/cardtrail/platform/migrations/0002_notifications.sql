-- Notifications: endpoints, lanes, the outbox, attempts; and whether an issuer's endpoints are known.

ALTER TABLE issuer_counter ADD COLUMN endpoints TEXT NOT NULL DEFAULT '';

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
-- the newest ones, each with a blank behind it.
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
