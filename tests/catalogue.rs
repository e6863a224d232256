//! The tables, keys, partitions and indexes that the design names are there, proven by PostgreSQL's catalogue.
#![allow(clippy::unwrap_used)]

mod support;

use sqlx::{AssertSqlSafe, Executor};
use support::TestDatabase;

/// The definition of an index, or `None`.
async fn index(db: &TestDatabase, name: &str) -> Option<String> {
    sqlx::query_scalar("SELECT indexdef FROM pg_indexes WHERE schemaname = 'public' AND indexname = $1")
        .bind(name)
        .fetch_optional(&db.db)
        .await
        .unwrap()
}

#[tokio::test]
async fn every_named_index_stands_with_its_definition() {
    let db = TestDatabase::create().await;
    let wanted = [
        ("riders_mobile_key", "UNIQUE INDEX riders_mobile_key ON public.riders USING btree (mobile)"),
        ("riders_status_city_idx", "ON public.riders USING btree (status, city)"),
        ("riders_kyc_status_idx", "ON public.riders USING btree (kyc_status)"),
        (
            "idx_riders_active_city",
            "ON public.riders USING btree (city) WHERE ((status = 'ACTIVE'::text) AND (kyc_status = 'APPROVED'::text))",
        ),
        ("orders_pkey", "UNIQUE INDEX orders_pkey ON ONLY public.orders USING btree (id)"),
        ("orders_rider_id_status_idx", "ON ONLY public.orders USING btree (rider_id, status)"),
        ("orders_created_at_idx", "ON ONLY public.orders USING btree (created_at)"),
        (
            "orders_external_ref_idx",
            "ON ONLY public.orders USING btree (external_ref) WHERE (external_ref IS NOT NULL)",
        ),
        ("idx_orders_metadata_gin", "ON ONLY public.orders USING gin (metadata)"),
        ("order_events_pkey", "UNIQUE INDEX order_events_pkey ON ONLY public.order_events USING btree (order_id, seq)"),
        (
            "order_refs_pkey",
            "UNIQUE INDEX order_refs_pkey ON public.order_refs USING btree (merchant_id, external_ref)",
        ),
        (
            "wallet_ledger_pkey",
            "UNIQUE INDEX wallet_ledger_pkey ON ONLY public.wallet_ledger USING btree (rider_id, id)",
        ),
        ("wallet_ledger_rider_id_created_at_idx", "ON ONLY public.wallet_ledger USING btree (rider_id, created_at)"),
        ("wallet_ledger_entry_type_idx", "ON ONLY public.wallet_ledger USING btree (entry_type)"),
        ("idx_wallet_ledger_metadata_gin", "ON ONLY public.wallet_ledger USING gin (metadata)"),
        ("location_logs_rider_id_created_at_idx", "ON ONLY public.location_logs USING btree (rider_id, created_at)"),
        ("location_logs_created_at_idx", "ON ONLY public.location_logs USING brin (created_at)"),
        ("audit_log_order_id_idx", "ON public.audit_log USING btree (order_id)"),
        ("audit_log_city_at_idx", "ON public.audit_log USING btree (city, at)"),
        ("audit_log_actor_id_at_idx", "ON public.audit_log USING btree (actor_id, at)"),
        ("audit_log_rider_id_at_idx", "ON public.audit_log USING btree (rider_id, at) WHERE (rider_id IS NOT NULL)"),
        ("duty_logs_rider_id_created_at_idx", "ON ONLY public.duty_logs USING btree (rider_id, created_at)"),
    ];
    for (name, definition) in wanted {
        let found = index(&db, name).await.unwrap_or_else(|| panic!("there is no index {name}"));
        assert!(found.ends_with(definition), "{name}: {found}");
    }
}

#[tokio::test]
async fn the_tables_of_live_dispatch_are_there() {
    let db = TestDatabase::create().await;
    let tables: Vec<String> = sqlx::query_scalar("SELECT tablename::text FROM pg_tables WHERE schemaname = 'public'")
        .fetch_all(&db.db)
        .await
        .unwrap();
    for wanted in [
        "cities",
        "city_policies",
        "city_epochs",
        "merchants",
        "riders",
        "duty_logs",
        "orders",
        "order_contacts",
        "order_refs",
        "order_events",
        "offers",
        "location_logs",
        "location_batches",
        "idempotency_keys",
        "device_frames",
        "order_otps",
        "disputes",
        "wallet_ledger",
        "platform_ledger",
        "pay_policies",
        "audit_log",
    ] {
        assert!(tables.iter().any(|table| table == wanted), "there is no table {wanted}");
    }
}

