-- Every query of the platform, one text for both engines; how it is read: cardtrail/db/sql.py.

-- ── meta ──

-- name: find_meta
-- A single value by its name.
SELECT value FROM meta WHERE name = :name;

-- name: set_meta
-- Write a single value.
INSERT INTO meta (name, value) VALUES (:name, :value)
ON CONFLICT (name) DO UPDATE SET value = excluded.value;

-- ── the answer ──

-- name: latest_picture
-- The newest order's picture of each pair of issuer and card; the pair comes back with it and is never crossed.
SELECT v.issuer_id, v.card_id, o.picture, o.strict_length, o.etag
FROM rows(issuer_id text, card_id text) AS v, operation AS o -- sqlite
FROM rows(issuer_id text, card_id text) AS v, LATERAL (SELECT * FROM operation AS o -- postgres
WHERE o.issuer_id = v.issuer_id AND o.card_id = v.card_id
ORDER BY o.requested_at DESC, o.operation_id DESC LIMIT 1
) AS o -- postgres
;

-- name: history
-- All orders of a card, newest first.
SELECT picture, strict_length FROM operation
WHERE issuer_id = :issuer_id AND card_id = :card_id
ORDER BY requested_at DESC, operation_id DESC LIMIT 1000;

-- ── ingest, in the order of its locks: keys, operations, parcels, cards, counters ──

-- name: record_events
-- Take the keys of events; the answer lists those that are new.
INSERT INTO inbox (source, event_id, fingerprint, sender, recorded_at, carrier, tracking_number, body)
SELECT v.source, v.event_id, v.fingerprint, v.sender, v.recorded_at, v.carrier, v.tracking_number, v.body
FROM rows(source text, event_id text, fingerprint bytea, sender text, recorded_at bigint, carrier text, tracking_number text, body bytea) AS v
WHERE true ON CONFLICT DO NOTHING
RETURNING source, event_id;

-- name: known_events
-- What is known of these keys.
SELECT i.source, i.event_id, i.fingerprint FROM rows(source text, event_id text) AS v, inbox AS i
WHERE i.source = v.source AND i.event_id = v.event_id;

-- name: forget_events
-- An event that its order refuses leaves no key behind, so that it can be sent again.
DELETE FROM inbox WHERE (source, event_id) IN (SELECT v.source, v.event_id FROM rows(source text, event_id text) AS v);

-- name: add_operation_refs
-- Make sure that the rows to lock exist; the answer lists those that are new.
INSERT INTO operation_ref (issuer_id, operation_id, card_id, waiting_since)
SELECT v.issuer_id, v.operation_id, v.card_id, v.waiting_since
FROM rows(issuer_id text, operation_id text, card_id text, waiting_since bigint) AS v
WHERE true ON CONFLICT DO NOTHING
RETURNING issuer_id, operation_id, card_id;

-- name: lock_operation_refs
-- Lock the operations that this transaction refers to, and learn their cards.
SELECT r.issuer_id, r.operation_id, r.card_id, r.waiting_since
FROM rows(issuer_id text, operation_id text) AS v, operation_ref AS r
WHERE r.issuer_id = v.issuer_id AND r.operation_id = v.operation_id
ORDER BY r.issuer_id, r.operation_id
FOR UPDATE OF r -- postgres
;

-- name: set_operation_refs
-- An operation that was only referred to has found its card, or lost it before the commit.
UPDATE operation_ref SET card_id = v.card_id, waiting_since = v.since
FROM rows(issuer_id text, operation_id text, card_id text, since bigint) AS v
WHERE operation_ref.issuer_id = v.issuer_id AND operation_ref.operation_id = v.operation_id;

-- name: drop_operation_refs
-- Forget operations that nobody waits for.
DELETE FROM operation_ref
WHERE (issuer_id, operation_id) IN (SELECT v.issuer_id, v.operation_id FROM rows(issuer_id text, operation_id text) AS v);

-- name: await_operations
-- Keep events until their operation is known.
UPDATE inbox SET issuer_id = v.issuer_id, operation_id = v.operation_id, body = v.body
FROM rows(source text, event_id text, issuer_id text, operation_id text, body bytea) AS v
WHERE inbox.source = v.source AND inbox.event_id = v.event_id;

