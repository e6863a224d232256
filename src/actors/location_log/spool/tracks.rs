//! Which points lie in the spool when the engine starts: devices may send them again before they are drained, and the
//! database does not know them yet. Nor does it know of the riders' dots that moved there.

use std::collections::HashMap;

use crate::{
    domain::{
        ids::{BootId, RiderId},
        ping::ranges::Ranges,
        time::Timestamp,
    },
    store::location_logs::PointName,
};

/// Ranges that are remembered of one device's run, as many as rows are looked at in the database. A device sends again what
/// it was not told to be stored, which is the newest; among thinned points each one is a range.
const RANGES_PER_TRACK: usize = 4_096;
/// Runs and ranges that are remembered of all: about 60 MB at most, until their devices are back. Of two hours of thinned
/// points, one in 30 seconds, these are the ranges of 4,000 riders.
const TRACKS: usize = 200_000;
const RANGES: usize = 1_000_000;

/// The points of one device's run.
#[derive(Debug)]
struct Run {
    device: Box<str>,
    numbers: Ranges,
    live_at: Option<Timestamp>,
}

/// What the spool holds of one device's run.
#[derive(Clone, Copy, Debug)]
pub struct SpooledRun<'a> {
    /// Whose.
    pub rider: RiderId,
    /// The device.
    pub device: &'a str,
    /// The run of its app.
    pub boot: BootId,
    /// The numbers of its points, the newest at least.
    pub numbers: &'a Ranges,
    /// The time of the newest of them that moved the rider's dot.
    pub live_at: Option<Timestamp>,
}

/// The numbers of the points that the spool held at the start, by rider and device run. Bounded: of very many the oldest
/// are left out, whose devices have long been told.
#[derive(Debug, Default)]
pub struct SpooledTracks {
    runs: HashMap<(RiderId, BootId), Vec<Run>>,
    tracks: usize,
    ranges: usize,
}

impl SpooledTracks {
    /// The runs.
    pub fn iter(&self) -> impl Iterator<Item = SpooledRun<'_>> {
        self.runs.iter().flat_map(|((rider, boot), runs)| {
            runs.iter().map(|run| SpooledRun {
                rider: *rider,
                device: &run.device,
                boot: *boot,
                numbers: &run.numbers,
                live_at: run.live_at,
            })
        })
    }

    /// How many runs there are.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.tracks
    }

    /// Whether the spool was empty.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.tracks == 0
    }

    /// Takes the points of one batch in; newer batches come first.
    pub(super) fn add<'a>(&mut self, names: impl Iterator<Item = PointName<'a>>) {
        for name in names {
            self.add_point(&name);
        }
    }

    fn add_point(&mut self, name: &PointName<'_>) {
        let runs = self.runs.entry((name.rider, name.boot)).or_default();
        let at = match runs.iter().position(|run| *run.device == *name.device) {
            Some(at) => at,
            None if self.tracks < TRACKS => {
                self.tracks += 1;
                runs.push(Run { device: name.device.into(), numbers: Ranges::new(), live_at: None });
                runs.len() - 1
            }
            None => return,
        };
        let Run { numbers, live_at, .. } = &mut runs[at];
        *live_at = (*live_at).max(name.live_at);
        let (before, seq) = (numbers.len(), name.seq);
        if before >= RANGES_PER_TRACK && numbers.first().is_some_and(|first| seq.saturating_add(1) < first) {
            return;
        }
        let touches = seq.checked_sub(1).is_some_and(|number| numbers.contains(number))
            || seq.checked_add(1).is_some_and(|number| numbers.contains(number));
        if touches || self.ranges < RANGES {
            numbers.insert(seq, seq);
        }
        if numbers.len() > RANGES_PER_TRACK {
            numbers.pop_first();
        }
        self.ranges = self.ranges + numbers.len() - before;
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    const BOOT: BootId = BootId(Uuid::from_u128(2));

    fn rider(n: u128) -> RiderId {
        RiderId(Uuid::from_u128(n))
    }

    #[test]
    fn runs_are_told_apart() {
        let mut tracks = SpooledTracks::default();
        let name = |rider, device, seq| PointName { rider, boot: BOOT, device, seq, live_at: None };
        tracks.add([name(rider(1), "a", 5), name(rider(1), "b", 1), name(rider(2), "a", 9)].into_iter());
        tracks.add([name(rider(1), "a", 4)].into_iter());
        let mut runs: Vec<_> = tracks.iter().map(|run| (run.rider, run.device, run.numbers.first_range())).collect();
        runs.sort_unstable();
        let expected = [(1, "a", (4, 5)), (1, "b", (1, 1)), (2, "a", (9, 9))];
        assert_eq!(runs, expected.map(|(of, device, range)| (rider(of), device, Some(range))));
        assert_eq!((tracks.len(), tracks.is_empty()), (3, false));
    }

    #[test]
    fn of_too_many_ranges_the_newest_stay() {
        let mut tracks = SpooledTracks::default();
        let at = |seq: u64| Timestamp::from_millis(i64::try_from(seq).unwrap());
        let odd = (0..5_000).rev().map(|n| 2 * n + 1);
        let name = |seq| PointName { rider: rider(1), boot: BOOT, device: "d", seq, live_at: Some(at(seq)) };
        tracks.add(odd.map(name));
        let run = tracks.iter().next().unwrap();
        assert_eq!((run.numbers.len(), run.numbers.first()), (RANGES_PER_TRACK, Some(9_999 - 2 * 4_095)));
        assert_eq!((run.numbers.contains(9_999), run.live_at), (true, Some(at(9_999))));
        assert_eq!(tracks.ranges, RANGES_PER_TRACK);
    }
}
