-- The location log: both times of a point, and batches that are stored once.

-- When the point was recorded, as the device said; recorded_at is the corrected time. Older rows do not know it.
ALTER TABLE location_logs ADD COLUMN device_at timestamptz;

-- One row per batch that is stored, in the same transaction as its rows: a batch that comes again, because the answer to its
-- commit was lost or the program ended before it heard it, is recognised. Rows are deleted when no spool may hold their
-- batch any more (location_log.spool.max_age_days).
CREATE TABLE location_batches (
    -- UUIDv7, made with the batch.
    id        uuid PRIMARY KEY,
    stored_at timestamptz NOT NULL,
    rows      bigint NOT NULL CHECK (rows > 0)
);
CREATE INDEX location_batches_stored_at_idx ON location_batches (stored_at);
