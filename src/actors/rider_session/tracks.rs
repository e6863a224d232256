//! The tracks of the devices that have been here, so that a device that reconnects goes on where it was and what it
//! sends again is recognised: in this process, and after a restart by what is stored and what the spool holds.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use crate::{
    actors::location_log::Track,
    domain::{
        ids::{BootId, CityCode, RiderId},
        ping::{
            progress::Progress,
            ranges::Ranges,
            run::{Run, StoredRun},
        },
        time::Timestamp,
    },
};

/// One track per rider, the newest. Cheap to clone; all clones share the tracks.
#[derive(Clone, Debug)]
pub struct Tracks {
    max: usize,
    known: Arc<Mutex<Known>>,
}

#[derive(Debug, Default)]
struct Known {
    tracks: HashMap<RiderId, Arc<Track>>,
    /// What the spool held at the start, of devices that have not come back.
    seeds: HashMap<RiderId, Vec<Seed>>,
}

#[derive(Debug)]
struct Seed {
    device: Box<str>,
    boot: BootId,
    settled: Ranges,
}

impl Known {
    /// Of a rider whose other runs, if any, are kept.
    fn take_seed(&mut self, run: &Run) -> Option<Ranges> {
        let seeds = self.seeds.get_mut(&run.rider)?;
        let at = seeds.iter().position(|seed| seed.boot == run.boot && *seed.device == *run.device)?;
        let seed = seeds.swap_remove(at);
        if seeds.is_empty() {
            self.seeds.remove(&run.rider);
        }
        Some(seed.settled)
    }
}

impl Tracks {
    /// Room for `max` riders.
    #[must_use]
    pub fn new(max: usize) -> Self {
        Self { max: max.max(1), known: Arc::default() }
    }

    /// Points of a run that a spool holds on disk: they are settled, and the database does not know them yet. To be said
    /// before the first device comes.
    pub fn seed(&self, rider: RiderId, device: &str, boot: BootId, settled: &Ranges) {
        let mut known = self.known();
        let seeds = known.seeds.entry(rider).or_default();
        match seeds.iter_mut().find(|seed| seed.boot == boot && *seed.device == *device) {
            Some(seed) => settled.iter().for_each(|(first, last)| seed.settled.insert(first, last)),
            None => seeds.push(Seed { device: device.into(), boot, settled: settled.clone() }),
        }
    }

    /// Whether a run is known without the store.
    #[must_use]
    pub fn knows(&self, run: &Run) -> bool {
        self.known().tracks.get(&run.rider).is_some_and(|track| is_of(track, run))
    }

