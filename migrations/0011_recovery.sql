-- What a city must find again after a crash: the first answers to frames of devices, what a rider asked for and gets later,
-- why a duty is in force, one-time codes of recipients, and reports that contradict what is stored.

-- One row per frame that changed something: the answer that it got. Apart from idempotency_keys, because these rows are
-- many, are read by city when one starts, and live by the city's policy.
CREATE TABLE device_frames (
    rider_id      uuid NOT NULL,
    frame_id      text NOT NULL CHECK (length(frame_id) BETWEEN 1 AND 64),
    city          text NOT NULL,
    -- SHA-256 of what the frame asks for.
    digest        bytea NOT NULL,
    -- The transition that it caused, so that a retry of that one is told from a repetition of the frame.
    transition_id uuid NOT NULL,
    answer        jsonb NOT NULL,
    created_at    timestamptz NOT NULL,
    expires_at    timestamptz NOT NULL,
    PRIMARY KEY (rider_id, frame_id)
);
CREATE INDEX device_frames_city_created_at_idx ON device_frames (city, created_at);
CREATE INDEX device_frames_expires_at_idx ON device_frames (expires_at);

ALTER TABLE riders
    -- What follows the duty in force once the work in hand is finished.
    ADD COLUMN next_duty text CHECK (next_duty IN ('BREAK', 'OFF')),
    -- Why the duty is in force, as in duty_logs.
    ADD COLUMN duty_reason text;

-- The keyed digest of the code that a recipient gives to the rider; never the code. Apart from the order, like contacts,
-- and deleted when its time is over.
CREATE TABLE order_otps (
    order_id   uuid PRIMARY KEY,
    digest     bytea NOT NULL CHECK (length(digest) = 32),
    expires_at timestamptz NOT NULL
);
CREATE INDEX order_otps_expires_at_idx ON order_otps (expires_at);

-- A report of a rider that contradicts what is stored: people decide.
CREATE TABLE disputes (
    id            uuid PRIMARY KEY,
    order_id      uuid NOT NULL,
    city          text NOT NULL,
    rider_id      uuid NOT NULL,
    kind          text NOT NULL CHECK (kind IN ('unproven_delivery', 'goods_claimed', 'after_end', 'otp_offline',
                      'otp_locked')),
    -- The last step that the rider reported, its time, place, reason and proof.
    report        jsonb NOT NULL,
    status        text NOT NULL DEFAULT 'open' CHECK (status IN ('open', 'upheld', 'dismissed')),
    opened_at     timestamptz NOT NULL,
    closed_at     timestamptz,
    closed_by     text,
    close_reason  text,
    -- The transition that opened it, or added to it last.
    transition_id uuid NOT NULL,
    CHECK ((status = 'open') = (closed_at IS NULL))
);
-- Whatever goes wrong, a rider has one open dispute about an order.
CREATE UNIQUE INDEX disputes_open_idx ON disputes (order_id, rider_id) WHERE status = 'open';
CREATE INDEX disputes_city_opened_at_idx ON disputes (city, opened_at);
CREATE INDEX disputes_order_id_idx ON disputes (order_id);

-- Riders who had an order in hand and lost it are rare: found without reading the history of every order.
CREATE INDEX order_events_let_go_idx ON order_events (order_id) WHERE kind IN ('unassigned', 'handover');
CREATE INDEX orders_cancelled_in_hand_idx ON orders (city, ended_at) WHERE status = 'cancelled' AND rider_id IS NOT NULL;

-- A city that starts looks up the offers of each waiting order. Entries that wait unsorted would be read each time: with
-- 5,000 orders that is the difference between 0.7 s and 2.5 s.
ALTER INDEX offers_order_ids_gin SET (fastupdate = off);
SELECT gin_clean_pending_list('offers_order_ids_gin');
