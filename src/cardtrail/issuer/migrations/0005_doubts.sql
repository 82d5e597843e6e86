-- Which orders are doubtful, the older ones of a card, too.

CREATE INDEX operation_doubtful ON operation (issuer_id, card_id) WHERE doubtful = 1;