-- name: events_of_operations
-- What waits for these operations to become known.
SELECT i.issuer_id, i.operation_id, i.body FROM rows(issuer_id text, operation_id text) AS v, inbox AS i
WHERE i.issuer_id = v.issuer_id AND i.operation_id = v.operation_id
LIMIT 100000;

-- name: settle_operation_events
-- What waited for an operation has gone to its card.
UPDATE inbox SET operation_id = NULL, body = NULL FROM rows(issuer_id text, operation_id text) AS v
WHERE inbox.issuer_id = v.issuer_id AND inbox.operation_id = v.operation_id;

-- name: add_parcels
-- Make sure that the rows to lock exist; the answer lists those that are new.
INSERT INTO parcel (carrier, tracking_number, waiting_since)
SELECT v.carrier, v.tracking_number, v.waiting_since
FROM rows(carrier text, tracking_number text, waiting_since bigint) AS v
WHERE true ON CONFLICT DO NOTHING
RETURNING carrier, tracking_number, waiting_since;

-- name: lock_parcels
-- Lock the parcels that this transaction writes about, and count what carriers told of them.
SELECT p.carrier, p.tracking_number, p.waiting_since,
    (SELECT count(*) FROM inbox AS i WHERE i.carrier = p.carrier AND i.tracking_number = p.tracking_number)
FROM rows(carrier text, tracking_number text) AS v, parcel AS p
WHERE p.carrier = v.carrier AND p.tracking_number = v.tracking_number
ORDER BY p.carrier, p.tracking_number
FOR UPDATE OF p -- postgres
;

-- name: set_parcels_waiting
-- A site has named a parcel, or carriers tell of one that none has named.
UPDATE parcel SET waiting_since = v.since FROM rows(carrier text, tracking_number text, since bigint) AS v
WHERE parcel.carrier = v.carrier AND parcel.tracking_number = v.tracking_number;

-- name: drop_parcels
-- Forget parcels that no card travels in.
DELETE FROM parcel
WHERE (carrier, tracking_number) IN (SELECT v.carrier, v.tracking_number FROM rows(carrier text, tracking_number text) AS v);

-- name: links_of_parcels
-- The cards in each parcel after a given one: one chunk of them, and one more to tell that there are more.
SELECT v.carrier, v.tracking_number, l.issuer_id, l.card_id, l.first_at, l.last_at
FROM rows(carrier text, tracking_number text, after_issuer text, after_card text) AS v, parcel_link AS l -- sqlite
FROM rows(carrier text, tracking_number text, after_issuer text, after_card text) AS v, LATERAL (SELECT * FROM parcel_link AS l -- postgres
WHERE l.carrier = v.carrier AND l.tracking_number = v.tracking_number
    AND (l.issuer_id, l.card_id) > (v.after_issuer, v.after_card)
ORDER BY l.issuer_id, l.card_id LIMIT 1001
) AS l -- postgres
;

-- name: events_of_parcels
-- What carriers told of these parcels before a site named them.
SELECT i.carrier, i.tracking_number, i.sender, i.body FROM rows(carrier text, tracking_number text) AS v, inbox AS i
WHERE i.carrier = v.carrier AND i.tracking_number = v.tracking_number
LIMIT 100000;

-- name: add_cards
-- Make sure that the rows to lock exist; the answer lists those that are new.
INSERT INTO card (issuer_id, card_id, waiting_since)
SELECT v.issuer_id, v.card_id, v.waiting_since FROM rows(issuer_id text, card_id text, waiting_since bigint) AS v
WHERE true ON CONFLICT DO NOTHING
RETURNING issuer_id, card_id, waiting_since;

-- name: lock_cards
-- Lock the cards that this transaction writes about, whether an order exists or not.
SELECT c.issuer_id, c.card_id, c.waiting_since FROM rows(issuer_id text, card_id text) AS v, card AS c
WHERE c.issuer_id = v.issuer_id AND c.card_id = v.card_id
ORDER BY c.issuer_id, c.card_id
FOR UPDATE OF c -- postgres
;

