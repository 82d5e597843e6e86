-- Every query of the platform, one text for both engines; how it is read: cardtrail/db/sql.py.

-- ── meta ──

-- name: find_meta
-- A single value by its name.
SELECT value FROM meta WHERE name = :name;

-- name: set_meta
-- Write a single value.
INSERT INTO meta (name, value) VALUES (:name, :value)
ON CONFLICT (name) DO UPDATE SET value = excluded.value;

-- name: drop_meta
-- Forget a single value.
DELETE FROM meta WHERE name = :name;

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
SELECT o.issuer_id, o.card_id, o.operation_id, o.requested_at, o.sequence, o.picture, o.strict_length, o.sealed_at,
    o.request_id, o.place, o.since, o.watched, o.site, o.channel, o.carrier
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
RETURNING issuer_id, change_no, endpoints;

-- name: save_operations
-- Publish pictures. An issuer's request hardly ever changes: SQLite would write its index anew with every picture.
INSERT INTO operation (issuer_id, card_id, requested_at, operation_id, sequence, change_no, ended_at, changed_at, picture, strict_length, etag, place, since, watched, site, channel, carrier, request_id, cause)
SELECT v.issuer_id, v.card_id, v.requested_at, v.operation_id, v.sequence, v.change_no, v.ended_at, v.changed_at, v.picture, v.strict_length, v.etag, v.place, v.since, v.watched, v.site, v.channel, v.carrier, v.request_id, v.cause
FROM rows(issuer_id text, card_id text, requested_at bigint, operation_id text, sequence bigint, change_no bigint, ended_at bigint, changed_at bigint, picture bytea, strict_length bigint, etag text, place text, since bigint, watched bigint, site text, channel text, carrier text, request_id text, cause text) AS v
WHERE true ON CONFLICT (issuer_id, card_id, requested_at, operation_id) DO UPDATE SET
    sequence = excluded.sequence, change_no = excluded.change_no, ended_at = excluded.ended_at,
    changed_at = excluded.changed_at, picture = excluded.picture, strict_length = excluded.strict_length,
    etag = excluded.etag, place = excluded.place, since = excluded.since, watched = excluded.watched,
    site = excluded.site, channel = excluded.channel, carrier = excluded.carrier, cause = excluded.cause;

-- name: set_request_ids
-- Note another issuer's request of orders that are published.
UPDATE operation SET request_id = v.request_id
FROM rows(issuer_id text, card_id text, requested_at bigint, operation_id text, request_id text) AS v
WHERE operation.issuer_id = v.issuer_id AND operation.card_id = v.card_id AND operation.requested_at = v.requested_at
    AND operation.operation_id = v.operation_id;

-- name: count_tallies
-- Count what has moved, under the locks of the issuers' counters.
INSERT INTO tally (issuer_id, what, hour, place, site, channel, carrier, value, count)
SELECT v.issuer_id, v.what, v.hour, v.place, v.site, v.channel, v.carrier, v.value, v.count
FROM rows(issuer_id text, what text, hour bigint, place text, site text, channel text, carrier text, value bigint, count bigint) AS v
WHERE true ON CONFLICT (issuer_id, what, hour, place, site, channel, carrier, value) DO UPDATE SET
    count = tally.count + excluded.count;

-- name: unplaced
-- Cards with orders from before places were kept, or that a release from before has written.
SELECT issuer_id, card_id FROM operation
    INDEXED BY operation_unplaced -- sqlite
WHERE place = '' ORDER BY issuer_id, card_id LIMIT :most;

-- name: place_orders
-- Note where these orders are.
UPDATE operation SET place = v.place, since = v.since, watched = v.watched, site = v.site, channel = v.channel, carrier = v.carrier, request_id = v.request_id
FROM rows(issuer_id text, card_id text, requested_at bigint, operation_id text, place text, since bigint, watched bigint, site text, channel text, carrier text, request_id text) AS v
WHERE operation.issuer_id = v.issuer_id AND operation.card_id = v.card_id AND operation.requested_at = v.requested_at
    AND operation.operation_id = v.operation_id;

-- name: save_fanout
-- Note that a parcel's event has more cards to reach.
INSERT INTO fanout (source, event_id, after_issuer, after_card, cause)
VALUES (:source, :event_id, :after_issuer, :after_card, :cause)
ON CONFLICT (source, event_id) DO UPDATE SET after_issuer = excluded.after_issuer, after_card = excluded.after_card;

-- name: next_fanout
-- The events that still have cards to reach.
SELECT f.source, f.event_id, f.after_issuer, f.after_card, i.carrier, i.tracking_number, i.sender, i.body, f.cause
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

