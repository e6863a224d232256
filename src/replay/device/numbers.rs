//! A set of point numbers that is small while they lie side by side, as those of a device do.

use std::collections::BTreeMap;

/// A set of numbers, kept as spans.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Numbers {
    /// First and last of each span; no two touch.
    spans: BTreeMap<u64, u64>,
    count: u64,
}

impl Numbers {
    /// Adds a number; `false` when it was there.
    pub fn insert(&mut self, number: u64) -> bool {
        let before = self.spans.range(..=number).next_back().map(|(first, last)| (*first, *last));
        if before.is_some_and(|(_, last)| last >= number) {
            return false;
        }
        self.count += 1;
        let first = before.filter(|(_, last)| last.checked_add(1) == Some(number)).map_or(number, |(first, _)| first);
        let after = number.checked_add(1).and_then(|next| self.spans.remove(&next));
        self.spans.insert(first, after.unwrap_or(number));
        true
    }

    /// Whether a number is there.
    #[must_use]
    pub fn contains(&self, number: u64) -> bool {
        self.spans.range(..=number).next_back().is_some_and(|(_, last)| *last >= number)
    }

    /// How many.
    #[must_use]
    pub const fn len(&self) -> u64 {
        self.count
    }

    /// Whether there are none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// All of them, upwards.
    pub fn iter(&self) -> impl Iterator<Item = u64> {
        self.spans.iter().flat_map(|(first, last)| *first..=*last)
    }
}

impl FromIterator<u64> for Numbers {
    fn from_iter<I: IntoIterator<Item = u64>>(numbers: I) -> Self {
        let mut set = Self::default();
        for number in numbers {
            set.insert(number);
        }
        set
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use rand::{RngExt, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    use super::*;

    #[test]
    fn it_is_a_set_whatever_the_order() {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let (mut numbers, mut set) = (Numbers::default(), BTreeSet::new());
        for _ in 0..500 {
            let number = rng.random_range(0..200_u64);
            assert_eq!(numbers.insert(number), set.insert(number));
            assert_eq!(numbers.len(), set.len() as u64);
        }
        assert!(numbers.iter().eq(set.iter().copied()));
        assert!((0..210).all(|number| numbers.contains(number) == set.contains(&number)));
        let mut ends: Numbers = [u64::MAX, 0].into_iter().collect();
        assert!(!ends.insert(u64::MAX) && ends.contains(0) && ends.len() == 2);
    }

    #[test]
    fn neighbours_are_one_span() {
        let numbers: Numbers = [5, 3, 4, 1, 2].into_iter().collect();
        assert_eq!(numbers.spans, BTreeMap::from([(1, 5)]));
    }
}
