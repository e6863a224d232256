//! The orders themselves: inserted once, then changed where the stored version is the expected one.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use serde_json::Value;
use sqlx::PgConnection;
use uuid::Uuid;

use super::{
    Answer, Numbered, claims, events,
    keys::{self, Keyed},
};
use crate::{
    domain::{
        ids::{OrderId, TransitionId},
        order::Custody,
    },
    engine::{
        command::RejectReason,
        effect::{OrderState, OrderWrite, PlaceWrite},
    },
    store::StoreError,
};

/// The changeable half of many orders, one vector per column.
#[derive(Default)]
struct States<'a> {
    status: Vec<&'a str>,
    version: Vec<i32>,
    next_seq: Vec<i32>,
    rider: Vec<Option<Uuid>>,
    custody: Vec<&'a str>,
    custodian: Vec<Option<Uuid>>,
    handover_lat: Vec<Option<f64>>,
    handover_lon: Vec<Option<f64>>,
    ready_at: Vec<DateTime<Utc>>,
    due_at: Vec<Option<DateTime<Utc>>>,
    assigned_at: Vec<Option<DateTime<Utc>>>,
    picked_up_at: Vec<Option<DateTime<Utc>>>,
    delivered_at: Vec<Option<DateTime<Utc>>>,
    ended_at: Vec<Option<DateTime<Utc>>>,
    end_reason: Vec<Option<&'a str>>,
    round: Vec<i32>,
    offers_tried: Vec<i32>,
    updated_at: Vec<DateTime<Utc>>,
    accepted_payout: Vec<Option<i64>>,
    parked: Vec<bool>,
    held_by: Vec<Option<&'a str>>,
    held_until: Vec<Option<DateTime<Utc>>>,
    hold_reason: Vec<Option<&'a str>>,
    priority: Vec<i16>,
}

impl<'a> States<'a> {
    fn of(states: impl Iterator<Item = &'a OrderState>) -> Self {
        let mut columns = Self::default();
        for state in states {
            let handover = match state.custody {
                Custody::Handover { at, .. } => Some(at),
                _ => None,
            };
            columns.status.push(state.status.as_str());
            columns.version.push(state.version);
            columns.next_seq.push(state.next_seq);
            columns.rider.push(state.rider.map(|rider| rider.0));
            columns.custody.push(state.custody.as_str());
            columns.custodian.push(state.custody.custodian().map(|rider| rider.0));
            columns.handover_lat.push(handover.map(|at| at.lat()));
            columns.handover_lon.push(handover.map(|at| at.lon()));
            columns.ready_at.push(state.ready_at.to_datetime());
            columns.due_at.push(state.due_at.map(Into::into));
            columns.assigned_at.push(state.assigned_at.map(Into::into));
            columns.picked_up_at.push(state.picked_up_at.map(Into::into));
            columns.delivered_at.push(state.delivered_at.map(Into::into));
            columns.ended_at.push(state.ended_at.map(Into::into));
            columns.end_reason.push(state.end_reason.as_deref());
            columns.round.push(state.round.cast_signed());
            columns.offers_tried.push(state.offers_tried.cast_signed());
            columns.updated_at.push(state.updated_at.to_datetime());
            columns.accepted_payout.push(state.payout_minor);
            columns.parked.push(state.parked);
            let hold = state.hold.as_ref();
            columns.held_by.push(hold.map(|hold| hold.by.as_str()));
            columns.held_until.push(hold.map(|hold| hold.until.to_datetime()));
            columns.hold_reason.push(hold.map(|hold| hold.reason.as_str()));
            columns.priority.push(state.priority.level().into());
        }
        columns
    }
}

