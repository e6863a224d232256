//! The tracks of the devices that have been here, so that a device that reconnects goes on where it was and what it
//! sends again is recognised.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use crate::{
    actors::location_log::Track,
    domain::{
        ids::{BootId, CityCode, RiderId},
        time::Timestamp,
    },
};

/// One track per rider, the newest. Cheap to clone; all clones share the tracks.
#[derive(Clone, Debug)]
pub struct Tracks {
    max: usize,
    tracks: Arc<Mutex<HashMap<RiderId, Arc<Track>>>>,
}

impl Tracks {
    /// Room for `max` riders.
    #[must_use]
    pub fn new(max: usize) -> Self {
        Self { max: max.max(1), tracks: Arc::default() }
    }

    /// The track of a device's run, and whether it had been here before. A run whose points were lost, or which changed
    /// its city, begins again behind what is stored.
    #[must_use]
    pub fn open(&self, rider: RiderId, city: &CityCode, boot: BootId, device: &str) -> (Arc<Track>, bool) {
        let mut tracks = self.tracks.lock().unwrap_or_else(PoisonError::into_inner);
        let old = tracks.get(&rider).cloned();
        let known = old.as_ref().is_some_and(|old| old.boot == boot && *old.device == *device);
        let track = match old {
            Some(old) if known && old.city == *city && !old.is_lost() => old,
            old => {
                let stored = old.as_ref().filter(|_| known).map_or(0, |old| old.stored_to());
                let live_at = old.as_ref().map_or(Timestamp::default(), |old| old.live_at());
                let track = Track::new(rider, city.clone(), boot, device, stored, live_at);
                // Where the rider was does not begin anew with the app.
                if let Some(old) = old {
                    *track.hygiene() = old.hygiene().clone();
                }
                Arc::new(track)
            }
        };
        if tracks.len() >= self.max && !tracks.contains_key(&rider) {
            // Only tracks that nobody holds: no session, no point on its way.
            tracks.retain(|_, track| Arc::strong_count(track) > 1);
        }
        if tracks.len() < self.max || tracks.contains_key(&rider) {
            tracks.insert(rider, track.clone());
        }
        (track, known)
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    fn open(tracks: &Tracks, rider: u128, boot: u128) -> (Arc<Track>, bool) {
        let city = CityCode::parse("blr").unwrap();
        tracks.open(RiderId(Uuid::from_u128(rider)), &city, BootId(Uuid::from_u128(boot)), "d")
    }

    #[test]
    fn a_run_goes_on_where_it_was_and_a_new_run_begins_anew() {
        let tracks = Tracks::new(10);
        let (track, known) = open(&tracks, 1, 1);
        assert!(!known);
        track.note_accepted(5, Some(Timestamp::from_millis(99)));
        let (again, known) = open(&tracks, 1, 1);
        assert!(known && again.received_to() == 5);
        let (fresh, known) = open(&tracks, 1, 2);
        assert!(!known && fresh.received_to() == 0);
        assert_eq!(fresh.live_at(), Timestamp::from_millis(99), "the dot is the rider's, not the run's");
    }

    #[test]
    fn a_run_that_lost_points_begins_behind_what_is_stored() {
        let tracks = Tracks::new(10);
        let (track, _) = open(&tracks, 1, 1);
        track.note_accepted(5, None);
        track.note_stored(5);
        track.note_accepted(9, None);
        track.note_lost();
        let (again, known) = open(&tracks, 1, 1);
        assert!(known);
        assert_eq!((again.received_to(), again.stored_to()), (5, 5));
    }

    #[test]
    fn the_number_of_tracks_is_bounded() {
        let tracks = Tracks::new(2);
        let held = open(&tracks, 1, 1);
        for rider in 2..10 {
            let _ = open(&tracks, rider, 1);
        }
        assert!(tracks.tracks.lock().unwrap().len() <= 2);
        assert!(open(&tracks, 1, 1).1, "a track in use is kept");
        drop(held);
    }
}
