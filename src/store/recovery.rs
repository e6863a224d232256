//! What a city reads when it starts: everything that is open, and what ended lately. Read after the epoch was claimed,
//! so no other incarnation can change it meanwhile.

mod memory;

use std::time::Duration;

use chrono::{DateTime, Utc};
use serde_json::Value;
use uuid::Uuid;

use super::{Db, StoreError, orders::id_floor};
use crate::{
    domain::{
        duty::{Duty, DutyReason},
        ids::{CityCode, OrderId, RiderId},
        money::Currency,
        order::{Custody, OfferState, OrderSpec, OrderStatus, Place},
        position::Position,
        rider::{KycStatus, RiderProfile, RiderStatus, Vehicle},
        steering::{Hold, Priority},
        tags::Tags,
        time::Timestamp,
    },
    engine::{
        CityImage, MEMORY, StoredEnd, StoredRider,
        effect::{OfferRecord, OrderState},
    },
};

/// Orders placed longer ago than this are not looked at for ends: the bound keeps the search within the recent ids.
const PLACED_WITHIN: Duration = Duration::from_secs(24 * 3_600);

/// Offers sent longer ago than this are not looked at for their ends; none stays open nearly as long.
const SENT_WITHIN: Duration = Duration::from_secs(3_600);

/// Reads what a new incarnation of a city starts with at `now`: its open orders and offers, the riders who are live in
/// it, those who have one of its orders in hand, and what ended within [`MEMORY`]. Riders who lost an order are remembered for
/// `report_age`.
///
/// # Errors
/// [`StoreError`]; `Corrupt` when a row holds what the domain does not know.
pub async fn load_city(
    db: &Db,
    city: &CityCode,
    now: Timestamp,
    report_age: Duration,
) -> Result<CityImage, StoreError> {
    let orders = open_orders(db, city).await?;
    let offers = open_offers(db, city).await?;
    let in_hand = orders.iter().flat_map(|(_, state)| state.rider.into_iter().chain(state.custody.custodian()));
    let involved: Vec<Uuid> = in_hand.chain(offers.iter().map(|offer| offer.rider)).map(|rider| rider.0).collect();
    let riders = riders(db, city, &involved).await?;
    let ended = ended_orders(db, city, now).await?;
    let known: Vec<Uuid> = riders.iter().map(|rider| rider.profile.id.0).collect();
    let closed = closed_offers(db, city, &known, now).await?;
    let mut image = CityImage { orders, offers, riders, ended, closed, ..CityImage::default() };
    memory::complete(db, city, now, report_age, &mut image).await?;
    Ok(image)
}

struct OrderRow {
    id: Uuid,
    merchant_id: Uuid,
    store: Option<String>,
    external_ref: Option<String>,
    status: String,
    version: i32,
    next_seq: i32,
    rider_id: Option<Uuid>,
    custody: String,
    custodian_id: Option<Uuid>,
    pickup_lat: f64,
    pickup_lon: f64,
    pickup_hint: Option<String>,
    drop_lat: f64,
    drop_lon: f64,
    drop_hint: Option<String>,
    handover_lat: Option<f64>,
    handover_lon: Option<f64>,
    ready_at: DateTime<Utc>,
    promise_at: DateTime<Utc>,
    dispatch_at: Option<DateTime<Utc>>,
    due_at: Option<DateTime<Utc>>,
    assigned_at: Option<DateTime<Utc>>,
    picked_up_at: Option<DateTime<Utc>>,
    delivered_at: Option<DateTime<Utc>>,
    ended_at: Option<DateTime<Utc>>,
    end_reason: Option<String>,
    size_units: i32,
    vehicle_need: Option<String>,
    needs_tags: Vec<String>,
    currency: String,
    cash_to_collect_minor: i64,
    payout_minor: i64,
    pay_policy_version: i32,
    round: i32,
    offers_tried: i32,
    metadata: Value,
    created_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
    accepted_payout_minor: Option<i64>,
    parked: bool,
    held_by: Option<String>,
    held_until: Option<DateTime<Utc>>,
    hold_reason: Option<String>,
    priority: i16,
}

async fn open_orders(db: &Db, city: &CityCode) -> Result<Vec<(OrderSpec, OrderState)>, StoreError> {
    // The condition on the status is the one of the partial index, word for word.
    let rows = sqlx::query_as!(
        OrderRow,
        "SELECT id, merchant_id, store, external_ref, status, version, next_seq, rider_id, custody, custodian_id,
                pickup_lat, pickup_lon, pickup_hint, drop_lat, drop_lon, drop_hint, handover_lat, handover_lon, ready_at,
                promise_at, dispatch_at, due_at, assigned_at, picked_up_at, delivered_at, ended_at, end_reason,
                size_units, vehicle_need, currency, cash_to_collect_minor, payout_minor, pay_policy_version, round,
                offers_tried, metadata, created_at, updated_at, accepted_payout_minor, parked, held_by, held_until,
                hold_reason, priority, needs_tags
         FROM orders
         WHERE city = $1 AND status NOT IN ('delivered', 'returned', 'cancelled', 'expired')
         ORDER BY id",
        city.as_str()
    )
    .fetch_all(db)
    .await?;
    rows.into_iter().map(OrderRow::read).collect()
}

