-- Who read where a rider was, and what else was done about a rider: a question of the rider, or of whoever looks into a
-- complaint, to a log that only grows. Most lines are about an order and name no rider; they stay out.
CREATE INDEX audit_log_rider_id_at_idx ON audit_log (rider_id, at) WHERE rider_id IS NOT NULL;
