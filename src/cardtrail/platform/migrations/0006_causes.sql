-- Which call made the newest change of an order, and with it each notification (platform/cause.py); empty from before.

ALTER TABLE operation ADD COLUMN cause TEXT NOT NULL DEFAULT '';
ALTER TABLE fanout ADD COLUMN cause TEXT NOT NULL DEFAULT '';
ALTER TABLE notification ADD COLUMN cause TEXT NOT NULL DEFAULT '';