-- name: waiting_health
-- How many cards, parcels, operations and orders wait, counted no further than the limit, and since when the oldest.
SELECT
    (SELECT count(*) FROM (SELECT 1 FROM card WHERE waiting_since IS NOT NULL LIMIT :most) AS w),
    (SELECT min(waiting_since) FROM card WHERE waiting_since IS NOT NULL),
    (SELECT count(*) FROM (SELECT 1 FROM parcel WHERE waiting_since IS NOT NULL LIMIT :most) AS w),
    (SELECT min(waiting_since) FROM parcel WHERE waiting_since IS NOT NULL),
    (SELECT count(*) FROM (SELECT 1 FROM operation_ref WHERE waiting_since IS NOT NULL LIMIT :most) AS w),
    (SELECT min(waiting_since) FROM operation_ref WHERE waiting_since IS NOT NULL),
    (SELECT count(*) FROM (SELECT 1 FROM order_request WHERE state = 'RESERVED' AND reserved_at >= 0 LIMIT :most) AS w),
    (SELECT min(reserved_at) FROM order_request WHERE state = 'RESERVED' AND reserved_at >= 0);

-- name: count_fanouts
-- How many events have more cards to reach, counted no further than the limit.
SELECT count(*) FROM (SELECT 1 FROM fanout LIMIT :most) AS w;

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
    + (SELECT count(*) FROM order_request
INDEXED BY order_request_card -- sqlite
    WHERE issuer_id = :issuer_id AND card_id = :card_id AND state = 'RESERVED');

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

-- ── the outbox ──

-- name: endpoints_of_issuers
-- The endpoints of these issuers, as ingest needs them.
SELECT e.issuer_id, e.endpoint_id, e.state, e.config FROM rows(issuer_id text) AS v, endpoint AS e
WHERE e.issuer_id = v.issuer_id ORDER BY e.issuer_id, e.endpoint_id;

-- name: unsent_of_orders
-- What is still to be sent of these orders to these endpoints, but for exact replays.
SELECT n.issuer_id, n.notification_id, n.endpoint_id, n.operation_id, n.sequence
FROM rows(issuer_id text, card_id text, operation_id text, endpoint_id text) AS v, notification AS n
    INDEXED BY notification_order -- sqlite
WHERE n.issuer_id = v.issuer_id AND n.card_id = v.card_id AND n.operation_id = v.operation_id
    AND n.endpoint_id = v.endpoint_id AND n.state IN ('PENDING', 'WITHHELD') AND n.lot < 2;

-- name: supersede
-- A newer picture takes the place of these.
UPDATE notification SET state = 'SUPERSEDED', settled_at = v.now
FROM rows(issuer_id text, notification_id text, now bigint) AS v
WHERE notification.issuer_id = v.issuer_id AND notification.notification_id = v.notification_id
    AND notification.state IN ('PENDING', 'WITHHELD');

-- name: add_notifications
-- Put pictures on their way.
INSERT INTO notification (issuer_id, notification_id, endpoint_id, card_id, operation_id, operation, sequence, state, lot, round, attempts, due_at, settled_at, attempt_ids, picture, strict_length, cause)
SELECT v.issuer_id, v.notification_id, v.endpoint_id, v.card_id, v.operation_id, v.operation, v.sequence, v.state, v.lot, 0, 0, v.due_at, v.settled_at, '', v.picture, v.strict_length, v.cause
FROM rows(issuer_id text, notification_id text, endpoint_id text, card_id text, operation_id text, operation text, sequence bigint, state text, lot bigint, due_at bigint, settled_at bigint, picture bytea, strict_length bigint, cause text) AS v;

-- name: claim
-- What is due at an endpoint of one lot, after a given place in the queue.
SELECT notification_id, operation_id, lot, round, attempts, due_at, picture, strict_length, cause FROM notification
WHERE issuer_id = :issuer_id AND endpoint_id = :endpoint_id AND state = 'PENDING' AND lot = :lot
    AND due_at <= :now AND (due_at, notification_id) > (:after_due, :after_id)
ORDER BY due_at, notification_id LIMIT :most;

-- name: claim_probe
-- The messages to try an endpoint with whose circuit is open, those that wait longest first.
SELECT notification_id, operation_id, lot, round, attempts, due_at, picture, strict_length, cause FROM notification
WHERE issuer_id = :issuer_id AND endpoint_id = :endpoint_id AND state = 'PENDING'
ORDER BY lot, due_at, notification_id LIMIT :most;

-- name: add_attempts
-- Write down calls and what came back.
INSERT INTO attempt (issuer_id, attempt_id, endpoint_id, at, carried, http_status, failure, ms, answer)
SELECT v.issuer_id, v.attempt_id, v.endpoint_id, v.at, v.carried, v.http_status, v.failure, v.ms, v.answer
FROM rows(issuer_id text, attempt_id text, endpoint_id text, at bigint, carried bigint, http_status bigint, failure text, ms bigint, answer text) AS v
WHERE true ON CONFLICT DO NOTHING;

-- name: settle_delivered
-- The endpoint has these; that counts whoever sent them, and whatever became of the row meanwhile but for a new round.
UPDATE notification SET state = 'DELIVERED', settled_at = v.now, attempts = notification.attempts + 1,
    attempt_ids = CASE WHEN length(notification.attempt_ids) >= 1400 THEN substr(notification.attempt_ids, 29) ELSE notification.attempt_ids END || v.attempt_id || ' '
FROM rows(issuer_id text, notification_id text, round bigint, attempt_id text, now bigint) AS v
WHERE notification.issuer_id = v.issuer_id AND notification.notification_id = v.notification_id AND notification.round = v.round;

