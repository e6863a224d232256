//! Merchants.

use uuid::Uuid;

use super::{Db, StoreError};
use crate::domain::{ids::MerchantId, time::Timestamp};

/// A merchant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Merchant {
    /// Its id.
    pub id: Uuid,
    /// For people.
    pub name: String,
    /// `ACTIVE` or `SUSPENDED`.
    pub status: String,
}

impl Merchant {
    /// Whether the merchant may place orders.
    #[must_use]
    pub fn is_active(&self) -> bool {
        self.status == "ACTIVE"
    }
}

/// Stores a new merchant, who is active.
///
/// # Errors
/// [`StoreError`].
pub async fn insert(db: &Db, id: MerchantId, name: &str, now: Timestamp) -> Result<Merchant, StoreError> {
    Ok(sqlx::query_as!(
        Merchant,
        "INSERT INTO merchants (id, name, created_at) VALUES ($1, $2, $3) RETURNING id, name, status",
        id.0,
        name,
        now.to_datetime()
    )
    .fetch_one(db)
    .await?)
}

/// One merchant.
///
/// # Errors
/// [`StoreError`].
pub async fn get(db: &Db, id: MerchantId) -> Result<Option<Merchant>, StoreError> {
    Ok(sqlx::query_as!(Merchant, "SELECT id, name, status FROM merchants WHERE id = $1", id.0)
        .fetch_optional(db)
        .await?)
}
