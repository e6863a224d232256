//! What operators did, as the audit log has it. What they change is written there by the journal, in the transaction of the
//! change; what they only look at, here.

use chrono::{DateTime, Utc};
use serde_json::Value;
use uuid::Uuid;

use super::{Db, StoreError};
use crate::{
    domain::ids::{CityCode, OrderId},
    engine::audit::AuditRecord,
};

/// One line of the audit log, as its row stands.
#[derive(Clone, Debug, PartialEq)]
#[expect(missing_docs, reason = "the columns are described in the migration")]
pub struct StoredAct {
    pub id: Uuid,
    pub at: DateTime<Utc>,
    pub actor_kind: String,
    pub actor_id: Option<String>,
    pub action: String,
    pub rider_id: Option<Uuid>,
    pub reason: Option<String>,
    pub detail: Value,
}

/// What operators did with an order, oldest first, at most `limit`.
///
/// # Errors
/// [`StoreError`].
pub async fn of_order(db: &Db, order: OrderId, limit: i64) -> Result<Vec<StoredAct>, StoreError> {
    Ok(sqlx::query_as!(
        StoredAct,
        "SELECT id, at, actor_kind, actor_id, action, rider_id, reason, detail
         FROM audit_log WHERE order_id = $1 ORDER BY at, id LIMIT $2",
        order.0,
        limit,
    )
    .fetch_all(db)
    .await?)
}

/// Adds a line about something that changed nothing.
///
/// # Errors
/// [`StoreError`].
pub async fn note(db: &Db, city: &CityCode, act: &AuditRecord) -> Result<(), StoreError> {
    sqlx::query!(
        "INSERT INTO audit_log (id, at, actor_kind, actor_id, action, city, rider_id, reason, detail)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
        act.id,
        act.at.to_datetime(),
        act.actor.kind.as_str(),
        act.actor.id,
        act.action,
        city.as_str(),
        act.rider.map(|rider| rider.0),
        act.reason,
        Value::Object(act.detail.clone()),
    )
    .execute(db)
    .await?;
    Ok(())
}
