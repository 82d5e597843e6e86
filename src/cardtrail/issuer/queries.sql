-- The mirror's queries, one text for both engines. How rows are given in sets is told in cardtrail/db/sql.py.

-- name: find_meta
-- A single value by its name.
SELECT value FROM meta WHERE name = :name;

-- name: set_meta
-- Write a single value.
INSERT INTO meta (name, value) VALUES (:name, :value)
ON CONFLICT (name) DO UPDATE SET value = excluded.value;

-- name: clock
-- Now in microseconds, by the one clock that all processes share.
SELECT CAST(extract(epoch FROM clock_timestamp()) * 1000000 AS bigint); -- postgres
SELECT CAST((julianday('now') - 2440587.5) * 86400000000 AS INTEGER); -- sqlite

-- ── writing to an issuer's mirror ──

-- name: add_issuer
-- Begin an issuer's mirror.
INSERT INTO issuer (issuer_id) VALUES (:issuer_id) ON CONFLICT (issuer_id) DO NOTHING;

-- name: lock_issuer
-- The count of an issuer's mirror, held until the commit: whoever writes to it does so alone.
SELECT number FROM issuer WHERE issuer_id = :issuer_id
FOR UPDATE -- postgres
;

-- name: find_issuer
-- How far an issuer's mirror is.
SELECT number, cursor, pulled_at, mark, heard_at FROM issuer WHERE issuer_id = :issuer_id;

-- name: set_number
-- Count on.
UPDATE issuer SET number = :number WHERE issuer_id = :issuer_id;

-- name: set_heard
-- Count on, and remember that a message came.
UPDATE issuer SET number = :number, heard_at = :heard_at, mark = COALESCE(:mark, mark) WHERE issuer_id = :issuer_id;

-- name: add_heard
-- Count a message in its hour.
INSERT INTO heard (issuer_id, hour, messages) VALUES (:issuer_id, :hour, :messages)
ON CONFLICT (issuer_id, hour) DO UPDATE SET messages = heard.messages + excluded.messages;

-- name: list_heard
-- The hours since one in which messages came.
SELECT hour, messages FROM heard WHERE issuer_id = :issuer_id AND hour >= :hour ORDER BY hour;

-- name: set_cursor
-- Remember where to read on in the feed; `pulled_at` is null but for a page that was the last.
UPDATE issuer SET cursor = :cursor, pulled_at = COALESCE(:pulled_at, pulled_at) WHERE issuer_id = :issuer_id;

-- name: cards
-- What is known of cards themselves.
SELECT c.card_id, c.state, c.priority, c.due_at, c.asked_no, c.seen_at, c.checked_at, c.asks, c.known_at, c.expected_at, c.answer,
    c.digest, c.knowledge
FROM rows(issuer_id text, card_id text) AS v, card AS c
WHERE c.issuer_id = v.issuer_id AND c.card_id = v.card_id;

-- name: operations
-- What is known of the orders of cards, without pictures.
SELECT o.card_id, o.operation_id, o.operation, o.operation_status, o.stage, o.shipment_status, o.start_time,
    o.sequence, o.number, o.source, o.asked_at, o.learned_at, o.doubtful, o.why, o.content,
    o.held, o.tracked, o.due_date, o.timeline, o.carrier, o.tracking_number, o.look_from, o.request_id,
    o.forgotten_at
FROM rows(issuer_id text, card_id text) AS v, operation AS o
WHERE o.issuer_id = v.issuer_id AND o.card_id = v.card_id;

-- name: put_cards
-- Keep what is known of cards.
INSERT INTO card (issuer_id, card_id, state, priority, due_at, asked_no, seen_at, checked_at, asks, known_at,
    expected_at, answer, digest, knowledge)
SELECT v.issuer_id, v.card_id, v.state, v.priority, v.due_at, v.asked_no, v.seen_at, v.checked_at, v.asks, v.known_at,
    v.expected_at, v.answer, v.digest, v.knowledge
FROM rows(issuer_id text, card_id text, state text, priority int, due_at bigint, asked_no bigint, seen_at bigint,
    checked_at bigint, asks int, known_at bigint, expected_at bigint, answer text, digest bytea, knowledge bytea) AS v