-- name: settle_failed
-- An attempt has failed: the attempt is noted; the rest only where the row still waits and the lane is still the sender's.
UPDATE notification SET
    state = CASE WHEN notification.state = 'PENDING' AND l.fence = v.fence THEN v.state ELSE notification.state END,
    settled_at = CASE WHEN notification.state = 'PENDING' AND l.fence = v.fence THEN v.settled_at ELSE notification.settled_at END,
    due_at = CASE WHEN notification.state = 'PENDING' AND l.fence = v.fence THEN v.due_at ELSE notification.due_at END,
    attempts = CASE WHEN l.fence = v.fence THEN v.attempts ELSE notification.attempts END,
    attempt_ids = CASE WHEN length(notification.attempt_ids) >= 1400 THEN substr(notification.attempt_ids, 29) ELSE notification.attempt_ids END || v.attempt_id || ' '
FROM rows(issuer_id text, notification_id text, round bigint, attempt_id text, fence bigint, state text, settled_at bigint, due_at bigint, attempts bigint) AS v, lane AS l
WHERE notification.issuer_id = v.issuer_id AND notification.notification_id = v.notification_id AND notification.round = v.round
    AND l.issuer_id = notification.issuer_id AND l.endpoint_id = notification.endpoint_id;

-- name: unrefuse
-- A receiver that refuses everything is broken: what it refused last is tried again.
UPDATE notification SET state = 'PENDING', settled_at = NULL, due_at = v.due_at
FROM rows(issuer_id text, notification_id text, round bigint, due_at bigint) AS v
WHERE notification.issuer_id = v.issuer_id AND notification.notification_id = v.notification_id
    AND notification.round = v.round AND notification.state = 'REFUSED';

-- name: supersede_refused
-- Of what is to be tried again, what has a newer picture on its way, or there already, is not.
UPDATE notification SET state = 'SUPERSEDED', settled_at = v.now
FROM rows(issuer_id text, notification_id text, round bigint, now bigint) AS v
WHERE notification.issuer_id = v.issuer_id AND notification.notification_id = v.notification_id
    AND notification.round = v.round AND notification.state = 'REFUSED'
    AND EXISTS (
        SELECT 1 FROM notification AS n
        INDEXED BY notification_order -- sqlite
        WHERE n.issuer_id = notification.issuer_id AND n.card_id = notification.card_id
            AND n.operation_id = notification.operation_id AND n.endpoint_id = notification.endpoint_id
            AND n.sequence > notification.sequence AND n.state IN ('PENDING', 'WITHHELD', 'DELIVERED') AND n.lot < 2
    );

-- name: withhold
-- Some of what waits for an endpoint that is disabled is withheld, but for what ends meanwhile; the answer lists them.
UPDATE notification SET state = 'WITHHELD', lot = 0 WHERE state = 'PENDING' AND (issuer_id, notification_id) IN (
    SELECT n.issuer_id, n.notification_id FROM notification AS n
    WHERE n.issuer_id = :issuer_id AND n.endpoint_id = :endpoint_id AND n.state = 'PENDING'
    ORDER BY n.lot, n.due_at, n.notification_id LIMIT :most
) RETURNING notification_id;

-- name: withheld
-- Some of what was withheld from an endpoint.
SELECT notification_id, card_id, operation_id, sequence FROM notification
    INDEXED BY notification_open -- sqlite
WHERE issuer_id = :issuer_id AND endpoint_id = :endpoint_id AND state = 'WITHHELD'
    AND state IN ('PENDING', 'REFUSED', 'DEAD', 'WITHHELD')
ORDER BY notification_id LIMIT :most;

-- name: release
-- These are withheld no longer.
UPDATE notification SET state = 'PENDING', due_at = v.due_at FROM rows(issuer_id text, notification_id text, due_at bigint) AS v
WHERE notification.issuer_id = v.issuer_id AND notification.notification_id = v.notification_id AND notification.state = 'WITHHELD';

-- name: hasten
-- An endpoint takes messages again: some of what waits for a later try is due now, and the try whose wait is cut short counts no longer; the answer lists them.
UPDATE notification SET due_at = :now, attempts = CASE WHEN attempts > 0 THEN attempts - 1 ELSE 0 END
WHERE state = 'PENDING' AND due_at > :now AND (issuer_id, notification_id) IN (
    SELECT n.issuer_id, n.notification_id FROM notification AS n
    WHERE n.issuer_id = :issuer_id AND n.endpoint_id = :endpoint_id AND n.state = 'PENDING' AND n.lot = :lot AND n.due_at > :now
    ORDER BY n.due_at, n.notification_id LIMIT :most
) RETURNING notification_id;

-- ── lanes ──

-- name: clock
-- Now in microseconds, by the one clock that all processes share.
SELECT CAST(extract(epoch FROM clock_timestamp()) * 1000000 AS bigint); -- postgres
SELECT CAST((julianday('now') - 2440587.5) * 86400000000 AS INTEGER); -- sqlite

