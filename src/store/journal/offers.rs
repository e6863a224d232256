//! Offers: written when they are made and at each change. A closed offer stays closed.

use std::collections::BTreeMap;

use sqlx::PgConnection;
use uuid::Uuid;

use crate::{
    domain::{
        ids::{CityCode, OfferId},
        order::OfferState,
    },
    engine::effect::OfferRecord,
    store::StoreError,
};

/// Inserts new offers and brings stored ones up to date. Where a batch holds several records of one offer the last one
/// counts, unless it would open a closed offer again.
pub(super) async fn upsert<'a>(
    tx: &mut PgConnection,
    records: impl Iterator<Item = (&'a CityCode, &'a OfferRecord)>,
) -> Result<(), StoreError> {
    let mut latest: BTreeMap<OfferId, (&CityCode, &OfferRecord)> = BTreeMap::new();
    for (city, record) in records {
        let held = latest.entry(record.id).or_insert((city, record));
        if may_follow(held.1.state, record.state) {
            *held = (city, record);
        }
    }
    if latest.is_empty() {
        return Ok(());
    }
    let rows: Vec<_> = latest.into_values().collect();
    let ids: Vec<Uuid> = rows.iter().map(|(_, offer)| offer.id.0).collect();
    let jobs: Vec<Uuid> = rows.iter().map(|(_, offer)| offer.job.0).collect();
    let cities: Vec<&str> = rows.iter().map(|(city, _)| city.as_str()).collect();
    let riders: Vec<Uuid> = rows.iter().map(|(_, offer)| offer.rider.0).collect();
    let orders: Vec<String> = rows.iter().map(|(_, offer)| array_literal(offer)).collect();
    let states: Vec<&str> = rows.iter().map(|(_, offer)| offer.state.as_str()).collect();
    let rounds: Vec<i32> = rows.iter().map(|(_, offer)| offer.round.cast_signed()).collect();
    let reasons: Vec<Option<&str>> = rows.iter().map(|(_, offer)| offer.reason.as_deref()).collect();
    let payouts: Vec<i64> = rows.iter().map(|(_, offer)| offer.payout_minor).collect();
    let currencies: Vec<&str> = rows.iter().map(|(_, offer)| offer.currency.as_str()).collect();
    let etas: Vec<i64> =
        rows.iter().map(|(_, offer)| i64::try_from(offer.pickup_eta.as_millis()).unwrap_or(i64::MAX)).collect();
    let distances: Vec<f64> = rows.iter().map(|(_, offer)| offer.pickup_distance_m).collect();
    let sent: Vec<_> = rows.iter().map(|(_, offer)| offer.sent_at.to_datetime()).collect();
    let seen: Vec<_> = rows.iter().map(|(_, offer)| offer.seen_at.map(|at| at.to_datetime())).collect();
    let expires: Vec<_> = rows.iter().map(|(_, offer)| offer.hard_cap_at.to_datetime()).collect();
    let closed: Vec<_> = rows.iter().map(|(_, offer)| offer.closed_at.map(|at| at.to_datetime())).collect();
    let pay_versions: Vec<i32> = rows.iter().map(|(_, offer)| offer.pay_policy_version.cast_signed()).collect();
    // Arrays of different lengths cannot be nested, so the orders of each offer come as an array literal.
    sqlx::query!(
        "INSERT INTO offers (id, job_id, city, rider_id, order_ids, state, round, reason, payout_minor, currency,
                             pickup_eta_ms, pickup_distance_m, sent_at, seen_at, expires_at, closed_at,
                             pay_policy_version)
         SELECT u.id, u.job_id, u.city, u.rider_id, u.order_ids::uuid[], u.state, u.round, u.reason, u.payout_minor,
                u.currency, u.pickup_eta_ms, u.pickup_distance_m, u.sent_at, u.seen_at, u.expires_at, u.closed_at,
                u.pay_policy_version
         FROM UNNEST($1::uuid[], $2::uuid[], $3::text[], $4::uuid[], $5::text[], $6::text[], $7::int4[], $8::text[],
                     $9::int8[], $10::text[], $11::int8[], $12::float8[], $13::timestamptz[], $14::timestamptz[],
                     $15::timestamptz[], $16::timestamptz[], $17::int4[])
              AS u (id, job_id, city, rider_id, order_ids, state, round, reason, payout_minor, currency, pickup_eta_ms,
                    pickup_distance_m, sent_at, seen_at, expires_at, closed_at, pay_policy_version)
         ON CONFLICT (id) DO UPDATE
         SET state = EXCLUDED.state, reason = EXCLUDED.reason, seen_at = EXCLUDED.seen_at,
             closed_at = EXCLUDED.closed_at
         WHERE offers.state = 'sent' OR (offers.state = 'seen' AND EXCLUDED.state <> 'sent')",
        &ids,
        &jobs,
        &cities as &[&str],
        &riders,
        &orders,
        &states as &[&str],
        &rounds,
        &reasons as &[Option<&str>],
        &payouts,
        &currencies as &[&str],
        &etas,
        &distances,
        &sent,
        &seen as &[Option<chrono::DateTime<chrono::Utc>>],
        &expires,
        &closed as &[Option<chrono::DateTime<chrono::Utc>>],
        &pay_versions,
    )
    .execute(tx)
    .await?;
    Ok(())
}

/// Whether a record of the state `next` may take the place of one of the state `held`; the statement has the same rule.
fn may_follow(held: OfferState, next: OfferState) -> bool {
    match held {
        OfferState::Sent => true,
        OfferState::Seen => next != OfferState::Sent,
        OfferState::Accepted | OfferState::Declined | OfferState::Expired | OfferState::Withdrawn => false,
    }
}

fn array_literal(offer: &OfferRecord) -> String {
    let orders: Vec<String> = offer.orders.iter().map(ToString::to_string).collect();
    format!("{{{}}}", orders.join(","))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_closed_offer_stays_closed() {
        for &held in OfferState::ALL {
            for &next in OfferState::ALL {
                assert!(held.is_open() || !may_follow(held, next), "{held} -> {next}");
            }
        }
        assert!(may_follow(OfferState::Sent, OfferState::Seen));
        assert!(!may_follow(OfferState::Seen, OfferState::Sent));
    }
}
