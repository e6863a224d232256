//! What a city remembers beside what is open: who refused, who lost an order, what was disputed, and what frames were
//! answered. Each is one statement, whatever the size of the city.

use std::{collections::BTreeMap, time::Duration};

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::{OfferRow, id_floor};
use crate::{
    domain::{
        dispute::DisputeKind,
        ids::{CityCode, DisputeId, OrderId, RiderId},
        order::{OrderSpec, OrderStatus, Step},
        otp::OtpDigest,
        time::Timestamp,
    },
    engine::{
        CityImage, MEMORY, StoredClaim, StoredDispute, StoredFrame,
        answered::FrameKey,
        effect::{OfferRecord, OrderState},
    },
    store::{Db, StoreError, frames},
};

/// Frames that are read at most; an older one is looked up when it comes again.
const FRAMES: i64 = 50_000;

/// Orders placed longer ago than this are not looked at for riders who lost them, but for open ones: a day's work is over
/// by then, and orders are scheduled for a week at most.
const PLACED_WITHIN: Duration = Duration::from_secs(8 * 24 * 3_600);

/// Completes an image.
pub(super) async fn complete(
    db: &Db,
    city: &CityCode,
    now: Timestamp,
    report_age: Duration,
    image: &mut CityImage,
) -> Result<(), StoreError> {
    image.refused = refused(db, city, &image.orders).await?;
    image.frames = answered(db, city, now).await?;
    image.claims = claims(db, city, now - report_age, now - PLACED_WITHIN).await?;
    image.disputes = disputes(db, city).await?;
    codes(db, image).await
}

/// Offers of waiting orders that were closed in the order's round, in the order in which that happened.
async fn refused(db: &Db, city: &CityCode, orders: &[(OrderSpec, OrderState)]) -> Result<Vec<OfferRecord>, StoreError> {
    let waiting = orders.iter().filter(|(_, state)| state.status.is_waiting() && state.offers_tried > 0);
    let rounds: BTreeMap<OrderId, u32> = waiting.map(|(spec, state)| (spec.id, state.round)).collect();
    if rounds.is_empty() {
        return Ok(Vec::new());
    }
    let ids: Vec<Uuid> = rounds.keys().map(|order| order.0).collect();
    // One look into the index per order: asked for all of them at once, it compares each key with each. OFFSET 0 keeps the
    // planner from reading the whole table for each order, when it knows nothing of the table yet.
    let rows = sqlx::query_as!(
        OfferRow,
        "SELECT f.id, f.job_id, f.rider_id, f.order_ids, f.state, f.round, f.reason, f.payout_minor, f.currency,
                f.pickup_eta_ms, f.pickup_distance_m, f.sent_at, f.seen_at, f.expires_at, f.closed_at,
                f.pay_policy_version
         FROM UNNEST($1::uuid[]) AS u (id)
         CROSS JOIN LATERAL (SELECT * FROM offers WHERE order_ids @> ARRAY[u.id] OFFSET 0) AS f
         WHERE f.city = $2 AND f.state IN ('accepted', 'declined', 'expired')
         ORDER BY f.closed_at, f.id",
        &ids,
        city.as_str(),
    )
    .fetch_all(db)
    .await?;
    let of_the_round = |offer: &OfferRecord| offer.orders.iter().any(|order| rounds.get(order) == Some(&offer.round));
    let all = rows.into_iter().map(OfferRow::read).collect::<Result<Vec<_>, _>>()?;
    Ok(all.into_iter().filter(of_the_round).collect())
}

async fn answered(db: &Db, city: &CityCode, now: Timestamp) -> Result<Vec<StoredFrame>, StoreError> {
    let rows = sqlx::query!(
        "SELECT rider_id, frame_id, digest, answer, created_at FROM device_frames
         WHERE city = $1 AND created_at >= $2 ORDER BY created_at DESC LIMIT $3",
        city.as_str(),
        (now - MEMORY).to_datetime(),
        FRAMES,
    )
    .fetch_all(db)
    .await?;
    rows.into_iter()
        .rev()
        .map(|row| {
            let rider = RiderId(row.rider_id);
            let answer = frames::read(rider, &row.answer)?;
            let digest = row.digest.try_into().map_err(|_| StoreError::Corrupt(format!("a digest of {rider}")))?;
            Ok(StoredFrame { rider, key: FrameKey { id: row.frame_id, digest }, answer, at: row.created_at.into() })
        })
        .collect()
}