#[tokio::test]
async fn the_wallet_has_four_hash_partitions() {
    let db = TestDatabase::create().await;
    let bounds: Vec<(String, String)> = sqlx::query_as(
        "SELECT child.relname::text, pg_get_expr(child.relpartbound, child.oid) FROM pg_inherits
         JOIN pg_class AS child ON child.oid = inhrelid WHERE inhparent = 'wallet_ledger'::regclass ORDER BY 1",
    )
    .fetch_all(&db.db)
    .await
    .unwrap();
    let wanted: Vec<(String, String)> =
        (0..4).map(|n| (format!("wallet_ledger_{n}"), format!("FOR VALUES WITH (modulus 4, remainder {n})"))).collect();
    assert_eq!(bounds, wanted);
}

#[tokio::test]
async fn partitions_are_months_of_utc_in_every_session_time_zone() {
    let db = TestDatabase::create().await;
    for (zone, month) in [("Asia/Kolkata", "2031-01-31"), ("America/Los_Angeles", "2031-02-01"), ("UTC", "2031-12-15")]
    {
        let mut connection = db.db.acquire().await.unwrap();
        connection.execute(AssertSqlSafe(format!("SET TIME ZONE '{zone}'"))).await.unwrap();
        // Twice: making a partition that is there already does nothing.
        for _ in 0..2 {
            let call = format!("SELECT create_location_logs_partition(date '{month}')");
            connection.execute(AssertSqlSafe(call)).await.unwrap();
        }
        connection.execute("SET TIME ZONE 'UTC'").await.unwrap();
        let (year, number) = (&month[..4], month[5..7].parse::<u32>().unwrap());
        let table = format!("location_logs_y{year}m{number:02}");
        let bound: String = sqlx::query_scalar(
            "SELECT pg_get_expr(relpartbound, oid) FROM pg_class WHERE relname = $1 AND relispartition",
        )
        .bind(&table)
        .fetch_one(&mut *connection)
        .await
        .unwrap();
        let next = if number == 12 { "2032-01".to_owned() } else { format!("{year}-{:02}", number + 1) };
        let wanted = format!("FOR VALUES FROM ('{year}-{number:02}-01 00:00:00+00') TO ('{next}-01 00:00:00+00')");
        assert_eq!(bound, wanted, "made in {zone}");
    }
}

#[tokio::test]
async fn partitions_inherit_the_keys_and_indexes() {
    let db = TestDatabase::create().await;
    for table in ["orders", "order_events", "duty_logs", "location_logs"] {
        let call = format!("SELECT create_{table}_partition(date '2031-05-05')");
        sqlx::query(AssertSqlSafe(call)).execute(&db.db).await.unwrap();
        let counted: (i64, i64) = sqlx::query_as(
            "SELECT count(*) FILTER (WHERE tablename = $1), count(*) FILTER (WHERE tablename = $1 || '_y2031m05')
             FROM pg_indexes",
        )
        .bind(table)
        .fetch_one(&db.db)
        .await
        .unwrap();
        assert_eq!(counted.0, counted.1, "{table}");
    }
    // An order's partition follows from the time in its id.
    let floor: uuid::Uuid =
        sqlx::query_scalar("SELECT uuid_v7_floor('2031-05-01T00:00:00Z')").fetch_one(&db.db).await.unwrap();
    let bound: String =
        sqlx::query_scalar("SELECT pg_get_expr(relpartbound, oid) FROM pg_class WHERE relname = 'orders_y2031m05'")
            .fetch_one(&db.db)
            .await
            .unwrap();
    assert!(bound.starts_with(&format!("FOR VALUES FROM ('{floor}')")), "{bound}");
}

#[tokio::test]
async fn an_empty_database_keeps_every_promise() {
    let db = TestDatabase::create().await;
    let checks = dispatch_engine::store::checks::run(&db.db).await.unwrap();
    assert!(checks.len() >= 8 && checks.iter().all(|check| check.broken == 0), "{checks:?}");
}
