//! What a write must win before it is stored: its request's idempotency key, and for a placement the merchant's own name
//! for the order. Taken first, with `ON CONFLICT ... RETURNING`, so that a loser spoils no other write; its own rows are
//! given back.

use std::collections::{BTreeMap, BTreeSet};

use sqlx::PgConnection;
use uuid::Uuid;

use super::{
    Answer, Numbered,
    keys::{self, Keyed},
};
use crate::{
    engine::{
        command::RejectReason,
        effect::{OrderWrite, PlaceWrite},
    },
    store::StoreError,
};

type Places<'a> = Vec<Numbered<'a, PlaceWrite>>;

/// Takes keys, then references; leaves in `places` and `changes` what won all it needs, and answers the others.
pub(super) async fn take(
    tx: &mut PgConnection,
    places: &mut Places<'_>,
    changes: &mut Vec<Numbered<'_, OrderWrite>>,
    answers: &mut [Answer],
) -> Result<(), StoreError> {
    let placed = places.iter().filter_map(|place| Keyed::place(place.at, place.write));
    let changed = changes.iter().filter_map(|change| Keyed::change(change.at, change.write));
    let keyed: Vec<Keyed<'_>> = placed.chain(changed).collect();
    let lost = keys::take(tx, &keyed, answers).await?;
    places.retain(|place| !lost.contains(&place.at));
    changes.retain(|change| !lost.contains(&change.at));
    take_references(tx, places, answers).await
}

async fn take_references(
    tx: &mut PgConnection,
    places: &mut Places<'_>,
    answers: &mut [Answer],
) -> Result<(), StoreError> {
    let named: Vec<(&PlaceWrite, &str)> =
        places.iter().filter_map(|p| Some((p.write, p.write.spec.external_ref.as_deref()?))).collect();
    if named.is_empty() {
        return Ok(());
    }
    let merchants: Vec<Uuid> = named.iter().map(|(write, _)| write.spec.merchant.0).collect();
    let references: Vec<&str> = named.iter().map(|(_, reference)| *reference).collect();
    let orders: Vec<Uuid> = named.iter().map(|(write, _)| write.spec.id.0).collect();
    let won: BTreeSet<Uuid> = sqlx::query_scalar!(
        "INSERT INTO order_refs (merchant_id, external_ref, order_id)
         SELECT * FROM UNNEST($1::uuid[], $2::text[], $3::uuid[])
         ON CONFLICT (merchant_id, external_ref) DO NOTHING
         RETURNING order_id",
        &merchants,
        &references as &[&str],
        &orders,
    )
    .fetch_all(&mut *tx)
    .await?
    .into_iter()
    .collect();
    if won.len() == named.len() {
        return Ok(());
    }

    let rows = sqlx::query!(
        "SELECT r.merchant_id, r.external_ref, r.order_id
         FROM order_refs r JOIN UNNEST($1::uuid[], $2::text[]) AS u (merchant_id, external_ref)
           ON r.merchant_id = u.merchant_id AND r.external_ref = u.external_ref",
        &merchants,
        &references as &[&str],
    )
    .fetch_all(&mut *tx)
    .await?;
    let held: BTreeMap<_, _> = rows.iter().map(|row| ((row.merchant_id, row.external_ref.as_str()), row)).collect();
    let mut losers = Vec::new();
    places.retain(|place| {
        let spec = &place.write.spec;
        let Some(reference) = spec.external_ref.as_deref() else { return true };
        if won.contains(&spec.id.0) {
            return true;
        }
        answers[place.at] = match held.get(&(spec.merchant.0, reference)) {
            Some(row) if row.order_id == spec.id.0 => Ok(()),
            Some(row) => Err(RejectReason::DuplicateRef(row.order_id.into())),
            None => Err(RejectReason::Conflict),
        };
        if answers[place.at].is_err() {
            losers.push(place.write);
        }
        false
    });
    give_back(tx, &losers).await
}

/// Removes the keys and references that refused placements took in this transaction.
pub(super) async fn give_back(tx: &mut PgConnection, losers: &[&PlaceWrite]) -> Result<(), StoreError> {
    let keyed: Vec<Keyed<'_>> = losers.iter().filter_map(|write| Keyed::place(0, write)).collect();
    keys::give_back(&mut *tx, &keyed).await?;
    let named: Vec<(&PlaceWrite, &str)> =
        losers.iter().filter_map(|write| Some((*write, write.spec.external_ref.as_deref()?))).collect();
    if !named.is_empty() {
        let merchants: Vec<Uuid> = named.iter().map(|(write, _)| write.spec.merchant.0).collect();
        let references: Vec<&str> = named.iter().map(|(_, reference)| *reference).collect();
        let orders: Vec<Uuid> = named.iter().map(|(write, _)| write.spec.id.0).collect();
        sqlx::query!(
            "DELETE FROM order_refs r
             USING UNNEST($1::uuid[], $2::text[], $3::uuid[]) AS u (merchant_id, external_ref, order_id)
             WHERE r.merchant_id = u.merchant_id AND r.external_ref = u.external_ref AND r.order_id = u.order_id",
            &merchants,
            &references as &[&str],
            &orders,
        )
        .execute(tx)
        .await?;
    }
    Ok(())
}

/// Stores the sealed contacts of placements that were stored.
pub(super) async fn contacts(tx: &mut PgConnection, places: &Places<'_>) -> Result<(), StoreError> {
    let sealed: Vec<_> =
        places.iter().filter_map(|p| Some((p.write.spec.id.0, p.write.extras.contact.as_ref()?))).collect();
    if sealed.is_empty() {
        return Ok(());
    }
    let orders: Vec<Uuid> = sealed.iter().map(|(order, _)| *order).collect();
    let key_ids: Vec<&str> = sealed.iter().map(|(_, contact)| contact.key_id.as_str()).collect();
    let bytes: Vec<&[u8]> = sealed.iter().map(|(_, contact)| contact.sealed.as_slice()).collect();
    let expires: Vec<_> = sealed.iter().map(|(_, contact)| contact.expires_at.to_datetime()).collect();
    sqlx::query!(
        "INSERT INTO order_contacts (order_id, key_id, sealed, expires_at)
         SELECT * FROM UNNEST($1::uuid[], $2::text[], $3::bytea[], $4::timestamptz[])",
        &orders,
        &key_ids as &[&str],
        &bytes as &[&[u8]],
        &expires,
    )
    .execute(tx)
    .await?;
    Ok(())
}
