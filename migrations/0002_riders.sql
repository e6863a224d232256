CREATE TABLE riders (
    id         uuid PRIMARY KEY,
    name       text NOT NULL CHECK (length(name) BETWEEN 1 AND 200),
    mobile     text NOT NULL,
    city       text NOT NULL REFERENCES cities (code),
    status     text NOT NULL DEFAULT 'ACTIVE' CHECK (status IN ('ACTIVE', 'SUSPENDED', 'LEFT')),
    kyc_status text NOT NULL DEFAULT 'PENDING' CHECK (kyc_status IN ('PENDING', 'APPROVED', 'REJECTED', 'EXPIRED')),
    vehicle    text NOT NULL CHECK (vehicle IN ('walking', 'bicycle', 'motorcycle', 'car')),
    -- Size units that the rider's bag or vehicle holds.
    capacity_units integer NOT NULL DEFAULT 10 CHECK (capacity_units > 0),
    -- The rider's intent, as last committed; duty_logs holds its history.
    duty       text NOT NULL DEFAULT 'OFF' CHECK (duty IN ('ON', 'BREAK', 'OFF', 'AUTO_OFF')),
    duty_since timestamptz,
    -- The one city in which the rider is live now, and the epoch under which that city took the rider.
    live_city  text REFERENCES cities (code),
    live_epoch bigint NOT NULL DEFAULT 0,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    CONSTRAINT riders_mobile_key UNIQUE (mobile)
);
CREATE INDEX riders_status_city_idx ON riders (status, city);
CREATE INDEX riders_kyc_status_idx ON riders (kyc_status);
CREATE INDEX idx_riders_active_city ON riders (city) WHERE status = 'ACTIVE' AND kyc_status = 'APPROVED';
CREATE INDEX riders_live_city_idx ON riders (live_city) WHERE live_city IS NOT NULL;

CREATE TABLE duty_logs (
    id         uuid NOT NULL,
    rider_id   uuid NOT NULL,
    city       text NOT NULL,
    duty       text NOT NULL CHECK (duty IN ('ON', 'BREAK', 'OFF', 'AUTO_OFF')),
    -- Why it changed: rider, finished, silent, operator, breakdown, ...
    reason     text NOT NULL,
    created_at timestamptz NOT NULL,
    PRIMARY KEY (id, created_at)
) PARTITION BY RANGE (created_at);
CREATE INDEX duty_logs_rider_id_created_at_idx ON duty_logs (rider_id, created_at);
