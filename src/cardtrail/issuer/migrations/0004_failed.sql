-- What was not answered is asked for again beside a feed, which says nothing of it; found without reading the others.

CREATE INDEX card_failed ON card (issuer_id, due_at, card_id) WHERE state IN ('expected', 'open') AND answer = 'failed';
