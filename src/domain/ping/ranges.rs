//! Sets of point numbers as ranges. Points come nearly in order, so a set is one range, or one prefix, nearly always; what
//! a bad network makes of it is a few ranges more. Adding a number behind the last one costs no search.

/// A set of numbers, held as ranges that neither touch nor overlap, in ascending order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ranges(Vec<(u64, u64)>);

impl Ranges {
    /// An empty set.
    #[must_use]
    pub const fn new() -> Self {
        Self(Vec::new())
    }

    /// Whether nothing is in it.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many ranges it takes.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.0.len()
    }

    /// The lowest number.
    #[must_use]
    pub fn first(&self) -> Option<u64> {
        self.0.first().map(|range| range.0)
    }

    /// The lowest range.
    #[must_use]
    pub fn first_range(&self) -> Option<(u64, u64)> {
        self.0.first().copied()
    }

    /// The ranges, each from its first to its last number.
    pub fn iter(&self) -> impl Iterator<Item = (u64, u64)> + '_ {
        self.0.iter().copied()
    }

    /// Whether a number is in it.
    #[must_use]
    pub fn contains(&self, number: u64) -> bool {
        let at = self.0.partition_point(|range| range.1 < number);
        self.0.get(at).is_some_and(|range| range.0 <= number)
    }

    /// Adds the numbers from `first` to `last`; nothing when there are none.
    pub fn insert(&mut self, first: u64, last: u64) {
        if first > last {
            return;
        }
        match self.0.last_mut() {
            None => return self.0.push((first, last)),
            Some(end) if end.1 < first => {
                if end.1 + 1 == first {
                    end.1 = last;
                } else {
                    self.0.push((first, last));
                }
                return;
            }
            Some(_) => {}
        }
        // Every range that touches the new one becomes part of it.
        let from = self.0.partition_point(|range| range.1.saturating_add(1) < first);
        let to = self.0.partition_point(|range| range.0 <= last.saturating_add(1));
        if from == to {
            return self.0.insert(from, (first, last));
        }
        self.0[from] = (self.0[from].0.min(first), self.0[to - 1].1.max(last));
        self.0.drain(from + 1..to);
    }

    /// Takes the numbers from `first` to `last` out.
    pub fn remove(&mut self, first: u64, last: u64) {
        if first > last {
            return;
        }
        let from = self.0.partition_point(|range| range.1 < first);
        let to = self.0.partition_point(|range| range.0 <= last);
        if from >= to {
            return;
        }
        let (head, tail) = (self.0[from].0, self.0[to - 1].1);
        match (head < first, tail > last) {
            (false, false) => drop(self.0.drain(from..to)),
            (true, false) => {
                self.0[from].1 = first - 1;
                self.0.drain(from + 1..to);
            }
            (false, true) => {
                self.0[to - 1].0 = last + 1;
                self.0.drain(from..to - 1);
            }
            (true, true) => {
                self.0[from].1 = first - 1;
                if to - from == 1 {
                    self.0.insert(to, (last + 1, tail));
                } else {
                    self.0[to - 1].0 = last + 1;
                    self.0.drain(from + 1..to - 1);
                }
            }
        }
    }

    /// Takes every number up to `last` out.
    pub fn remove_to(&mut self, last: u64) {
        if self.first().is_some_and(|first| first <= last) {
            self.remove(0, last);
        }
    }

    /// Takes the lowest range out.
    pub fn pop_first(&mut self) -> Option<(u64, u64)> {
        (!self.0.is_empty()).then(|| self.0.remove(0))
    }

    /// Takes the highest ranges out, until it has at most `most`.
    pub fn truncate(&mut self, most: usize) {
        self.0.truncate(most);
    }

    /// Gives memory back that ranges took which are gone.
    pub fn shrink(&mut self) {
        self.0.shrink_to_fit();
    }
}

/// A set of numbers that has everything up to some number, and maybe ranges beyond it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Prefixed {
    to: u64,
    beyond: Ranges,
}

impl Prefixed {
    /// Every number up to `to`.
    #[must_use]
    pub const fn new(to: u64) -> Self {
        Self { to, beyond: Ranges::new() }
    }

    /// Every number up to this one is in it, and the next one is not.
    #[must_use]
    pub const fn to(&self) -> u64 {
        self.to
    }

    /// How many ranges lie beyond.
    #[must_use]
    pub const fn ranges_beyond(&self) -> usize {
        self.beyond.len()
    }

    /// Whether a number is in it.
    #[must_use]
    pub fn contains(&self, number: u64) -> bool {
        number <= self.to || (!self.beyond.is_empty() && self.beyond.contains(number))
    }

    /// Adds the numbers from `first` to `last`.
    pub fn insert(&mut self, first: u64, last: u64) {
        if last <= self.to || first > last {
            return;
        }
        if first.saturating_sub(1) > self.to {
            return self.beyond.insert(first, last);
        }
        self.fill_to(last);
    }

