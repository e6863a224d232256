//! The history of orders, and how a write that was stored before is recognised.

use std::collections::BTreeSet;

use serde_json::Value;
use sqlx::PgConnection;
use uuid::Uuid;

use crate::{
    domain::ids::{OrderId, TransitionId},
    engine::effect::OrderEvent,
    store::StoreError,
};

/// Adds the events of transitions that are stored in this transaction.
pub(super) async fn insert<'a>(
    tx: &mut PgConnection,
    transitions: impl Iterator<Item = (OrderId, TransitionId, &'a [OrderEvent])>,
) -> Result<(), StoreError> {
    let rows: Vec<(Uuid, Uuid, &OrderEvent)> = transitions
        .flat_map(|(order, transition, events)| events.iter().map(move |event| (order.0, transition.0, event)))
        .collect();
    if rows.is_empty() {
        return Ok(());
    }
    let orders: Vec<Uuid> = rows.iter().map(|(order, ..)| *order).collect();
    let transitions: Vec<Uuid> = rows.iter().map(|(_, transition, _)| *transition).collect();
    let seqs: Vec<i32> = rows.iter().map(|(.., event)| event.seq).collect();
    let versions: Vec<i32> = rows.iter().map(|(.., event)| event.version).collect();
    let kinds: Vec<&str> = rows.iter().map(|(.., event)| event.kind).collect();
    let actor_kinds: Vec<&str> = rows.iter().map(|(.., event)| event.actor.kind.as_str()).collect();
    let actor_ids: Vec<Option<&str>> = rows.iter().map(|(.., event)| event.actor.id.as_deref()).collect();
    let reasons: Vec<Option<&str>> = rows.iter().map(|(.., event)| event.reason.as_deref()).collect();
    let data: Vec<Value> = rows.iter().map(|(.., event)| Value::Object(event.data.clone())).collect();
    let times: Vec<_> = rows.iter().map(|(.., event)| event.at.to_datetime()).collect();
    sqlx::query!(
        "INSERT INTO order_events (order_id, transition_id, seq, version, kind, actor_kind, actor_id, reason, data,
                                   created_at)
         SELECT * FROM UNNEST($1::uuid[], $2::uuid[], $3::int4[], $4::int4[], $5::text[], $6::text[], $7::text[],
                              $8::text[], $9::jsonb[], $10::timestamptz[])",
        &orders,
        &transitions,
        &seqs,
        &versions,
        &kinds as &[&str],
        &actor_kinds as &[&str],
        &actor_ids as &[Option<&str>],
        &reasons as &[Option<&str>],
        &data,
        &times,
    )
    .execute(tx)
    .await?;
    Ok(())
}

/// Which of these transitions were stored before, by an attempt whose answer was lost.
pub(super) async fn stored(
    tx: &mut PgConnection,
    transitions: &[(OrderId, TransitionId)],
) -> Result<BTreeSet<TransitionId>, StoreError> {
    let orders: Vec<Uuid> = transitions.iter().map(|(order, _)| order.0).collect();
    let ids: Vec<Uuid> = transitions.iter().map(|(_, transition)| transition.0).collect();
    let (Some(first), Some(last)) = (orders.iter().min(), orders.iter().max()) else { return Ok(BTreeSet::new()) };
    let rows = sqlx::query_scalar!(
        "SELECT DISTINCT transition_id FROM order_events
         WHERE order_id = ANY($1) AND transition_id = ANY($2) AND order_id BETWEEN $3 AND $4",
        &orders,
        &ids,
        first,
        last,
    )
    .fetch_all(tx)
    .await?;
    Ok(rows.into_iter().map(TransitionId).collect())
}
