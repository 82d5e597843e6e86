-- The mirror's whole schema, one text for both engines. Instants are wall-clock microseconds since 1970 UTC; `number`
-- is the mirror's own count of changes, which orders asking and observing. Every key begins with issuer_id.

-- Single values: schema version.
CREATE TABLE meta (
    name  TEXT PRIMARY KEY,
    value TEXT NOT NULL
);

-- One row an issuer; it is locked by whoever writes to the issuer's mirror. `number` counts changes; `cursor` is where
-- to read on in the platform's feed, `pulled_at` when the feed was read to its end, `mark` the newest high-water mark
-- of a notification, `heard_at` when the last message or heartbeat came.
CREATE TABLE issuer (
    issuer_id TEXT PRIMARY KEY,
    number    BIGINT NOT NULL DEFAULT 0,
    cursor    TEXT,
    pulled_at BIGINT,
    mark      TEXT,
    heard_at  BIGINT
);

-- A card that the mirror keeps or expects. `priority` and `due_at` say when to ask for it (issuer/due.py);
-- `asked_no` is the mirror's count when it was asked for last, answered or not; `checked_at` when it was answered,
-- `seen_at` when it was told of, or asked for, answered or not.
-- `digest` is that of an answer that the mirror says, as long as nothing else is heard; `knowledge` is what the plan
-- was made from, so that a card which is as it was can be planned anew without its orders.
CREATE TABLE card (
    issuer_id  TEXT NOT NULL,
    card_id    TEXT NOT NULL,
    state      TEXT NOT NULL CHECK (state IN ('expected', 'open', 'settled', 'silent')),
    priority   INTEGER NOT NULL,
    due_at     BIGINT NOT NULL,
    asked_no   BIGINT NOT NULL,
    seen_at    BIGINT NOT NULL,
    checked_at BIGINT,
    asks       INTEGER NOT NULL DEFAULT 0,
    known_at   BIGINT NOT NULL,
    expected_at BIGINT,
    answer     TEXT NOT NULL DEFAULT '' CHECK (answer IN ('', 'found', 'unknown', 'failed')),
    digest     BYTEA,
    knowledge  BYTEA NOT NULL,
    PRIMARY KEY (issuer_id, card_id)
);
CREATE INDEX card_due ON card (issuer_id, priority, due_at, card_id) WHERE state IN ('expected', 'open');
CREATE INDEX card_seen ON card (issuer_id, seen_at, card_id) WHERE state IN ('expected', 'open');
CREATE INDEX card_answer ON card (issuer_id, answer)
    WHERE state IN ('expected', 'open') AND answer IN ('unknown', 'failed');
CREATE INDEX card_failed ON card (issuer_id, due_at, card_id) WHERE state IN ('expected', 'open') AND answer = 'failed';
CREATE INDEX card_open ON card (issuer_id, card_id) WHERE state IN ('expected', 'open');

-- The newest picture of an order, and how it came to be what the mirror says. `content` is the hash of what it says.
-- `request_id` is the issuer's own id of its request; `forgotten_at` when what it says of a parcel was erased.
-- `carrier` and `tracking_number` are the parcel that it names: personal data, as the picture itself.
-- `look_from` is the lowest ticket of a question that is a look at what the order says, once it is answered.
CREATE TABLE operation (
    issuer_id        TEXT NOT NULL,
    card_id          TEXT NOT NULL,
    operation_id     TEXT NOT NULL,
    operation        TEXT NOT NULL,
    operation_status TEXT NOT NULL,
    stage            TEXT NOT NULL,
    shipment_status  TEXT,
    start_time       BIGINT,
    sequence         BIGINT,
    number           BIGINT NOT NULL,
    source           TEXT NOT NULL CHECK (source IN ('notification', 'answer')),
    asked_at         BIGINT,
    learned_at       BIGINT NOT NULL,
    doubtful         INTEGER NOT NULL CHECK (doubtful IN (0, 1)),
    why              TEXT NOT NULL,
    content          BYTEA NOT NULL,
    held             INTEGER NOT NULL CHECK (held IN (0, 1)),
    tracked          INTEGER NOT NULL CHECK (tracked IN (0, 1)),
    due_date         TEXT,
    timeline         BYTEA NOT NULL,
    picture          BYTEA NOT NULL,
    carrier          TEXT,
    tracking_number  TEXT,
    look_from        BIGINT,
    request_id       TEXT,
    forgotten_at     BIGINT,
    PRIMARY KEY (issuer_id, card_id, operation_id)
);
CREATE INDEX operation_doubtful ON operation (issuer_id, card_id) WHERE doubtful = 1;
-- What is longer than can be searched for is not indexed: a row of an index has little room.
CREATE INDEX operation_request ON operation (issuer_id, request_id, card_id) WHERE length(request_id) <= 128;
CREATE INDEX operation_parcel ON operation (issuer_id, tracking_number, card_id, carrier)
    WHERE length(tracking_number) <= 128;