-- name: lanes_with_work
-- Lanes that have something to do and that nobody else holds.
SELECT l.issuer_id, l.endpoint_id, l.chore, e.version FROM lane AS l
JOIN endpoint AS e ON e.issuer_id = l.issuer_id AND e.endpoint_id = l.endpoint_id
WHERE (l.holder = :me OR l.leased_until < :clock OR l.leased_until > :too_far)
    AND (l.chore = 1 OR (e.state = 'ENABLED' AND (
        (l.probe_at IS NULL AND (
            EXISTS (SELECT 1 FROM notification AS n WHERE n.issuer_id = l.issuer_id AND n.endpoint_id = l.endpoint_id
                AND n.state = 'PENDING' AND n.lot = 0 AND n.due_at <= :now)
            OR EXISTS (SELECT 1 FROM notification AS n WHERE n.issuer_id = l.issuer_id AND n.endpoint_id = l.endpoint_id
                AND n.state = 'PENDING' AND n.lot = 1 AND n.due_at <= :now)
            OR EXISTS (SELECT 1 FROM notification AS n WHERE n.issuer_id = l.issuer_id AND n.endpoint_id = l.endpoint_id
                AND n.state = 'PENDING' AND n.lot = 2 AND n.due_at <= :now)))
        OR (l.probe_at <= :now AND EXISTS (SELECT 1 FROM notification AS n
            INDEXED BY notification_due -- sqlite
            WHERE n.issuer_id = l.issuer_id AND n.endpoint_id = l.endpoint_id AND n.state = 'PENDING'))
        OR (l.probe_at IS NULL AND l.heartbeat_at <= :now))))
LIMIT :most;

-- name: lane_health
-- How it goes in every lane: state, open circuit, and what has waited longest.
SELECT e.state, l.probe_at, (
    SELECT n.notification_id FROM notification AS n
        INDEXED BY notification_open -- sqlite
    WHERE n.issuer_id = l.issuer_id AND n.endpoint_id = l.endpoint_id AND n.state = 'PENDING'
        AND n.state IN ('PENDING', 'REFUSED', 'DEAD', 'WITHHELD')
    ORDER BY n.notification_id LIMIT 1
) FROM lane AS l JOIN endpoint AS e ON e.issuer_id = l.issuer_id AND e.endpoint_id = l.endpoint_id
LIMIT :most;

-- name: due_longest
-- Since when the message of live traffic is due that is due longest, of endpoints that take calls.
SELECT min(d.due_at) FROM (
    SELECT (
        SELECT min(n.due_at) FROM notification AS n
        WHERE n.issuer_id = l.issuer_id AND n.endpoint_id = l.endpoint_id AND n.state = 'PENDING' AND n.lot = 0
    ) AS due_at
    FROM lane AS l JOIN endpoint AS e ON e.issuer_id = l.issuer_id AND e.endpoint_id = l.endpoint_id
    WHERE e.state = 'ENABLED' AND l.probe_at IS NULL
    LIMIT :most
) AS d;

-- name: count_undelivered
-- How many notifications of all lanes are in one state that is not delivered, counted no further than the limit.
SELECT count(*) FROM (
    SELECT 1 FROM lane AS l CROSS JOIN notification AS n
    WHERE n.issuer_id = l.issuer_id AND n.endpoint_id = l.endpoint_id AND n.state = :state
        AND n.state IN ('PENDING', 'REFUSED', 'DEAD', 'WITHHELD')
    LIMIT :most
) AS w;

-- name: oldest_settled
-- When the notification in one state was settled of which that is longest ago.
SELECT min(settled_at) FROM notification WHERE state = :state AND settled_at IS NOT NULL;

-- name: acquire_lanes
-- Lease lanes that nobody else holds; the answer lists those that were had.
UPDATE lane SET holder = v.holder, fence = lane.fence + 1, leased_until = v.leased_until
FROM rows(issuer_id text, endpoint_id text, holder text, clock bigint, too_far bigint, leased_until bigint) AS v
WHERE lane.issuer_id = v.issuer_id AND lane.endpoint_id = v.endpoint_id
    AND (lane.holder = v.holder OR lane.leased_until < v.clock OR lane.leased_until > v.too_far)
RETURNING lane.issuer_id, lane.endpoint_id, lane.fence;

-- name: renew_lanes
-- Hold on to lanes; the answer lists those that are still held.
UPDATE lane SET leased_until = v.leased_until
FROM rows(issuer_id text, endpoint_id text, fence bigint, leased_until bigint) AS v
WHERE lane.issuer_id = v.issuer_id AND lane.endpoint_id = v.endpoint_id AND lane.fence = v.fence AND lane.holder <> ''
RETURNING lane.issuer_id, lane.endpoint_id;

-- name: release_lanes
-- Let go of lanes.
UPDATE lane SET holder = '', leased_until = 0 FROM rows(issuer_id text, endpoint_id text, fence bigint) AS v
WHERE lane.issuer_id = v.issuer_id AND lane.endpoint_id = v.endpoint_id AND lane.fence = v.fence;