impl OrderRow {
    fn read(self) -> Result<(OrderSpec, OrderState), StoreError> {
        let id = self.id;
        let corrupt = |error: &dyn std::fmt::Display| StoreError::Corrupt(format!("order {id}: {error}"));
        let place = |lat, lon, hint| Position::new(lat, lon).map(|position| Place { position, hint });
        let Value::Object(metadata) = self.metadata else { return Err(corrupt(&"metadata is no object")) };
        let spec = OrderSpec {
            id: OrderId(id),
            merchant: self.merchant_id.into(),
            external_ref: self.external_ref,
            store: self.store,
            pickup: place(self.pickup_lat, self.pickup_lon, self.pickup_hint).map_err(|e| corrupt(&e))?,
            drop: place(self.drop_lat, self.drop_lon, self.drop_hint).map_err(|e| corrupt(&e))?,
            ready_at: self.ready_at.into(),
            promise_at: self.promise_at.into(),
            dispatch_at: self.dispatch_at.map(Into::into),
            size_units: u32::try_from(self.size_units).map_err(|e| corrupt(&e))?,
            vehicle_need: self.vehicle_need.as_deref().map(Vehicle::parse).transpose().map_err(|e| corrupt(&e))?,
            cash_to_collect_minor: self.cash_to_collect_minor,
            payout_minor: self.payout_minor,
            pay_policy_version: u32::try_from(self.pay_policy_version).map_err(|e| corrupt(&e))?,
            currency: Currency::parse(&self.currency).map_err(|e| corrupt(&e))?,
            metadata,
            placed_at: self.created_at.into(),
            // Stands in a table of its own.
            otp_digest: None,
            needs_tags: Tags::parse(&self.needs_tags).map_err(|e| corrupt(&e))?,
        };
        let handover = self.handover_lat.zip(self.handover_lon);
        let state = OrderState {
            status: OrderStatus::parse(&self.status).map_err(|e| corrupt(&e))?,
            version: self.version,
            next_seq: self.next_seq,
            rider: self.rider_id.map(RiderId),
            custody: custody(&self.custody, self.custodian_id, handover).ok_or_else(|| corrupt(&"custody"))?,
            ready_at: self.ready_at.into(),
            due_at: self.due_at.map(Into::into),
            assigned_at: self.assigned_at.map(Into::into),
            picked_up_at: self.picked_up_at.map(Into::into),
            delivered_at: self.delivered_at.map(Into::into),
            ended_at: self.ended_at.map(Into::into),
            end_reason: self.end_reason,
            round: u32::try_from(self.round).map_err(|e| corrupt(&e))?,
            offers_tried: u32::try_from(self.offers_tried).map_err(|e| corrupt(&e))?,
            updated_at: self.updated_at.into(),
            payout_minor: self.accepted_payout_minor,
            parked: self.parked,
            hold: match (self.held_by, self.held_until, self.hold_reason) {
                (Some(by), Some(until), Some(reason)) => Some(Hold { by, until: until.into(), reason }),
                _ => None,
            },
            priority: Priority::new(self.priority.into()).map_err(|e| corrupt(&e))?,
        };
        Ok((spec, state))
    }
}

/// Custody from its columns; `None` when they do not fit together.
fn custody(name: &str, custodian: Option<Uuid>, handover: Option<(f64, f64)>) -> Option<Custody> {
    Some(match name {
        "store" => Custody::Store,
        "rider" => Custody::Rider(RiderId(custodian?)),
        "handover" => {
            let (lat, lon) = handover?;
            Custody::Handover { holder: RiderId(custodian?), at: Position::new(lat, lon).ok()? }
        }
        "recipient" => Custody::Recipient,
        "merchant" => Custody::Merchant,
        _ => return None,
    })
}

async fn ended_orders(db: &Db, city: &CityCode, now: Timestamp) -> Result<Vec<StoredEnd>, StoreError> {
    let rows = sqlx::query!(
        r#"SELECT id, status, version, rider_id, ended_at AS "ended_at!"
           FROM orders WHERE city = $1 AND id >= $2 AND ended_at >= $3"#,
        city.as_str(),
        id_floor(now - PLACED_WITHIN),
        (now - MEMORY).to_datetime(),
    )
    .fetch_all(db)
    .await?;
    rows.into_iter()
        .map(|row| {
            let status = OrderStatus::parse(&row.status);
            Ok(StoredEnd {
                order: OrderId(row.id),
                status: status.map_err(|error| StoreError::Corrupt(format!("order {}: {error}", row.id)))?,
                version: row.version,
                rider: row.rider_id.map(RiderId),
                at: row.ended_at.into(),
            })
        })
        .collect()
}

