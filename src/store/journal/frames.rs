//! Frames of devices: the key and the first answer of each that changed something, in the transaction of the change. Taken
//! first, so that a frame that was answered before changes nothing again, and given back where its write is refused.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;
use sqlx::PgConnection;
use uuid::Uuid;

use super::{Answer, JournalEntry};
use crate::{
    engine::{
        answered::FrameRecord,
        command::RejectReason,
        effect::{DisputeWrite, DutyWrite, OrderWrite, Write},
    },
    store::StoreError,
};

/// The frame that asked for a write, when one did.
pub(super) fn of(write: &Write) -> Option<&FrameRecord> {
    match write {
        Write::Order(OrderWrite { frame, .. })
        | Write::Duty(DutyWrite { frame, .. })
        | Write::Dispute(DisputeWrite { frame, .. }) => frame.as_deref(),
        Write::Place(_) | Write::Offer { .. } | Write::Note(_) => None,
    }
}

/// Takes the keys of the given writes. Answers those whose frame was answered before, and says which these are.
pub(super) async fn take(
    tx: &mut PgConnection,
    batch: &[JournalEntry],
    wave: impl Iterator<Item = usize>,
    answers: &mut [Answer],
) -> Result<BTreeSet<usize>, StoreError> {
    let keyed: Vec<(usize, &JournalEntry, &FrameRecord)> = wave
        .filter(|at| answers[*at].is_ok())
        .filter_map(|at| batch.get(at).and_then(|entry| Some((at, entry, of(&entry.write)?))))
        .collect();
    if keyed.is_empty() {
        return Ok(BTreeSet::new());
    }
    let riders: Vec<Uuid> = keyed.iter().map(|(_, _, frame)| frame.rider.0).collect();
    let ids: Vec<&str> = keyed.iter().map(|(_, _, frame)| frame.key.id.as_str()).collect();
    let cities: Vec<&str> = keyed.iter().map(|(_, entry, _)| entry.city.as_str()).collect();
    let digests: Vec<&[u8]> = keyed.iter().map(|(_, _, frame)| frame.key.digest.as_slice()).collect();
    let transitions: Vec<Uuid> = keyed.iter().map(|(_, entry, _)| entry.write.transition().0).collect();
    let given: Vec<Value> = keyed
        .iter()
        .map(|(_, _, frame)| serde_json::to_value(frame.answer))
        .collect::<Result<_, _>>()
        .map_err(|error| StoreError::Corrupt(format!("an answer to a frame: {error}")))?;
    let created: Vec<_> = keyed.iter().map(|(_, _, frame)| frame.at.to_datetime()).collect();
    let expires: Vec<_> = keyed.iter().map(|(_, _, frame)| frame.expires_at.to_datetime()).collect();
    // A key past its time is forgotten, whether or not its row has been swept yet.
    let won: BTreeSet<Uuid> = sqlx::query_scalar!(
        "INSERT INTO device_frames (rider_id, frame_id, city, digest, transition_id, answer, created_at, expires_at)
         SELECT * FROM UNNEST($1::uuid[], $2::text[], $3::text[], $4::bytea[], $5::uuid[], $6::jsonb[],
                              $7::timestamptz[], $8::timestamptz[])
         ON CONFLICT (rider_id, frame_id) DO UPDATE
         SET city = EXCLUDED.city, digest = EXCLUDED.digest, transition_id = EXCLUDED.transition_id,
             answer = EXCLUDED.answer, created_at = EXCLUDED.created_at, expires_at = EXCLUDED.expires_at
         WHERE device_frames.expires_at <= EXCLUDED.created_at
         RETURNING transition_id",
        &riders,
        &ids as &[&str],
        &cities as &[&str],
        &digests as &[&[u8]],
        &transitions,
        &given,
        &created,
        &expires,
    )
    .fetch_all(&mut *tx)
    .await?
    .into_iter()
    .collect();
    if won.len() == keyed.len() {
        return Ok(BTreeSet::new());
    }

    let rows = sqlx::query!(
        "SELECT f.rider_id, f.frame_id, f.digest, f.transition_id, f.answer
         FROM device_frames f JOIN UNNEST($1::uuid[], $2::text[]) AS u (rider_id, frame_id)
           ON f.rider_id = u.rider_id AND f.frame_id = u.frame_id",
        &riders,
        &ids as &[&str],
    )
    .fetch_all(tx)
    .await?;
    let held: BTreeMap<_, _> = rows.iter().map(|row| ((row.rider_id, row.frame_id.as_str()), row)).collect();
    let mut settled = BTreeSet::new();
    for (at, entry, frame) in keyed.iter().filter(|(_, entry, _)| !won.contains(&entry.write.transition().0)) {
        settled.insert(*at);
        answers[*at] = match held.get(&(frame.rider.0, frame.key.id.as_str())) {
            // A retry: this very write was stored, and its answer was lost.
            Some(row) if row.transition_id == entry.write.transition().0 => Ok(()),
            Some(row) if row.digest == frame.key.digest => Err(RejectReason::Replay(row.answer.clone())),
            _ => Err(RejectReason::KeyReused),
        };
    }
    Ok(settled)
}

/// Removes the keys that writes took in this transaction and lost, because they were refused.
pub(super) async fn give_back(tx: &mut PgConnection, losers: &[&JournalEntry]) -> Result<(), StoreError> {
    let keyed: Vec<(&FrameRecord, Uuid)> =
        losers.iter().filter_map(|entry| Some((of(&entry.write)?, entry.write.transition().0))).collect();
    if keyed.is_empty() {
        return Ok(());
    }
    let riders: Vec<Uuid> = keyed.iter().map(|(frame, _)| frame.rider.0).collect();
    let ids: Vec<&str> = keyed.iter().map(|(frame, _)| frame.key.id.as_str()).collect();
    let transitions: Vec<Uuid> = keyed.iter().map(|(_, transition)| *transition).collect();
    sqlx::query!(
        "DELETE FROM device_frames f
         USING UNNEST($1::uuid[], $2::text[], $3::uuid[]) AS u (rider_id, frame_id, transition_id)
         WHERE f.rider_id = u.rider_id AND f.frame_id = u.frame_id AND f.transition_id = u.transition_id",
        &riders,
        &ids as &[&str],
        &transitions,
    )
    .execute(tx)
    .await?;
    Ok(())
}
