//! Disputes: opened, added to and closed with a transition of a live order, or opened about one that has ended. They are
//! rare, so each has statements of its own.

use serde_json::Value;
use sqlx::PgConnection;
use uuid::Uuid;

use super::{Answer, Numbered, events};
use crate::{
    domain::ids::CityCode,
    engine::{
        command::RejectReason,
        effect::{DisputeChange, DisputeRecord, DisputeWrite, OrderEvent, OrderWrite},
    },
    store::StoreError,
};

/// Stores what transitions of live orders make of disputes.
pub(super) async fn change(tx: &mut PgConnection, changes: &[Numbered<'_, OrderWrite>]) -> Result<(), StoreError> {
    for change in changes {
        match change.write.dispute.as_deref() {
            None => {}
            Some(DisputeChange::Open(record)) => {
                open(tx, &change.entry.city, record).await?;
            }
            Some(DisputeChange::Close { dispute, status, by, reason, at }) => {
                sqlx::query!(
                    "UPDATE disputes SET status = $2, closed_at = $3, closed_by = $4, close_reason = $5
                     WHERE id = $1 AND status = 'open'",
                    dispute.0,
                    status.as_str(),
                    at.to_datetime(),
                    by,
                    reason,
                )
                .execute(&mut *tx)
                .await?;
            }
        }
    }
    Ok(())
}

/// Opens disputes about orders that have ended; what contradicts the store is answered so.
pub(super) async fn open_ended(
    tx: &mut PgConnection,
    disputes: &[Numbered<'_, DisputeWrite>],
    answers: &mut [Answer],
) -> Result<(), StoreError> {
    for dispute in disputes {
        let (record, event) = (&dispute.write.record, &dispute.write.event);
        let name = [(record.order, record.transition)];
        if !events::stored(tx, &name).await?.is_empty() {
            // A retry, whose answer was lost.
            continue;
        }
        // The version stays: whoever remembers the end of the order remembers it rightly.
        let row = sqlx::query!(
            "UPDATE orders SET next_seq = next_seq + 1, updated_at = $2
             WHERE id = $1 AND status IN ('delivered', 'returned', 'cancelled', 'expired')
             RETURNING next_seq - 1 AS \"seq!\", version",
            record.order.0,
            record.at.to_datetime(),
        )
        .fetch_optional(&mut *tx)
        .await?;
        let Some(row) = row else {
            answers[dispute.at] = Err(RejectReason::Invalid("the order has not ended".to_owned()));
            continue;
        };
        let opened = open(tx, &dispute.entry.city, record).await?;
        let mut event = OrderEvent { seq: row.seq, version: row.version, ..event.clone() };
        event.data.insert("dispute".to_owned(), opened.to_string().into());
        let numbered = [event];
        events::insert(tx, std::iter::once((record.order, record.transition, numbered.as_slice()))).await?;
    }
    Ok(())
}

/// A further report of an open dispute takes the place of the one before; the order's events keep both. Where the one that
/// the city means is closed meanwhile, another one is opened, under the id of the transition: no report gets lost. The
/// caller has the order's row, so nobody closes a dispute of it now. Returns the dispute that has the report.
async fn open(tx: &mut PgConnection, city: &CityCode, record: &DisputeRecord) -> Result<Uuid, StoreError> {
    let added = sqlx::query_scalar!(
        "UPDATE disputes SET kind = $3, report = $4, transition_id = $5
         WHERE order_id = $1 AND rider_id = $2 AND status = 'open' RETURNING id",
        record.order.0,
        record.rider.0,
        record.kind.as_str(),
        Value::Object(record.report.clone()),
        record.transition.0,
    )
    .fetch_optional(&mut *tx)
    .await?;
    if let Some(id) = added {
        return Ok(id);
    }
    let opened = sqlx::query_scalar!(
        "INSERT INTO disputes (id, order_id, city, rider_id, kind, report, opened_at, transition_id)
         VALUES (CASE WHEN EXISTS (SELECT FROM disputes WHERE id = $1) THEN $8 ELSE $1 END, $2, $3, $4, $5, $6, $7, $8)
         RETURNING id",
        record.id.0,
        record.order.0,
        city.as_str(),
        record.rider.0,
        record.kind.as_str(),
        Value::Object(record.report.clone()),
        record.at.to_datetime(),
        record.transition.0,
    )
    .fetch_one(tx)
    .await?;
    Ok(opened)
}
