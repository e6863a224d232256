//! Whether what is stored is consistent with itself: each check counts the rows that contradict a promise of the engine.
//! They read whole tables, for the end of a demo or a load test and for an operator with a doubt.

use super::{Db, StoreError};
use crate::domain::time::Timestamp;

/// The result of one check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Check {
    /// The promise, as a sentence.
    pub promise: &'static str,
    /// Rows that contradict it; 0 is good.
    pub broken: i64,
}

/// Runs every check. The engine must be at rest or the figures may be of different moments.
///
/// # Errors
/// [`StoreError`] when the database does not answer.
pub async fn run(db: &Db) -> Result<Vec<Check>, StoreError> {
    // One snapshot for all of them.
    let mut tx = db.begin().await?;
    sqlx::query!("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY").execute(&mut *tx).await?;
    let mut checks = Vec::new();
    let mut note = |promise, broken| checks.push(Check { promise, broken });

    // By the largest batch that the city ever had: offers of a policy before the present one may be open.
    let broken = sqlx::query_scalar!(
        r#"SELECT count(*) AS "n!" FROM (
               SELECT city, order_id, count(*) AS n FROM offers, unnest(order_ids) AS order_id
               WHERE state IN ('sent', 'seen') GROUP BY city, order_id) AS open
           LEFT JOIN (SELECT city, max(coalesce((policy->>'offer_batch')::int, 1)) AS batch
                      FROM city_policies GROUP BY city) AS p ON p.city = open.city
           WHERE open.n > coalesce(p.batch, 1)"#
    )
    .fetch_one(&mut *tx)
    .await?;
    note("an order has no more open offers than its city asks riders at once", broken);

    let broken = sqlx::query_scalar!(
        r#"SELECT count(*) AS "n!" FROM (
               SELECT rider_id FROM offers WHERE state IN ('sent', 'seen') GROUP BY rider_id HAVING count(*) > 1) AS twice"#
    )
    .fetch_one(&mut *tx)
    .await?;
    note("a rider has at most one open offer", broken);

    // From the assignment to its end an order occupies its rider. A policy may have changed since: the largest one counts.
    let broken = sqlx::query_scalar!(
        r#"SELECT count(*) AS "n!" FROM (
               SELECT sum(step) OVER (PARTITION BY rider_id ORDER BY at, step ROWS UNBOUNDED PRECEDING) AS n, most
               FROM (SELECT rider_id, city, assigned_at AS at, 1 AS step FROM orders
                     WHERE rider_id IS NOT NULL AND assigned_at IS NOT NULL
                     UNION ALL
                     SELECT rider_id, city, ended_at, -1 FROM orders
                     WHERE rider_id IS NOT NULL AND assigned_at IS NOT NULL AND ended_at IS NOT NULL) AS steps
               LEFT JOIN (SELECT city, max(coalesce((policy->>'max_active_orders')::int, 1)) AS most
                     FROM city_policies GROUP BY city) AS policies USING (city)) AS held
           WHERE n > coalesce(most, 1)"#
    )
    .fetch_one(&mut *tx)
    .await?;
    note("a rider holds no more orders at a time than a policy allowed", broken);

    let broken = sqlx::query_scalar!(
        r#"SELECT count(*) AS "n!" FROM offers, unnest(order_ids) AS order_id JOIN orders AS o ON o.id = order_id
           WHERE state IN ('sent', 'seen') AND o.held_until IS NOT NULL"#
    )
    .fetch_one(&mut *tx)
    .await?;
    note("a held order is offered to nobody", broken);

    let broken = sqlx::query_scalar!(
        r#"SELECT count(*) AS "n!" FROM orders
           WHERE (status IN ('assigned', 'at_pickup', 'picked_up', 'at_dropoff', 'delivered') AND rider_id IS NULL)
              OR (status IN ('delivered', 'returned', 'cancelled', 'expired')) <> (ended_at IS NOT NULL)"#
    )
    .fetch_one(&mut *tx)
    .await?;
    note("an order's rider and end fit its status", broken);

    let broken = sqlx::query_scalar!(
        r#"SELECT count(*) AS "n!" FROM orders AS o
           LEFT JOIN (SELECT order_id, count(*) AS n, min(seq) AS first, max(seq) AS last, max(version) AS version
                      FROM order_events GROUP BY order_id) AS e ON e.order_id = o.id
           WHERE e.n IS NULL OR e.first <> 1 OR e.last <> e.n OR o.next_seq <> e.last + 1 OR o.version <> e.version"#
    )
    .fetch_one(&mut *tx)
    .await?;
    note("an order's events are numbered without gaps and end at its version", broken);

    let broken = sqlx::query_scalar!(
        r#"SELECT count(*) AS "n!" FROM (
               SELECT transaction_id FROM (
                   SELECT transaction_id, currency, amount FROM wallet_ledger
                   UNION ALL SELECT transaction_id, currency, amount FROM platform_ledger) AS entries
               GROUP BY transaction_id, currency HAVING sum(amount) <> 0) AS unbalanced"#
    )
    .fetch_one(&mut *tx)
    .await?;
    note("every transaction of the ledgers sums to zero", broken);

    let broken = sqlx::query_scalar!(
        r#"SELECT count(*) AS "n!" FROM orders AS o
           LEFT JOIN (SELECT order_id, count(*) AS n, sum(amount)::bigint AS total
                      FROM wallet_ledger WHERE entry_type = 'earning' GROUP BY order_id) AS w ON w.order_id = o.id
           WHERE (o.status = 'delivered'
                  AND (coalesce(w.n, 0) <> 1 OR w.total <> coalesce(o.accepted_payout_minor, o.payout_minor)))
              OR (o.status NOT IN ('delivered', 'returned') AND w.n IS NOT NULL
                  AND NOT EXISTS (SELECT FROM disputes AS d WHERE d.order_id = o.id AND d.status = 'upheld'))"#
    )
    .fetch_one(&mut *tx)
    .await?;
    note(
        "a delivered order has one earning, of what was promised, and one that failed has none but by a dispute",
        broken,
    );

    let broken = sqlx::query_scalar!(
        r#"SELECT count(*) AS "n!" FROM orders AS o
           LEFT JOIN order_refs AS r ON r.order_id = o.id
           WHERE o.external_ref IS DISTINCT FROM r.external_ref"#
    )
    .fetch_one(&mut *tx)
    .await?;
    note("an order's external name is the registered one", broken);

    tx.rollback().await?;
    Ok(checks)
}

