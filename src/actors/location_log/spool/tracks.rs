//! Which points lie in the spool when the engine starts: devices may send them again before they are drained, and the
//! database does not know them yet.

use std::{collections::HashMap, ops::RangeInclusive};

use crate::{
    domain::ids::{BootId, RiderId},
    store::location_logs::PointName,
};

/// Ranges that are remembered of one device's run. A device sends again what it was not told to be stored, which is the
/// newest.
const RANGES_PER_TRACK: usize = 64;
/// Runs and ranges that are remembered of all: about 50 MB at most.
const TRACKS: usize = 200_000;
const RANGES: usize = 400_000;

/// The points of one device's run, as ascending ranges that do not touch.
#[derive(Debug)]
struct Run {
    device: Box<str>,
    ranges: Vec<RangeInclusive<u64>>,
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
    /// The numbers of a device's run that the spool held: ascending ranges that do not touch.
    #[must_use]
    pub fn seqs(&self, rider: RiderId, device: &str, boot: BootId) -> &[RangeInclusive<u64>] {
        let run = self.runs.get(&(rider, boot)).and_then(|runs| runs.iter().find(|run| *run.device == *device));
        run.map_or(&[], |run| &run.ranges)
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
                runs.push(Run { device: name.device.into(), ranges: Vec::new() });
                runs.len() - 1
            }
            None => return,
        };
        let ranges = &mut runs[at].ranges;
        let before = ranges.len();
        insert(ranges, name.seq, self.ranges < RANGES);
        if ranges.len() > RANGES_PER_TRACK {
            ranges.remove(0);
        }
        self.ranges = self.ranges + ranges.len() - before;
    }
}

/// Adds a number to ranges; one that would need a range of its own only when `may_grow`.
fn insert(ranges: &mut Vec<RangeInclusive<u64>>, seq: u64, may_grow: bool) {
    // The first range that ends at `seq - 1` or later.
    let at = ranges.partition_point(|range| range.end().saturating_add(1) < seq);
    match ranges.get(at).map(|range| (*range.start(), *range.end())) {
        Some((start, end)) if start <= seq && seq <= end => {}
        Some((start, end)) if end.checked_add(1) == Some(seq) => {
            let joined = ranges.get(at + 1).filter(|next| seq.checked_add(1) == Some(*next.start()));
            match joined.map(|next| *next.end()) {
                Some(last) => {
                    ranges[at] = start..=last;
                    ranges.remove(at + 1);
                }
                None => ranges[at] = start..=seq,
            }
        }
        Some((start, end)) if seq.checked_add(1) == Some(start) => ranges[at] = seq..=end,
        _ if may_grow => ranges.insert(at, seq..=seq),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use rand::{RngExt, SeedableRng};
    use rand_chacha::ChaCha8Rng;
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
        assert_eq!(tracks.seqs(rider(1), "a", BOOT), [4..=5]);
        assert_eq!(tracks.seqs(rider(1), "b", BOOT), [1..=1]);
        assert!(tracks.seqs(rider(1), "a", BootId(Uuid::nil())).is_empty());
        assert_eq!((tracks.len(), tracks.is_empty()), (3, false));
    }

    #[test]
    fn ranges_hold_the_numbers_that_came_and_no_others() {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        for _ in 0..200 {
            let (mut ranges, mut set) = (Vec::new(), BTreeSet::new());
            for _ in 0..60 {
                let seq = if rng.random_bool(0.05) { u64::MAX } else { rng.random_range(0..80) };
                insert(&mut ranges, seq, true);
                set.insert(seq);
            }
            assert!(ranges.windows(2).all(|pair| pair[0].end() + 1 < *pair[1].start()), "{ranges:?}");
            assert_eq!(ranges.into_iter().flatten().collect::<Vec<_>>(), set.into_iter().collect::<Vec<_>>());
        }
    }

    #[test]
    fn of_too_many_ranges_the_newest_stay() {
        let mut tracks = SpooledTracks::default();
        let odd = (0..1_000).rev().map(|n| PointName { rider: rider(1), boot: BOOT, device: "d", seq: 2 * n + 1 });
        tracks.add(odd);
        let ranges = tracks.seqs(rider(1), "d", BOOT);
        assert_eq!((ranges.len(), ranges.last().unwrap()), (RANGES_PER_TRACK, &(1_999..=1_999)));
    }
}