struct OfferRow {
    id: Uuid,
    job_id: Uuid,
    rider_id: Uuid,
    order_ids: Vec<Uuid>,
    state: String,
    round: i32,
    reason: Option<String>,
    payout_minor: i64,
    currency: String,
    pickup_eta_ms: i64,
    pickup_distance_m: f64,
    sent_at: DateTime<Utc>,
    seen_at: Option<DateTime<Utc>>,
    expires_at: DateTime<Utc>,
    closed_at: Option<DateTime<Utc>>,
    pay_policy_version: i32,
}

async fn closed_offers(
    db: &Db,
    city: &CityCode,
    riders: &[Uuid],
    now: Timestamp,
) -> Result<Vec<OfferRecord>, StoreError> {
    let rows = sqlx::query_as!(
        OfferRow,
        "SELECT id, job_id, rider_id, order_ids, state, round, reason, payout_minor, currency, pickup_eta_ms,
                pickup_distance_m, sent_at, seen_at, expires_at, closed_at, pay_policy_version
         FROM offers WHERE rider_id = ANY($1) AND sent_at >= $2 AND city = $3 AND closed_at >= $4",
        riders,
        (now - SENT_WITHIN).to_datetime(),
        city.as_str(),
        (now - MEMORY).to_datetime(),
    )
    .fetch_all(db)
    .await?;
    rows.into_iter().map(OfferRow::read).collect()
}

async fn open_offers(db: &Db, city: &CityCode) -> Result<Vec<OfferRecord>, StoreError> {
    let rows = sqlx::query_as!(
        OfferRow,
        "SELECT id, job_id, rider_id, order_ids, state, round, reason, payout_minor, currency, pickup_eta_ms,
                pickup_distance_m, sent_at, seen_at, expires_at, closed_at, pay_policy_version
         FROM offers WHERE city = $1 AND state IN ('sent', 'seen') ORDER BY id",
        city.as_str()
    )
    .fetch_all(db)
    .await?;
    rows.into_iter().map(OfferRow::read).collect()
}

impl OfferRow {
    fn read(self) -> Result<OfferRecord, StoreError> {
        let id = self.id;
        let corrupt = |error: &dyn std::fmt::Display| StoreError::Corrupt(format!("offer {id}: {error}"));
        Ok(OfferRecord {
            id: id.into(),
            job: self.job_id.into(),
            rider: self.rider_id.into(),
            orders: self.order_ids.into_iter().map(OrderId).collect(),
            state: OfferState::parse(&self.state).map_err(|e| corrupt(&e))?,
            round: u32::try_from(self.round).map_err(|e| corrupt(&e))?,
            reason: self.reason,
            payout_minor: self.payout_minor,
            currency: Currency::parse(&self.currency).map_err(|e| corrupt(&e))?,
            pickup_eta: Duration::from_millis(u64::try_from(self.pickup_eta_ms).map_err(|e| corrupt(&e))?),
            pickup_distance_m: self.pickup_distance_m,
            sent_at: self.sent_at.into(),
            seen_at: self.seen_at.map(Into::into),
            hard_cap_at: self.expires_at.into(),
            closed_at: self.closed_at.map(Into::into),
            pay_policy_version: u32::try_from(self.pay_policy_version).map_err(|e| corrupt(&e))?,
        })
    }
}

async fn riders(db: &Db, city: &CityCode, involved: &[Uuid]) -> Result<Vec<StoredRider>, StoreError> {
    let rows = sqlx::query!(
        "SELECT id, city, status, kyc_status, vehicle, capacity_units, duty, next_duty, duty_reason, tags
         FROM riders WHERE live_city = $1 OR id = ANY($2) ORDER BY id",
        city.as_str(),
        involved
    )
    .fetch_all(db)
    .await?;
    rows.into_iter()
        .map(|row| {
            let id = row.id;
            let corrupt = |error: &dyn std::fmt::Display| StoreError::Corrupt(format!("rider {id}: {error}"));
            Ok(StoredRider {
                profile: RiderProfile {
                    id: RiderId(id),
                    city: CityCode::parse(&row.city).map_err(|e| corrupt(&e))?,
                    status: RiderStatus::parse(&row.status).map_err(|e| corrupt(&e))?,
                    kyc: KycStatus::parse(&row.kyc_status).map_err(|e| corrupt(&e))?,
                    vehicle: Vehicle::parse(&row.vehicle).map_err(|e| corrupt(&e))?,
                    capacity_units: u32::try_from(row.capacity_units).map_err(|e| corrupt(&e))?,
                    tags: Tags::parse(&row.tags).map_err(|e| corrupt(&e))?,
                },
                duty: Duty::parse(&row.duty).map_err(|e| corrupt(&e))?,
                next_duty: row.next_duty.as_deref().map(Duty::parse).transpose().map_err(|e| corrupt(&e))?,
                duty_why: row.duty_reason.as_deref().map(DutyReason::parse).transpose().map_err(|e| corrupt(&e))?,
            })
        })
        .collect()
}