-- name: set_cards_waiting
-- A card's first order has come, or its events came without one.
UPDATE card SET waiting_since = v.since FROM rows(issuer_id text, card_id text, since bigint) AS v
WHERE card.issuer_id = v.issuer_id AND card.card_id = v.card_id;

-- name: drop_cards
-- Forget cards that have neither orders nor events.
DELETE FROM card WHERE (issuer_id, card_id) IN (SELECT v.issuer_id, v.card_id FROM rows(issuer_id text, card_id text) AS v);

-- name: events_of_cards
-- All events of the cards.
SELECT e.issuer_id, e.card_id, e.body FROM rows(issuer_id text, card_id text) AS v, event AS e
WHERE e.issuer_id = v.issuer_id AND e.card_id = v.card_id;

-- name: operations_of_cards
-- What is published about the cards.
SELECT o.issuer_id, o.card_id, o.operation_id, o.requested_at, o.sequence, o.etag, o.sealed_at
FROM rows(issuer_id text, card_id text) AS v, operation AS o
WHERE o.issuer_id = v.issuer_id AND o.card_id = v.card_id;

-- name: save_events
-- Give events to cards.
INSERT INTO event (issuer_id, card_id, source, event_id, recorded_at, begins, body)
SELECT v.issuer_id, v.card_id, v.source, v.event_id, v.recorded_at, v.begins, v.body
FROM rows(issuer_id text, card_id text, source text, event_id text, recorded_at bigint, begins bigint, body bytea) AS v
WHERE true ON CONFLICT DO NOTHING;

-- name: save_links
-- Note which cards travel in which parcel; a card named again at another time widens its window.
INSERT INTO parcel_link (issuer_id, card_id, carrier, tracking_number, first_at, last_at)
SELECT v.issuer_id, v.card_id, v.carrier, v.tracking_number, v.first_at, v.last_at
FROM rows(issuer_id text, card_id text, carrier text, tracking_number text, first_at bigint, last_at bigint) AS v
WHERE true ON CONFLICT (issuer_id, card_id, carrier, tracking_number) DO UPDATE SET
    first_at = CASE WHEN excluded.first_at < parcel_link.first_at THEN excluded.first_at ELSE parcel_link.first_at END,
    last_at = CASE WHEN excluded.last_at > parcel_link.last_at THEN excluded.last_at ELSE parcel_link.last_at END
WHERE excluded.first_at < parcel_link.first_at OR excluded.last_at > parcel_link.last_at;

-- name: count_changes
-- Take the next change numbers of issuers; the last lock before the commit.
INSERT INTO issuer_counter (issuer_id, change_no)
SELECT v.issuer_id, v.changes FROM rows(issuer_id text, changes bigint) AS v
WHERE true ON CONFLICT (issuer_id) DO UPDATE SET change_no = issuer_counter.change_no + excluded.change_no
RETURNING issuer_id, change_no;

-- name: save_operations
-- Publish pictures.
INSERT INTO operation (issuer_id, card_id, requested_at, operation_id, sequence, change_no, ended_at, changed_at, picture, strict_length, etag)
SELECT v.issuer_id, v.card_id, v.requested_at, v.operation_id, v.sequence, v.change_no, v.ended_at, v.changed_at, v.picture, v.strict_length, v.etag
FROM rows(issuer_id text, card_id text, requested_at bigint, operation_id text, sequence bigint, change_no bigint, ended_at bigint, changed_at bigint, picture bytea, strict_length bigint, etag text) AS v
WHERE true ON CONFLICT (issuer_id, card_id, requested_at, operation_id) DO UPDATE SET
    sequence = excluded.sequence, change_no = excluded.change_no, ended_at = excluded.ended_at,
    changed_at = excluded.changed_at, picture = excluded.picture, strict_length = excluded.strict_length,
    etag = excluded.etag;

-- name: save_fanout
-- Note that a parcel's event has more cards to reach.
INSERT INTO fanout (source, event_id, after_issuer, after_card) VALUES (:source, :event_id, :after_issuer, :after_card)
ON CONFLICT (source, event_id) DO UPDATE SET after_issuer = excluded.after_issuer, after_card = excluded.after_card;

