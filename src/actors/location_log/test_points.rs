//! Points for the unit tests of this folder.

use std::sync::Arc;

use uuid::Uuid;

use super::{LogPoint, Track};
use crate::domain::{
    ids::{BootId, CityCode, RiderId},
    position::Position,
    time::Timestamp,
};

/// The track of a rider.
pub fn track(rider: u128) -> Arc<Track> {
    let (rider, boot) = (RiderId(Uuid::from_u128(rider)), BootId(Uuid::from_u128(5)));
    Arc::new(Track::new(rider, CityCode::parse("blr").unwrap(), boot, "d", 0, Timestamp::default()))
}

/// Accepted points of a track.
pub fn points(track: &Arc<Track>, seqs: impl IntoIterator<Item = u64>) -> Vec<LogPoint> {
    let point = |seq| {
        track.note_accepted(seq, None);
        LogPoint {
            track: track.clone(),
            seq,
            created_at: Timestamp::from_millis(1_000),
            recorded_at: Timestamp::from_millis(900),
            device_at: Timestamp::from_millis(800),
            position: Position::new(1.0, 2.0).unwrap(),
            accuracy_m: None,
            speed_mps: None,
            heading_deg: None,
            flags: 0,
            store: true,
            dot: None,
        }
    };
    seqs.into_iter().map(point).collect()
}
