-- How a rider's devices can be woken: one row per device, as it last introduced itself. The newest is tried first; a row
-- goes when the provider says that its token is gone, or when another device or rider brings the same token.
CREATE TABLE rider_devices (
    rider_id    uuid NOT NULL REFERENCES riders (id) ON DELETE CASCADE,
    -- The device's own lasting id.
    device_id   text NOT NULL CHECK (length(device_id) BETWEEN 1 AND 64),
    provider    text NOT NULL CHECK (length(provider) BETWEEN 1 AND 32),
    token       text NOT NULL CHECK (length(token) BETWEEN 1 AND 1024),
    app_version text NOT NULL,
    seen_at     timestamptz NOT NULL,
    PRIMARY KEY (rider_id, device_id)
);
-- One phone, another rider: the token moves with the phone.
CREATE INDEX rider_devices_token_idx ON rider_devices (token);
