-- Who holds a city, and until when it is that holder's alone. Without an instance nobody does: the city was given back,
-- or was last held before leases were. Ownership rests on the epoch; the lease says who may claim the next one unasked.
-- lease_until is real time, whatever speed the engine's clock runs at.
ALTER TABLE city_epochs
    ADD COLUMN instance    text,
    ADD COLUMN lease_until timestamptz,
    ADD CONSTRAINT city_epochs_lease_check CHECK ((instance IS NULL) = (lease_until IS NULL));
