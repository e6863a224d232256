//! Disputes as they stand, and the end of those about orders that no city holds any more. The journal opens them, and
//! closes those about live orders.

use chrono::{DateTime, Utc};
use serde_json::{Value, json};
use uuid::Uuid;

use super::{Db, StoreError};
use crate::domain::{
    dispute::DisputeStatus,
    ids::{CityCode, DisputeId, MerchantId, OrderId, RiderId},
    order::{Actor, Step},
    time::Timestamp,
    wallet::{Account, EntryType, Posting, settle_order},
};

/// A dispute as its row stands; the names are those of the columns.
#[derive(Clone, Debug, PartialEq)]
#[expect(missing_docs, reason = "the columns are described in the migration")]
pub struct StoredDispute {
    pub id: Uuid,
    pub order_id: Uuid,
    pub city: String,
    pub rider_id: Uuid,
    pub kind: String,
    pub report: Value,
    pub status: String,
    pub opened_at: DateTime<Utc>,
    pub closed_at: Option<DateTime<Utc>>,
    pub closed_by: Option<String>,
    pub close_reason: Option<String>,
}

impl StoredDispute {
    /// The step that was reported last, and its time.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] when the report holds none.
    pub fn reported(&self) -> Result<(Step, Timestamp), StoreError> {
        let field = |name: &str| self.report.get(name).and_then(Value::as_str).unwrap_or_default();
        let bad = |error: &dyn std::fmt::Display| StoreError::Corrupt(format!("dispute {}: {error}", self.id));
        let step = Step::parse(field("step")).map_err(|error| bad(&error))?;
        let at = DateTime::parse_from_rfc3339(field("recorded_at")).map_err(|error| bad(&error))?;
        Ok((step, at.with_timezone(&Utc).into()))
    }
}

/// What was decided, by whom.
#[derive(Clone, Debug, PartialEq)]
pub struct Decision {
    /// Upheld or dismissed.
    pub status: DisputeStatus,
    /// Why.
    pub reason: String,
    /// Who decided.
    pub actor: Actor,
}

/// One dispute.
///
/// # Errors
/// [`StoreError`].
pub async fn get(db: &Db, id: DisputeId) -> Result<Option<StoredDispute>, StoreError> {
    Ok(sqlx::query_as!(
        StoredDispute,
        "SELECT id, order_id, city, rider_id, kind, report, status, opened_at, closed_at, closed_by, close_reason
         FROM disputes WHERE id = $1",
        id.0
    )
    .fetch_optional(db)
    .await?)
}

/// Disputes of a city with ids below `below`, newest first, at most `limit`.
///
/// # Errors
/// [`StoreError`].
pub async fn list(
    db: &Db,
    city: &CityCode,
    status: Option<DisputeStatus>,
    below: Uuid,
    limit: i64,
) -> Result<Vec<StoredDispute>, StoreError> {
    Ok(sqlx::query_as!(
        StoredDispute,
        "SELECT id, order_id, city, rider_id, kind, report, status, opened_at, closed_at, closed_by, close_reason
         FROM disputes WHERE city = $1 AND ($2::text IS NULL OR status = $2) AND id < $3 ORDER BY id DESC LIMIT $4",
        city.as_str(),
        status.map(DisputeStatus::as_str),
        below,
        limit
    )
    .fetch_all(db)
    .await?)
}

/// What a rider was promised when the order last came into the rider's hands, minor units: by the offer that was accepted,
/// or by an operator's assignment. Both stand in its `assigned` events.
///
/// # Errors
/// [`StoreError`].
pub async fn promised(db: &Db, order: OrderId, rider: RiderId) -> Result<Option<i64>, StoreError> {
    Ok(sqlx::query_scalar!(
        r#"SELECT (data ->> 'payout_minor')::bigint AS "payout!" FROM order_events
           WHERE order_id = $1 AND kind = 'assigned' AND coalesce(data ->> 'rider', actor_id) = $2
             AND data ->> 'payout_minor' IS NOT NULL
           ORDER BY seq DESC LIMIT 1"#,
        order.0,
        rider.to_string()
    )
    .fetch_optional(db)
    .await?)
}