-- name: next_fanout
-- The events that still have cards to reach.
SELECT f.source, f.event_id, f.after_issuer, f.after_card, i.carrier, i.tracking_number, i.sender, i.body
FROM fanout AS f JOIN inbox AS i ON i.source = f.source AND i.event_id = f.event_id
ORDER BY f.source, f.event_id LIMIT 1;

-- name: end_fanout
-- An event has reached all its cards.
DELETE FROM fanout WHERE source = :source AND event_id = :event_id;

-- name: count_waiting
-- How many cards, parcels and operations wait for their order, counted no further than the limit.
SELECT count(*) FROM (
    SELECT 1 FROM card WHERE waiting_since IS NOT NULL
    UNION ALL SELECT 1 FROM parcel WHERE waiting_since IS NOT NULL
    UNION ALL SELECT 1 FROM operation_ref WHERE waiting_since IS NOT NULL
    LIMIT :most
) AS w;

-- ── orders ──

-- name: reserve_order
-- Reserve an operation for an order; nothing happens where the same request has one.
INSERT INTO order_request (issuer_id, operation_id, card_id, issuer_request_id, fingerprint, state, reserved_at)
VALUES (:issuer_id, :operation_id, :card_id, :issuer_request_id, :fingerprint, 'RESERVED', :reserved_at)
ON CONFLICT DO NOTHING;

-- name: find_order
-- The order that a request made before; by its own id after a rerun.
SELECT operation_id, fingerprint, state, reserved_at FROM order_request
WHERE issuer_id = :issuer_id AND operation_id = :operation_id
UNION ALL
SELECT operation_id, fingerprint, state, reserved_at FROM order_request
WHERE issuer_id = :issuer_id AND issuer_request_id = :issuer_request_id
LIMIT 1;

-- name: count_orders
-- How many orders a card has, those on their way to production among them.
SELECT (SELECT count(*) FROM operation WHERE issuer_id = :issuer_id AND card_id = :card_id)
    + (SELECT count(*) FROM order_request WHERE issuer_id = :issuer_id AND card_id = :card_id AND state = 'RESERVED');

-- name: drop_order
-- Take back a reservation that was one too many.
DELETE FROM order_request WHERE issuer_id = :issuer_id AND operation_id = :operation_id AND state = 'RESERVED';

-- name: confirm_orders
-- Production has these orders.
UPDATE order_request SET state = 'CONFIRMED' FROM rows(issuer_id text, operation_id text) AS v
WHERE order_request.issuer_id = v.issuer_id AND order_request.operation_id = v.operation_id;

-- name: open_orders
-- Reservations that production never confirmed, oldest first.
SELECT issuer_id, operation_id, card_id, issuer_request_id, reserved_at FROM order_request
WHERE state = 'RESERVED' AND reserved_at < :before ORDER BY reserved_at LIMIT 1000;

-- name: pictures_of_card
-- What is published about one card, newest first.
SELECT operation_id, sequence, change_no, changed_at, sealed_at, picture FROM operation
WHERE issuer_id = :issuer_id AND card_id = :card_id ORDER BY requested_at DESC, operation_id DESC LIMIT 1000;

-- name: changes_since
-- What changed after a change number, newest picture only, in the order of the changes.
SELECT change_no, card_id, operation_id, sequence, etag FROM operation
WHERE issuer_id = :issuer_id AND change_no > :since ORDER BY change_no LIMIT :most;

-- name: feed_position
-- The epoch of the database, and an issuer's newest change number; none where nothing of it ever changed.
SELECT m.value, (SELECT c.change_no FROM issuer_counter AS c WHERE c.issuer_id = :issuer_id)
FROM meta AS m WHERE m.name = 'epoch';

-- name: pictures_since
-- A page of the changes feed: the pictures that changed after a change number, in the order of the changes.
SELECT change_no, picture FROM operation
WHERE issuer_id = :issuer_id AND change_no > :since ORDER BY change_no LIMIT :most;

-- name: counters_of_issuers
-- The newest change numbers of issuers.
SELECT c.issuer_id, c.change_no FROM rows(issuer_id text) AS v, issuer_counter AS c WHERE c.issuer_id = v.issuer_id;

-- name: events_of_card
-- Every event of one card.
SELECT body FROM event WHERE issuer_id = :issuer_id AND card_id = :card_id LIMIT 100000;