WHERE true
ON CONFLICT (issuer_id, card_id) DO UPDATE SET
    state = excluded.state, priority = excluded.priority, due_at = excluded.due_at, asked_no = excluded.asked_no,
    seen_at = excluded.seen_at, checked_at = excluded.checked_at, asks = excluded.asks, expected_at = excluded.expected_at,
    answer = excluded.answer, digest = excluded.digest, knowledge = excluded.knowledge;

-- name: confirm_cards
-- Cards that were asked for and are as they were, unless something was heard of them meanwhile.
UPDATE card AS c SET state = v.state, priority = v.priority, due_at = v.due_at, asked_no = v.asked_no,
    seen_at = v.seen_at, checked_at = v.seen_at, asks = v.asks, answer = 'found'
FROM rows(issuer_id text, card_id text, digest bytea, state text, priority int, due_at bigint, asked_no bigint,
    seen_at bigint, asks int) AS v
WHERE c.issuer_id = v.issuer_id AND c.card_id = v.card_id AND c.digest = v.digest;

-- name: put_operations
-- Keep the newest picture of orders.
INSERT INTO operation (issuer_id, card_id, operation_id, operation, operation_status, stage, shipment_status, start_time,
    sequence, number, source, asked_at, learned_at, doubtful, why, content, held, tracked, due_date, timeline, picture,
    carrier, tracking_number, look_from, request_id, forgotten_at)
SELECT v.issuer_id, v.card_id, v.operation_id, v.operation, v.operation_status, v.stage, v.shipment_status, v.start_time,
    v.sequence, v.number, v.source, v.asked_at, v.learned_at, v.doubtful, v.why, v.content, v.held, v.tracked,
    v.due_date, v.timeline, v.picture, v.carrier, v.tracking_number, v.look_from, v.request_id,
    v.forgotten_at
FROM rows(issuer_id text, card_id text, operation_id text, operation text, operation_status text, stage text,
    shipment_status text, start_time bigint, sequence bigint, number bigint, source text, asked_at bigint,
    learned_at bigint, doubtful int, why text, content bytea, held int, tracked int, due_date text, timeline bytea,
    picture bytea, carrier text, tracking_number text, look_from bigint, request_id text,
    forgotten_at bigint) AS v
WHERE true
ON CONFLICT (issuer_id, card_id, operation_id) DO UPDATE SET
    operation = excluded.operation, operation_status = excluded.operation_status, stage = excluded.stage,
    shipment_status = excluded.shipment_status, start_time = excluded.start_time, sequence = excluded.sequence,
    number = excluded.number, source = excluded.source, asked_at = excluded.asked_at, learned_at = excluded.learned_at,
    doubtful = excluded.doubtful, why = excluded.why, content = excluded.content, held = excluded.held,
    tracked = excluded.tracked, due_date = excluded.due_date, timeline = excluded.timeline, picture = excluded.picture,
    carrier = excluded.carrier, tracking_number = excluded.tracking_number,
    look_from = excluded.look_from, request_id = excluded.request_id,
    forgotten_at = excluded.forgotten_at;

-- name: confirm_operations
-- Keep what an observation changes that says nothing new: when it was confirmed, and late notifications.
UPDATE operation AS o SET number = v.number, asked_at = v.asked_at, doubtful = v.doubtful, sequence = v.sequence,
    timeline = v.timeline, look_from = v.look_from
FROM rows(issuer_id text, card_id text, operation_id text, number bigint, asked_at bigint, doubtful int,
    sequence bigint, timeline bytea, look_from bigint) AS v
WHERE o.issuer_id = v.issuer_id AND o.card_id = v.card_id AND o.operation_id = v.operation_id;

-- name: add_changes
-- Append to the log of changes.
INSERT INTO change (issuer_id, number, card_id, operation_id, outcome, source, why, learned_at, wrong_since,
    dwelt, since, stage_before, shipment_before, stage, shipment_status, picture)
SELECT v.issuer_id, v.number, v.card_id, v.operation_id, v.outcome, v.source, v.why, v.learned_at, v.wrong_since,
    v.dwelt, v.since, v.stage_before, v.shipment_before, v.stage, v.shipment_status, v.picture
FROM rows(issuer_id text, number bigint, card_id text, operation_id text, outcome text, source text, why text,
    learned_at bigint, wrong_since bigint, dwelt text, since bigint, stage_before text, shipment_before text, stage text, shipment_status text,
    picture bytea) AS v;

