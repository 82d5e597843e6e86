
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
