//! Orders as they stand in the store. Writing them is the journal's work. A list gives the bounds of its ids, which are
//! times, so that only the partitions of its months are read.

use chrono::{DateTime, Utc};
use serde_json::Value;
use uuid::Uuid;

use super::{Db, StoreError};
use crate::domain::{
    ids::{CityCode, MerchantId, OrderId},
    order::OrderStatus,
    time::Timestamp,
};

/// An order as its row stands; the names are those of the columns.
#[derive(Clone, Debug, PartialEq)]
#[expect(missing_docs, reason = "the columns are described in the migration")]
pub struct StoredOrder {
    pub id: Uuid,
    pub city: String,
    pub merchant_id: Uuid,
    pub store: Option<String>,
    pub external_ref: Option<String>,
    pub status: String,
    pub version: i32,
    pub rider_id: Option<Uuid>,
    pub custody: String,
    pub pickup_lat: f64,
    pub pickup_lon: f64,
    pub pickup_hint: Option<String>,
    pub drop_lat: f64,
    pub drop_lon: f64,
    pub drop_hint: Option<String>,
    pub ready_at: DateTime<Utc>,
    pub promise_at: DateTime<Utc>,
    pub dispatch_at: Option<DateTime<Utc>>,
    pub due_at: Option<DateTime<Utc>>,
    pub assigned_at: Option<DateTime<Utc>>,
    pub picked_up_at: Option<DateTime<Utc>>,
    pub delivered_at: Option<DateTime<Utc>>,
    pub ended_at: Option<DateTime<Utc>>,
    pub end_reason: Option<String>,
    pub size_units: i32,
    pub vehicle_need: Option<String>,
    pub currency: String,
    pub cash_to_collect_minor: i64,
    pub payout_minor: i64,
    pub offers_tried: i32,
    pub metadata: Value,
    pub created_at: DateTime<Utc>,
    pub updated_at: DateTime<Utc>,
    pub held_by: Option<String>,
    pub held_until: Option<DateTime<Utc>>,
    pub hold_reason: Option<String>,
    pub priority: i16,
    pub needs_tags: Vec<String>,
}

impl StoredOrder {
    /// Where the order stands.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] when the row holds another word.
    pub fn status(&self) -> Result<OrderStatus, StoreError> {
        OrderStatus::parse(&self.status).map_err(|e| StoreError::Corrupt(format!("order {}: {e}", self.id)))
    }
}

/// One line of an order's history, as its row stands.
#[derive(Clone, Debug, PartialEq)]
#[expect(missing_docs, reason = "the columns are described in the migration")]
pub struct StoredEvent {
    pub seq: i32,
    pub version: i32,
    pub kind: String,
    pub actor_kind: String,
    pub actor_id: Option<String>,
    pub reason: Option<String>,
    pub data: Value,
    pub created_at: DateTime<Utc>,
}

/// Which orders a list shows: ids in `from..below`, newest first.
#[derive(Clone, Debug, PartialEq)]
pub struct OrderFilter {
    /// Of one city.
    pub city: Option<CityCode>,
    /// Of one merchant.
    pub merchant: Option<MerchantId>,
    /// In one of these states.
    pub statuses: Option<Vec<OrderStatus>>,
    /// The smallest id.
    pub from: Uuid,
    /// The smallest id that is too large.
    pub below: Uuid,
}

/// The smallest id that an order placed at `at` can have.
#[must_use]
pub fn id_floor(at: Timestamp) -> Uuid {
    let millis = u128::try_from(at.as_millis()).unwrap_or(0).min((1 << 48) - 1);
    Uuid::from_u128(millis << 80)
}

/// `query_as!` over every column of [`StoredOrder`].
macro_rules! select_orders {
    ($rest:tt $(, $argument:expr)* $(,)?) => {
        sqlx::query_as!(
            StoredOrder,
            "SELECT id, city, merchant_id, store, external_ref, status, version, rider_id, custody, \
                    pickup_lat, pickup_lon, pickup_hint, drop_lat, drop_lon, drop_hint, \
                    ready_at, promise_at, dispatch_at, due_at, assigned_at, picked_up_at, delivered_at, ended_at, \
                    end_reason, size_units, vehicle_need, currency, cash_to_collect_minor, \
                    coalesce(accepted_payout_minor, payout_minor) AS \"payout_minor!\", offers_tried, \
                    metadata, created_at, updated_at, held_by, held_until, hold_reason, priority, needs_tags \
               FROM orders " + $rest
            $(, $argument)*
        )
    };
}

/// One order.
///
/// # Errors
/// [`StoreError`].
pub async fn get(db: &Db, id: OrderId) -> Result<Option<StoredOrder>, StoreError> {
    Ok(select_orders!("WHERE id = $1", id.0).fetch_optional(db).await?)
}

/// The history of one order, oldest first; one partition is read.
///
/// # Errors
/// [`StoreError`].
pub async fn events(db: &Db, id: OrderId) -> Result<Vec<StoredEvent>, StoreError> {
    Ok(sqlx::query_as!(
        StoredEvent,
        "SELECT seq, version, kind, actor_kind, actor_id, reason, data, created_at
           FROM order_events WHERE order_id = $1 ORDER BY seq",
        id.0
    )
    .fetch_all(db)
    .await?)
}

/// A page of orders, newest first, at most `limit`.
///
/// # Errors
/// [`StoreError`].
pub async fn list(db: &Db, filter: &OrderFilter, limit: i64) -> Result<Vec<StoredOrder>, StoreError> {
    let merchant = filter.merchant.map(|merchant| merchant.0);
    let statuses: Option<Vec<String>> =
        filter.statuses.as_ref().map(|all| all.iter().map(|status| status.as_str().to_owned()).collect());
    // A statement for each index that a list can walk, so that even a plan made without the values walks it.
    let page = match (merchant, &filter.city) {
        (Some(merchant), city) => {
            select_orders!(
                "WHERE merchant_id = $1 AND id >= $2 AND id < $3 \
                   AND ($4::text IS NULL OR city = $4) AND ($5::text[] IS NULL OR status = ANY($5)) \
                 ORDER BY id DESC LIMIT $6",
                merchant,
                filter.from,
                filter.below,
                city.as_ref().map(CityCode::as_str),
                statuses.as_deref(),
                limit
            )
            .fetch_all(db)
            .await?
        }
        (None, Some(city)) => {
            select_orders!(
                "WHERE city = $1 AND id >= $2 AND id < $3 AND ($4::text[] IS NULL OR status = ANY($4)) \
                 ORDER BY id DESC LIMIT $5",
                city.as_str(),
                filter.from,
                filter.below,
                statuses.as_deref(),
                limit
            )
            .fetch_all(db)
            .await?
        }
        (None, None) => {
            select_orders!(
                "WHERE id >= $1 AND id < $2 AND ($3::text[] IS NULL OR status = ANY($3)) ORDER BY id DESC LIMIT $4",
                filter.from,
                filter.below,
                statuses.as_deref(),
                limit
            )
            .fetch_all(db)
            .await?
        }
    };
    Ok(page)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_are_times() {
        let at = Timestamp::from_millis(1_790_000_000_123);
        assert_eq!(OrderId(id_floor(at)).placed_at(), at);
        assert_eq!(id_floor(Timestamp::from_millis(-5)), Uuid::nil());
        assert!(id_floor(Timestamp::FAR_FUTURE) > id_floor(at));
    }
}
