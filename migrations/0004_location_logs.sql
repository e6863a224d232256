-- Location pings. created_at is server time and the partition key; recorded_at is the device's time, corrected.
-- (rider_id, device_id, boot_id, seq) names a point; it is not a unique key, because that index would cost more than
-- the row: duplicates are recognised before they come here.
CREATE TABLE location_logs (
    rider_id    uuid NOT NULL,
    created_at  timestamptz NOT NULL,
    recorded_at timestamptz NOT NULL,
    city        text NOT NULL,
    lat         double precision NOT NULL,
    lon         double precision NOT NULL,
    accuracy_m  real,
    speed_mps   real,
    heading_deg real,
    seq         bigint NOT NULL,
    boot_id     uuid NOT NULL,
    device_id   text NOT NULL,
    -- Bits: 1 late (never moved the live dot), 2 mock provider, 4 outside the city.
    flags       smallint NOT NULL DEFAULT 0
) PARTITION BY RANGE (created_at);
CREATE INDEX location_logs_rider_id_created_at_idx ON location_logs (rider_id, created_at);
