-- Rider accounts stand in wallet_ledger, all others in platform_ledger, under one transaction_id that sums to zero.
CREATE TABLE ledger_entry_types (
    code        text PRIMARY KEY,
    description text NOT NULL
);
INSERT INTO ledger_entry_types (code, description) VALUES
    ('earning',        'payout of a delivered or returned order'),
    ('cash_collected', 'cash taken from a recipient, held by the rider'),
    ('delivery_fee',   'what the platform owes for a delivery'),
    ('cash_due',       'cash that the platform owes a merchant');

CREATE TABLE wallet_ledger (
    rider_id        uuid NOT NULL,
    id              uuid NOT NULL,
    account         text NOT NULL CHECK (account IN ('earnings', 'cash_in_hand')),
    -- Signed minor units of the currency; the balance of an account is the sum.
    amount          bigint NOT NULL CHECK (amount <> 0),
    currency        char(3) NOT NULL,
    transaction_id  uuid NOT NULL,
    entry_type      text NOT NULL REFERENCES ledger_entry_types (code),
    order_id        uuid,
    idempotency_key text NOT NULL,
    metadata        jsonb NOT NULL DEFAULT '{}',
    created_at      timestamptz NOT NULL,
    PRIMARY KEY (rider_id, id),
    UNIQUE (rider_id, idempotency_key)
) PARTITION BY HASH (rider_id);
CREATE TABLE wallet_ledger_0 PARTITION OF wallet_ledger FOR VALUES WITH (MODULUS 4, REMAINDER 0);
CREATE TABLE wallet_ledger_1 PARTITION OF wallet_ledger FOR VALUES WITH (MODULUS 4, REMAINDER 1);
CREATE TABLE wallet_ledger_2 PARTITION OF wallet_ledger FOR VALUES WITH (MODULUS 4, REMAINDER 2);
CREATE TABLE wallet_ledger_3 PARTITION OF wallet_ledger FOR VALUES WITH (MODULUS 4, REMAINDER 3);
CREATE INDEX wallet_ledger_rider_id_created_at_idx ON wallet_ledger (rider_id, created_at);
CREATE INDEX wallet_ledger_entry_type_idx ON wallet_ledger (entry_type);
CREATE INDEX idx_wallet_ledger_metadata_gin ON wallet_ledger USING GIN (metadata);

CREATE TABLE platform_ledger (
    id              uuid PRIMARY KEY,
    account         text NOT NULL CHECK (account IN ('platform', 'merchant')),
    merchant_id     uuid CHECK ((account = 'merchant') = (merchant_id IS NOT NULL)),
    amount          bigint NOT NULL CHECK (amount <> 0),
    currency        char(3) NOT NULL,
    transaction_id  uuid NOT NULL,
    entry_type      text NOT NULL REFERENCES ledger_entry_types (code),
    order_id        uuid,
    idempotency_key text NOT NULL UNIQUE,
    created_at      timestamptz NOT NULL
);
CREATE INDEX platform_ledger_transaction_id_idx ON platform_ledger (transaction_id);
CREATE INDEX platform_ledger_merchant_id_created_at_idx ON platform_ledger (merchant_id, created_at);
