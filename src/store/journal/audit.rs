//! The audit log: what operators did, in the transaction of the act itself.

use serde_json::Value;
use sqlx::PgConnection;
use uuid::Uuid;

use super::Numbered;
use crate::{engine::effect::OrderWrite, store::StoreError};

/// Adds the lines of changes that are stored in this transaction.
pub(super) async fn insert(tx: &mut PgConnection, changes: &[Numbered<'_, OrderWrite>]) -> Result<(), StoreError> {
    let acts: Vec<_> = changes.iter().filter_map(|change| Some((change, change.write.audit.as_ref()?))).collect();
    if acts.is_empty() {
        return Ok(());
    }
    let ids: Vec<Uuid> = acts.iter().map(|(_, act)| act.id).collect();
    let times: Vec<_> = acts.iter().map(|(_, act)| act.at.to_datetime()).collect();
    let kinds: Vec<&str> = acts.iter().map(|(_, act)| act.actor.kind.as_str()).collect();
    let names: Vec<Option<&str>> = acts.iter().map(|(_, act)| act.actor.id.as_deref()).collect();
    let actions: Vec<&str> = acts.iter().map(|(_, act)| act.action).collect();
    let cities: Vec<&str> = acts.iter().map(|(change, _)| change.entry.city.as_str()).collect();
    let orders: Vec<Uuid> = acts.iter().map(|(change, _)| change.write.order.0).collect();
    let riders: Vec<Option<Uuid>> = acts.iter().map(|(_, act)| act.rider.map(|rider| rider.0)).collect();
    let reasons: Vec<Option<&str>> = acts.iter().map(|(_, act)| act.reason.as_deref()).collect();
    let details: Vec<Value> = acts.iter().map(|(_, act)| Value::Object(act.detail.clone())).collect();
    let transitions: Vec<Uuid> = acts.iter().map(|(change, _)| change.write.transition.0).collect();
    sqlx::query!(
        "INSERT INTO audit_log (id, at, actor_kind, actor_id, action, city, order_id, rider_id, reason, detail,
                                transition_id)
         SELECT * FROM UNNEST($1::uuid[], $2::timestamptz[], $3::text[], $4::text[], $5::text[], $6::text[], $7::uuid[],
                              $8::uuid[], $9::text[], $10::jsonb[], $11::uuid[])",
        &ids,
        &times,
        &kinds as &[&str],
        &names as &[Option<&str>],
        &actions as &[&str],
        &cities as &[&str],
        &orders,
        &riders as &[Option<Uuid>],
        &reasons as &[Option<&str>],
        &details,
        &transitions,
    )
    .execute(tx)
    .await?;
    Ok(())
}