-- name: load_lane
-- A lane and its endpoint.
SELECT l.chore, l.failures, l.failing_since, l.probe_at, l.heartbeat_at, e.state, e.reason, e.config, e.secret_box, e.version, e.created_at
FROM lane AS l JOIN endpoint AS e ON e.issuer_id = l.issuer_id AND e.endpoint_id = l.endpoint_id
WHERE l.issuer_id = :issuer_id AND l.endpoint_id = :endpoint_id;

-- name: save_lane
-- How it goes at an endpoint, as its sender sees it; not where somebody has just healed it.
UPDATE lane SET failures = :failures, failing_since = :failing_since, probe_at = :probe_at
WHERE issuer_id = :issuer_id AND endpoint_id = :endpoint_id AND fence = :fence AND chore = 0;

-- name: put_off_heartbeat
-- Something was sent: the next heartbeat is due later, unless somebody has configured it anew.
UPDATE lane SET heartbeat_at = :heartbeat_at
WHERE issuer_id = :issuer_id AND endpoint_id = :endpoint_id AND fence = :fence AND heartbeat_at = :known;

-- name: lock_lane
-- Whoever moves an endpoint's rows and whoever asks for it come one after the other.
SELECT l.fence FROM lane AS l WHERE l.issuer_id = :issuer_id AND l.endpoint_id = :endpoint_id
FOR UPDATE -- postgres
;

-- name: endpoint_state
-- Whether an endpoint is enabled; asked under the lock of its lane, so that nobody changes it meanwhile.
SELECT state FROM endpoint WHERE issuer_id = :issuer_id AND endpoint_id = :endpoint_id;

-- name: end_chore
-- All rows fit the endpoint's state.
UPDATE lane SET chore = 0 WHERE issuer_id = :issuer_id AND endpoint_id = :endpoint_id;

-- name: heal_lane
-- Try an endpoint again at once, as if nothing had happened.
UPDATE lane SET failures = 0, failing_since = NULL, probe_at = NULL, chore = 1
WHERE issuer_id = :issuer_id AND endpoint_id = :endpoint_id;

-- name: set_heartbeat
-- When an endpoint's next heartbeat is due; none without a time.
UPDATE lane SET heartbeat_at = :heartbeat_at WHERE issuer_id = :issuer_id AND endpoint_id = :endpoint_id;

-- ── endpoints ──

-- name: change_endpoints
-- Mark a change of an issuer's endpoints, under the lock that numbers its changes.
INSERT INTO issuer_counter (issuer_id, change_no, endpoints) VALUES (:issuer_id, 0, :version)
ON CONFLICT (issuer_id) DO UPDATE SET endpoints = excluded.endpoints;

-- name: add_endpoint
-- Register an endpoint; no row if its id is taken.
INSERT INTO endpoint (issuer_id, endpoint_id, state, reason, config, secret_box, version, created_at)
VALUES (:issuer_id, :endpoint_id, :state, :reason, :config, :secret_box, :version, :created_at)
ON CONFLICT DO NOTHING;

-- name: add_lane
-- Every endpoint has a lane.
INSERT INTO lane (issuer_id, endpoint_id, heartbeat_at) VALUES (:issuer_id, :endpoint_id, :heartbeat_at)
ON CONFLICT DO NOTHING;

-- name: find_endpoint
-- One endpoint.
SELECT issuer_id, endpoint_id, state, reason, config, secret_box, version, created_at FROM endpoint
WHERE issuer_id = :issuer_id AND endpoint_id = :endpoint_id;

-- name: list_endpoints
-- The endpoints of one issuer, or of all where it is empty.
SELECT issuer_id, endpoint_id, state, reason, config, secret_box, version, created_at FROM endpoint
WHERE :issuer_id = '' OR issuer_id = :issuer_id ORDER BY issuer_id, endpoint_id LIMIT :most;

-- name: endpoints_in_full
-- The endpoints of these issuers.
SELECT e.issuer_id, e.endpoint_id, e.state, e.reason, e.config, e.secret_box, e.version, e.created_at
FROM rows(issuer_id text) AS v, endpoint AS e WHERE e.issuer_id = v.issuer_id ORDER BY e.issuer_id, e.endpoint_id;

-- name: lanes_of_issuer
-- How it goes at an issuer's endpoints.
SELECT endpoint_id, failures, failing_since, probe_at FROM lane WHERE issuer_id = :issuer_id ORDER BY endpoint_id;

-- name: save_endpoint
-- Write what may change of an endpoint.
UPDATE endpoint SET state = :state, reason = :reason, config = :config, secret_box = :secret_box, version = :version
WHERE issuer_id = :issuer_id AND endpoint_id = :endpoint_id;

-- ── the ledger ──

-- name: list_open
-- What was not delivered to an endpoint, in one state, oldest first.
SELECT notification_id, endpoint_id, card_id, operation_id, operation, sequence, state, round, attempts, due_at, settled_at, cause, attempt_ids
FROM notification
    INDEXED BY notification_open -- sqlite
WHERE issuer_id = :issuer_id AND endpoint_id = :endpoint_id AND state = :state AND notification_id > :after AND notification_id < :before
    AND state IN ('PENDING', 'REFUSED', 'DEAD', 'WITHHELD')
    AND (:correlation_id = '' OR substr(cause || ' ', 1, length(:correlation_id) + 1) = :correlation_id || ' ')