/// Inserts new orders; leaves in `places` those that were stored just now, and answers the others.
pub(super) async fn insert(
    tx: &mut PgConnection,
    places: &mut Vec<Numbered<'_, PlaceWrite>>,
    answers: &mut [Answer],
) -> Result<(), StoreError> {
    if places.is_empty() {
        return Ok(());
    }
    let state = States::of(places.iter().map(|place| &place.write.state));
    let specs: Vec<_> = places.iter().map(|place| &place.write.spec).collect();
    let ids: Vec<Uuid> = specs.iter().map(|spec| spec.id.0).collect();
    let cities: Vec<&str> = places.iter().map(|place| place.entry.city.as_str()).collect();
    let merchants: Vec<Uuid> = specs.iter().map(|spec| spec.merchant.0).collect();
    let stores: Vec<Option<&str>> = specs.iter().map(|spec| spec.store.as_deref()).collect();
    let references: Vec<Option<&str>> = specs.iter().map(|spec| spec.external_ref.as_deref()).collect();
    let pickup_lats: Vec<f64> = specs.iter().map(|spec| spec.pickup.position.lat()).collect();
    let pickup_lons: Vec<f64> = specs.iter().map(|spec| spec.pickup.position.lon()).collect();
    let pickup_hints: Vec<Option<&str>> = specs.iter().map(|spec| spec.pickup.hint.as_deref()).collect();
    let drop_lats: Vec<f64> = specs.iter().map(|spec| spec.drop.position.lat()).collect();
    let drop_lons: Vec<f64> = specs.iter().map(|spec| spec.drop.position.lon()).collect();
    let drop_hints: Vec<Option<&str>> = specs.iter().map(|spec| spec.drop.hint.as_deref()).collect();
    let promises: Vec<DateTime<Utc>> = specs.iter().map(|spec| spec.promise_at.to_datetime()).collect();
    let dispatches: Vec<Option<DateTime<Utc>>> = specs.iter().map(|spec| spec.dispatch_at.map(Into::into)).collect();
    let sizes: Vec<i32> = specs.iter().map(|spec| spec.size_units.cast_signed()).collect();
    let vehicles: Vec<Option<&str>> = specs.iter().map(|spec| spec.vehicle_need.map(|v| v.as_str())).collect();
    let currencies: Vec<&str> = specs.iter().map(|spec| spec.currency.as_str()).collect();
    let cash: Vec<i64> = specs.iter().map(|spec| spec.cash_to_collect_minor).collect();
    let payouts: Vec<i64> = specs.iter().map(|spec| spec.payout_minor).collect();
    let pay_versions: Vec<i32> = specs.iter().map(|spec| spec.pay_policy_version.cast_signed()).collect();
    let metadata: Vec<Value> = specs.iter().map(|spec| Value::Object(spec.metadata.clone())).collect();
    // Arrays of one row cannot be of different lengths within an array of many: they travel as texts.
    let needs: Vec<String> = specs.iter().map(|spec| spec.needs_tags.to_texts().join(" ")).collect();
    let placed: Vec<DateTime<Utc>> = specs.iter().map(|spec| spec.placed_at.to_datetime()).collect();
    let won: BTreeSet<Uuid> = sqlx::query_scalar!(
        "INSERT INTO orders (id, city, merchant_id, store, external_ref, pickup_lat, pickup_lon, pickup_hint, drop_lat,
                             drop_lon, drop_hint, promise_at, dispatch_at, size_units, vehicle_need, currency,
                             cash_to_collect_minor, payout_minor, pay_policy_version, metadata, created_at, status,
                             version, next_seq, rider_id, custody, custodian_id, handover_lat, handover_lon, ready_at,
                             due_at, assigned_at, picked_up_at, delivered_at, ended_at, end_reason, round, offers_tried,
                             updated_at, accepted_payout_minor, parked, held_by, held_until, hold_reason, priority, needs_tags)
         SELECT o.*, string_to_array(needs.tags, ' ')
         FROM UNNEST($1::uuid[], $2::text[], $3::uuid[], $4::text[], $5::text[], $6::float8[], $7::float8[],
                              $8::text[], $9::float8[], $10::float8[], $11::text[], $12::timestamptz[],
                              $13::timestamptz[], $14::int4[], $15::text[], $16::text[], $17::int8[], $18::int8[],
                              $19::int4[], $20::jsonb[], $21::timestamptz[], $22::text[], $23::int4[], $24::int4[],
                              $25::uuid[], $26::text[], $27::uuid[], $28::float8[], $29::float8[], $30::timestamptz[],
                              $31::timestamptz[], $32::timestamptz[], $33::timestamptz[], $34::timestamptz[],
                              $35::timestamptz[], $36::text[], $37::int4[], $38::int4[], $39::timestamptz[],
                              $40::int8[], $41::bool[], $42::text[], $43::timestamptz[], $44::text[], $45::int2[]) AS o (id)
         JOIN UNNEST($1::uuid[], $46::text[]) AS needs (id, tags) ON needs.id = o.id
         ON CONFLICT (id) DO NOTHING
         RETURNING id",
        &ids,
        &cities as &[&str],
        &merchants,
        &stores as &[Option<&str>],
        &references as &[Option<&str>],
        &pickup_lats,
        &pickup_lons,
        &pickup_hints as &[Option<&str>],
        &drop_lats,
        &drop_lons,
        &drop_hints as &[Option<&str>],
        &promises,
        &dispatches as &[Option<DateTime<Utc>>],
        &sizes,
        &vehicles as &[Option<&str>],
        &currencies as &[&str],
        &cash,
        &payouts,
        &pay_versions,
        &metadata,
        &placed,
        &state.status as &[&str],
        &state.version,
        &state.next_seq,
        &state.rider as &[Option<Uuid>],
        &state.custody as &[&str],
        &state.custodian as &[Option<Uuid>],
        &state.handover_lat as &[Option<f64>],
        &state.handover_lon as &[Option<f64>],
        &state.ready_at,
        &state.due_at as &[Option<DateTime<Utc>>],
        &state.assigned_at as &[Option<DateTime<Utc>>],
        &state.picked_up_at as &[Option<DateTime<Utc>>],
        &state.delivered_at as &[Option<DateTime<Utc>>],
        &state.ended_at as &[Option<DateTime<Utc>>],
        &state.end_reason as &[Option<&str>],
        &state.round,
        &state.offers_tried,
        &state.updated_at,
        &state.accepted_payout as &[Option<i64>],
        &state.parked,
        &state.held_by as &[Option<&str>],
        &state.held_until as &[Option<DateTime<Utc>>],
        &state.hold_reason as &[Option<&str>],
        &state.priority,
        &needs,
    )
    .fetch_all(&mut *tx)
    .await?
    .into_iter()
    .collect();
    let lost: Vec<_> = places.extract_if(.., |place| !won.contains(&place.write.spec.id.0)).collect();
    let named: Vec<_> = lost.iter().map(|place| (place.write.spec.id, place.write.transition)).collect();
    settle_lost(tx, &named, lost.iter().map(|place| place.at), answers).await?;
    let refused: Vec<_> = lost.iter().filter(|place| answers[place.at].is_err()).map(|place| place.write).collect();
    claims::give_back(tx, &refused).await
}

