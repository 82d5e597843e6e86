-- Where orders are, and what is counted as they move. Orders from before are placed in the background.

ALTER TABLE operation ADD COLUMN place TEXT NOT NULL DEFAULT '';
ALTER TABLE operation ADD COLUMN since BIGINT NOT NULL DEFAULT 0;
ALTER TABLE operation ADD COLUMN watched BIGINT NOT NULL DEFAULT 0;
ALTER TABLE operation ADD COLUMN site TEXT NOT NULL DEFAULT '';
ALTER TABLE operation ADD COLUMN channel TEXT NOT NULL DEFAULT '';
ALTER TABLE operation ADD COLUMN carrier TEXT NOT NULL DEFAULT '';
ALTER TABLE operation ADD COLUMN request_id TEXT;
CREATE INDEX operation_watched ON operation (issuer_id, place, site, channel, carrier, since) WHERE watched = 1;
CREATE INDEX operation_unplaced ON operation (issuer_id, card_id) WHERE place = '';
CREATE INDEX operation_request ON operation (issuer_id, request_id) WHERE request_id IS NOT NULL;
CREATE INDEX parcel_link_number ON parcel_link (issuer_id, tracking_number);

CREATE TABLE tally (
    issuer_id TEXT NOT NULL,
    what      TEXT NOT NULL CHECK (what IN ('standing', 'passage', 'dwell', 'promise')),
    hour      BIGINT NOT NULL,
    place     TEXT NOT NULL,
    site      TEXT NOT NULL,
    channel   TEXT NOT NULL,
    carrier   TEXT NOT NULL,
    value     BIGINT NOT NULL,
    count     BIGINT NOT NULL,
    PRIMARY KEY (issuer_id, what, hour, place, site, channel, carrier, value)
);

-- How long an order may dwell at a place before it is stuck, as people have set it, in quarters of a business day; an
-- empty site, channel or carrier stands for all.
CREATE TABLE threshold (
    issuer_id TEXT NOT NULL,
    place     TEXT NOT NULL,
    site      TEXT NOT NULL,
    channel   TEXT NOT NULL,
    carrier   TEXT NOT NULL,
    quarters  BIGINT NOT NULL CHECK (quarters >= 1),
    PRIMARY KEY (issuer_id, place, site, channel, carrier)
);

-- What sites and carriers said that nobody has published, at its first sight: a status, a carrier, a code, a kind of
-- event or a member. `sample` is the event as it came: personal data.
CREATE TABLE sighting (
    kind     TEXT NOT NULL,
    name     TEXT NOT NULL,
    source   TEXT NOT NULL,
    first_at BIGINT NOT NULL,
    sample   BYTEA NOT NULL,
    PRIMARY KEY (kind, name)
);