-- name: add_tallies
-- Count on.
INSERT INTO tally (issuer_id, day, word, told, count)
SELECT v.issuer_id, v.day, v.word, v.told, v.count
FROM rows(issuer_id text, day int, word text, told text, count bigint) AS v
WHERE true
ON CONFLICT (issuer_id, day, word, told) DO UPDATE SET count = tally.count + excluded.count;

-- name: add_standing
-- Count orders at the places to which they came, and no longer where they were.
INSERT INTO standing (issuer_id, place, count)
SELECT v.issuer_id, v.place, v.count FROM rows(issuer_id text, place text, count bigint) AS v
WHERE true
ON CONFLICT (issuer_id, place) DO UPDATE SET count = standing.count + excluded.count;

-- name: add_sightings
-- Keep what the contract does not name, if it is the first sight of it.
INSERT INTO sighting (issuer_id, kind, name, first_at, sample)
SELECT v.issuer_id, v.kind, v.name, v.first_at, v.sample
FROM rows(issuer_id text, kind text, name text, first_at bigint, sample bytea) AS v
WHERE true
ON CONFLICT (issuer_id, kind, name) DO NOTHING;

-- ── reading ──

-- name: pictures_of_card
-- The pictures of a card's orders, newest order first.
SELECT o.card_id, o.operation_id, o.operation, o.operation_status, o.stage, o.shipment_status, o.start_time,
    o.sequence, o.number, o.source, o.asked_at, o.learned_at, o.doubtful, o.why, o.content,
    o.held, o.tracked, o.due_date, o.timeline, o.carrier, o.tracking_number, o.look_from, o.request_id,
    o.forgotten_at, o.picture
FROM operation AS o WHERE o.issuer_id = :issuer_id AND o.card_id = :card_id
ORDER BY COALESCE(o.start_time, 0) DESC, o.number DESC;

-- name: clear_standing
-- Forget how many orders are where, to count them anew.
DELETE FROM standing WHERE issuer_id = :issuer_id;

-- name: recount
-- Count an issuer's orders by place: reads them all.
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
        AND issuer_id = :issuer_id
) AS o
GROUP BY 1, 2;

-- name: standing
-- How many of an issuer's orders are at each place.
SELECT place, count FROM standing WHERE issuer_id = :issuer_id;

-- name: cards_by_beginning
-- The issuer's cards whose ids begin with a text.
SELECT card_id FROM card WHERE issuer_id = :issuer_id AND card_id >= :first AND card_id < :last
ORDER BY card_id LIMIT :most;

-- name: cards_by_request
-- The cards that an issuer ordered by a request id.
SELECT DISTINCT card_id FROM operation
WHERE issuer_id = :issuer_id AND request_id = :request_id AND length(request_id) <= 128 ORDER BY card_id LIMIT :most;

-- name: cards_by_number
-- The issuer's cards of which an order names a parcel's number.
SELECT DISTINCT card_id FROM operation
WHERE issuer_id = :issuer_id AND tracking_number = :tracking_number AND length(tracking_number) <= 128
ORDER BY card_id LIMIT :most;

-- name: cards_in_parcel
-- The issuer's cards of which an order names a parcel.
SELECT DISTINCT card_id FROM operation
WHERE issuer_id = :issuer_id AND tracking_number = :tracking_number AND length(tracking_number) <= 128
    AND COALESCE(carrier, '') = :carrier
ORDER BY card_id LIMIT :most;

-- name: card
-- What is known of a card itself.
SELECT card_id, state, priority, due_at, asked_no, seen_at, checked_at, asks, known_at, expected_at, answer, digest,
    knowledge
FROM card WHERE issuer_id = :issuer_id AND card_id = :card_id;

-- name: changes_after
-- The log of changes after a number, in commit order.
SELECT number, card_id, operation_id, outcome, source, why, learned_at, wrong_since, stage_before, shipment_before,
    stage, shipment_status, picture
FROM change WHERE issuer_id = :issuer_id AND number > :after ORDER BY number LIMIT :most;

-- name: count_open
-- How many cards are expected or open, and were not asked for since a number.
SELECT count(*) FROM card WHERE issuer_id = :issuer_id AND state IN ('expected', 'open') AND asked_no < :before;

-- name: sweep_cards
-- The open cards that were not asked for since a number, a page at a time.
SELECT card_id, asked_no, digest, asks, knowledge FROM card
WHERE issuer_id = :issuer_id AND state IN ('expected', 'open') AND card_id > :after_card AND asked_no < :before
ORDER BY card_id LIMIT :most;

