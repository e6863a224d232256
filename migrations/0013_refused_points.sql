-- Points that were refused, where a city keeps them (policy `pings.keep_refused`); never those of riders off duty. As they
-- came: positions may be anything, NaN included, and so may the device's time.
CREATE TABLE refused_points (
    rider_id    uuid NOT NULL,
    city        text NOT NULL,
    received_at timestamptz NOT NULL,
    -- Milliseconds since 1970; no timestamptz, which not every bigint is.
    device_ms   bigint NOT NULL,
    lat         double precision NOT NULL,
    lon         double precision NOT NULL,
    -- A code of docs/ERRORS.md.
    reason      text NOT NULL,
    -- Null where the number was refused.
    seq         bigint,
    boot_id     uuid NOT NULL,
    device_id   text NOT NULL,
    expires_at  timestamptz NOT NULL
);
CREATE INDEX refused_points_rider_id_received_at_idx ON refused_points (rider_id, received_at);
CREATE INDEX refused_points_expires_at_idx ON refused_points (expires_at);

COMMENT ON COLUMN location_logs.flags IS 'Bits: 1 late (never moved the live dot), 2 mock provider, 4 outside the city, '
    '8 noise of a rider at rest (the dot stayed), 16 a jump that was believed';