-- ── retention ──

-- name: waiting_operations
-- Operations that no order has begun for too long.
SELECT issuer_id, operation_id FROM operation_ref
WHERE waiting_since IS NOT NULL AND waiting_since < :before ORDER BY waiting_since LIMIT :most;

-- name: drop_operation_events
-- Forget what waits for these operations.
DELETE FROM inbox WHERE (source, event_id) IN (
    SELECT i.source, i.event_id FROM rows(issuer_id text, operation_id text) AS v, inbox AS i
    WHERE i.issuer_id = v.issuer_id AND i.operation_id = v.operation_id
);

-- name: waiting_parcels
-- Parcels that no site has named for too long.
SELECT carrier, tracking_number FROM parcel
WHERE waiting_since IS NOT NULL AND waiting_since < :before ORDER BY waiting_since LIMIT :most;

-- name: drop_parcel_events
-- Forget what carriers told of these parcels.
DELETE FROM inbox WHERE (source, event_id) IN (
    SELECT i.source, i.event_id FROM rows(carrier text, tracking_number text) AS v, inbox AS i
    WHERE i.carrier = v.carrier AND i.tracking_number = v.tracking_number
);

-- name: waiting_cards
-- Cards whose order has not come for too long.
SELECT issuer_id, card_id FROM card
WHERE waiting_since IS NOT NULL AND waiting_since < :before ORDER BY waiting_since LIMIT :most;

-- name: keys_of_cards
-- The keys of the cards' events.
SELECT e.source, e.event_id, e.begins FROM rows(issuer_id text, card_id text) AS v, event AS e
WHERE e.issuer_id = v.issuer_id AND e.card_id = v.card_id;

-- name: forget_card_events
-- Forget keys, but not those of parcels: other cards may travel there.
DELETE FROM inbox WHERE carrier IS NULL
    AND (source, event_id) IN (SELECT v.source, v.event_id FROM rows(source text, event_id text) AS v);

-- name: drop_events_of_cards
-- Remove the cards' events.
DELETE FROM event WHERE (issuer_id, card_id) IN (SELECT v.issuer_id, v.card_id FROM rows(issuer_id text, card_id text) AS v);

-- name: orders_to_seal
-- Orders that ended long ago and have not changed since.
SELECT issuer_id, card_id FROM operation
WHERE sealed_at IS NULL AND ended_at IS NOT NULL AND changed_at < :before ORDER BY changed_at LIMIT :most;

-- name: seal_orders
-- Seal a card's settled orders.
UPDATE operation SET sealed_at = v.now FROM rows(issuer_id text, card_id text, before bigint, now bigint) AS v
WHERE operation.issuer_id = v.issuer_id AND operation.card_id = v.card_id
    AND operation.sealed_at IS NULL AND operation.ended_at IS NOT NULL AND operation.changed_at < v.before
RETURNING operation_id;

-- name: unsealed_of_cards
-- Those of the cards that have orders which may still change.
SELECT o.issuer_id, o.card_id FROM rows(issuer_id text, card_id text) AS v, operation AS o
WHERE o.issuer_id = v.issuer_id AND o.card_id = v.card_id AND o.sealed_at IS NULL;

-- name: drop_sealed_events
-- A card whose orders are all sealed keeps only the events that began them.
DELETE FROM event WHERE begins = 0
    AND (issuer_id, card_id) IN (SELECT v.issuer_id, v.card_id FROM rows(issuer_id text, card_id text) AS v);

-- name: parcels_of_cards
-- The parcels that the cards travelled in.
SELECT l.issuer_id, l.card_id, l.carrier, l.tracking_number FROM rows(issuer_id text, card_id text) AS v, parcel_link AS l
WHERE l.issuer_id = v.issuer_id AND l.card_id = v.card_id;

-- name: settled_parcels
-- Those of the parcels in which every card has only sealed orders.
SELECT v.carrier, v.tracking_number FROM rows(carrier text, tracking_number text) AS v WHERE NOT EXISTS (
    SELECT 1 FROM parcel_link AS l
    LEFT JOIN operation AS o ON o.issuer_id = l.issuer_id AND o.card_id = l.card_id
    WHERE l.carrier = v.carrier AND l.tracking_number = v.tracking_number AND o.sealed_at IS NULL
);