ORDER BY notification_id LIMIT :most;

-- name: list_notifications
-- An issuer's notifications, oldest first; of one endpoint or state, or of all where that is empty.
SELECT notification_id, endpoint_id, card_id, operation_id, operation, sequence, state, round, attempts, due_at, settled_at, cause, attempt_ids
FROM notification
WHERE issuer_id = :issuer_id AND notification_id > :after AND notification_id < :before
    AND (:endpoint_id = '' OR endpoint_id = :endpoint_id) AND (:state = '' OR state = :state)
    AND (:correlation_id = '' OR substr(cause || ' ', 1, length(:correlation_id) + 1) = :correlation_id || ' ')
ORDER BY notification_id LIMIT :most;

-- name: list_of_card
-- The notifications of one card, oldest first.
SELECT notification_id, endpoint_id, card_id, operation_id, operation, sequence, state, round, attempts, due_at, settled_at, cause, attempt_ids
FROM notification
    INDEXED BY notification_order -- sqlite
WHERE issuer_id = :issuer_id AND card_id = :card_id AND notification_id > :after AND notification_id < :before
    AND (:endpoint_id = '' OR endpoint_id = :endpoint_id) AND (:state = '' OR state = :state)
    AND (:correlation_id = '' OR substr(cause || ' ', 1, length(:correlation_id) + 1) = :correlation_id || ' ')
ORDER BY notification_id LIMIT :most;

-- name: list_by_id
-- These notifications.
SELECT n.notification_id, n.endpoint_id, n.card_id, n.operation_id, n.operation, n.sequence, n.state, n.round, n.attempts, n.due_at, n.settled_at, n.cause, n.attempt_ids
FROM rows(issuer_id text, notification_id text) AS v, notification AS n
WHERE n.issuer_id = v.issuer_id AND n.notification_id = v.notification_id;

-- name: picture_sent
-- What a notification says.
SELECT picture FROM notification WHERE issuer_id = :issuer_id AND notification_id = :notification_id;

-- name: attempts_by_id
-- These attempts.
SELECT a.attempt_id, a.at, a.carried, a.http_status, a.failure, a.ms, a.answer
FROM rows(issuer_id text, attempt_id text) AS v, attempt AS a
WHERE a.issuer_id = v.issuer_id AND a.attempt_id = v.attempt_id;

-- name: lock_counter
-- Let no change of an issuer come between what is read here and what is written.
SELECT change_no FROM issuer_counter WHERE issuer_id = :issuer_id
FOR UPDATE -- postgres
;

-- name: sent_of_orders
-- Every notification of these orders to these endpoints.
SELECT n.notification_id, n.endpoint_id, n.card_id, n.operation_id, n.sequence, n.state, n.lot, n.round, n.attempt_ids
FROM rows(issuer_id text, card_id text, operation_id text, endpoint_id text) AS v, notification AS n
    INDEXED BY notification_order -- sqlite
WHERE n.issuer_id = v.issuer_id AND n.card_id = v.card_id AND n.operation_id = v.operation_id AND n.endpoint_id = v.endpoint_id;

-- name: newest_of_orders
-- The pictures of these orders.
SELECT o.operation_id, o.sequence, o.picture, o.strict_length, o.cause FROM rows(issuer_id text, card_id text, operation_id text) AS v, operation AS o
WHERE o.issuer_id = v.issuer_id AND o.card_id = v.card_id AND o.operation_id = v.operation_id;

-- name: requeue
-- Send these again: the newest picture in the place of the one that is stored, also where that was to go out exactly.
UPDATE notification SET state = 'PENDING', lot = 1, round = notification.round + 1, attempts = 0, due_at = v.due_at, settled_at = NULL,
    sequence = v.sequence, picture = v.picture, strict_length = v.strict_length, cause = v.cause
FROM rows(issuer_id text, notification_id text, round bigint, due_at bigint, sequence bigint, picture bytea, strict_length bigint, cause text) AS v
WHERE notification.issuer_id = v.issuer_id AND notification.notification_id = v.notification_id
    AND notification.round = v.round AND (notification.state <> 'PENDING' OR notification.lot = 2)
RETURNING notification.notification_id;

-- name: requeue_exactly
-- Send these again as they are stored.
UPDATE notification SET state = 'PENDING', lot = 2, round = notification.round + 1, attempts = 0, due_at = v.due_at, settled_at = NULL
FROM rows(issuer_id text, notification_id text, round bigint, due_at bigint) AS v
WHERE notification.issuer_id = v.issuer_id AND notification.notification_id = v.notification_id
    AND notification.round = v.round AND notification.state <> 'PENDING'
RETURNING notification.notification_id;

-- name: supersede_stuck
-- A newer picture is on its way in place of these.
UPDATE notification SET state = 'SUPERSEDED', settled_at = v.now
FROM rows(issuer_id text, notification_id text, now bigint) AS v
WHERE notification.issuer_id = v.issuer_id AND notification.notification_id = v.notification_id
    AND notification.state IN ('REFUSED', 'DEAD', 'WITHHELD');

