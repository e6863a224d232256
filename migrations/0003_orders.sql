-- Orders and their events, partitioned by the month inside the order's UUIDv7: PRIMARY KEY (id) stays unique, and a
-- month is a range of ids. No foreign keys from event tables (an open order transaction would block the next month).

CREATE TABLE orders (
    id             uuid PRIMARY KEY,
    city           text NOT NULL,
    merchant_id    uuid NOT NULL,
    store          text,
    external_ref   text,
    status         text NOT NULL CHECK (status IN ('placed', 'queued', 'offered', 'assigned', 'at_pickup', 'picked_up',
                       'at_dropoff', 'attempt_failed', 'returning', 'delivered', 'returned', 'cancelled', 'expired')),
    version        integer NOT NULL CHECK (version > 0),
    -- The next free number in order_events.
    next_seq       integer NOT NULL CHECK (next_seq > 0),
    rider_id       uuid,
    -- Who holds the goods: store, rider, or a holder who waits for a handover; end states keep the last one.
    custody        text NOT NULL CHECK (custody IN ('store', 'rider', 'handover', 'recipient', 'merchant')),
    custodian_id   uuid,
    pickup_lat     double precision NOT NULL,
    pickup_lon     double precision NOT NULL,
    pickup_hint    text,
    drop_lat       double precision NOT NULL,
    drop_lon       double precision NOT NULL,
    drop_hint      text,
    handover_lat   double precision,
    handover_lon   double precision,
    ready_at       timestamptz NOT NULL,
    promise_at     timestamptz NOT NULL,
    dispatch_at    timestamptz,
    due_at         timestamptz,
    assigned_at    timestamptz,
    picked_up_at   timestamptz,
    delivered_at   timestamptz,
    ended_at       timestamptz,
    end_reason     text,
    size_units     integer NOT NULL DEFAULT 1 CHECK (size_units > 0),
    vehicle_need   text CHECK (vehicle_need IN ('walking', 'bicycle', 'motorcycle', 'car')),
    currency       char(3) NOT NULL,
    cash_to_collect_minor bigint NOT NULL DEFAULT 0 CHECK (cash_to_collect_minor >= 0),
    payout_minor   bigint NOT NULL CHECK (payout_minor >= 0),
    pay_policy_version integer NOT NULL DEFAULT 1,
    round          integer NOT NULL DEFAULT 0,
    offers_tried   integer NOT NULL DEFAULT 0,
    metadata       jsonb NOT NULL DEFAULT '{}' CHECK (jsonb_typeof(metadata) = 'object'),
    created_at     timestamptz NOT NULL,
    updated_at     timestamptz NOT NULL
) PARTITION BY RANGE (id);
CREATE INDEX orders_rider_id_status_idx ON orders (rider_id, status);
CREATE INDEX orders_created_at_idx ON orders (created_at);
CREATE INDEX orders_external_ref_idx ON orders (external_ref) WHERE external_ref IS NOT NULL;
-- Keyset pages of a city's list, newest first.
CREATE INDEX orders_city_id_idx ON orders (city, id);
-- And of a merchant's.
CREATE INDEX orders_merchant_id_id_idx ON orders (merchant_id, id);
-- What a city reads when it starts.
CREATE INDEX orders_open_idx ON orders (city)
    WHERE status NOT IN ('delivered', 'returned', 'cancelled', 'expired');
CREATE INDEX idx_orders_metadata_gin ON orders USING GIN (metadata);

CREATE TABLE order_events (
    order_id      uuid NOT NULL,
    seq           integer NOT NULL CHECK (seq > 0),
    -- The order's version after the transition; an explanation leaves the version as it was.
    version       integer NOT NULL,
    transition_id uuid NOT NULL,
    kind          text NOT NULL,
    actor_kind    text NOT NULL CHECK (actor_kind IN ('engine', 'rider', 'merchant', 'operator', 'admin')),
    actor_id      text,
    reason        text,
    data          jsonb NOT NULL DEFAULT '{}',
    created_at    timestamptz NOT NULL,
    PRIMARY KEY (order_id, seq)
) PARTITION BY RANGE (order_id);
CREATE INDEX order_events_order_id_created_at_idx ON order_events (order_id, created_at);

-- Customer data apart, encrypted by the application, with an expiry of its own; never in metadata, events or logs.
CREATE TABLE order_contacts (
    order_id   uuid PRIMARY KEY,
    key_id     text NOT NULL,
    sealed     bytea NOT NULL,
    expires_at timestamptz NOT NULL
);
CREATE INDEX order_contacts_expires_at_idx ON order_contacts (expires_at);

-- Unpartitioned, because a unique key of a partitioned table must hold its partition key.
CREATE TABLE order_refs (
    merchant_id  uuid NOT NULL,
    external_ref text NOT NULL CHECK (length(external_ref) BETWEEN 1 AND 128),
    order_id     uuid NOT NULL,
    PRIMARY KEY (merchant_id, external_ref)
);

CREATE TABLE offers (
    id          uuid PRIMARY KEY,
    job_id      uuid NOT NULL,
    city        text NOT NULL,
    rider_id    uuid NOT NULL,
    order_ids   uuid[] NOT NULL CHECK (cardinality(order_ids) > 0),
    state       text NOT NULL CHECK (state IN ('sent', 'seen', 'accepted', 'declined', 'expired', 'withdrawn')),
    round       integer NOT NULL,
    reason      text,
    payout_minor    bigint NOT NULL CHECK (payout_minor >= 0),
    currency        char(3) NOT NULL,
    pickup_eta_ms   bigint NOT NULL,
    pickup_distance_m double precision NOT NULL,
    sent_at     timestamptz NOT NULL,
    seen_at     timestamptz,
    -- The hard cap: sent_at plus the policy's limit.
    expires_at  timestamptz NOT NULL,
    closed_at   timestamptz
);
CREATE INDEX offers_open_city_idx ON offers (city) WHERE state IN ('sent', 'seen');
CREATE INDEX offers_rider_id_sent_at_idx ON offers (rider_id, sent_at);
CREATE INDEX offers_order_ids_gin ON offers USING GIN (order_ids);

-- One row per Idempotency-Key and caller: the digest of the request and the answer that it got.
CREATE TABLE idempotency_keys (
    caller     text NOT NULL,
    key        text NOT NULL CHECK (length(key) BETWEEN 1 AND 128),
    digest     bytea NOT NULL,
    order_id   uuid NOT NULL,
    answer     jsonb NOT NULL,
    created_at timestamptz NOT NULL,
    expires_at timestamptz NOT NULL,
    PRIMARY KEY (caller, key)
);
CREATE INDEX idempotency_keys_expires_at_idx ON idempotency_keys (expires_at);
