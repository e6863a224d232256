//! How far the points of one run of one device have come. The session writes what it received, the log what it stored;
//! both see it through one shared record, so that a commit reaches a session without a message.

use std::sync::{
    Mutex, MutexGuard, PoisonError,
    atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering},
};

use crate::domain::{
    ids::{BootId, CityCode, RiderId},
    ping::pipeline::Hygiene,
    time::Timestamp,
};

/// The points of one rider's device since its app started.
#[derive(Debug)]
pub struct Track {
    /// Whose points.
    pub rider: RiderId,
    /// The city in which the rider is live.
    pub city: CityCode,
    /// The run of the app.
    pub boot: BootId,
    /// The device.
    pub device: Box<str>,
    received: AtomicU64,
    accepted: AtomicU64,
    stored: AtomicU64,
    live_at: AtomicI64,
    lost: AtomicBool,
    hygiene: Mutex<Hygiene>,
}

impl Track {
    /// A track whose points up to `stored` are stored and whose live dot is of `live_at`.
    #[must_use]
    pub fn new(rider: RiderId, city: CityCode, boot: BootId, device: &str, stored: u64, live_at: Timestamp) -> Self {
        Self {
            rider,
            city,
            boot,
            device: device.into(),
            received: AtomicU64::new(stored),
            accepted: AtomicU64::new(stored),
            stored: AtomicU64::new(stored),
            live_at: AtomicI64::new(live_at.as_millis()),
            lost: AtomicBool::new(false),
            hygiene: Mutex::default(),
        }
    }

    /// What the filters remember; it outlives a connection. Held for one frame.
    pub fn hygiene(&self) -> MutexGuard<'_, Hygiene> {
        self.hygiene.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The highest number seen.
    #[must_use]
    pub fn received_to(&self) -> u64 {
        self.received.load(Ordering::Acquire)
    }

    /// Every point up to this number is stored, or was refused and told so.
    #[must_use]
    pub fn stored_to(&self) -> u64 {
        let received = self.received_to();
        let stored = self.stored.load(Ordering::Acquire);
        // Nothing that was accepted is outstanding: what follows was refused.
        if !self.is_lost() && stored >= self.accepted.load(Ordering::Acquire) { received.max(stored) } else { stored }
    }

    /// The time of the live dot.
    #[must_use]
    pub fn live_at(&self) -> Timestamp {
        Timestamp::from_millis(self.live_at.load(Ordering::Acquire))
    }

    /// Whether a point came before.
    #[must_use]
    pub fn has(&self, seq: u64) -> bool {
        seq <= self.received_to()
    }

    /// A point came that the city's policy leaves out of the store.
    pub fn note_thinned(&self, seq: u64) {
        self.note_received(seq);
    }

    /// The live dot is of this time, or a later one.
    pub fn move_dot(&self, at: Timestamp) {
        self.live_at.fetch_max(at.as_millis(), Ordering::AcqRel);
    }

    /// A point was refused.
    pub fn note_received(&self, seq: u64) {
        self.received.fetch_max(seq, Ordering::AcqRel);
    }

    /// A point was accepted; a live one moves the dot.
    pub fn note_accepted(&self, seq: u64, live: Option<Timestamp>) {
        // Before `received`, so that `stored_to` never takes an accepted point for a refused one.
        self.accepted.fetch_max(seq, Ordering::AcqRel);
        self.received.fetch_max(seq, Ordering::AcqRel);
        if let Some(at) = live {
            self.move_dot(at);
        }
    }

    /// Points up to `seq` are committed.
    pub fn note_stored(&self, seq: u64) {
        if !self.is_lost() {
            self.stored.fetch_max(seq, Ordering::AcqRel);
        }
    }

    /// Some points will never be stored: the track ends where it was, and the session starts another one from there,
    /// so that the device sends the rest again.
    pub fn note_lost(&self) {
        self.lost.store(true, Ordering::Release);
    }

    /// Whether points of it were lost.
    #[must_use]
    pub fn is_lost(&self) -> bool {
        self.lost.load(Ordering::Acquire)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn track() -> Track {
        let city = CityCode::parse("blr").unwrap();
        Track::new(RiderId(uuid::Uuid::nil()), city, BootId(uuid::Uuid::nil()), "d", 0, Timestamp::default())
    }

    #[test]
    fn stored_follows_the_commits_and_covers_refused_points_behind_them() {
        let track = track();
        track.note_accepted(1, None);
        track.note_accepted(2, None);
        track.note_received(3);
        assert_eq!((track.received_to(), track.stored_to()), (3, 0));
        track.note_stored(1);
        assert_eq!(track.stored_to(), 1);
        track.note_stored(2);
        assert_eq!(track.stored_to(), 3);
    }

    #[test]
    fn a_lost_point_stops_the_track() {
        let track = track();
        track.note_accepted(1, None);
        track.note_stored(1);
        track.note_accepted(2, None);
        track.note_lost();
        track.note_accepted(3, None);
        track.note_stored(3);
        assert_eq!(track.stored_to(), 1);
    }
}
