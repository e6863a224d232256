//! Which points lie in the spool when the engine starts: devices may send them again before they are drained, and the
//! database does not know them yet.

use std::collections::HashMap;

use crate::{
    domain::{
        ids::{BootId, RiderId},
        ping::ranges::Ranges,
    },
    store::location_logs::PointName,
};

/// Ranges that are remembered of one device's run. A device sends again what it was not told to be stored, which is the
/// newest.
const RANGES_PER_TRACK: usize = 64;
/// Runs and ranges that are remembered of all: about 50 MB at most.
const TRACKS: usize = 200_000;
const RANGES: usize = 400_000;

/// The points of one device's run.
#[derive(Debug)]
struct Run {
    device: Box<str>,
    numbers: Ranges,
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
    /// The runs, each with the numbers that the spool held.
    pub fn iter(&self) -> impl Iterator<Item = (RiderId, &str, BootId, &Ranges)> {
        self.runs
            .iter()
            .flat_map(|((rider, boot), runs)| runs.iter().map(|run| (*rider, &*run.device, *boot, &run.numbers)))
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
                runs.push(Run { device: name.device.into(), numbers: Ranges::new() });
                runs.len() - 1
            }
            None => return,
        };
        let numbers = &mut runs[at].numbers;
        let (before, seq) = (numbers.len(), name.seq);
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
        let name = |rider, device, seq| PointName { rider, boot: BOOT, device, seq };
        tracks.add([name(rider(1), "a", 5), name(rider(1), "b", 1), name(rider(2), "a", 9)].into_iter());
        tracks.add([name(rider(1), "a", 4)].into_iter());
        let mut runs: Vec<_> =
            tracks.iter().map(|(rider, device, _, numbers)| (rider, device, numbers.first_range())).collect();
        runs.sort_unstable();
        let expected = [(1, "a", (4, 5)), (1, "b", (1, 1)), (2, "a", (9, 9))];
        assert_eq!(runs, expected.map(|(of, device, range)| (rider(of), device, Some(range))));
        assert_eq!((tracks.len(), tracks.is_empty()), (3, false));
    }

    #[test]
    fn of_too_many_ranges_the_newest_stay() {
        let mut tracks = SpooledTracks::default();
        let odd = (0..1_000).rev().map(|n| PointName { rider: rider(1), boot: BOOT, device: "d", seq: 2 * n + 1 });
        tracks.add(odd);
        let (.., numbers) = tracks.iter().next().unwrap();
        assert_eq!((numbers.len(), numbers.contains(1_999)), (RANGES_PER_TRACK, true));
    }
}