/// Riders who had an order in hand and lost it: of open orders, and of those that ended at `since` or later.
async fn claims(
    db: &Db,
    city: &CityCode,
    since: Timestamp,
    placed_since: Timestamp,
) -> Result<Vec<StoredClaim>, StoreError> {
    struct Row {
        order_id: Uuid,
        status: String,
        ended_at: Option<DateTime<Utc>>,
        rider: Option<Uuid>,
    }
    // The conditions on kind and status are those of the partial indexes, word for word.
    let mut rows = sqlx::query_as!(
        Row,
        r#"SELECT o.id AS order_id, o.status, o.ended_at,
                  CASE e.kind WHEN 'handover' THEN e.actor_id ELSE e.data ->> 'rider' END::uuid AS rider
           FROM order_events e JOIN orders o ON o.id = e.order_id
           WHERE e.kind IN ('unassigned', 'handover') AND e.order_id >= $2 AND o.id >= $2 AND o.city = $1
             AND (o.ended_at IS NULL OR o.ended_at >= $3)
             AND (o.status IN ('cancelled', 'expired')
                  OR o.rider_id::text IS DISTINCT FROM CASE e.kind WHEN 'handover' THEN e.actor_id
                                                                   ELSE e.data ->> 'rider' END)"#,
        city.as_str(),
        id_floor(placed_since),
        since.to_datetime(),
    )
    .fetch_all(db)
    .await?;
    let cancelled = sqlx::query_as!(
        Row,
        "SELECT id AS order_id, status, ended_at, rider_id AS rider FROM orders
         WHERE city = $1 AND ended_at >= $2 AND status = 'cancelled' AND rider_id IS NOT NULL",
        city.as_str(),
        since.to_datetime(),
    )
    .fetch_all(db)
    .await?;
    rows.extend(cancelled);
    let mut claims: BTreeMap<Uuid, StoredClaim> = BTreeMap::new();
    for Row { order_id, status, ended_at, rider } in rows {
        let Some(rider) = rider.map(RiderId) else { continue };
        let status = OrderStatus::parse(&status);
        let status = status.map_err(|error| StoreError::Corrupt(format!("order {order_id}: {error}")))?;
        let end = ended_at.map(|at| (status, at.into()));
        let fresh = StoredClaim { order: OrderId(order_id), end, riders: Vec::new() };
        let riders = &mut claims.entry(order_id).or_insert(fresh).riders;
        if !riders.contains(&rider) {
            riders.push(rider);
        }
    }
    Ok(claims.into_values().collect())
}

async fn disputes(db: &Db, city: &CityCode) -> Result<Vec<StoredDispute>, StoreError> {
    let rows = sqlx::query!(
        r#"SELECT id, order_id, rider_id, kind, report ->> 'step' AS "step!" FROM disputes
           WHERE city = $1 AND status = 'open' ORDER BY opened_at"#,
        city.as_str(),
    )
    .fetch_all(db)
    .await?;
    rows.into_iter()
        .map(|row| {
            let bad = |error| StoreError::Corrupt(format!("dispute {}: {error}", row.id));
            Ok(StoredDispute {
                id: DisputeId(row.id),
                order: OrderId(row.order_id),
                rider: RiderId(row.rider_id),
                kind: DisputeKind::parse(&row.kind).map_err(bad)?,
                step: Step::parse(&row.step).map_err(bad)?,
            })
        })
        .collect()
}

/// The digests of one-time codes of open orders, and how often a wrong one was tried.
async fn codes(db: &Db, image: &mut CityImage) -> Result<(), StoreError> {
    let open: Vec<Uuid> = image.orders.iter().map(|(spec, _)| spec.id.0).collect();
    let rows =
        sqlx::query!("SELECT order_id, digest FROM order_otps WHERE order_id = ANY($1)", &open).fetch_all(db).await?;
    let mut digests = BTreeMap::new();
    for row in rows {
        let digest = row.digest.try_into().map_err(|_| StoreError::Corrupt(format!("a code of {}", row.order_id)))?;
        digests.insert(OrderId(row.order_id), OtpDigest(digest));
    }
    for (spec, _) in &mut image.orders {
        spec.otp_digest = digests.get(&spec.id).copied();
    }
    let guarded: Vec<Uuid> = digests.keys().map(|order| order.0).collect();
    let (Some(first), Some(last)) = (guarded.first(), guarded.last()) else { return Ok(()) };
    let tries = sqlx::query!(
        r#"SELECT order_id, count(*) AS "tries!" FROM order_events
           WHERE order_id = ANY($1) AND kind = 'otp_wrong' AND order_id BETWEEN $2 AND $3 GROUP BY order_id"#,
        &guarded,
        first,
        last,
    )
    .fetch_all(db)
    .await?;
    image.wrong_codes =
        tries.into_iter().map(|row| (OrderId(row.order_id), u32::try_from(row.tries).unwrap_or(u32::MAX))).collect();
    Ok(())
}