-- name: orders_after
-- An issuer's orders by their newest change.
SELECT change_no, card_id, operation_id, sequence, picture, strict_length, changed_at, cause FROM operation
WHERE issuer_id = :issuer_id AND change_no > :since ORDER BY change_no LIMIT :most;

-- ── pages ──

-- name: issuers
-- The issuers of which anything ever changed.
SELECT issuer_id FROM issuer_counter WHERE issuer_id > :after ORDER BY issuer_id LIMIT :most;

-- name: standing
-- How many of an issuer's orders are at each place.
SELECT place, count FROM tally WHERE issuer_id = :issuer_id AND what = 'standing' AND hour = 0;

-- name: passages
-- How many of an issuer's orders came to each place in a range of hours, in groups of so many hours.
SELECT hour / :each, place, sum(count) FROM tally
WHERE issuer_id = :issuer_id AND what = 'passage' AND hour >= :since AND hour < :until
GROUP BY hour / :each, place ORDER BY 1, 2 LIMIT 20000;

-- name: dwells
-- How long an issuer's orders dwelt at each place, in quarters of a business day.
SELECT place, site, channel, carrier, value, count FROM tally
WHERE issuer_id = :issuer_id AND what = 'dwell' AND hour = 0
ORDER BY place, site, channel, carrier, value LIMIT 100000;

-- name: promises
-- How an issuer's due dates were kept since an hour, by site and days late.
SELECT site, value, sum(count) FROM tally WHERE issuer_id = :issuer_id AND what = 'promise' AND hour >= :since
GROUP BY site, value ORDER BY site, value LIMIT 20000;

-- name: next_group
-- The group of watched orders after a given one: what one dwell is learned of. Each part is one look into the index.
SELECT g.place, g.site, g.channel, g.carrier FROM (
    SELECT * FROM (
        SELECT place, site, channel, carrier FROM operation
            INDEXED BY operation_watched -- sqlite
        WHERE issuer_id = :issuer_id AND watched = 1 AND place = :place AND site = :site AND channel = :channel AND carrier > :carrier
        ORDER BY place, site, channel, carrier LIMIT 1
    ) AS w
    UNION ALL
    SELECT * FROM (
        SELECT place, site, channel, carrier FROM operation
            INDEXED BY operation_watched -- sqlite
        WHERE issuer_id = :issuer_id AND watched = 1 AND place = :place AND site = :site AND channel > :channel
        ORDER BY place, site, channel, carrier LIMIT 1
    ) AS w
    UNION ALL
    SELECT * FROM (
        SELECT place, site, channel, carrier FROM operation
            INDEXED BY operation_watched -- sqlite
        WHERE issuer_id = :issuer_id AND watched = 1 AND place = :place AND site > :site
        ORDER BY place, site, channel, carrier LIMIT 1
    ) AS w
    UNION ALL
    SELECT * FROM (
        SELECT place, site, channel, carrier FROM operation
            INDEXED BY operation_watched -- sqlite
        WHERE issuer_id = :issuer_id AND watched = 1 AND place > :place
        ORDER BY place, site, channel, carrier LIMIT 1
    ) AS w
) AS g ORDER BY g.place, g.site, g.channel, g.carrier LIMIT 1;

-- name: longest_in_group
-- The watched orders of a group that have been where they are since before an instant, longest first.
SELECT card_id, operation_id, since FROM operation
    INDEXED BY operation_watched -- sqlite
WHERE issuer_id = :issuer_id AND place = :place AND site = :site AND channel = :channel AND carrier = :carrier
    AND watched = 1 AND since < :before
ORDER BY since LIMIT :most;

-- name: add_sightings
-- Note what nobody has published, where it was not noted before.
INSERT INTO sighting (kind, name, source, first_at, sample)
SELECT v.kind, v.name, v.source, v.first_at, v.sample
FROM rows(kind text, name text, source text, first_at bigint, sample bytea) AS v
WHERE true ON CONFLICT DO NOTHING;

-- name: sightings
-- What nobody has published, newest first.
SELECT kind, name, source, first_at, sample FROM sighting ORDER BY first_at DESC, kind, name LIMIT :most;

-- name: thresholds
-- What people have set as the usual time at an issuer's places.
SELECT place, site, channel, carrier, quarters FROM threshold WHERE issuer_id = :issuer_id
ORDER BY place, site, channel, carrier LIMIT 1000;

-- name: set_threshold
-- Set the usual time at a place; empty members stand for all.
INSERT INTO threshold (issuer_id, place, site, channel, carrier, quarters)
VALUES (:issuer_id, :place, :site, :channel, :carrier, :quarters)
ON CONFLICT (issuer_id, place, site, channel, carrier) DO UPDATE SET quarters = excluded.quarters;

-- name: drop_threshold
-- Let the usual time at a place be learned again.
DELETE FROM threshold
WHERE issuer_id = :issuer_id AND place = :place AND site = :site AND channel = :channel AND carrier = :carrier;

