-- From which ticket on a question is a look at what an order says, so that no clock decides which one was the last.
-- Orders that were kept before are looked at once more.

ALTER TABLE operation ADD COLUMN look_from BIGINT;
