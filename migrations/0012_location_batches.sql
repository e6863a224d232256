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
-- What rows cost, in CPU of all of PostgreSQL's processes and bytes of write-ahead log, by COPY of 10,000 rows of 10,000
-- riders (cargo bench --bench location_log, 2026-11-25, PostgreSQL 15, two shared cores of a Xeon, WAL without the full
-- pages that follow a checkpoint):
--                                   empty partition        5,000,000 rows there
--   no index                          1.2 us, 146 bytes      1.2 us, 146 bytes
--   + (rider_id, created_at)          2.1 us, 249 bytes      3.8 us, 226 bytes   sorted by rider
--                                     3.0 us, 247 bytes      4.6 us, 226 bytes   in order of arrival
--   + BRIN (created_at)               + 0.3 us, 0 bytes      + 0.0 us, 0 bytes
-- The btree is what a rider's track and the duplicates need. BRIN finds a time without a rider (who was near, what came in
-- an outage) at next to no cost, because rows come in the order of time; spooled rows widen few blocks.
CREATE INDEX location_logs_created_at_idx ON location_logs USING brin (created_at);
CREATE INDEX location_batches_stored_at_idx ON location_batches (stored_at);