    /// The track of a run, and whether it had been here before. `stored` is what the store knows of a run that was not
    /// known. A run whose rider changed the city begins again with what is settled.
    #[must_use]
    pub fn open(&self, run: &Run, city: &CityCode, stored: Option<&StoredRun>) -> (Arc<Track>, bool) {
        let mut known = self.known();
        let seed = known.take_seed(run);
        let old = known.tracks.get(&run.rider).cloned();
        let same = old.as_ref().filter(|old| is_of(old, run));
        let was_here = same.is_some() || seed.is_some() || stored.is_some_and(|stored| !stored.settled.is_empty());
        let track = match same {
            Some(old) if old.city == *city => old.clone(),
            _ => {
                let progress = same.map_or_else(|| Progress::new(0), |old| old.settled());
                let live_at = old.as_ref().map_or(Timestamp::default(), |old| old.live_at());
                let track = Track::of(run.rider, city.clone(), run.boot, &run.device, progress, live_at);
                // Where the rider was does not begin anew with the app.
                if let Some(old) = &old {
                    *track.hygiene() = old.hygiene().clone();
                }
                Arc::new(track)
            }
        };
        // First what is there already, then what the device says about the rest.
        let mut settled = seed.unwrap_or_default();
        if let Some(stored) = stored {
            stored.settled.iter().for_each(|(first, last)| settled.insert(first, last));
            stored.live_at.into_iter().for_each(|at| track.move_dot(at));
        }
        if !settled.is_empty() {
            track.restore(&settled, run.oldest);
        }
        track.reopen(run.oldest);
        let (len, is_there) = (known.tracks.len(), known.tracks.contains_key(&run.rider));
        if len >= self.max && !is_there {
            // Only tracks that nobody holds: no session, no point on its way.
            known.tracks.retain(|_, track| Arc::strong_count(track) > 1);
        }
        if is_there || known.tracks.len() < self.max {
            known.tracks.insert(run.rider, track.clone());
        }
        (track, was_here)
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn is_of(track: &Track, run: &Run) -> bool {
    track.boot == run.boot && *track.device == *run.device
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    fn run(rider: u128, boot: u128) -> Run {
        let (rider, boot) = (RiderId(Uuid::from_u128(rider)), BootId(Uuid::from_u128(boot)));
        Run { rider, device: "d".to_owned(), boot, oldest: None }
    }

    fn city() -> CityCode {
        CityCode::parse("blr").unwrap()
    }

    fn open(tracks: &Tracks, rider: u128, boot: u128) -> (Arc<Track>, bool) {
        tracks.open(&run(rider, boot), &city(), None)
    }

    fn ranges(of: &[(u64, u64)]) -> Ranges {
        let mut ranges = Ranges::new();
        of.iter().for_each(|(first, last)| ranges.insert(*first, *last));
        ranges
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
        (4..=5).for_each(|seq| track.note_accepted(seq, None));
        (4..=5).for_each(|seq| track.note_stored(seq));
        track.note_accepted(9, None);
        track.note_lost();
        let (again, known) = open(&tracks, 1, 1);
        assert!(known);
        assert_eq!((again.received_to(), again.stored_to()), (8, 8));
    }

    #[test]
    fn a_run_in_another_city_begins_with_what_is_settled() {
        let tracks = Tracks::new(10);
        let (track, _) = open(&tracks, 1, 1);
        (1..=3).for_each(|seq| track.note_accepted(seq, Some(Timestamp::from_millis(7))));
        track.note_stored(1);
        track.note_stored(3);
        let elsewhere = CityCode::parse("pune").unwrap();
        let moved = Run { oldest: Some(2), ..run(1, 1) };
        let (moved, known) = tracks.open(&moved, &elsewhere, None);
        assert!(known && moved.city == elsewhere);
        assert_eq!((moved.received_to(), moved.stored_to(), moved.live_at().as_millis()), (1, 1, 7));
        assert!(moved.has(3) && !moved.has(2));
    }

    #[test]
    fn after_a_restart_a_run_begins_with_what_is_stored_and_what_the_spool_holds() {
        let tracks = Tracks::new(10);
        let wanted = Run { oldest: Some(10), ..run(1, 1) };
        tracks.seed(wanted.rider, "d", wanted.boot, &ranges(&[(13, 13)]));
        tracks.seed(wanted.rider, "d", wanted.boot, &ranges(&[(14, 15)]));
        tracks.seed(wanted.rider, "other", wanted.boot, &ranges(&[(90, 99)]));
        assert!(!tracks.knows(&wanted), "what is stored is wanted too");
        let stored = StoredRun { settled: ranges(&[(10, 11)]), live_at: Some(Timestamp::from_millis(50)) };
        let (track, known) = tracks.open(&wanted, &city(), Some(&stored));
        assert!(known && tracks.knows(&wanted));
        assert_eq!((track.received_to(), track.stored_to(), track.live_at().as_millis()), (11, 11, 50));
        assert!(track.has(14) && !track.has(12) && !track.has(16));
        // In order, what is stored is the end of what was sent.
        tracks.seed(RiderId(Uuid::from_u128(2)), "d", BootId(Uuid::from_u128(1)), &ranges(&[(7, 8)]));
        let (track, _) = open(&tracks, 2, 1);
        assert_eq!((track.received_to(), track.stored_to()), (8, 8));
    }

    #[test]
    fn the_number_of_tracks_is_bounded() {
        let tracks = Tracks::new(2);
        let held = open(&tracks, 1, 1);
        for rider in 2..10 {
            let _ = open(&tracks, rider, 1);
        }
        assert!(tracks.known().tracks.len() <= 2);
        assert!(open(&tracks, 1, 1).1, "a track in use is kept");
        drop(held);
    }
}
