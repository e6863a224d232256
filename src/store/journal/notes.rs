//! Events that leave their order as it is: an explanation takes the order's next number and no version.

use std::collections::BTreeSet;

use sqlx::PgConnection;
use uuid::Uuid;

use super::{Answer, Numbered, orders};
use crate::{engine::effect::NoteWrite, store::StoreError};

/// Takes the numbers of notes whose order is at the expected version and number; leaves in `notes` those that took theirs
/// just now, and answers the others. A note that was stored before finds its number taken, and itself among the events.
pub(super) async fn take_numbers(
    tx: &mut PgConnection,
    notes: &mut Vec<Numbered<'_, NoteWrite>>,
    answers: &mut [Answer],
) -> Result<(), StoreError> {
    let ids: Vec<Uuid> = notes.iter().map(|note| note.write.order.0).collect();
    let versions: Vec<i32> = notes.iter().map(|note| note.write.version).collect();
    let seqs: Vec<i32> = notes.iter().map(|note| note.write.event.seq).collect();
    let (Some(first), Some(last)) = (ids.iter().min(), ids.iter().max()) else { return Ok(()) };
    // The bounds on the id let the planner drop the months that the batch does not touch, and their locks.
    let won: BTreeSet<Uuid> = sqlx::query_scalar!(
        "UPDATE orders AS o SET next_seq = u.seq + 1
         FROM UNNEST($1::uuid[], $2::int4[], $3::int4[]) AS u (id, version, seq)
         WHERE o.id = u.id AND o.version = u.version AND o.next_seq = u.seq AND o.id BETWEEN $4 AND $5
         RETURNING o.id",
        &ids,
        &versions,
        &seqs,
        first,
        last,
    )
    .fetch_all(&mut *tx)
    .await?
    .into_iter()
    .collect();
    let lost: Vec<_> = notes.extract_if(.., |note| !won.contains(&note.write.order.0)).collect();
    let named: Vec<_> = lost.iter().map(|note| (note.write.order, note.write.transition)).collect();
    orders::settle_lost(tx, &named, lost.iter().map(|note| note.at), answers).await
}
