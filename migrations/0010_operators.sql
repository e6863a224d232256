-- Operators step in: holds with an owner and an end, priorities, the audit log, and keys of every REST write.

ALTER TABLE orders
    ADD COLUMN held_by     text,
    ADD COLUMN held_until  timestamptz,
    ADD COLUMN hold_reason text,
    ADD COLUMN priority    smallint NOT NULL DEFAULT 0 CHECK (priority BETWEEN -2 AND 2),
    ADD CONSTRAINT orders_hold_check
        CHECK (num_nonnulls(held_by, held_until, hold_reason) IN (0, 3)
               AND (held_until IS NULL OR status IN ('placed', 'queued')));

-- Who did what, and why: each row commits in the transaction of the act itself. No foreign keys, so that no open order
-- transaction is in anybody's way.
CREATE TABLE audit_log (
    id            uuid PRIMARY KEY,
    at            timestamptz NOT NULL,
    actor_kind    text NOT NULL CHECK (actor_kind IN ('operator', 'admin')),
    actor_id      text,
    -- A stable word: assign, reassign, unassign, hold, release, cancel, priority, ready.
    action        text NOT NULL,
    city          text NOT NULL,
    order_id      uuid,
    rider_id      uuid,
    reason        text,
    detail        jsonb NOT NULL DEFAULT '{}' CHECK (jsonb_typeof(detail) = 'object'),
    -- The write of the journal that it belongs to.
    transition_id uuid
);
CREATE INDEX audit_log_order_id_idx ON audit_log (order_id);
CREATE INDEX audit_log_city_at_idx ON audit_log (city, at);
CREATE INDEX audit_log_actor_id_at_idx ON audit_log (actor_id, at);

-- The write that took the key: a retry after a lost COMMIT answer finds its own row. Unknown for older rows, whose writes
-- were answered long ago.
ALTER TABLE idempotency_keys ADD COLUMN transition_id uuid;