-- How many orders are at each place (issuer/counts.py).
CREATE TABLE standing (
    issuer_id TEXT NOT NULL,
    place     TEXT NOT NULL,
    count     BIGINT NOT NULL,
    PRIMARY KEY (issuer_id, place)
);

-- Every change of the mirror, in commit order: what hooks are told, what is exported, what the drift report is made of.
-- `wrong_since` is set where an answer told what no notification had: the mirror was wrong since then at most. `dwelt`
-- is set where notifications told both ends of a dwell: where the card was, from `since` on.
CREATE TABLE change (
    issuer_id       TEXT NOT NULL,
    number          BIGINT NOT NULL,
    card_id         TEXT NOT NULL,
    operation_id    TEXT NOT NULL,
    outcome         TEXT NOT NULL CHECK (outcome IN ('applied', 'doubtful', 'regressed')),
    source          TEXT NOT NULL CHECK (source IN ('notification', 'answer')),
    why             TEXT NOT NULL,
    learned_at      BIGINT NOT NULL,
    wrong_since     BIGINT,
    dwelt           TEXT,
    since           BIGINT,
    stage_before    TEXT,
    shipment_before TEXT,
    stage           TEXT NOT NULL,
    shipment_status TEXT,
    picture         BYTEA NOT NULL,
    PRIMARY KEY (issuer_id, number)
);
CREATE INDEX change_wrong ON change (issuer_id, learned_at) WHERE wrong_since IS NOT NULL;

-- How many messages and heartbeats came in an hour since 1970.
CREATE TABLE heard (
    issuer_id TEXT NOT NULL,
    hour      BIGINT NOT NULL,
    messages  BIGINT NOT NULL,
    PRIMARY KEY (issuer_id, hour)
);

-- How often a word (a stage or shipment status) was reached, by day since 1970 and how it was told: notified, answered,
-- inferred, late (a notification came after the answer). Without a word: duplicate, stale.
CREATE TABLE tally (
    issuer_id TEXT NOT NULL,
    day       INTEGER NOT NULL,
    word      TEXT NOT NULL,
    told      TEXT NOT NULL,
    count     BIGINT NOT NULL,
    PRIMARY KEY (issuer_id, day, word, told)
);

-- What the contract does not name, at its first sight: a status, a member, a code, or an element that cannot be read.
CREATE TABLE sighting (
    issuer_id TEXT NOT NULL,
    kind      TEXT NOT NULL,
    name      TEXT NOT NULL,
    first_at  BIGINT NOT NULL,
    sample    BYTEA NOT NULL,
    PRIMARY KEY (issuer_id, kind, name)
);

-- Passes of the reconciler. A pass asks for every open card whose `asked_no` is below `start_no`; one that has not ended
-- is gone on with before `until`.
CREATE TABLE pass (
    issuer_id TEXT NOT NULL,
    start_no  BIGINT NOT NULL,
    kind      TEXT NOT NULL CHECK (kind IN ('sweep', 'feed')),
    began_at   BIGINT NOT NULL,
    until      BIGINT NOT NULL,
    ended_at   BIGINT,
    calls     BIGINT NOT NULL DEFAULT 0,
    asked     BIGINT NOT NULL DEFAULT 0,
    unknown   BIGINT NOT NULL DEFAULT 0,
    failed    BIGINT NOT NULL DEFAULT 0,
    repaired  BIGINT NOT NULL DEFAULT 0,
    PRIMARY KEY (issuer_id, start_no)
);

-- Who reconciles an issuer's mirror, until when by the database's clock. `fence` rises with every holder.
CREATE TABLE lease (
    issuer_id TEXT PRIMARY KEY,
    holder    TEXT NOT NULL,
    fence     BIGINT NOT NULL,
    until     BIGINT NOT NULL
);

-- How far each of the issuer's own hooks has been told of the log of changes.
CREATE TABLE hook (
    issuer_id TEXT NOT NULL,
    name      TEXT NOT NULL,
    number    BIGINT NOT NULL,
    told_at   BIGINT NOT NULL,
    PRIMARY KEY (issuer_id, name)
);

-- How long cards usually dwell where they are (issuer/dwell.py), and what was spent of the day's calls.
CREATE TABLE dwell (
    issuer_id TEXT NOT NULL,
    name      TEXT NOT NULL,
    counted   BYTEA NOT NULL,
    PRIMARY KEY (issuer_id, name)
);

CREATE TABLE spent (
    issuer_id TEXT PRIMARY KEY,
    usage     BYTEA NOT NULL
);

-- How long the mirror may be wrong at most, as stated on a day, and the longest that any open card was not confirmed
-- when it was asked for; both in microseconds.
CREATE TABLE bound (
    issuer_id TEXT NOT NULL,
    day       INTEGER NOT NULL,
    stated    BIGINT NOT NULL,
    worst     BIGINT NOT NULL,
    PRIMARY KEY (issuer_id, day)
);
