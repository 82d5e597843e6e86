-- The audit is looked through by whom, by what and of what.

CREATE INDEX audit_subject ON audit (subject, audit_id);
CREATE INDEX audit_actor ON audit (actor, audit_id);
CREATE INDEX audit_action ON audit (action, audit_id);
