-- Cities, their versioned dispatch policies, and the epoch that fences each city's single writer.

CREATE TABLE cities (
    code            text PRIMARY KEY CHECK (code ~ '^[a-z0-9][a-z0-9-]{1,31}$'),
    name            text NOT NULL,
    status          text NOT NULL CHECK (status IN ('draft', 'live', 'paused', 'closing')),
    -- GeoJSON Polygon, WGS 84, [lon, lat] pairs.
    boundary        jsonb NOT NULL,
    time_zone       text NOT NULL,
    -- Minutes after local midnight at which a business day begins.
    day_cutover_min smallint NOT NULL DEFAULT 0 CHECK (day_cutover_min BETWEEN 0 AND 1439),
    currency        char(3) NOT NULL CHECK (currency ~ '^[A-Z]{3}$'),
    created_at      timestamptz NOT NULL,
    updated_at      timestamptz NOT NULL
);

-- A policy is never changed: a new version is added, and the highest one holds.
CREATE TABLE city_policies (
    city       text NOT NULL REFERENCES cities (code),
    version    integer NOT NULL CHECK (version > 0),
    policy     jsonb NOT NULL,
    author     text NOT NULL,
    created_at timestamptz NOT NULL,
    PRIMARY KEY (city, version)
);

-- Every incarnation of a city claims the next epoch before it reads. A journal transaction takes FOR SHARE on the
-- row, so a claim waits for commits in flight and fences whoever held the city before.
CREATE TABLE city_epochs (
    city       text PRIMARY KEY REFERENCES cities (code),
    epoch      bigint NOT NULL CHECK (epoch >= 0),
    holder     text NOT NULL,
    claimed_at timestamptz NOT NULL
);

CREATE TABLE merchants (
    id         uuid PRIMARY KEY,
    name       text NOT NULL,
    status     text NOT NULL DEFAULT 'ACTIVE' CHECK (status IN ('ACTIVE', 'SUSPENDED')),
    created_at timestamptz NOT NULL
);

-- Pay of a delivery, versioned like the dispatch policy: what an offer promised is stored with the offer and is what is paid.
CREATE TABLE pay_policies (
    city         text NOT NULL REFERENCES cities (code),
    version      integer NOT NULL CHECK (version > 0),
    base_minor   bigint NOT NULL CHECK (base_minor >= 0),
    per_km_minor bigint NOT NULL CHECK (per_km_minor >= 0),
    created_at   timestamptz NOT NULL,
    PRIMARY KEY (city, version)
);
