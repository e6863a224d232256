-- Month partitions, made ahead by a job and on demand by a writer. CREATE TABLE LIKE and ATTACH under an advisory lock:
-- CREATE TABLE ... PARTITION OF would wait behind every open writer. Month bounds are explicit UTC.

-- The smallest UUID whose leading 48 bits are the given time in milliseconds (RFC 9562, UUIDv7).
CREATE FUNCTION uuid_v7_floor(at timestamptz) RETURNS uuid
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE AS $$
    SELECT (lpad(to_hex((extract(epoch FROM at) * 1000)::bigint), 12, '0') || repeat('0', 20))::uuid
$$;

CREATE FUNCTION create_month_partition(parent text, month_date date, by_id boolean) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
    first_day  date := date_trunc('month', month_date)::date;
    next_month date := (date_trunc('month', month_date) + interval '1 month')::date;
    child      text := format('%s_y%sm%s', parent, to_char(first_day, 'YYYY'), to_char(first_day, 'MM'));
    lower_at   timestamptz := first_day::timestamp AT TIME ZONE 'UTC';
    upper_at   timestamptz := next_month::timestamp AT TIME ZONE 'UTC';
BEGIN
    IF to_regclass(format('public.%I', child)) IS NOT NULL THEN
        RETURN;
    END IF;
    PERFORM pg_advisory_xact_lock(hashtextextended('create_month_partition:' || child, 0));
    -- Asked of the table itself, with a new snapshot: to_regclass may answer from a cache that is older than the lock.
    IF EXISTS (SELECT FROM pg_class WHERE relname = child AND relnamespace = 'public'::regnamespace) THEN
        RETURN;
    END IF;
    EXECUTE format('CREATE TABLE %I (LIKE %I INCLUDING ALL)', child, parent);
    IF by_id THEN
        EXECUTE format('ALTER TABLE %I ATTACH PARTITION %I FOR VALUES FROM (%L) TO (%L)',
                       parent, child, uuid_v7_floor(lower_at), uuid_v7_floor(upper_at));
    ELSE
        EXECUTE format('ALTER TABLE %I ATTACH PARTITION %I FOR VALUES FROM (%L) TO (%L)',
                       parent, child, lower_at, upper_at);
    END IF;
END
$$;

CREATE FUNCTION create_location_logs_partition(month_date date) RETURNS void
LANGUAGE sql AS $$ SELECT create_month_partition('location_logs', month_date, false) $$;

CREATE FUNCTION create_duty_logs_partition(month_date date) RETURNS void
LANGUAGE sql AS $$ SELECT create_month_partition('duty_logs', month_date, false) $$;

CREATE FUNCTION create_orders_partition(month_date date) RETURNS void
LANGUAGE sql AS $$ SELECT create_month_partition('orders', month_date, true) $$;

CREATE FUNCTION create_order_events_partition(month_date date) RETURNS void
LANGUAGE sql AS $$ SELECT create_month_partition('order_events', month_date, true) $$;