/// Changes orders whose stored version is the expected one; leaves in `changes` those that were changed just now, and
/// answers the others.
pub(super) async fn update(
    tx: &mut PgConnection,
    changes: &mut Vec<Numbered<'_, OrderWrite>>,
    answers: &mut [Answer],
) -> Result<(), StoreError> {
    let state = States::of(changes.iter().map(|change| &change.write.state));
    let ids: Vec<Uuid> = changes.iter().map(|change| change.write.order.0).collect();
    let expected: Vec<i32> = changes.iter().map(|change| change.write.expected_version).collect();
    let (Some(first), Some(last)) = (ids.iter().min(), ids.iter().max()) else { return Ok(()) };
    // The bounds on the id let the planner drop the months that the batch does not touch, and their locks.
    let won: BTreeSet<Uuid> = sqlx::query_scalar!(
        "UPDATE orders AS o
         SET status = u.status, version = u.version, next_seq = u.next_seq, rider_id = u.rider_id, custody = u.custody,
             custodian_id = u.custodian_id, handover_lat = u.handover_lat, handover_lon = u.handover_lon,
             ready_at = u.ready_at, due_at = u.due_at, assigned_at = u.assigned_at, picked_up_at = u.picked_up_at,
             delivered_at = u.delivered_at, ended_at = u.ended_at, end_reason = u.end_reason, round = u.round,
             offers_tried = u.offers_tried, updated_at = u.updated_at, held_by = u.held_by, held_until = u.held_until,
             hold_reason = u.hold_reason, priority = u.priority, accepted_payout_minor = u.accepted_payout_minor,
             parked = u.parked
         FROM UNNEST($1::uuid[], $2::int4[], $3::text[], $4::int4[], $5::int4[], $6::uuid[], $7::text[], $8::uuid[],
                     $9::float8[], $10::float8[], $11::timestamptz[], $12::timestamptz[], $13::timestamptz[],
                     $14::timestamptz[], $15::timestamptz[], $16::timestamptz[], $17::text[], $18::int4[], $19::int4[],
                     $20::timestamptz[], $21::text[], $22::timestamptz[], $23::text[], $24::int2[], $27::int8[],
                     $28::bool[])
              AS u (id, expected, status, version, next_seq, rider_id, custody, custodian_id, handover_lat, handover_lon,
                    ready_at, due_at, assigned_at, picked_up_at, delivered_at, ended_at, end_reason, round, offers_tried,
                    updated_at, held_by, held_until, hold_reason, priority, accepted_payout_minor, parked)
         WHERE o.id = u.id AND o.version = u.expected AND o.id BETWEEN $25 AND $26
         RETURNING o.id",
        &ids,
        &expected,
        &state.status as &[&str],
        &state.version,
        &state.next_seq,
        &state.rider as &[Option<Uuid>],
        &state.custody as &[&str],
        &state.custodian as &[Option<Uuid>],
        &state.handover_lat as &[Option<f64>],
        &state.handover_lon as &[Option<f64>],
        &state.ready_at,
        &state.due_at as &[Option<DateTime<Utc>>],
        &state.assigned_at as &[Option<DateTime<Utc>>],
        &state.picked_up_at as &[Option<DateTime<Utc>>],
        &state.delivered_at as &[Option<DateTime<Utc>>],
        &state.ended_at as &[Option<DateTime<Utc>>],
        &state.end_reason as &[Option<&str>],
        &state.round,
        &state.offers_tried,
        &state.updated_at,
        &state.held_by as &[Option<&str>],
        &state.held_until as &[Option<DateTime<Utc>>],
        &state.hold_reason as &[Option<&str>],
        &state.priority,
        first,
        last,
        &state.accepted_payout as &[Option<i64>],
        &state.parked,
    )
    .fetch_all(&mut *tx)
    .await?
    .into_iter()
    .collect();
    let lost: Vec<_> = changes.extract_if(.., |change| !won.contains(&change.write.order.0)).collect();
    let named: Vec<_> = lost.iter().map(|change| (change.write.order, change.write.transition)).collect();
    settle_lost(tx, &named, lost.iter().map(|change| change.at), answers).await?;
    let refused: Vec<_> = lost.iter().filter(|change| answers[change.at].is_err()).collect();
    let keyed: Vec<_> = refused.iter().filter_map(|change| Keyed::change(change.at, change.write)).collect();
    keys::give_back(tx, &keyed).await
}

/// Answers the writes whose row was not touched: stored before, or in conflict with what is stored.
pub(super) async fn settle_lost(
    tx: &mut PgConnection,
    lost: &[(OrderId, TransitionId)],
    places: impl Iterator<Item = usize>,
    answers: &mut [Answer],
) -> Result<(), StoreError> {
    if lost.is_empty() {
        return Ok(());
    }
    let stored = events::stored(tx, lost).await?;
    for ((_, transition), at) in lost.iter().zip(places) {
        answers[at] = if stored.contains(transition) { Ok(()) } else { Err(RejectReason::Conflict) };
    }
    Ok(())
}