/// How many orders placed since a time stand where, most first.
///
/// # Errors
/// [`StoreError`] when the database does not answer.
pub async fn orders_by_status(db: &Db, since: Timestamp) -> Result<Vec<(String, i64)>, StoreError> {
    let rows = sqlx::query!(
        r#"SELECT status, count(*) AS "n!" FROM orders
           WHERE id >= uuid_v7_floor($1) AND created_at >= $1 GROUP BY status ORDER BY 2 DESC, 1"#,
        since.to_datetime()
    )
    .fetch_all(db)
    .await?;
    Ok(rows.into_iter().map(|row| (row.status, row.n)).collect())
}

/// Seconds of the engine's clock from the moment a rider had to leave to the moment a rider took the order.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct DueToAssigned {
    /// The median.
    pub p50_s: f64,
    /// The 90th percentile.
    pub p90_s: f64,
    /// The 99th percentile.
    pub p99_s: f64,
}

/// Over the orders placed since a time; `None` when none of them was assigned.
///
/// # Errors
/// [`StoreError`] when the database does not answer.
pub async fn due_to_assigned(db: &Db, since: Timestamp) -> Result<Option<DueToAssigned>, StoreError> {
    let row = sqlx::query!(
        r#"SELECT percentile_disc(0.5) WITHIN GROUP (ORDER BY waited) AS p50,
                  percentile_disc(0.9) WITHIN GROUP (ORDER BY waited) AS p90,
                  percentile_disc(0.99) WITHIN GROUP (ORDER BY waited) AS p99
           FROM (SELECT greatest(0, extract(epoch FROM assigned_at - due_at))::float8 AS waited FROM orders
                 WHERE id >= uuid_v7_floor($1) AND created_at >= $1
                   AND assigned_at IS NOT NULL AND due_at IS NOT NULL) AS times"#,
        since.to_datetime()
    )
    .fetch_one(db)
    .await?;
    Ok(match (row.p50, row.p90, row.p99) {
        (Some(p50_s), Some(p90_s), Some(p99_s)) => Some(DueToAssigned { p50_s, p90_s, p99_s }),
        _ => None,
    })
}

/// The latest time that any order carries. A clock that ran faster than life is ahead of real time: the next run goes on
/// from here.
///
/// # Errors
/// [`StoreError`] when the database does not answer.
pub async fn latest_time(db: &Db) -> Result<Option<Timestamp>, StoreError> {
    let latest = sqlx::query_scalar!("SELECT max(updated_at) FROM orders").fetch_one(db).await?;
    Ok(latest.map(Timestamp::from))
}
