-- What an accepted offer promised is what is paid; an order that found no rider may wait for an operator.

ALTER TABLE orders
    -- Of the offer that the order's rider accepted; without one payout_minor holds.
    ADD COLUMN accepted_payout_minor bigint CHECK (accepted_payout_minor >= 0),
    -- Nobody is asked until an operator decides.
    ADD COLUMN parked boolean NOT NULL DEFAULT false CHECK (NOT parked OR status = 'queued');

-- Under which pay policy the offer's payout was computed.
ALTER TABLE offers ADD COLUMN pay_policy_version integer NOT NULL DEFAULT 1;
