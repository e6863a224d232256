//! How far the points of one run of one device have come. The session writes what it received, the log what it stored;
//! both see it through one shared record, so that a commit reaches a session without a message.

use std::sync::{
    Mutex, MutexGuard, PoisonError,
    atomic::{AtomicI64, AtomicU64, Ordering},
};

use crate::domain::{
    ids::{BootId, CityCode, RiderId, SessionId},
    ping::{pipeline::Hygiene, progress::Progress, ranges::Ranges},
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
    progress: Mutex<Progress>,
    /// What `progress` says, for those who only look.
    received: AtomicU64,
    settled: AtomicU64,
    live_at: AtomicI64,
    session: AtomicU64,
    hygiene: Mutex<Hygiene>,
}

impl Track {
    /// A track whose points up to `stored` are stored and whose live dot is of `live_at`.
    #[must_use]
    pub fn new(rider: RiderId, city: CityCode, boot: BootId, device: &str, stored: u64, live_at: Timestamp) -> Self {
        Self::of(rider, city, boot, device, Progress::new(stored), live_at)
    }

    /// A track that begins with what is known of its run.
    #[must_use]
    pub fn of(
        rider: RiderId,
        city: CityCode,
        boot: BootId,
        device: &str,
        progress: Progress,
        live_at: Timestamp,
    ) -> Self {
        Self {
            rider,
            city,
            boot,
            device: device.into(),
            received: AtomicU64::new(progress.received_to()),
            settled: AtomicU64::new(progress.settled_to()),
            progress: Mutex::new(progress),
            live_at: AtomicI64::new(live_at.as_millis()),
            session: AtomicU64::new(0),
            hygiene: Mutex::default(),
        }
    }

    /// What the filters remember; it outlives a connection. Held for one frame.
    pub fn hygiene(&self) -> MutexGuard<'_, Hygiene> {
        self.hygiene.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Every number up to this one was received, or never comes.
    #[must_use]
    pub fn received_to(&self) -> u64 {
        self.received.load(Ordering::Acquire)
    }

    /// Every number up to this one is settled: stored, left out, refused and told so, or it never comes.
    #[must_use]
    pub fn stored_to(&self) -> u64 {
        self.settled.load(Ordering::Acquire)
    }

    /// The time of the live dot.
    #[must_use]
    pub fn live_at(&self) -> Timestamp {
        Timestamp::from_millis(self.live_at.load(Ordering::Acquire))
    }

    /// Whether a point came before.
    #[must_use]
    pub fn has(&self, seq: u64) -> bool {
        self.progress().has(seq)
    }

    /// What the device says of the points that follow: the lowest number that it holds, which makes any order good, or
    /// nothing, and then they come in order.
    pub fn expect(&self, oldest: Option<u64>) {
        self.change(|progress| progress.expect(oldest));
    }

    /// A point was refused.
    pub fn note_received(&self, seq: u64) {
        self.change(|progress| progress.refused(seq));
    }

    /// A point was refused because it had come before.
    pub fn note_again(&self, seq: u64) {
        self.change(|progress| progress.came_again(seq));
    }

    /// A point was accepted; a live one moves the dot.
    pub fn note_accepted(&self, seq: u64, live: Option<Timestamp>) {
        self.change(|progress| progress.accepted(seq));
        if let Some(at) = live {
            self.move_dot(at);
        }
    }

    /// A point came that the city's policy leaves out of the store.
    pub fn note_thinned(&self, seq: u64) {
        self.change(|progress| progress.thinned(seq));
    }

    /// The point `seq` is committed, or synced to the disk that waits for the database.
    pub fn note_stored(&self, seq: u64) {
        self.note_all_stored([seq]);
    }

    /// So are these.
    pub fn note_all_stored(&self, seqs: impl IntoIterator<Item = u64>) {
        self.change(|progress| seqs.into_iter().for_each(|seq| progress.stored(seq)));
    }

    /// The point `seq` will not be stored unless it comes again: the device keeps it, and sends it again after its next
    /// `hello`.
    pub fn note_dropped(&self, seq: u64) {
        self.change(|progress| progress.dropped(seq));
    }

    /// Whether points were dropped that are wanted again.
    #[must_use]
    pub fn is_lost(&self) -> bool {
        self.progress().has_dropped()
    }

    /// The device said `hello`: what was dropped may come again.
    pub fn reopen(&self, oldest: Option<u64>) {
        self.change(|progress| {
            progress.reopen();
            progress.expect(oldest);
        });
    }

    /// Points that are stored, as a spool knows them.
    pub fn restore(&self, settled: &Ranges, oldest: Option<u64>) {
        self.change(|progress| progress.restore(settled, oldest));
    }

    /// What is settled: what a track of the same run begins with when the rider has changed the city.
    #[must_use]
    pub fn settled(&self) -> Progress {
        self.progress().settled()
    }

    /// How many numbers were given up since the last call because there were too many gaps.
    #[must_use]
    pub fn take_given_up(&self) -> u64 {
        self.progress().take_given_up()
    }

    /// The live dot is of this time, or of a later one.
    pub fn move_dot(&self, at: Timestamp) {
        self.live_at.fetch_max(at.as_millis(), Ordering::AcqRel);
    }

    fn progress(&self) -> MutexGuard<'_, Progress> {
        self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self, with: impl FnOnce(&mut Progress)) {
        let mut progress = self.progress();
        with(&mut progress);
        // Under the lock, so that no older state is shown after a newer one. Received goes first when it grows: whoever
        // reads both in the other order never sees more settled than received.
        self.received.store(progress.received_to(), Ordering::Release);
        self.settled.store(progress.settled_to(), Ordering::Release);
    }

    /// A session speaks for the device from now on; an older one that is told later does not take it back.
    pub fn take_over(&self, session: SessionId) {
        self.session.fetch_max(session.0, Ordering::AcqRel);
    }

    /// The session that speaks for the device.
    #[must_use]
    pub fn session(&self) -> SessionId {
        SessionId(self.session.load(Ordering::Acquire))
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
    fn a_dropped_point_stops_the_track_until_the_device_is_back() {
        let track = track();
        (1..=4).for_each(|seq| track.note_accepted(seq, None));
        track.note_dropped(2);
        track.note_stored(1);
        track.note_stored(3);
        assert_eq!((track.received_to(), track.stored_to(), track.is_lost()), (4, 1, true));
        track.reopen(Some(2));
        assert_eq!((track.received_to(), track.stored_to(), track.is_lost()), (1, 1, false));
        assert!(!track.has(2) && track.has(3) && track.has(4), "what is stored or on its way is not asked for again");
        track.note_accepted(2, None);
        track.note_stored(2);
        track.note_stored(4);
        assert_eq!(track.stored_to(), 4);
    }

    #[test]
    fn a_track_that_lost_count_asks_for_everything_that_is_not_stored() {
        let track = track();
        (1..=3).for_each(|seq| track.note_accepted(seq, None));
        track.note_stored(1);
        (2..=3).for_each(|seq| track.note_dropped(seq));
        track.reopen(None);
        assert_eq!((track.received_to(), track.stored_to()), (1, 1));
        // It was on its way after all.
        track.note_stored(3);
        assert!(track.has(3) && !track.has(2));
    }

    #[test]
    fn the_newest_session_speaks_for_the_device() {
        let track = track();
        track.take_over(SessionId(8));
        track.take_over(SessionId(7));
        assert_eq!(track.session(), SessionId(8));
    }
}
