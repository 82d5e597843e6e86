-- What a simulation reads of the store it has filled, to compare it with another one's.

-- name: events_after
-- The events of cards, in the order of their keys; a carrier's event stands there once for each of its cards.
SELECT issuer_id, card_id, source, event_id, body FROM event
WHERE (issuer_id, card_id, source, event_id) > (:issuer_id, :card_id, :source, :event_id)
ORDER BY issuer_id, card_id, source, event_id LIMIT :most;

-- name: pictures_after
-- The pictures of orders, in the order of their cards.
SELECT issuer_id, card_id, requested_at, operation_id, sequence, picture FROM operation
WHERE (issuer_id, card_id, requested_at, operation_id) > (:issuer_id, :card_id, :requested_at, :operation_id)
ORDER BY issuer_id, card_id, requested_at, operation_id LIMIT :most;

-- name: newest_change
-- When the newest change of any order was recorded.
SELECT max(changed_at) FROM operation;
