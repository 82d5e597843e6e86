
-- ── accounts ──

-- name: all_accounts
-- Every account, by its name.
SELECT name, state, generation, roles, personal, created_at, logged_in_at, provider, subject,
    CASE WHEN password = '' THEN 0 ELSE 1 END
FROM account ORDER BY name;

-- name: find_account
-- One account.
SELECT name, state, generation, roles, personal, created_at, logged_in_at, provider, subject,
    CASE WHEN password = '' THEN 0 ELSE 1 END
FROM account WHERE name = :name;

-- name: find_password
-- What a log-in is checked by.
SELECT password, state, generation FROM account WHERE name = :name;

-- name: find_identity
-- Whose account an identity is.
SELECT name, state, generation FROM account WHERE provider = :provider AND subject = :subject;

-- name: add_account
-- Register an account; no row if the name is taken.
INSERT INTO account (name, state, generation, password, roles, personal, created_at, provider, subject)
VALUES (:name, 'ACTIVE', 1, :password, :roles, :personal, :created_at, :provider, :subject)
ON CONFLICT (name) DO NOTHING;

-- name: save_account
-- Write what may change of an account.
UPDATE account SET state = :state, generation = :generation, roles = :roles, personal = :personal WHERE name = :name;

-- name: save_password
-- Give an account another password.
UPDATE account SET password = :password WHERE name = :name;

-- name: save_identity
-- Let an account be another one at a provider, or none.
UPDATE account SET provider = :provider, subject = :subject WHERE name = :name;

-- name: note_log_in
-- Lock an account that logs in; no row if it was revoked, or given another password, since it was looked at.
UPDATE account SET logged_in_at = :at WHERE name = :name AND state = 'ACTIVE' AND generation = :generation;

-- ── sessions ──

-- name: add_session
-- Begin a session.
INSERT INTO session (account, token_hash, generation, csrf, created_at, seen_at, expires_at)
VALUES (:account, :token_hash, :generation, :csrf, :at, :at, :expires_at)
ON CONFLICT (account, token_hash) DO NOTHING;

-- name: trim_sessions
-- End the oldest sessions of an account until it has as many as it may.
DELETE FROM session WHERE account = :account AND token_hash NOT IN (
    SELECT token_hash FROM session WHERE account = :account ORDER BY created_at DESC, token_hash LIMIT :most
);

-- name: find_session
-- Whose session this is and what its account may do now; no row if it has ended in any way.
SELECT s.account, s.csrf, s.seen_at, a.roles, a.personal FROM session AS s
JOIN account AS a ON a.name = s.account AND a.generation = s.generation AND a.state = 'ACTIVE'
WHERE s.token_hash = :token_hash AND s.expires_at > :now AND s.seen_at > :idle_since;

-- name: touch_session
-- Note that a session is in use.
UPDATE session SET seen_at = :now WHERE token_hash = :token_hash AND seen_at < :now AND expires_at >= :now;

-- name: end_session
-- End one session.
DELETE FROM session WHERE token_hash = :token_hash;

-- name: end_sessions
-- End all sessions of an account.
DELETE FROM session WHERE account = :account;

-- name: forget_sessions
-- Forget sessions that are over; there are few of each account, so all are read.
DELETE FROM session WHERE expires_at <= :now OR seen_at <= :idle_since;

-- ── the audit trail ──

-- name: add_audit
-- Write down who changed what.
INSERT INTO audit (audit_id, at, actor, action, subject, before, after)
VALUES (:audit_id, :at, :actor, :action, :subject, :before, :after);

-- name: find_audit
-- Is this change written down?
SELECT 1 FROM audit WHERE audit_id = :audit_id;

-- name: list_audit
-- Changes before a given one, newest first.
SELECT audit_id, at, actor, action, subject, before, after FROM audit
WHERE audit_id < :before ORDER BY audit_id DESC LIMIT :most;

-- name: list_audit_of_subject
-- Changes of one subject before a given one, newest first. With `=` PostgreSQL may walk through all by the key instead.
SELECT audit_id, at, actor, action, subject, before, after FROM audit
WHERE subject >= :subject AND (subject, audit_id) < (:subject, :before) ORDER BY subject DESC, audit_id DESC LIMIT :most;

-- name: list_audit_of_actor
-- Changes by one actor before a given one, newest first.
SELECT audit_id, at, actor, action, subject, before, after FROM audit
WHERE actor >= :actor AND (actor, audit_id) < (:actor, :before) ORDER BY actor DESC, audit_id DESC LIMIT :most;

-- name: list_audit_of_action
-- Changes of one kind before a given one, newest first.
SELECT audit_id, at, actor, action, subject, before, after FROM audit
WHERE action >= :action AND (action, audit_id) < (:action, :before) ORDER BY action DESC, audit_id DESC LIMIT :most;