-- name: drop_links
-- Forget what cards without an order travelled in.
DELETE FROM parcel_link
WHERE (issuer_id, card_id) IN (SELECT v.issuer_id, v.card_id FROM rows(issuer_id text, card_id text) AS v);

-- ── parties ──

-- name: change_registry
-- Mark a change of parties or keys; taken first, so that such changes come one after the other.
INSERT INTO meta (name, value) VALUES ('registry_version', :version)
ON CONFLICT (name) DO UPDATE SET value = excluded.value;

-- name: all_parties
-- Every party, by its id.
SELECT party_id, kind, state, generation, issuers, sources, kinds, scopes, strict, rate, created_at
FROM party ORDER BY party_id;

-- name: find_party
-- One party.
SELECT party_id, kind, state, generation, issuers, sources, kinds, scopes, strict, rate, created_at
FROM party WHERE party_id = :party_id;

-- name: add_party
-- Register a party; no row if the id is taken.
INSERT INTO party (party_id, kind, state, generation, issuers, sources, kinds, scopes, strict, rate, created_at)
VALUES (:party_id, :kind, :state, :generation, :issuers, :sources, :kinds, :scopes, :strict, :rate, :created_at)
ON CONFLICT (party_id) DO NOTHING;

-- name: save_party
-- Write what may change of a party.
UPDATE party SET state = :state, generation = :generation, issuers = :issuers, sources = :sources, kinds = :kinds,
    scopes = :scopes, strict = :strict, rate = :rate
WHERE party_id = :party_id;

-- name: active_keys
-- The keys of all parties that assertions may be signed with.
SELECT party_id, kid, public_jwk FROM party_key WHERE state = 'ACTIVE';

-- name: keys_of_party
-- One party's keys, oldest first.
SELECT party_id, kid, state, public_jwk, added_at FROM party_key WHERE party_id = :party_id ORDER BY added_at, kid;

-- name: add_party_key
-- Give a party one more key; no row if it had one of this name before.
INSERT INTO party_key (party_id, kid, state, public_jwk, added_at)
VALUES (:party_id, :kid, 'ACTIVE', :public_jwk, :added_at)
ON CONFLICT (party_id, kid) DO NOTHING;

-- name: revoke_party_key
-- Take a key away; no row if it is not an active key of this party.
UPDATE party_key SET state = 'REVOKED' WHERE party_id = :party_id AND kid = :kid AND state = 'ACTIVE';

-- name: signing_keys
-- The platform's own keys, oldest first.
SELECT kid, public_jwk, private_box, created_at FROM signing_key ORDER BY created_at, kid;

-- name: add_signing_key
-- Keep a new key of the platform.
INSERT INTO signing_key (kid, public_jwk, private_box, created_at)
VALUES (:kid, :public_jwk, :private_box, :created_at);

-- name: drop_signing_key
-- Forget a key of the platform.
DELETE FROM signing_key WHERE kid = :kid;

-- name: use_assertion
-- Note that an assertion was used; no row if it was used before.
INSERT INTO assertion_seen (party_id, jti, expires_at) VALUES (:party_id, :jti, :expires_at)
ON CONFLICT (party_id, jti) DO NOTHING;

-- name: forget_assertions
-- Drop a small batch of notes on assertions that have expired.
DELETE FROM assertion_seen WHERE (party_id, jti) IN (
    SELECT party_id, jti FROM assertion_seen WHERE expires_at < :before ORDER BY expires_at LIMIT :most
);

-- name: add_audit
-- Write down who changed what.
INSERT INTO audit (audit_id, at, actor, action, subject, before, after)
VALUES (:audit_id, :at, :actor, :action, :subject, :before, :after);

-- name: find_audit
-- Is this change written down?
SELECT 1 FROM audit WHERE audit_id = :audit_id;

-- name: list_audit
-- Changes before a given one, newest first; of one subject, or of all where it is empty.
SELECT audit_id, at, actor, action, subject, before, after FROM audit
WHERE audit_id < :before AND (:subject = '' OR subject = :subject)
ORDER BY audit_id DESC LIMIT :most;