-- name: unseen_longest
-- The open cards that were neither told of nor asked for since a time, longest first.
SELECT card_id, asked_no, digest, asks, knowledge FROM card
WHERE issuer_id = :issuer_id AND state IN ('expected', 'open') AND seen_at <= :before
ORDER BY seen_at, card_id LIMIT :most;

-- name: mend_times
-- Cards of a clock that was ahead: what was planned by it cannot be believed.
UPDATE card SET seen_at = :now, due_at = :now
WHERE issuer_id = :issuer_id AND state IN ('expected', 'open') AND seen_at > :ahead;

-- name: due_cards
-- The cards of one priority that are due, longest first.
SELECT card_id, asked_no, digest, asks, knowledge FROM card
WHERE issuer_id = :issuer_id AND state IN ('expected', 'open') AND priority = :priority AND due_at <= :now
ORDER BY due_at, card_id LIMIT :most;

-- name: failed_cards
-- The cards that were not answered when they were asked for last, before a number, and that are due again.
SELECT card_id, asked_no, digest, asks, knowledge FROM card
WHERE issuer_id = :issuer_id AND state IN ('expected', 'open') AND answer = 'failed' AND asked_no < :before
    AND due_at <= :now
ORDER BY due_at, card_id LIMIT :most;

-- name: unseen_cards
-- Cards with an order that was not confirmed since a number and that were not asked for since, a page at a time; for a
-- feed that was read anew.
SELECT DISTINCT o.card_id FROM operation AS o
WHERE o.issuer_id = :issuer_id AND o.number < :before AND o.card_id > :after_card
    AND o.operation IN ('PRODUCE', 'STANDALONE_TRACKING')
    AND NOT EXISTS (
        SELECT 1 FROM card AS c WHERE c.issuer_id = o.issuer_id AND c.card_id = o.card_id AND c.asked_no >= :before
    )
ORDER BY o.card_id LIMIT :most;

-- name: doubtful_orders
-- Cards with an order, not the newest perhaps, that has become doubtful since the card was asked for.
SELECT DISTINCT o.card_id FROM operation AS o JOIN card AS c ON c.issuer_id = o.issuer_id AND c.card_id = o.card_id
WHERE o.issuer_id = :issuer_id AND o.doubtful = 1 AND o.card_id > :after_card
    AND (o.number >= c.asked_no OR c.answer = 'failed')
ORDER BY o.card_id LIMIT :most;

-- ── forgetting ──

-- name: forget_operations
-- Keep pictures without what was erased; which parcel it was is not known any more.
UPDATE operation AS o SET picture = v.picture, content = v.content, tracking_number = NULL, forgotten_at = v.forgotten_at
FROM rows(issuer_id text, card_id text, operation_id text, picture bytea, content bytea, forgotten_at bigint) AS v
WHERE o.issuer_id = v.issuer_id AND o.card_id = v.card_id AND o.operation_id = v.operation_id;

-- name: forget_digest
-- Forget which answer a card was confirmed by.
UPDATE card SET digest = NULL WHERE issuer_id = :issuer_id AND card_id = :card_id;

-- name: changes_of_card
-- A card's changes in a range of numbers.
SELECT number, picture FROM change
WHERE issuer_id = :issuer_id AND number > :after AND number <= :until AND card_id = :card_id ORDER BY number;

-- name: forget_changes
-- Keep the pictures of changes without what was erased.
UPDATE change AS c SET picture = v.picture
FROM rows(issuer_id text, number bigint, picture bytea) AS v
WHERE c.issuer_id = v.issuer_id AND c.number = v.number;

-- name: samples_after
-- The samples of what was not understood, a page at a time.
SELECT kind, name, sample FROM sighting
WHERE issuer_id = :issuer_id AND (kind > :kind OR (kind = :kind AND name > :name)) ORDER BY kind, name LIMIT :most;

-- name: forget_samples
-- Keep what was not understood without its sample.
UPDATE sighting AS s SET sample = v.sample
FROM rows(issuer_id text, kind text, name text, sample bytea) AS v
WHERE s.issuer_id = v.issuer_id AND s.kind = v.kind AND s.name = v.name;

-- ── passes ──