-- name: cards_by_request
-- The cards that an issuer ordered by a request id.
SELECT card_id FROM operation WHERE issuer_id = :issuer_id AND request_id = :request_id ORDER BY card_id LIMIT 100;

-- name: cards_by_number
-- The issuer's cards that travelled in a parcel, by its number.
SELECT DISTINCT card_id FROM parcel_link
WHERE issuer_id = :issuer_id AND tracking_number = :tracking_number ORDER BY card_id LIMIT 1000;

-- name: cards_in_parcel
-- The issuer's own cards that travelled in a parcel.
SELECT card_id FROM parcel_link
WHERE carrier = :carrier AND tracking_number = :tracking_number AND issuer_id = :issuer_id ORDER BY card_id LIMIT :most;

-- name: count_open
-- How many notifications of an endpoint are in one state that is not delivered, counted up to a limit, and the oldest.
SELECT count(*), min(w.notification_id) FROM (
    SELECT notification_id FROM notification
        INDEXED BY notification_open -- sqlite
    WHERE issuer_id = :issuer_id AND endpoint_id = :endpoint_id AND state = :state
        AND state IN ('PENDING', 'REFUSED', 'DEAD', 'WITHHELD')
    ORDER BY notification_id LIMIT :most
) AS w;

-- name: cards_by_beginning
-- The issuer's cards whose ids begin with a text.
SELECT card_id FROM card WHERE issuer_id = :issuer_id AND card_id >= :first AND card_id < :last
ORDER BY card_id LIMIT :most;

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

-- name: old_tallies
-- What was counted of an issuer before an hour.
SELECT issuer_id, what, hour, place, site, channel, carrier, value FROM tally
WHERE issuer_id = :issuer_id AND what = :what AND hour < :before
ORDER BY hour, place, site, channel, carrier, value LIMIT :most;

-- name: drop_tallies
-- Forget these counts.
DELETE FROM tally WHERE (issuer_id, what, hour, place, site, channel, carrier, value) IN (
    SELECT v.issuer_id, v.what, v.hour, v.place, v.site, v.channel, v.carrier, v.value
    FROM rows(issuer_id text, what text, hour bigint, place text, site text, channel text, carrier text, value bigint) AS v
);

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

-- name: unlinked_parcels
-- Those of the parcels that no card travels in.
SELECT v.carrier, v.tracking_number FROM rows(carrier text, tracking_number text) AS v WHERE NOT EXISTS (
    SELECT 1 FROM parcel_link AS l WHERE l.carrier = v.carrier AND l.tracking_number = v.tracking_number
);

-- name: pictures_sent_of_card
-- What the notifications of a card say.
SELECT notification_id, picture, strict_length FROM notification
    INDEXED BY notification_order -- sqlite
WHERE issuer_id = :issuer_id AND card_id = :card_id;

-- name: rewrite_operations
-- Write pictures anew from which something was erased.
UPDATE operation SET picture = v.picture, strict_length = v.strict_length, etag = v.etag
FROM rows(issuer_id text, card_id text, operation_id text, picture bytea, strict_length bigint, etag text) AS v
WHERE operation.issuer_id = v.issuer_id AND operation.card_id = v.card_id AND operation.operation_id = v.operation_id;

-- name: rewrite_notifications
-- The same for what was sent or is to be.
UPDATE notification SET picture = v.picture, strict_length = v.strict_length
FROM rows(issuer_id text, notification_id text, picture bytea, strict_length bigint) AS v
WHERE notification.issuer_id = v.issuer_id AND notification.notification_id = v.notification_id;

-- name: drop_links
-- Forget what cards without an order travelled in.
DELETE FROM parcel_link
WHERE (issuer_id, card_id) IN (SELECT v.issuer_id, v.card_id FROM rows(issuer_id text, card_id text) AS v);

-- name: old_notifications
-- Notifications in one state that were settled long ago.
SELECT issuer_id, notification_id FROM notification
WHERE state = :state AND settled_at < :before ORDER BY settled_at LIMIT :most;

-- name: old_withheld
-- Notifications of one endpoint that have been withheld for long.
SELECT issuer_id, notification_id FROM notification
    INDEXED BY notification_open -- sqlite
WHERE issuer_id = :issuer_id AND endpoint_id = :endpoint_id AND state = 'WITHHELD' AND notification_id < :before
    AND state IN ('PENDING', 'REFUSED', 'DEAD', 'WITHHELD')
ORDER BY notification_id LIMIT :most;

-- name: drop_notifications
-- Forget these, unless they are on their way again.
DELETE FROM notification WHERE state <> 'PENDING'
    AND (issuer_id, notification_id) IN (SELECT v.issuer_id, v.notification_id FROM rows(issuer_id text, notification_id text) AS v);

-- name: old_attempts
-- An issuer's calls before a given one.
SELECT issuer_id, attempt_id FROM attempt
WHERE issuer_id = :issuer_id AND attempt_id < :before ORDER BY attempt_id LIMIT :most;

-- name: drop_attempts
-- Forget these.
DELETE FROM attempt
WHERE (issuer_id, attempt_id) IN (SELECT v.issuer_id, v.attempt_id FROM rows(issuer_id text, attempt_id text) AS v);

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