/// Closes a dispute about an order that has ended. The order keeps its state; a delivery or a return that holds is paid,
/// unless somebody was paid for this order before, and the cash of a delivery is booked, unless it was before. `false` when the dispute is closed already, or the order has not ended.
///
/// # Errors
/// [`StoreError`].
pub async fn close_ended(
    db: &Db,
    dispute: &StoredDispute,
    decision: &Decision,
    promised: Option<i64>,
    transition: Uuid,
    now: Timestamp,
) -> Result<bool, StoreError> {
    let (step, _) = dispute.reported()?;
    let mut tx = db.begin().await?;
    // The order first, as the journal does: whoever settles it waits here for the other.
    let order = sqlx::query!(
        r#"UPDATE orders SET next_seq = next_seq + 1, updated_at = $2
           WHERE id = $1 AND status IN ('delivered', 'returned', 'cancelled', 'expired')
             AND EXISTS (SELECT FROM disputes WHERE id = $3 AND status = 'open')
           RETURNING next_seq - 1 AS "seq!", version, merchant_id, currency, payout_minor, cash_to_collect_minor"#,
        dispute.order_id,
        now.to_datetime(),
        dispute.id,
    )
    .fetch_optional(&mut *tx)
    .await?;
    let Some(order) = order else { return Ok(false) };
    let actor = &decision.actor;
    let closed = sqlx::query!(
        "UPDATE disputes SET status = $2, closed_at = $3, closed_by = $4, close_reason = $5
         WHERE id = $1 AND status = 'open'",
        dispute.id,
        decision.status.as_str(),
        now.to_datetime(),
        format!("{}:{}", actor.kind, actor.id.as_deref().unwrap_or_default()),
        decision.reason,
    )
    .execute(&mut *tx)
    .await?;
    if closed.rows_affected() == 0 {
        // Another operator was faster by a moment.
        tx.rollback().await?;
        return Ok(false);
    }
    let upheld = decision.status == DisputeStatus::Upheld;
    let postings = if upheld {
        // Whoever delivered has taken the cash; goods that are only picked up are paid for once they are brought.
        let cash = if step == Step::Delivered { order.cash_to_collect_minor } else { 0 };
        let payout = match step {
            Step::Delivered | Step::Returned => promised.unwrap_or(order.payout_minor),
            _ => 0,
        };
        let (rider, merchant) = (RiderId(dispute.rider_id), MerchantId(order.merchant_id));
        unsettled(&mut tx, settle_order(OrderId(dispute.order_id), rider, merchant, payout, cash)).await?
    } else {
        Vec::new()
    };
    let paid = postings.iter().any(|posting| posting.entry_type == EntryType::Earning);
    sqlx::query!(
        "INSERT INTO order_events (order_id, transition_id, seq, version, kind, actor_kind, actor_id, reason, data,
                                   created_at)
         VALUES ($1, $2, $3, $4, 'dispute_closed', $5, $6, $7, $8, $9)",
        dispute.order_id,
        transition,
        order.seq,
        order.version,
        actor.kind.as_str(),
        actor.id,
        decision.reason,
        json!({ "dispute": dispute.id, "upheld": upheld, "step": step, "rider": dispute.rider_id, "paid": paid }),
        now.to_datetime(),
    )
    .execute(&mut *tx)
    .await?;
    for posting in &postings {
        pay(&mut tx, dispute, posting, order.currency.as_str(), transition, now).await?;
    }
    tx.commit().await?;
    Ok(true)
}

/// The postings of a settlement that were not stored before, for whichever rider. Each entry of a rider goes with one of the
/// platform's, whose key is the order's: the fee and the cash are booked apart. The caller has the order's row.
async fn unsettled(tx: &mut sqlx::PgConnection, postings: Vec<Posting>) -> Result<Vec<Posting>, StoreError> {
    let keys: Vec<&str> = postings.iter().map(|posting| posting.idempotency_key.as_str()).collect();
    let before =
        sqlx::query_scalar!("SELECT entry_type FROM platform_ledger WHERE idempotency_key = ANY($1)", &keys as &[&str])
            .fetch_all(tx)
            .await?;
    let stored = |entry: EntryType| before.iter().any(|stored| stored == entry.as_str());
    let (fee, cash) = (stored(EntryType::DeliveryFee), stored(EntryType::CashDue));
    let is_new = |posting: &Posting| match posting.entry_type {
        EntryType::Earning | EntryType::DeliveryFee => !fee,
        EntryType::CashCollected | EntryType::CashDue => !cash,
    };
    Ok(postings.into_iter().filter(is_new).collect())
}

async fn pay(
    tx: &mut sqlx::PgConnection,
    dispute: &StoredDispute,
    posting: &Posting,
    currency: &str,
    transition: Uuid,
    now: Timestamp,
) -> Result<(), StoreError> {
    let wallet = |account, rider: RiderId| (Some((account, rider.0)), None);
    let (wallet, platform) = match posting.account {
        Account::RiderEarnings(rider) => wallet("earnings", rider),
        Account::RiderCashInHand(rider) => wallet("cash_in_hand", rider),
        Account::Platform => (None, Some(("platform", None))),
        Account::Merchant(merchant) => (None, Some(("merchant", Some(merchant.0)))),
    };
    let id = super::journal::id_at(now);
    if let Some((account, rider)) = wallet {
        sqlx::query!(
            "INSERT INTO wallet_ledger (id, rider_id, account, amount, currency, transaction_id, entry_type, order_id,
                                        idempotency_key, created_at)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)",
            id,
            rider,
            account,
            posting.amount_minor,
            currency,
            transition,
            posting.entry_type.as_str(),
            dispute.order_id,
            posting.idempotency_key,
            now.to_datetime(),
        )
        .execute(&mut *tx)
        .await?;
    }
    if let Some((account, merchant)) = platform {
        sqlx::query!(
            "INSERT INTO platform_ledger (id, merchant_id, account, amount, currency, transaction_id, entry_type, order_id,
                                          idempotency_key, created_at)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)",
            id,
            merchant,
            account,
            posting.amount_minor,
            currency,
            transition,
            posting.entry_type.as_str(),
            dispute.order_id,
            posting.idempotency_key,
            now.to_datetime(),
        )
        .execute(&mut *tx)
        .await?;
    }
    Ok(())
}