-- name: open_pass
-- The pass of a kind that has not ended.
SELECT start_no, kind, began_at, until, calls, asked, unknown, failed, repaired FROM pass
WHERE issuer_id = :issuer_id AND kind = :kind AND ended_at IS NULL ORDER BY start_no DESC LIMIT 1;

-- name: begin_pass
-- Begin a pass.
INSERT INTO pass (issuer_id, start_no, kind, began_at, until)
VALUES (:issuer_id, :start_no, :kind, :began_at, :until);

-- name: add_to_pass
-- Keep what a pass has done.
UPDATE pass SET calls = calls + :calls, asked = asked + :asked, unknown = unknown + :unknown, failed = failed + :failed,
    repaired = repaired + :repaired, until = :until
WHERE issuer_id = :issuer_id AND start_no = :start_no;

-- name: end_pass
-- The pass of a kind has ended.
UPDATE pass SET ended_at = :ended_at WHERE issuer_id = :issuer_id AND kind = :kind AND ended_at IS NULL;

-- name: list_passes
-- Passes that began since a time, newest first.
SELECT start_no, kind, began_at, ended_at, calls, asked, unknown, failed, repaired FROM pass
WHERE issuer_id = :issuer_id AND began_at >= :since ORDER BY start_no DESC LIMIT :most;

-- ── the lease ──

-- name: acquire_lease
-- Hold an issuer's mirror for reconciling, unless somebody else does.
INSERT INTO lease (issuer_id, holder, fence, until) VALUES (:issuer_id, :holder, 1, :until)
ON CONFLICT (issuer_id) DO UPDATE SET holder = excluded.holder, fence = lease.fence + 1, until = excluded.until
WHERE lease.until <= :clock OR lease.until > :too_far OR lease.holder = excluded.holder
RETURNING fence;

-- name: renew_lease
-- Hold on to it.
UPDATE lease SET until = :until WHERE issuer_id = :issuer_id AND fence = :fence;

-- name: release_lease
-- Let go.
UPDATE lease SET until = 0 WHERE issuer_id = :issuer_id AND fence = :fence;

-- name: find_lease
-- Who holds it, with which fence.
SELECT holder, fence, until FROM lease WHERE issuer_id = :issuer_id;

-- ── hooks ──

-- name: find_hook
-- Up to which change a hook was told.
SELECT number FROM hook WHERE issuer_id = :issuer_id AND name = :name;

-- name: set_hook
-- A hook was told; one that tells twice at a time never goes back.
INSERT INTO hook (issuer_id, name, number, told_at) VALUES (:issuer_id, :name, :number, :told_at)
ON CONFLICT (issuer_id, name) DO UPDATE SET
    number = CASE WHEN hook.number > excluded.number THEN hook.number ELSE excluded.number END,
    told_at = excluded.told_at;

-- name: list_hooks
-- How far every hook of an issuer is.
SELECT name, number, told_at FROM hook WHERE issuer_id = :issuer_id ORDER BY name;

-- name: prune_changes
-- Forget the oldest changes, as far as they are old and every hook was told of them, a few at a time.
DELETE FROM change WHERE issuer_id = :issuer_id AND number IN (
    SELECT o.number FROM (
        SELECT number, learned_at FROM change WHERE issuer_id = :issuer_id ORDER BY number LIMIT :most
    ) AS o
    WHERE o.learned_at < :before
        AND o.number <= COALESCE((SELECT min(h.number) FROM hook AS h WHERE h.issuer_id = :issuer_id), o.number));

-- ── dwell times ──

-- name: clean_dwells
-- Dwells of which both ends were notified, from the log of changes after a number.
SELECT number, dwelt, since, learned_at FROM change
WHERE issuer_id = :issuer_id AND number > :after ORDER BY number LIMIT :most;

-- name: find_dwells
-- What was learned of dwell times.
SELECT name, counted FROM dwell WHERE issuer_id = :issuer_id;

-- name: put_dwells
-- Keep what was learned of dwell times.
INSERT INTO dwell (issuer_id, name, counted)
SELECT v.issuer_id, v.name, v.counted FROM rows(issuer_id text, name text, counted bytea) AS v WHERE true
ON CONFLICT (issuer_id, name) DO UPDATE SET counted = excluded.counted;

-- name: put_spent
-- Keep what was spent of the day's calls.
INSERT INTO spent (issuer_id, usage) VALUES (:issuer_id, :usage)
ON CONFLICT (issuer_id) DO UPDATE SET usage = excluded.usage;

