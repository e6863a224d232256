//! The tracks of the devices that have been here, so that a device that reconnects goes on where it was and what it
//! sends again is recognised: in this process, and after a restart by what is stored and what the spool holds.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use super::pings::log_point;
use crate::{
    actors::location_log::{LogPoint, SpooledRun, Track},
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

/// Runs of one rider that are kept, the newest: an app that was started again, a second telephone. Those with a session or
/// with points on their way are kept beside them, for nobody else knows those points yet, up to the second number.
const RUNS: usize = 4;
const RUNS_IN_USE: usize = 16;

/// One track per run, a few runs per rider. Cheap to clone; all clones share the tracks.
#[derive(Clone, Debug)]
pub struct Tracks {
    max: usize,
    known: Arc<Mutex<Known>>,
}

/// A track to go on with.
#[derive(Debug)]
pub struct Opened {
    /// The track.
    pub track: Arc<Track>,
    /// Whether the run had been here before.
    pub was_here: bool,
    /// The rider's last point in the run before this one, if it had been left out of the log: where a run ends is a
    /// boundary. It keeps its own run's name.
    pub left_out: Option<LogPoint>,
}

#[derive(Debug, Default)]
struct Known {
    /// Of each rider the run that was opened last comes last.
    tracks: HashMap<RiderId, Vec<Arc<Track>>>,
    /// How many there are.
    len: usize,
    /// What the spool held at the start, of devices that have not come back.
    seeds: HashMap<RiderId, Vec<Seed>>,
}

#[derive(Debug)]
struct Seed {
    device: Box<str>,
    boot: BootId,
    settled: Ranges,
    live_at: Option<Timestamp>,
}

impl Known {
    fn find(&self, run: &Run) -> Option<&Arc<Track>> {
        self.tracks.get(&run.rider)?.iter().find(|track| is_of(track, run))
    }

    /// What the spool held of a run, and the dot's time by what it held of the rider.
    fn seed(&self, run: &Run) -> (Option<&Seed>, Option<Timestamp>) {
        let seeds = self.seeds.get(&run.rider).map_or(&[][..], Vec::as_slice);
        let seed = seeds.iter().find(|seed| seed.boot == run.boot && *seed.device == *run.device);
        (seed, seeds.iter().filter_map(|seed| seed.live_at).max())
    }

    /// The track of the run knows its points now.
    fn forget_seed(&mut self, run: &Run) {
        if let Some(seeds) = self.seeds.get_mut(&run.rider) {
            seeds.retain(|seed| seed.boot != run.boot || *seed.device != *run.device);
            if seeds.is_empty() {
                self.seeds.remove(&run.rider);
            }
        }
    }

    /// Keeps a track as its rider's newest, if there is room among `max`.
    fn keep(&mut self, run: &Run, track: &Arc<Track>, max: usize) -> bool {
        if let Some(runs) = self.tracks.get_mut(&run.rider) {
            let before = runs.len();
            runs.retain(|track| !is_of(track, run));
            self.len -= before - runs.len();
        }
        if self.len >= max {
            self.drop_idle();
        }
        let runs = self.tracks.entry(run.rider).or_default();
        // A rider who has a place has it for the newest run.
        if self.len >= max && !runs.is_empty() {
            runs.remove(0);
            self.len -= 1;
        }
        let kept = self.len < max;
        if kept {
            runs.push(track.clone());
            self.len += 1;
            while runs.len() > RUNS
                && let Some(at) = runs.iter().position(is_idle).or((runs.len() > RUNS_IN_USE).then_some(0))
            {
                runs.remove(at);
                self.len -= 1;
            }
        }
        if runs.is_empty() {
            self.tracks.remove(&run.rider);
        }
        kept
    }

    fn drop_idle(&mut self) {
        self.tracks.retain(|_, runs| {
            runs.retain(|track| !is_idle(track));
            !runs.is_empty()
        });
        self.len = self.tracks.values().map(Vec::len).sum();
    }
}

impl Tracks {
    /// Room for `max` runs.
    #[must_use]
    pub fn new(max: usize) -> Self {
        Self { max: max.max(1), known: Arc::default() }
    }

    /// Points of a run that a spool holds on disk: they are settled, and the database does not know them yet. To be said
    /// before the first device comes.
    pub fn seed(&self, spooled: &SpooledRun<'_>) {
        let mut known = self.known();
        let seeds = known.seeds.entry(spooled.rider).or_default();
        match seeds.iter_mut().find(|seed| seed.boot == spooled.boot && *seed.device == *spooled.device) {
            Some(seed) => {
                spooled.numbers.iter().for_each(|(first, last)| seed.settled.insert(first, last));
                seed.live_at = seed.live_at.max(spooled.live_at);
            }
            None => seeds.push(Seed {
                device: spooled.device.into(),
                boot: spooled.boot,
                settled: spooled.numbers.clone(),
                live_at: spooled.live_at,
            }),
        }
    }

    /// Whether a run is known without the store.
    #[must_use]
    pub fn knows(&self, run: &Run) -> bool {
        self.known().find(run).is_some()
    }

    /// The track of a run. `stored` is what the store knows of a run that was not known. A run whose rider changed the city
    /// begins again with what is settled.
    #[must_use]
    pub fn open(&self, run: &Run, city: &CityCode, stored: Option<&StoredRun>) -> Opened {
        let mut known = self.known();
        let newest = known.tracks.get(&run.rider).and_then(|runs| runs.last()).cloned();
        let same = known.find(run).cloned();
        let (seed, spooled_live_at) = known.seed(run);
        let was_here = same.is_some() || seed.is_some() || stored.is_some_and(|stored| !stored.settled.is_empty());
        let track = match &same {
            Some(same) if same.city == *city => same.clone(),
            _ => {
                let progress = same.as_ref().map_or_else(|| Progress::new(0), |same| same.settled());
                let live_at = Timestamp::default();
                Arc::new(Track::of(run.rider, city.clone(), run.boot, &run.device, progress, live_at))
            }
        };
        let mut left_out = None;
        if let Some(before) = newest.filter(|newest| !Arc::ptr_eq(newest, &track)) {
            // Where the rider was does not begin anew with the app. The point that was left out is the other run's.
            let hygiene = {
                let mut hygiene = before.hygiene();
                left_out = hygiene.take_left_out().map(|point| log_point(&before, &point));
                hygiene.clone()
            };
            *track.hygiene() = hygiene;
            track.move_dot(before.live_at());
        }
        // First what is there already, then what the device says about the rest.
        let mut settled = seed.map(|seed| seed.settled.clone()).unwrap_or_default();
        if let Some(stored) = stored {
            stored.settled.iter().for_each(|(first, last)| settled.insert(first, last));
        }
        let stored_live_at = stored.and_then(|stored| stored.live_at);
        stored_live_at.into_iter().chain(spooled_live_at).for_each(|at| track.move_dot(at));
        if !settled.is_empty() {
            track.restore(&settled, run.oldest);
        }
        track.reopen(run.oldest);
        if known.keep(run, &track, self.max) {
            known.forget_seed(run);
        }
        Opened { track, was_here, left_out }
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn is_of(track: &Track, run: &Run) -> bool {
    track.boot == run.boot && *track.device == *run.device
}

/// Nobody holds it: no session, no point on its way.
fn is_idle(track: &Arc<Track>) -> bool {
    Arc::strong_count(track) == 1
}

#[cfg(test)]
#[path = "tracks_tests.rs"]
mod tests;
