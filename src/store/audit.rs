//! What operators did, as the audit log has it. Writing it is the journal's work.

use chrono::{DateTime, Utc};
use serde_json::Value;
use uuid::Uuid;

use super::{Db, StoreError};
use crate::domain::ids::OrderId;

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