-- name: find_spent
-- What was spent of the day's calls.
SELECT usage FROM spent WHERE issuer_id = :issuer_id;

-- name: forget_cursor
-- Read the feed from its beginning next time.
UPDATE issuer SET cursor = NULL WHERE issuer_id = :issuer_id;

-- name: put_bound
-- Keep the bound that is stated today, and the worst that was seen.
INSERT INTO bound (issuer_id, day, stated, worst) VALUES (:issuer_id, :day, :stated, :worst)
ON CONFLICT (issuer_id, day) DO UPDATE SET
    stated = CASE WHEN bound.stated > excluded.stated THEN bound.stated ELSE excluded.stated END,
    worst = CASE WHEN bound.worst > excluded.worst THEN bound.worst ELSE excluded.worst END;

-- name: oldest_check
-- When the open card was last told or asked about of which that is longest ago.
SELECT min(seen_at) FROM card WHERE issuer_id = :issuer_id AND state IN ('expected', 'open');

-- name: count_doubtful
-- How many open cards are doubtful.
SELECT count(*) FROM card
    INDEXED BY card_due -- sqlite
WHERE issuer_id = :issuer_id AND state IN ('expected', 'open') AND priority = 1;

-- name: count_doubtful_orders
-- How many orders are doubtful, counted no further than the limit.
SELECT count(*) FROM (
    SELECT 1 FROM operation
        INDEXED BY operation_doubtful -- sqlite
    WHERE issuer_id = :issuer_id AND doubtful = 1 LIMIT :most
) AS o;

-- name: newest_bound
-- How long the mirror may be wrong at most, and was, on the last day that this was stated.
SELECT stated, worst, day FROM bound WHERE issuer_id = :issuer_id ORDER BY day DESC LIMIT 1;

-- name: passed
-- When a pass came to its end last.
SELECT max(ended_at) FROM pass WHERE issuer_id = :issuer_id;

-- name: count_looks
-- How many cards wait for their last look, which is due, counted no further than the limit.
SELECT count(*) FROM (
    SELECT 1 FROM card
        INDEXED BY card_due -- sqlite
    WHERE issuer_id = :issuer_id AND state IN ('expected', 'open') AND priority = 5 AND due_at <= :now LIMIT :most
) AS o;

-- name: count_sightings
-- How many sightings an issuer has.
SELECT count(*) FROM sighting WHERE issuer_id = :issuer_id;

-- ── the drift report ──

-- name: wrong_changes
-- Changes that an answer told first, learned since a time, newest first.
SELECT learned_at, wrong_since, card_id, operation_id, outcome, stage_before, shipment_before, stage, shipment_status
FROM change WHERE issuer_id = :issuer_id AND wrong_since IS NOT NULL AND learned_at >= :since
ORDER BY learned_at DESC LIMIT :most;

-- name: list_tallies
-- How often each word was reached since a day, by how it was told.
SELECT day, word, told, count FROM tally WHERE issuer_id = :issuer_id AND day >= :day ORDER BY day, word, told;

-- name: list_bounds
-- How long the mirror might be wrong at most, and was, since a day.
SELECT day, stated, worst FROM bound WHERE issuer_id = :issuer_id AND day >= :day ORDER BY day;

-- name: list_sightings
-- What the contract does not name, newest first, with so much of each sample.
SELECT kind, name, first_at, substr(sample, 1, :length) FROM sighting
WHERE issuer_id = :issuer_id ORDER BY first_at DESC, kind, name LIMIT :most;

-- name: count_answers
-- How many open cards were unknown to the platform, and how many not answered, when they were asked for last.
SELECT answer, count(*) FROM card
WHERE issuer_id = :issuer_id AND state IN ('expected', 'open') AND answer IN ('unknown', 'failed') GROUP BY answer;

-- name: newest_change
-- The number of the newest change.
SELECT max(number) FROM change WHERE issuer_id = :issuer_id;

-- name: changes_behind
-- How many changes there are after a number, counted no further than the limit.
SELECT count(*) FROM (
    SELECT 1 FROM change WHERE issuer_id = :issuer_id AND number > :after ORDER BY number LIMIT :most
) AS o;

-- name: prune_heard
-- Forget in which hours of long ago messages came.
DELETE FROM heard WHERE issuer_id = :issuer_id AND hour < :hour;