    /// Adds every number up to `last`.
    pub fn fill_to(&mut self, last: u64) {
        self.to = self.to.max(last);
        if self.beyond.first().is_none_or(|first| first.saturating_sub(1) > self.to) {
            return;
        }
        // All at once: a run that was restored may have thousands.
        let reached = self.beyond.0.partition_point(|range| range.0.saturating_sub(1) <= self.to);
        for (_, last) in self.beyond.0.drain(..reached) {
            self.to = self.to.max(last);
        }
    }

    /// Takes the numbers from `first` to `last` out.
    pub fn remove(&mut self, first: u64, last: u64) {
        if first > last {
            return;
        }
        self.beyond.remove(first, last);
        if first <= self.to {
            if last < self.to {
                self.beyond.insert(last + 1, self.to);
            }
            self.to = first.saturating_sub(1);
        }
    }

    /// Gives gaps up, the lowest first, until at most `most` ranges lie beyond; returns how many numbers that were missing
    /// are in it now.
    pub fn close_gaps(&mut self, most: usize) -> u64 {
        let mut closed = 0;
        while self.beyond.len() > most
            && let Some(first) = self.beyond.first()
        {
            closed += first - self.to - 1;
            self.fill_to(first);
        }
        closed
    }

    /// Forgets the highest ranges, until at most `most` lie beyond.
    pub fn forget_beyond(&mut self, most: usize) {
        self.beyond.truncate(most);
    }

    /// Gives memory back that ranges took which are gone.
    pub fn shrink(&mut self) {
        self.beyond.shrink();
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    fn as_ranges(numbers: &BTreeSet<u64>) -> Vec<(u64, u64)> {
        let mut ranges: Vec<(u64, u64)> = Vec::new();
        for &number in numbers {
            match ranges.last_mut() {
                Some(end) if end.1 + 1 == number => end.1 = number,
                _ => ranges.push((number, number)),
            }
        }
        ranges
    }

    proptest! {
        #[test]
        fn ranges_are_a_set(steps in prop::collection::vec((0..8_u8, 0..60_u64, 0..20_u64), 1..80)) {
            let (mut ranges, mut naive) = (Ranges::new(), BTreeSet::new());
            for (kind, first, more) in steps {
                // Now and then none at all.
                let last = (first + more).saturating_sub(2);
                if kind < 5 {
                    ranges.insert(first, last);
                    naive.extend(first..=last);
                } else if kind < 7 {
                    ranges.remove(first, last);
                    naive.retain(|number| !(first..=last).contains(number));
                } else {
                    ranges.remove_to(last);
                    naive.retain(|number| *number > last);
                }
                prop_assert_eq!(ranges.iter().collect::<Vec<_>>(), as_ranges(&naive));
                prop_assert!((0..85).all(|number| ranges.contains(number) == naive.contains(&number)));
            }
        }

        #[test]
        fn a_prefixed_set_is_a_set(steps in prop::collection::vec((0..8_u8, 1..60_u64, 0..12_u64), 1..80)) {
            let (mut prefixed, mut naive) = (Prefixed::new(3), BTreeSet::from([0, 1, 2, 3]));
            for (kind, first, more) in steps {
                let last = first + more;
                match kind {
                    0..5 => {
                        prefixed.insert(first, last);
                        naive.extend(first..=last);
                    }
                    5 => {
                        prefixed.fill_to(first);
                        naive.extend(0..=first);
                    }
                    6 => {
                        prefixed.remove(first, last);
                        naive.retain(|number| !(first..=last).contains(number));
                    }
                    _ => {
                        let before = naive.len();
                        while as_ranges(&naive).len() > 1 + 2 {
                            naive.extend(0..=as_ranges(&naive)[1].0);
                        }
                        prop_assert_eq!(prefixed.close_gaps(2), (naive.len() - before) as u64);
                    }
                }
                let ranges = as_ranges(&naive);
                prop_assert_eq!((prefixed.to(), prefixed.ranges_beyond()), (ranges[0].1, ranges.len() - 1));
                prop_assert!((0..80).all(|number| prefixed.contains(number) == naive.contains(&number)));
            }
        }
    }

    #[test]
    fn the_greatest_numbers_do_no_harm() {
        let mut ranges = Ranges::new();
        ranges.insert(u64::MAX, u64::MAX);
        ranges.insert(0, u64::MAX - 1);
        assert_eq!(ranges.iter().collect::<Vec<_>>(), [(0, u64::MAX)]);
        ranges.remove(1, u64::MAX);
        assert_eq!(ranges.iter().collect::<Vec<_>>(), [(0, 0)]);
        let mut prefixed = Prefixed::new(u64::MAX);
        prefixed.insert(1, u64::MAX);
        prefixed.fill_to(u64::MAX);
        assert_eq!((prefixed.to(), prefixed.close_gaps(0)), (u64::MAX, 0));
    }
}
