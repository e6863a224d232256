//! The digests of recipients' one-time codes, stored with the order that needs one.

use std::time::Duration;

use sqlx::PgConnection;
use uuid::Uuid;

use super::Numbered;
use crate::{engine::effect::PlaceWrite, store::StoreError};

/// How long a digest outlives the promise to the recipient: an order that is that late is no longer delivered.
const KEPT: Duration = Duration::from_secs(7 * 24 * 3_600);

/// Stores the digests of placements that were stored.
pub(super) async fn insert(tx: &mut PgConnection, places: &[Numbered<'_, PlaceWrite>]) -> Result<(), StoreError> {
    let with_code = || places.iter().filter_map(|place| Some((&place.write.spec, place.write.spec.otp_digest?)));
    let orders: Vec<Uuid> = with_code().map(|(spec, _)| spec.id.0).collect();
    if orders.is_empty() {
        return Ok(());
    }
    let digests: Vec<Vec<u8>> = with_code().map(|(_, digest)| digest.0.to_vec()).collect();
    let expires: Vec<_> = with_code().map(|(spec, _)| (spec.promise_at + KEPT).to_datetime()).collect();
    sqlx::query!(
        "INSERT INTO order_otps (order_id, digest, expires_at)
         SELECT * FROM UNNEST($1::uuid[], $2::bytea[], $3::timestamptz[])",
        &orders,
        &digests,
        &expires,
    )
    .execute(tx)
    .await?;
    Ok(())
}
